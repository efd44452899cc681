"""Dumps and tuning shared by two nodes: srun starts a process on each, and the outcome is that of one process."""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import equal
from tests.slurm.two_nodes import RUN

SHARED = ("dump_importance", "tune_neurons")


def launches(log: Path) -> list[str]:
    """Slurm jobs for which a node was told to run a task of the first step, which is the job's own srun."""
    return re.findall(r"launch task StepId=(\d+)\.0 ", log.read_text())


@pytest.fixture(scope="module")
def ended(two_node_jobs):
    return two_node_jobs.result()


def test_the_jobs_of_dumps_and_tuning_run_on_both_nodes(ended, two_nodes):
    shared = [job for job in ended.jobs if job.rule in SHARED]
    assert sorted(job.rule for job in shared) == ["dump_importance"] * 3 + ["tune_neurons"] * 2
    assert {job.nodes for job in shared} == {"2"}
    assert {job.nodes for job in ended.jobs if job.rule not in SHARED} == {"1"}
    for name in two_nodes.names:
        assert {job.number for job in shared} <= set(launches(two_nodes.folder / f"{name}.log"))


def test_dumps_and_neurons_have_the_bytes_of_one_process(ended):
    found = [name for name in equal.differences(ended.spread, ended.alone) if not name.startswith("runs/")]
    assert found == []
    assert len(list((ended.spread / "importance").rglob("*.npy"))) == 3


def test_a_run_that_is_tuned_on_two_nodes_is_that_of_one_process(ended):
    """This includes a cancelled and resumed run: tuning took more than one job."""
    assert [job.state for job in ended.jobs if job.rule == "tune_neurons"] == ["CANCELLED", "COMPLETED"]
    assert "resuming after step" in (ended.spread / f"logs/tune/{RUN.removeprefix('runs/')}.log").read_text()
    one, two = (load_file(results / RUN / "patch.safetensors") for results in (ended.alone, ended.spread))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0, atol=1e-5, err_msg=name)
