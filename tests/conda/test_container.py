"""Installs here what the container images install, and scores with COMET by the Python that the image names."""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from tests.conda.conftest import REPOSITORY, cache, call, job_stats, uv
from tests.conda.test_environment_files import OF_THE_MACHINE, versions
from tests.workflow.test_comet import RUNS

IMAGES = ("container/Dockerfile", "container/caneft.def")
LOCKS = {"main": "requirements.txt", "comet": "envs/comet.txt"}


def run(*command, **variables):
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | cache() | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def files(image):
    """The files that an image copies from the repository, and their targets."""
    text = (REPOSITORY / image).read_text(encoding="utf-8")
    return dict(re.findall(r"^(?:COPY| {3}) ([\w./-]+) (/opt/source/[\w./-]+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def installed(registry, tmp_path_factory):
    """Installs from the files that the images have, and no others of the repository."""
    root = tmp_path_factory.mktemp("image")
    for source, target in files(IMAGES[0]).items():
        (root / target[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / source, root / target[1:])
    said = run(root / "opt/source/container/install.sh", root / "opt/caneft")
    assert f". {root}/opt/caneft/activate" in said
    return root / "opt/caneft"


def test_both_images_install_alike():
    texts = [(REPOSITORY / image).read_text(encoding="utf-8") for image in IMAGES]
    assert files(IMAGES[0]) == files(IMAGES[1]) and len(files(IMAGES[0])) == 3
    for part in (
        "python:3.11-slim-bookworm",
        "/opt/source/container/install.sh /opt/caneft\n",
        "PATH=/opt/caneft/main/bin:$PATH",
        "CANEFT_COMET_PYTHON=/opt/caneft/comet/bin/python",
    ):
        assert all(part in text for text in texts)


@pytest.mark.parametrize("name", LOCKS)
def test_each_environment_is_its_lock(installed, name):
    """Beyond the lock there is only what `python -m venv` brings: pip, and setuptools with Python 3.11."""
    lock = (REPOSITORY / LOCKS[name]).read_text(encoding="utf-8").splitlines()
    found = uv("pip", "freeze", "--python", installed / name / "bin" / "python").stdout.splitlines()
    wanted, there = versions(line for line in lock if not line.startswith("#")), versions(found)
    assert there.pop("pip") and there == wanted and "torch" in wanted
    assert not any(OF_THE_MACHINE.match(package) for package in wanted)


def test_nothing_else_is_left_there(installed):
    assert {path.name for path in installed.iterdir()} == {"main", "comet", "activate"}


def test_after_activation_snakemake_is_the_installed_one(installed):
    activate = shlex.quote(str(installed / "activate"))
    said = run("sh", "-c", f'. {activate}; command -v snakemake; snakemake --version; echo "$CANEFT_COMET_PYTHON"')
    assert said.split() == [f"{installed}/main/bin/snakemake", "9.27.1", f"{installed}/comet/bin/python"]


def test_comet_scores_by_the_named_python_as_by_conda(installed, done, tmp_path):
    """One job gives the same bytes."""
    workspace = done.conda.workspace.copy(tmp_path)
    scores = f"{RUNS[1]}/scores/neural/comet.json"
    before = (workspace.results / scores).read_bytes()
    (workspace.results / scores).unlink()
    again = call(
        workspace,
        *("--cores", "2", "--rerun-triggers", "mtime", "-p", f"out/mini/{scores}"),
        CANEFT_COMET_PYTHON=str(installed / "comet/bin/python"),
    )
    assert again.returncode == 0, again.stdout
    assert job_stats(again.stdout) == {"score_neural": 1}
    assert f"{installed}/comet/bin/python -m workflow.scripts.score_neural" in again.stdout
    assert (workspace.results / scores).read_bytes() == before


def test_the_installer_names_what_it_needs(tmp_path):
    for command, words in (
        ([], "usage: container/install.sh FOLDER"),
        ([tmp_path / "folder"], "Python 3.11 or 3.12 is needed"),
    ):
        done = subprocess.run(
            [REPOSITORY / "container/install.sh", *command],
            env=os.environ | {"PYTHON": "false"},
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0 and words in done.stderr
