"""The device that tensors are on, and the numbers of threads and processes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def prepare(threads: int, seed: int | None = None) -> torch.device:
    """Device of this process: its GPU (the first visible one, unless a launcher chose another), else the CPU.

    Sets torch's number of threads and, if given, its seed. With CANEFT_DETERMINISTIC=1 in the environment, operations
    whose results may differ between runs are replaced by slower ones, or raise an error if there are none.
    """
    deterministic = os.environ.get("CANEFT_DETERMINISTIC") == "1"
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # read when a tokenizer is first given several texts
    import torch  # here, because `caneft.runtime.lease` and the Snakefile do not need it

    if deterministic:  # only then, as the call imports torch's compiler, which takes a second
        torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    if seed is not None:
        torch.manual_seed(seed)
    return torch.device("cuda" if torch.cuda.is_available() and not cpu_wanted() else "cpu")


def processes(gpus: int, device_map: str, nodes: int = 1) -> int:
    """Number of processes that share a job's work: one for each GPU, or a single one if the model is spread over them.

    gpus: of all nodes together; without any, each node has one process.
    """
    return max(nodes, gpus) if device_map == "none" else 1


def cpu_wanted() -> bool:
    """Whether accelerate's environment variable asks for the CPU instead of GPUs."""
    return os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on")


def bfloat16_units(description: str | Path = "/proc/cpuinfo") -> bool | None:
    """Whether the processor multiplies bfloat16 itself; None if Linux's description of an x86 processor is missing.

    Without such units (`avx512_bf16`, `amx_bf16`), torch's products took 4.6 times as long in bfloat16 as in float32:
    30 against 140 GFLOP/s a core of a Xeon with AVX-512.
    """
    try:
        flags = re.search(r"^flags\s*:(.*)$", Path(description).read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return None
    return bool({"avx512_bf16", "amx_bf16"} & set(flags[1].split())) if flags else None
