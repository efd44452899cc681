"""The installed package: a wheel with its dependencies and nothing else, used outside the clone."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.in").read_text(), re.M))
DOMAINS = {"it": ("Datei", "file"), "law": ("Vertrag", "contract")}


def closure(requirements):
    """Distributions for these requirements, with all their dependencies."""
    found, waiting = {}, [Requirement(one) for one in requirements]
    while waiting:
        wanted = waiting.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        name = wanted.name.lower()
        if name not in found:
            found[name] = metadata.distribution(name)
            waiting += [Requirement(one) for one in found[name].requires or []]
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel's content and its dependencies, as in a bare environment."""
    folder = tmp_path_factory.mktemp("bare")
    source, site = folder / "source", folder / "site"
    shutil.copytree(ROOT / "caneft", source / "caneft", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, source], check=True)
    (wheel,) = folder.glob("caneft-*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    for distribution in closure(PROJECT["dependencies"]).values():
        for top in {Path(file).parts[0] for file in distribution.files if Path(file).parts[0] != ".."}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return site


@pytest.fixture
def base(tiny_model, tokenizer, tmp_path):
    folder = tmp_path / "base"
    tiny_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(site, folder, *arguments):
    """Runs Python without the clone and without this environment's site-packages."""
    path = os.pathsep.join([str(site), str(folder)])
    environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-S", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, check=True, text=True, capture_output=True).stdout


@pytest.mark.slow
def test_the_example_of_the_readme_runs_in_a_bare_environment(installed, base, tmp_path):
    (example,) = re.findall(r"```python\n(from caneft import api\n.*?)```", (ROOT / "README.md").read_text(), re.S)
    before, after = example.split("    ...")
    corpora = {
        domain: [(f"Die {word} {n}.", f"The {other} {n}.") for n in range(12)]
        for domain, (word, other) in DOMAINS.items()
    }
    loop = """    from caneft.models.loss import response_losses
    from caneft.prompts import collate
    batch = collate([one for own in examples.values() for one in own], 0)
    for _ in range(2):
        response_losses(model, batch).mean().backward()
        optimizer.step()
        tuned.after_step()
        optimizer.zero_grad()
"""
    script = f"""import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained("base"), AutoTokenizer.from_pretrained("base")
corpora = {corpora!r}
{before}{loop}{after[after.index(chr(10)) + 1 :]}
model.save_pretrained("expected")
"""
    (tmp_path / "example.py").write_text(script)
    run(installed, tmp_path, "example.py")
    command = [installed, tmp_path, "-m", "caneft", "patch"]
    original = load_file(base / "model.safetensors")
    run(*command, "apply", "base", "patch.safetensors")
    tuned, expected = load_file(base / "model.safetensors"), load_file(tmp_path / "expected/model.safetensors")
    assert {name for name in original if not torch.equal(original[name], tuned[name])}
    assert all(torch.equal(tuned[name], expected[name]) for name in original)
    run(*command, "revert", "base")
    back = load_file(base / "model.safetensors")
    assert all(torch.equal(back[name], original[name]) for name in original)
    AutoModelForCausalLM.from_pretrained(base)


def test_a_configuration_is_written_and_checked_in_a_bare_environment(installed, tmp_path):
    assert run(installed, tmp_path, "-m", "caneft", "--version").split() == ["caneft", PROJECT["version"]]
    run(installed, tmp_path, "-m", "caneft", "init", "mine.yaml", "--direction", "de-en")
    assert (tmp_path / "mine.yaml").is_file()
    assert "patch" in run(installed, tmp_path, "-m", "caneft", "--print-completion", "bash")


def test_what_the_package_asks_for_is_what_it_is_tested_with():
    listed = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]
    bounds = {Requirement(one).name: Requirement(one).specifier for one in listed}
    assert len(bounds) == len(listed)
    assert set(bounds) == set(PINS)
    assert {name: pin for name, pin in PINS.items() if pin not in bounds[name]} == {}
