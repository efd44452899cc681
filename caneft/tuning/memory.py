"""Checks that full fine-tuning fits on a job's GPUs: arithmetic before anything is loaded."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from caneft.config import Full
from caneft.errors import InputError
from caneft.models.loading import DTYPES
from caneft.models.stored import shapes, weight_files


def parameters(manifest: dict[str, Any]) -> int:
    """Number of weights in the files that a model is loaded from; reads no weight."""
    files = weight_files(Path(manifest["folder"]), pickled=manifest.get("allow_pickle", False))
    return sum(math.prod(shape) for file in files for shape, _ in shapes(file).values())


def cards(device_map: str) -> list[int]:
    """Bytes of each GPU that one process of this job can use: of all that it sees for a spread model, else of one."""
    count = torch.cuda.device_count() if device_map != "none" else 1
    return [torch.cuda.get_device_properties(index).total_memory for index in range(count)]


def per_parameter(optimizer: str, dtype: str) -> tuple[int, int]:
    """Bytes per parameter on the GPUs, and in the machine's memory.

    `adamw`: weight, gradient and both of Adam's states in float32. `adamw-offload`: weight and gradient in the dtype on
    the GPUs; master and states in the machine's memory.
    """
    return (16, 0) if optimizer == "adamw" else (2 * DTYPES[dtype].itemsize, 12)


def check(method: Full, manifest: dict[str, Any], dtype: str, available: Sequence[int]) -> None:
    """Raises InputError if the GPUs cannot hold weights, gradients and optimizer of a full run.

    available: bytes of each GPU that a process uses. Activations need more on top, so passing does not guarantee a fit.
    """
    count = parameters(manifest)
    needed, given = per_parameter(method.optimizer, dtype)[0] * count, sum(available)
    if needed <= given:
        return
    on_gpu, in_memory = (size * count for size in per_parameter("adamw-offload", dtype))
    enough = math.ceil(1.1 * needed / min(available))  # a tenth for activations, which are computed again
    remedies = [f"more of them (methods.*.resources: gpu: {enough}, device_map: balanced)"]
    if method.optimizer == "adamw" and on_gpu < given:
        offload = f"optimizer: adamw-offload ({_gb(on_gpu)} there and {_gb(in_memory)} of the machine's memory)"
        remedies.insert(0, offload)
    raise InputError(
        f"full fine-tuning of {manifest['id']} by {method.optimizer} takes {_gb(needed)} before any activation"
        f" ({needed // count} bytes for each of {count / 1e9:.2f} billion parameters),\n"
        f"but a process of this job has {_gb(given)} ({len(available)} GPU{'s' * (len(available) > 1)}).\n"
        f"Give it {', or '.join(remedies)}."
    )


def _gb(size: int) -> str:
    return f"{size / 1e9:.0f} GB"
