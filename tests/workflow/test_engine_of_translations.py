"""`decoding.engine: vllm` in the plan: the environment of each translation, and the job that builds it."""

import re
import sys

import pytest
import yaml

from tests.messages import assert_names

FILES = {"base": "runs/mini-llama/de-en/base/translations/test.jsonl"}
FILES |= {n: f"runs/mini-llama/de-en/all/{n}/seed1/translations/test.jsonl" for n in ("adapters", "lora", "caneft")}
BUILD = "build_environment vllm"


def with_vllm(config):
    config["decoding"]["engine"] = "vllm"


def pythons(workspace, edit=lambda config: None):
    """The Python of each run's translation, by run."""
    configuration = workspace.configuration(edit)
    commands = workspace.commands(configuration)
    found = {name: commands[f"{configuration['results_root']}/{file}"] for name, file in FILES.items()}
    return {name: re.search(r" -- +(.*) -m workflow\.scripts\.translate ", text)[1] for name, text in found.items()}


def test_by_default_translations_run_where_all_does_and_no_environment_is_built(pristine):
    assert set(pythons(pristine).values()) == {"python"}
    assert BUILD not in pristine.plan() and BUILD not in pristine.plan(targets=["fetch"])


@pytest.fixture
def bare(pristine, tmp_path):
    """`pristine` without any built environment, as in a new clone."""

    class Bare(type(pristine)):
        @property
        def environment(self):
            return super().environment | {"CANEFT_VENVS": str(tmp_path / "none")}

    return Bare(pristine.root)


def test_vllm_translates_in_its_own_environment_and_adapters_stay(bare):
    own = f"{bare.environment['CANEFT_VENVS']}/vllm/bin/python"
    found = pythons(bare, with_vllm)
    assert found == {"base": own, "adapters": "python", "lora": own, "caneft": own}
    configuration = bare.configuration(with_vllm)
    assert BUILD in bare.plan(configuration) and BUILD in bare.plan(configuration, ["fetch"])


def test_where_that_python_is_belongs_to_no_translation(pristine):
    """Checks the params that Snakemake compares with those of an earlier run; the settings are among them."""
    with pristine.planned(pristine.configuration(with_vllm)) as dag:
        compared = [job.non_derived_params for job in dag.jobs if job.rule.name == "translate"]
    values = {str(value) for params in compared for value in params}
    assert any('"engine":"vllm"' in value for value in values)
    assert not any("python" in value for value in values)


def test_the_engine_reruns_translations_and_what_follows_from_them_alone(finished, monkeypatch):
    """Neither tuning nor the jobs before it run again, and trials are not tuned again."""
    planned = {job.split()[0] for job in finished.plan(finished.configuration(with_vllm))} - {"build_environment"}
    assert {"translate", "score", "choose_rate", "tabulate"} <= planned
    assert not planned & {
        "dump_importance",
        "measure_information",
        "select_neurons",
        "prepare_corpus",
        "pretrain_model",
    }


@pytest.fixture
def said(pristine, tmp_path):
    """A dry run with CANEFT_VLLM_PYTHON: exit code and output."""

    def run(python):
        file = tmp_path / "vllm.yaml"
        file.write_text(yaml.safe_dump(pristine.configuration(with_vllm)), encoding="utf-8")
        variables = {"CANEFT_VLLM_PYTHON": str(python), "CANEFT_VENVS": str(tmp_path / "none")}
        done = pristine.snakemake_here("-n", "-p", f"out/mini/{FILES['base']}", config=file, **variables)
        return done.returncode, done.stdout

    return run


def test_a_python_that_the_user_names_is_used_and_none_is_built(said, tmp_path):
    (tmp_path / "packages/vllm").mkdir(parents=True)
    (tmp_path / "packages/vllm/__init__.py").touch()
    python = tmp_path / "a python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/packages exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    code, text = said(python)
    assert code == 0, text
    assert f"-- '{python}' -m workflow.scripts.translate" in text and "build_environment" not in text


@pytest.mark.parametrize("python", ["/nowhere/bin/python", sys.executable])
def test_one_without_vllm_is_one_message(said, python):
    code, text = said(python)
    assert code != 0 and "Traceback" not in text
    assert_names(text, "CANEFT_VLLM_PYTHON", python, "envs/vllm.txt")
