"""Makes dumps and tunes a run, once with one process each, and once on two nodes, where tuning is cancelled midway."""

import shutil
from pathlib import Path
from typing import NamedTuple

import yaml

from tests import warm
from tests.slurm.faults import rule_of
from tests.workflow.conftest import RESULTS, Workspace

RUN = "runs/mini-llama/de-en/all/caneft/seed1"
TARGET = f"{RESULTS}/{RUN}/patch.safetensors"
STEPS = 10  # of tuning, before it is cancelled


class Job(NamedTuple):
    """What squeue says about a job."""

    rule: str
    state: str
    nodes: str
    number: str


class Spread(NamedTuple):
    """Results of one process each and of two nodes, and the jobs on the nodes, oldest first."""

    alone: Path
    spread: Path
    jobs: list[Job]


def run(login, other: Workspace, config: str, edited: dict) -> Spread:
    """Makes both from a finished run with the same start; its dumps and what followed from them are deleted.

    login: a `Login` on a cluster of two nodes, with a workspace of that run. other: another one. edited: the
    configuration for two nodes, which on one machine changes nothing else.
    """
    for workspace in (other, login.workspace):
        (workspace.root / config).write_text(yaml.safe_dump(edited), encoding="utf-8")
        for stage in ("importance", "neurons", "runs", "logs"):
            shutil.rmtree(workspace.results / stage)
    done = other.snakemake("--cores", "2", TARGET, config=config, before=warm.COMMAND)
    assert done.returncode == 0, done.stdout[-5000:]
    steps = login.results / RUN / ".checkpoint/log.jsonl"

    def tuned() -> str:
        """Number of the job that is in the middle of tuning, if any."""
        lines = login.cluster.run("squeue --noheader --states=running --format='%i %k'").splitlines()
        in_the_middle = steps.exists() and steps.read_bytes().count(b"\n") >= STEPS
        return next((line.split()[0] for line in lines if "tune_neurons" in line and in_the_middle), "")

    head = login.start("--slurm-status-command", "squeue", target=TARGET)
    head.wait_for(tuned, "no run is tuned")
    login.cluster.run(f"scancel {tuned()}")
    assert head.wait() == 0, head.said()[-5000:]
    lines = login.cluster.run("squeue --noheader --states=all --sort=i --format='%k|%T|%D|%i'").splitlines()
    jobs = [Job(rule_of(comment), *rest) for comment, *rest in (line.split("|") for line in lines)]
    return Spread(other.results, login.results, jobs)
