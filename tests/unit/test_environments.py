"""One set of versions: what is pinned elsewhere is pinned the same way in requirements.txt."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][A-Za-z0-9.]*)")  # no local version, no marker, no extra


def requirements(name):
    """Lines of a requirements file without comments."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins(lines):
    """Version by canonical name. Every line must be one exact pin."""
    found = [PIN.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found, strict=True) if match is None]
    return {re.sub("[-_.]+", "-", match[1]).lower(): match[2] for match in found}


LOCKED = pins(requirements("requirements.txt"))
LOCKS = {"comet.yaml": pins(requirements("envs/comet.txt"))}
"""Locks of environments that cannot be part of the main one."""
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def test_every_line_of_the_lock_is_one_exact_pin():
    """So there are no URLs, no index options and no local versions such as +cpu."""
    lines = requirements("requirements.txt")
    assert len(LOCKED) == len(lines) > 50
    assert all(len(lock) > 40 for lock in LOCKS.values())


def test_environments_share_the_versions_of_what_the_package_itself_needs():
    shared = ("torch", "pydantic", "pyyaml", "filelock", "sacrebleu")
    assert {name: LOCKS["comet.yaml"][name] for name in shared} == {name: LOCKED[name] for name in shared}


def test_direct_dependencies_are_pinned_as_in_the_lock():
    direct = pins(requirements("requirements.in"))
    assert {name: LOCKED.get(name) for name in direct} == direct


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environments_are_pinned_as_in_the_lock(path):
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    locked = LOCKS.get(path.name, LOCKED)
    assert {name: locked.get(name) for name in pins(pip)} == pins(pip)
    assert [entry for entry in dependencies if isinstance(entry, str)] == ["python =3.11", "pip"]


def test_the_makefile_finds_the_pin_of_torch():
    assert sum(line.startswith("torch==") for line in requirements("requirements.txt")) == 1
