"""Runs the jobs of faults.smk to their end, with an outage of slurmctld during one of them."""

import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

RULES = Path(__file__).with_name("faults.smk")
OUTAGE = 8  # seconds
OPTIONS = ("--slurm-status-command", "squeue", "--slurm-partition-config", "profiles/slurm/partitions.yaml")


class Line(NamedTuple):
    """What squeue says about a job."""

    state: str
    memory: str
    limit: str
    partition: str


class Faults(NamedTuple):
    """The folder in which the jobs ran, and the jobs of each rule, oldest first."""

    root: Path
    jobs: dict[str, list[Line]]


def run(login) -> Faults:
    """Runs them. login: a `Login` on a cluster without accounts."""
    shutil.copy(RULES, login.root / RULES.name)
    head = login.start("--snakefile", RULES.name, *OPTIONS)
    head.wait_for(lambda: _running(login.cluster) == ["outlives_an_outage"], "the other jobs do not end")
    login.cluster.stop_daemon("slurmctld")
    time.sleep(OUTAGE)
    login.cluster.start_daemon("slurmctld")
    (login.root / "outage.over").touch()
    assert head.wait() == 0, head.said()[-5000:]
    jobs = defaultdict(list)
    for line in login.cluster.run("squeue -h --states=all --sort=i --format='%T|%m|%l|%P|%k'").splitlines():
        *said, comment = line.split("|")
        jobs[rule_of(comment)].append(Line(*said))
    return Faults(login.root, jobs)


def _running(cluster) -> list[str]:
    """Rules of all jobs that are queued, running or ending."""
    return [rule_of(comment) for comment in cluster.run("squeue -h --format=%k").splitlines()]


def rule_of(comment: str) -> str:
    """A job's rule, from the comment that the executor gives it."""
    return comment.removeprefix("rule_").partition("_wildcards_")[0]
