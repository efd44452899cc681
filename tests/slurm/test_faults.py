"""What clusters do to jobs, each once, on a Slurm without accounts: retries, memory, time, GPUs, an outage."""

import pytest

from tests.slurm.faults import Faults, Line


@pytest.fixture(scope="module")
def faults(fault_jobs) -> Faults:
    return fault_jobs.result()


def test_a_job_that_fails_is_submitted_again_with_more(faults):
    assert faults.jobs["fails_once"] == [
        Line("FAILED", "400M", "5:00", "cpu"),
        Line("COMPLETED", "800M", "10:00", "cpu"),
    ]


def test_a_job_that_is_killed_for_its_memory_is_submitted_again_with_more(faults):
    first, *between, last = faults.jobs["remembers_too_much"]
    assert first.state in ("FAILED", "OUT_OF_MEMORY", "CANCELLED") and first.memory == "500M"
    assert last[:2] in (("COMPLETED", "1000M"), ("COMPLETED", "1500M")) and len(between) <= 1


def test_a_job_that_runs_out_of_time_is_submitted_again_with_more(faults):
    """Each attempt gets a minute more. On a busy machine the second attempt may run out of time, too."""
    *late, last = [(job.state, job.limit) for job in faults.jobs["takes_too_long"]]
    assert late == [("TIMEOUT", f"{attempt}:00") for attempt in range(1, len(late) + 1)] and late
    assert last == ("COMPLETED", f"{len(late) + 1}:00")


def test_a_job_outlives_an_outage_of_slurmctld(faults):
    assert [job.state for job in faults.jobs["outlives_an_outage"]] == ["COMPLETED"]


def test_gpus_are_shared_by_jobs_in_the_partition_that_has_them(faults):
    """Three jobs of six seconds share two devices: each sees one, and no other job sees it meanwhile."""
    assert [(job.state, job.partition) for job in faults.jobs["on_a_gpu"]] == [("COMPLETED", "gpu")] * 3
    held = [(faults.root / f"faults/gpu{number}").read_text().split() for number in range(3)]
    assert {device for device, _, _ in held} == {"0", "1"}
    for n, (device, began, ended) in enumerate(held):
        for other, its_began, its_ended in held[:n]:
            assert device != other or float(began) >= float(its_ended) or float(its_began) >= float(ended)
