"""Adds an unseen domain to finished results, on a Slurm without accounts."""

import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.slurm.faults import OPTIONS, rule_of

Files = dict[str, tuple[int, bytes]]
"""Time of change and content of each file, by its path below the results."""


class Grown(NamedTuple):
    """Jobs of each rule, and the files before and after."""

    jobs: Counter[str]
    before: Files
    after: Files


def run(login, config: dict, file: str) -> Grown:
    """login: a `Login` at a cluster without accounts, in a copy of finished results. file: the configuration's."""
    domain = {"test": {"format": "demo", "domain": "garden", "pairs": 20}}
    config["directions"]["de-en"]["domains"]["garden"] = domain
    (login.root / file).write_text(yaml.safe_dump(config), encoding="utf-8")
    before = _files(login.results)
    done = login.snakemake(*OPTIONS)
    assert done.returncode == 0, done.stdout[-5000:]
    name = re.search(r"SLURM run ID: ([\w-]+)", done.stdout)[1]
    comments = login.cluster.run(f"squeue -h --states=all --name={name} --format=%k").splitlines()
    return Grown(Counter(map(rule_of, comments)), before, _files(login.results))


def _files(results: Path) -> Files:
    return {
        path.relative_to(results).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in results.rglob("*")
        if path.is_file()
    }
