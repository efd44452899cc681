"""Identifies what a patch replaces by a hash of each unit, so a refusal can say how much differs, and where."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch

from caneft.errors import InputError
from caneft.models.ffn import ROWS
from caneft.models.manifests import PRETRAINED_HERE
from caneft.neurons import NeuronSet

BYTES = 8
NAMED = 5
"""Most layers that an error names."""


def unit_hashes(
    neurons: NeuronSet, slices: Sequence[dict[str, torch.Tensor]], axes: dict[str, int]
) -> tuple[np.ndarray, ...]:
    """For each layer uint8 (k, 8): each unit's first bytes of SHA-256 over name, shape, dtype and bytes of its lines.

    slices: for each layer by projection, as `Projection.lines` returns them; a unit's lines are hashed one by one.
    """
    pairs = zip(neurons.indices, slices, strict=True)
    return tuple(_layer_hashes(len(indices), of_layer, axes) for indices, of_layer in pairs)


def _layer_hashes(units: int, slices: dict[str, torch.Tensor], axes: dict[str, int]) -> np.ndarray:
    digests = [hashlib.sha256() for _ in range(units)]
    for name, tensor in slices.items() if units else ():
        lines = tensor if axes[name] == ROWS else tensor.T
        shape = (len(lines) // units, lines.shape[1])
        raw = lines.contiguous().view(torch.uint8).reshape(units, -1).numpy()
        said = f"{name}{shape}{tensor.dtype}".encode()
        for digest, content in zip(digests, raw, strict=True):
            digest.update(said)
            digest.update(content)
    found = b"".join(digest.digest()[:BYTES] for digest in digests)
    return np.frombuffer(found, np.uint8).reshape(units, BYTES)


def tensor_hash(tensor: torch.Tensor) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy()).hexdigest()[: 2 * BYTES]


def equal(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each layer bool (k,): which units have equal hashes."""
    return [(one == other).all(1) for one, other in zip(a, b, strict=True)]


def count_units(neurons: NeuronSet, which: Sequence[np.ndarray]) -> str:
    """Words for some units of a set: `3 of 40 neurons, in layers 0, 2`. which: for each layer bool (k,)."""
    layers = [str(layer) for layer, of_layer in enumerate(which) if of_layer.any()]
    where = f", in layer{'s' * (len(layers) > 1)} {', '.join(layers[:NAMED])}" if layers else ""
    more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
    return f"{sum(int(of_layer.sum()) for of_layer in which)} of {len(neurons)} {neurons.unit}s{where}{more}"


def check_replaced(name: str, patch, present: tuple[np.ndarray, ...]) -> None:
    """Raises InputError unless a patch replaces a model's present slices, given by their hashes."""
    fits = equal(present, patch.replaced)
    if all(of_layer.all() for of_layer in fits):
        return
    if all(of_layer.all() for of_layer in equal(present, patch.hashes())):
        raise InputError(f"{name} is in these weights already; it was made for other weights, those it replaces")
    differ = count_units(patch.neurons, [~of_layer for of_layer in fits])
    raise InputError(f"{name} was made for other weights: {differ}, differ. Apply it to its base: {called(patch.base)}")


def called(base: dict) -> str:
    """A base in words. One that a workflow pretrained has no public name, so its weights' checksums identify it."""
    if base.get("id") == PRETRAINED_HERE:
        sums = ", ".join(str(found)[:12] for found in base.get("weights", {}).values())
        return f"a base that was pretrained by the workflow (sha256 of its weights: {sums or 'unknown'})"
    name = str(base.get("id", "an unknown base"))
    return f"{name} (revision {base['revision']})" if base.get("revision") else name
