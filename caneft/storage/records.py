"""Records what made a result: versions and checksums and, in a separate file, what it cost.

Times and hosts are not in the record, so records of equal runs are equal byte by byte.
"""

import importlib.metadata
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from caneft.storage.files import sha256, write_json
from caneft.storage.integrity import FORMAT

PACKAGES = ("torch", "transformers", "tokenizers", "peft", "safetensors", "numpy", "sacrebleu", "datasets")


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that affect results."""
    return versions(PACKAGES) | {"python": ".".join(map(str, sys.version_info[:3]))}


def versions(names: Iterable[str]) -> dict[str, str]:
    """Versions by name, for those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def code() -> dict[str, Any]:
    """Commit of the code and whether the working tree differs from it; None for both without a repository of its own.

    A repository that merely contains the code, as with a vendored copy, does not count.
    """
    root = Path(__file__).resolve().parents[2]
    own = {name: value for name, value in os.environ.items() if name not in ("GIT_DIR", "GIT_WORK_TREE")}
    own["GIT_CEILING_DIRECTORIES"] = str(root.parent)

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=root, env=own, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def checksums(paths: Iterable[str | Path]) -> dict[str, str]:
    """SHA-256 of files by path as given."""
    return {str(path): sha256(path) for path in sorted(map(str, paths))}


def provenance() -> dict[str, Any]:
    """The part of every record that says which program made it."""
    return {"format": FORMAT, "code": code(), "packages": packages()}


@contextmanager
def cost(
    path: str | Path, stage: str, threads: int, team: Any = None, before: Callable[[], Mapping[str, float]] = dict
) -> Iterator[dict[str, Any]]:
    """Measures the block and writes wall and CPU seconds, peak memory in MB, device and start time to `path`.

    team: processes that share the work (see `caneft.runtime.parallel`). CPU seconds and peak memory are then sums over
    them, and only the main one writes. The block may add entries to the dict that is yielded, such as checksums of
    files without another sidecar. before: called at the end; returns what earlier jobs spent on a part of the result
    that is kept, by the same names.
    """
    started, wall = datetime.now(UTC), time.perf_counter()
    more: dict[str, Any] = {}
    yield more
    own, device = resource.getrusage(resource.RUSAGE_SELF), _cuda()[0]
    peak, cuda = memory()
    amounts = [own.ru_utime + own.ru_stime, peak, cuda or 0.0]
    seconds, peak, cuda_peak = team.sum(amounts) if team else amounts
    if team and not team.main:
        return
    earlier = before()
    earlier_cuda = earlier.get("cuda_peak_memory_mb", 0)
    write_json(
        path,
        {
            "format": FORMAT,
            "stage": stage,
            "wall_seconds": round(time.perf_counter() - wall + earlier.get("wall_seconds", 0), 3),
            "cpu_seconds": round(seconds + earlier.get("cpu_seconds", 0), 3),
            "peak_memory_mb": round(max(peak, earlier.get("peak_memory_mb", 0)), 1),
            "cuda_peak_memory_mb": None if cuda is None else round(max(cuda_peak, earlier_cuda), 1),
            "device": device,
            "threads": threads,
            "started": started.isoformat(timespec="seconds"),
            **more,
        },
    )


def memory() -> tuple[float, float | None]:
    """Peak memory of this process and of its GPU, in MB; None without a GPU."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, _cuda()[1]


def _cuda() -> tuple[str, float | None]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu", None
    return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 2**20
