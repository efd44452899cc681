"""Applies patches to models in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from caneft.errors import InputError
from caneft.models.attention import Heads
from caneft.models.ffn import FFN
from caneft.models.units import unit_layers
from caneft.neurons import NeuronSet
from caneft.patch.form import AXES, Patch, dtype_name, read
from caneft.patch.hashing import check_replaced, unit_hashes


def _present(model: nn.Module, neurons: NeuronSet) -> tuple[dict[str, torch.Tensor], ...]:
    """Copies of the units' weights on the CPU, for each layer by projection."""
    layers = zip(unit_layers(model, neurons.unit), neurons.indices, strict=True)
    return tuple(
        {name: projection.lines(torch.tensor(indices)).cpu() for name, projection in layer.projections}
        if len(indices)
        else {}
        for layer, indices in layers
    )


def slices_hash(model: nn.Module, neurons: NeuronSet) -> tuple[np.ndarray, ...]:
    """Hashes of the weights that belong to `neurons`: for each layer uint8 (k, 8)."""
    return unit_hashes(neurons, _present(model, neurons), AXES[neurons.unit])


def taken(
    model: nn.Module, neurons: NeuronSet, replaced: Sequence[np.ndarray], base: dict[str, Any] | None = None
) -> Patch:
    """The model's present slices as a patch.

    replaced: `slices_hash` of the model that the patch is for; base: that model's id, revision and weight files.
    """
    layers = unit_layers(model, neurons.unit)
    names = {module: name for name, module in model.named_modules()}
    modules = {
        name: names[projection.linear].replace(".0.", ".{layer}.", 1) for name, projection in layers[0].projections
    }
    dtypes = {projection.linear.weight.dtype for layer in layers for _, projection in layer.projections}
    if len(dtypes) > 1:
        raise InputError(f"the layers' weights are in {', '.join(sorted(map(dtype_name, dtypes)))}; load them in one")
    slices = _present(model, neurons)
    return Patch(neurons, slices, tuple(replaced), dtypes.pop(), base or {}, model.config.model_type, modules)


def apply(path: str | Path, model: nn.Module) -> NeuronSet:
    """Puts a patch file into its base model; returns the neurons. Raises InputError for another base."""
    patch = read(path)
    swap(model, patch, str(path))
    return patch.neurons


def swap(model: nn.Module, patch: Patch, name: str = "the patch") -> Patch:
    """Puts a patch into its base model and returns the patch that undoes it, bit for bit.

    Raises InputError, before anything changes, if the weights are not those that the patch replaces.
    """
    layers = unit_layers(model, patch.neurons.unit)
    check_fit(name, patch, layers)
    present = layers[0].output.linear.weight.dtype
    if present != patch.dtype:
        said = f"{name} was made for other weights, in {dtype_name(patch.dtype)}; these are in {dtype_name(present)}"
        raise InputError(f"{said}. Load the model in {dtype_name(patch.dtype)}")
    check_replaced(name, patch, slices_hash(model, patch.neurons))
    undo = taken(model, patch.neurons, patch.hashes(), patch.base)
    for layer, indices, slices in zip(layers, patch.neurons.indices, patch.slices, strict=True):
        for part, projection in layer.projections if slices else ():
            projection.replace(torch.tensor(indices), slices[part])
    return undo


def check_fit(name: str, patch: Patch, layers: Sequence[FFN | Heads]) -> None:
    """Raises InputError if a patch is for a model of other sizes."""
    neurons = patch.neurons
    if (len(layers), layers[0].width) != (neurons.layers, neurons.width):
        raise InputError(
            f"{name} is for {neurons.layers} layers of {neurons.width} {neurons.unit}s,"
            f" the model has {len(layers)} layers of {layers[0].width}"
        )
    for number, (layer, slices) in enumerate(zip(layers, patch.slices, strict=True)):
        for part, projection in layer.projections if slices else ():
            shape = list(projection.linear.weight.shape)
            shape[projection.axis] = projection.size * len(neurons.indices[number])
            if list(slices[part].shape) != shape:
                raise InputError(
                    f"{name} is for a model of another shape: its {part} of layer {number} is"
                    f" {' x '.join(map(str, slices[part].shape))}, the model takes {' x '.join(map(str, shape))}"
                )
