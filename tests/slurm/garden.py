"""Adds an unseen domain to finished results, and runs the jobs for it."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.slurm.faults import OPTIONS, rule_of


class Grown(NamedTuple):
    """Jobs by rule, and the files before and after: time stamp and bytes by name."""

    jobs: Counter[str]
    before: dict[str, tuple[int, bytes]]
    after: dict[str, tuple[int, bytes]]


def add(config: dict) -> None:
    """Edit of a configuration of the mini workflow."""
    corpus = {"format": "demo", "domain": "garden", "pairs": 20}
    config["directions"]["de-en"]["domains"]["garden"] = {"test": corpus}


def run(login, config: str, edited: dict) -> Grown:
    """Runs them. login: on a cluster without accounts, with finished results. edited: configuration with the domain."""
    (login.root / config).write_text(yaml.safe_dump(edited), encoding="utf-8")
    before = files(login.results)
    done = login.snakemake(*OPTIONS)
    assert done.returncode == 0, done.stdout[-5000:]
    run_id = re.search(r"SLURM run ID: ([\w-]+)", done.stdout)[1]
    comments = login.cluster.run(f"squeue -h --states=all --name={run_id} --format=%k").splitlines()
    return Grown(Counter(map(rule_of, comments)), before, files(login.results))


def files(results: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(results).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in results.rglob("*")
        if path.is_file()
    }
