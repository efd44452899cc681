"""What clusters do to jobs, each once, on a Slurm without accounts: retries, memory, time, GPUs, an outage."""

import shutil
import time
from pathlib import Path

import pytest

from tests.slurm.conftest import Login, copied

FAULTS = Path(__file__).with_name("faults.smk")
OUTAGE = 8  # seconds


@pytest.fixture(scope="module")
def jobs(without_accounts, pristine, tmp_path_factory, local_run):
    """All of faults.smk to its end: the lines of squeue by rule, oldest first, and the folder."""
    login = Login(without_accounts, copied(pristine, tmp_path_factory.mktemp("faults")))
    shutil.copy(FAULTS, login.root / "faults.smk")
    options = ["--slurm-status-command", "squeue", "--slurm-partition-config", "profiles/slurm/partitions.yaml"]
    head = login.start("--snakefile", "faults.smk", *options)
    others_done = lambda: _states(without_accounts) == ["RUNNING takes_too_long"]  # noqa: E731
    head.wait_for(others_done, "the other jobs do not end")
    without_accounts.stop_daemon("slurmctld")
    time.sleep(OUTAGE)
    without_accounts.start_daemon("slurmctld")
    assert head.wait() == 0, head.said()[-5000:]
    lines = {}
    for line in without_accounts.run(
        "squeue --states=all --noheader --sort=i --format='%i|%T|%m|%l|%P|%k'"
    ).splitlines():
        number, state, memory, limit, partition, rule = line.split("|")
        rule = rule.removeprefix("rule_").partition("_wildcards_")[0]
        lines.setdefault(rule, []).append((int(number), state, memory, limit, partition))
    return login.root, lines


def _states(cluster):
    return cluster.run("squeue --noheader --format='%T %k'").replace("rule_", "").splitlines()


def test_a_job_that_fails_is_submitted_again_with_more(jobs):
    first, second = jobs[1]["fails_once"]
    assert first[1:] == ("FAILED", "400M", "5:00", "cpu")
    assert second[1:] == ("COMPLETED", "800M", "10:00", "cpu")


def test_a_job_that_is_killed_for_its_memory_is_submitted_again_with_more(jobs):
    first, *between, last = jobs[1]["remembers_too_much"]
    assert first[1] in ("FAILED", "OUT_OF_MEMORY", "CANCELLED") and first[2] == "500M"
    assert last[1:3] in (("COMPLETED", "1000M"), ("COMPLETED", "1500M")) and len(between) <= 1


def test_a_job_that_runs_out_of_time_is_submitted_again_with_more(jobs):
    first, second = jobs[1]["takes_too_long"]
    assert first[1] == "TIMEOUT" and first[3] == "1:00"
    assert second[1] == "COMPLETED" and second[3] == "2:00"


def test_gpus_are_shared_by_jobs_in_the_partition_that_has_them(jobs):
    """Three jobs of six seconds on two devices: each sees one, and nobody else does meanwhile."""
    root, lines = jobs
    assert [line[1:2] + line[4:] for line in lines["on_a_gpu"]] == [("COMPLETED", "gpu")] * 3
    held = [(root / f"faults/gpu{number}").read_text().split() for number in range(3)]
    assert {device for device, _, _ in held} == {"0", "1"}
    for n, (device, began, ended) in enumerate(held):
        for other, its_began, its_ended in held[:n]:
            assert device != other or float(began) >= float(its_ended) or float(its_began) >= float(ended)
