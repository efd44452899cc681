"""COMET in an environment that the user names."""

import sys

import pytest
import yaml

from tests.messages import assert_names
from tests.workflow.test_comet import RUNS, with_comet


@pytest.fixture
def planned(pristine, tmp_path):
    """Dry run of one test set's scores with CANEFT_COMET_PYTHON: exit code and output, commands included."""

    def plan(python, *arguments, target=f"out/mini/{RUNS[1]}/scores/neural/comet.json"):
        file = tmp_path / "comet.yaml"
        file.write_text(yaml.safe_dump(pristine.configuration(with_comet)), encoding="utf-8")
        variables = {"CANEFT_COMET_PYTHON": str(python), "CANEFT_VENVS": str(tmp_path / "none")}
        done = pristine.snakemake_here("-n", "-p", *arguments, target, config=file, **variables)
        return done.returncode, done.stdout

    return plan


def interpreter(tmp_path):
    """A Python that finds a package called comet."""
    (tmp_path / "packages/comet").mkdir(parents=True)
    (tmp_path / "packages/comet/__init__.py").touch()
    python = tmp_path / "a python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_it_is_used_and_no_environment_is_built(planned, tmp_path):
    python = interpreter(tmp_path)
    code, said = planned(python)
    assert code == 0, said
    assert f"'{python}' -m workflow.scripts.train_comet" in said
    assert f"-- '{python}' -m workflow.scripts.score_neural" in said
    assert "build_environment" not in said
    code, said = planned(python, target="fetch")
    assert code == 0 and "build_environment" not in said, said


@pytest.mark.parametrize("python", ["/nowhere/bin/python", sys.executable, "/bin/false"])
def test_one_that_cannot_score_is_one_message(planned, python):
    code, said = planned(python)
    assert code != 0 and "Traceback" not in said
    assert_names(said, "CANEFT_COMET_PYTHON", python, "envs/comet.txt")
