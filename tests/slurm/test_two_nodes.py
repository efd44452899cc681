"""Dumps and tuning that two nodes share: srun starts a process on each, and together they end like one."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from tests import equal, warm
from tests.slurm.conftest import CONFIG, Login, copied, longer, running
from tests.slurm.faults import rule_of
from tests.workflow.conftest import RESULTS, Workspace, pristine  # noqa: F401  a fixture

RUN = "runs/mini-llama/de-en/all/caneft/seed1"
TARGET = f"{RESULTS}/{RUN}/patch.safetensors"
STEPS = 10  # of tuning, before it is cancelled
SHARED = ("dump_importance", "tune_neurons")


def over_two_nodes(config: dict) -> None:
    longer(config)
    config["tuning"] |= {"epochs": 12, "dev_every": 36}
    config["importance"]["samples"] = 200
    config["models"]["mini-llama"]["resources"] = {"nodes": 2}


def launches(log: Path) -> list[str]:
    """Slurm jobs of which a node was told to run a task of the first step, which is the job's own srun."""
    return re.findall(r"launch task StepId=(\d+)\.0 ", log.read_text())


@pytest.fixture(scope="module")
def alone(pristine, tmp_path_factory) -> Path:  # noqa: F811
    """Results of one process each; on one machine the configuration of two nodes says nothing else."""
    workspace = copied(pristine, tmp_path_factory.mktemp("alone"))
    (workspace.root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(over_two_nodes)), encoding="utf-8")
    done = workspace.snakemake("--cores", "2", TARGET, config=CONFIG, before=warm.COMMAND)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace.root


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    yield from running("two_nodes", False, tmp_path_factory, nodes=2)


@pytest.fixture(scope="module")
def spread(alone, cluster, tmp_path_factory):
    """Two nodes make the dumps again, then everything that depends on them. Tuning is cancelled once."""
    workspace = Workspace(alone).copy(tmp_path_factory.mktemp("spread"))
    for stage in ("importance", "neurons", "runs", "logs"):
        shutil.rmtree(workspace.results / stage)
    done = workspace.results / RUN / ".checkpoint/log.jsonl"

    def tuned() -> str:
        """Number of the job that tunes, if it is in the middle."""
        lines = cluster.run("squeue --noheader --states=running --format='%i %k'").splitlines()
        in_the_middle = done.exists() and done.read_bytes().count(b"\n") >= STEPS
        return next((line.split()[0] for line in lines if "tune_neurons" in line and in_the_middle), "")

    head = Login(cluster, workspace).start("--slurm-status-command", "squeue", target=TARGET)
    head.wait_for(tuned, "no run is tuned")
    cluster.run(f"scancel {tuned()}")
    assert head.wait() == 0, head.said()[-5000:]
    lines = cluster.run("squeue --noheader --states=all --sort=i --format='%k|%T|%D|%i'").splitlines()
    jobs = [(rule_of(comment), *rest) for comment, *rest in (line.split("|") for line in lines)]
    return SimpleNamespace(results=workspace.results, jobs=jobs)


def test_the_jobs_of_dumps_and_tuning_run_on_both_nodes(spread, cluster):
    shared = [(rule, nodes, number) for rule, _, nodes, number in spread.jobs if rule in SHARED]
    assert sorted(rule for rule, _, _ in shared) == ["dump_importance"] * 3 + ["tune_neurons"] * 2
    assert {nodes for _, nodes, _ in shared} == {"2"}
    assert {nodes for rule, _, nodes, _ in spread.jobs if rule not in SHARED} == {"1"}
    for name in cluster.names:
        assert {number for _, _, number in shared} <= set(launches(cluster.folder / f"{name}.log"))


def test_dumps_and_neurons_have_the_bytes_of_one_process(spread, alone):
    found = [name for name in equal.differences(spread.results, alone / RESULTS) if not name.startswith("runs/")]
    assert found == []
    assert len(list((spread.results / "importance").rglob("*.npy"))) == 3


def test_a_run_that_is_tuned_on_two_nodes_is_that_of_one_process(spread, alone):
    """After its cancelling, too, it goes on: the first job of its tuning was not the last."""
    assert [state for rule, state, _, _ in spread.jobs if rule == "tune_neurons"] == ["CANCELLED", "COMPLETED"]
    assert "going on" in (spread.results / f"logs/tune/{RUN.removeprefix('runs/')}.log").read_text()
    one, two = (load_file(root / RUN / "patch.safetensors") for root in (alone / RESULTS, spread.results))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5, err_msg=name)
