"""The memory that the jobs of this machine may use together."""

import os
from collections.abc import Iterator
from pathlib import Path

SHARE = 0.9
"""Share of the memory that jobs may use; the rest is for the system and Snakemake."""


def limit_mb(root: Path = Path("/")) -> int:
    """Megabytes (of 10^6 bytes) that jobs may use: SHARE of the machine's memory or of the lowest cgroup limit.

    root: where /proc and /sys are.
    """
    return int(SHARE * min(_total(root), *_cgroup_limits(root)) / 1e6)


def _total(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_limits(root: Path) -> Iterator[int]:
    """Memory limits of this process's cgroups and their parents, of version 2 and 1."""
    yield 2**63  # no limit, as version 1 writes it
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        mount, name = ("memory", "memory.limit_in_bytes") if kinds else ("", "memory.max")
        top = root / "sys/fs/cgroup" / mount
        folder = top / path.lstrip("/")
        for place in (folder, *folder.parents):
            if not place.is_relative_to(top):
                break
            try:
                said = (place / name).read_text().strip()
            except OSError:
                continue
            if said.isdecimal():  # else `max`
                yield int(said)
