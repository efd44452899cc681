"""Compares patches: inspects one, shows how two differ, and joins disjoint ones."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.patch.form import Patch, dtype_name, read, save
from caneft.patch.hashing import called, check_replaced, equal, unit_hashes
from caneft.patch.ranks import ranks
from caneft.patch.weights import find, model_folder, read_slices


def inspect(path: str | Path) -> dict[str, Any]:
    """Content of a patch as values for JSON."""
    patch = read(path)
    return {
        "base": patch.base,
        "model_type": patch.model_type,
        "unit": patch.neurons.unit,
        "layers": patch.neurons.layers,
        "width": patch.neurons.width,
        "units": len(patch.neurons),
        "units_per_layer": patch.neurons.per_layer().tolist(),
        "parameters": patch.parameters,
        "dtype": dtype_name(patch.dtype),
        "bytes": Path(path).stat().st_size,
        "lora_ranks": ranks(patch),
    }


def same_base(a: Patch, b: Patch) -> bool:
    """Whether two patches name one base: by checksums of its weight files or, without these, by id and revision."""
    keys = ("weights",) if a.base.get("weights") and b.base.get("weights") else ("id", "revision")
    return all(a.base.get(key) == b.base.get(key) for key in keys)


def diff(a: str | Path, b: str | Path, base: str | Path | None = None) -> dict[str, Any]:
    """Differences between two patches for one kind of model.

    Returns `same_base`; `units`, the number of units in both; `replace_the_same`, how many of these replace the same
    weights; and `layers`, for each layer the numbers of units `both`, `only_a` and `only_b`, with `distance` |A - B| /
    |A| over the slices in both and, if the base is given, `cosine` of their changes A - base and B - base; these are
    None if no unit is in both, or nothing changes. Raises InputError for patches of different models, or another base.
    """
    first, second = read(a), read(b)
    both, only_a, only_b = (
        first.neurons & second.neurons,
        first.neurons - second.neurons,
        second.neurons - first.neurons,
    )
    ours, theirs = restricted(first, both), restricted(second, both)
    origin = _base_slices(base, a, ours) if base else [None] * both.layers
    return {
        "same_base": same_base(first, second),
        "units": len(both),
        "replace_the_same": int(sum(units.sum() for units in equal(ours.replaced, theirs.replaced))),
        "layers": [
            {"both": int(in_both), "only_a": int(in_a), "only_b": int(in_b), **_distances(*slices)}
            for in_both, in_a, in_b, *slices in zip(
                both.per_layer(),
                only_a.per_layer(),
                only_b.per_layer(),
                ours.slices,
                theirs.slices,
                origin,
                strict=True,
            )
        ],
    }


def _base_slices(base: str | Path, name: str | Path, patch: Patch) -> Sequence[dict[str, torch.Tensor]]:
    folder, pickled = model_folder(base)
    slices = read_slices(find(folder, str(name), patch, pickled), patch.dtype)
    check_replaced(str(name), patch, unit_hashes(patch.neurons, slices, patch.axes))
    return slices


def _distances(a: dict, b: dict, origin: dict | None) -> dict[str, float | None]:
    """Distance and cosine of one layer's slices, in float64."""
    if not a:
        return {"distance": None} | ({} if origin is None else {"cosine": None})
    one, other = _flat(a), _flat(b)
    if one.shape != other.shape:
        raise InputError("the patches are of models of different hidden sizes")
    found = {"distance": _ratio(torch.linalg.norm(one - other), torch.linalg.norm(one))}
    if origin is not None:
        one, other = one - _flat(origin), other - _flat(origin)
        found["cosine"] = _ratio(one @ other, torch.linalg.norm(one) * torch.linalg.norm(other))
    return found


def _flat(slices: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([tensor.double().flatten() for tensor in slices.values()])


def _ratio(above: torch.Tensor, below: torch.Tensor) -> float | None:
    return float(above / below) if below else None


def restricted(patch: Patch, neurons: NeuronSet) -> Patch:
    """The part of a patch for `neurons`, all of which it must contain."""
    kept = [np.searchsorted(own, wanted) for own, wanted in zip(patch.neurons.indices, neurons.indices, strict=True)]
    slices = tuple(
        _units(of_layer, patch.axes, len(own), positions)
        for of_layer, own, positions in zip(patch.slices, patch.neurons.indices, kept, strict=True)
    )
    replaced = tuple(hashes[positions] for hashes, positions in zip(patch.replaced, kept, strict=True))
    return dataclasses.replace(patch, neurons=neurons, slices=slices, replaced=replaced)


def _units(slices: dict, axes: dict[str, int], units: int, positions: np.ndarray) -> dict[str, torch.Tensor]:
    """A layer's slices for the units at these positions, in that order."""
    if not len(positions):
        return {}
    at = torch.from_numpy(positions)
    found = {}
    for name, tensor in slices.items():
        size = tensor.shape[axes[name]] // units  # lines per unit
        found[name] = tensor.index_select(axes[name], (at.unsqueeze(1) * size + torch.arange(size)).flatten())
    return found


def compose(paths: Sequence[str | Path], out: str | Path) -> Patch:
    """Writes patches of one base on disjoint units as one patch. Raises InputError for others, or if `out` exists."""
    if Path(out).exists():
        raise InputError(f"{out} exists already; remove it or name another file")
    patches = [read(path) for path in paths]
    for number, (path, patch) in enumerate(zip(paths, patches, strict=True)):
        for earlier_path, earlier in zip(paths[:number], patches[:number], strict=True):
            _check_composable(path, patch, earlier_path, earlier)
    composed = _joined(patches)
    save(out, composed)
    return composed


def _check_composable(path, patch: Patch, other_path, other: Patch) -> None:
    names = f"{other_path} and {path}"
    if patch.neurons.unit != other.neurons.unit:
        raise InputError(f"{names} are of different units: {other.neurons.unit}s and {patch.neurons.unit}s")
    if patch.dtype != other.dtype:
        raise InputError(f"{names} are in different dtypes: {dtype_name(other.dtype)} and {dtype_name(patch.dtype)}")
    if not same_base(patch, other) or patch.modules != other.modules:
        raise InputError(f"{names} are of different bases: {called(other.base)} and {called(patch.base)}")
    overlap = patch.neurons & other.neurons
    if len(overlap):
        where = [f"layer {layer}: {units.tolist()}" for layer, units in enumerate(overlap.indices) if len(units)]
        raise InputError(f"{names} share {len(overlap)} {overlap.unit}s. {'; '.join(where)}")


def _joined(patches: Sequence[Patch]) -> Patch:
    first = patches[0]
    indices, slices, replaced = [], [], []
    for layer in range(first.neurons.layers):
        parts = [patch for patch in patches if len(patch.neurons.indices[layer])]
        index = np.concatenate([first.neurons.indices[layer][:0], *(part.neurons.indices[layer] for part in parts)])
        order = np.argsort(index)
        together = {
            name: torch.cat([part.slices[layer][name] for part in parts], axis)
            for name, axis in first.axes.items()
            if parts
        }
        indices.append(index[order])
        slices.append(_units(together, first.axes, len(index), order))
        replaced.append(np.concatenate([first.replaced[layer][:0], *(part.replaced[layer] for part in parts)])[order])
    neurons = NeuronSet(first.neurons.layers, first.neurons.width, tuple(indices), first.neurons.unit)
    # not an undo patch, even if a part of it was one
    return dataclasses.replace(first, neurons=neurons, slices=tuple(slices), replaced=tuple(replaced), applied=None)
