"""The form of a patch, in memory and as a safetensors file.

Each layer l with k > 0 selected units has these tensors: `layers.{l}.index` int32 (k,); the new slices in the weights'
dtype, for neurons `layers.{l}.gate` and `.up` (k, hidden) and `.down` (hidden, k), for heads `.q`, `.k`, `.v` (k * rows
of a unit, hidden) and `.o` (hidden, k * columns); and `layers.{l}.replaced` uint8 (k, 8), the first bytes of the
SHA-256 of what each unit replaces. The metadata entry `caneft` holds a JSON manifest.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialised

from caneft.errors import InputError
from caneft.models.ffn import COLUMNS, ROWS
from caneft.models.loading import DTYPES
from caneft.neurons import HEAD, MOST_LAYERS, NEURON, NeuronSet
from caneft.patch.hashing import BYTES, unit_hashes
from caneft.storage.bounded import parse
from caneft.storage.files import atomic_write

FORMAT = 2
METADATA = "caneft"
"""Metadata entry that marks a file as a patch."""
AXES = {
    NEURON: {"gate": ROWS, "up": ROWS, "down": COLUMNS},
    HEAD: {"q": ROWS, "k": ROWS, "v": ROWS, "o": COLUMNS},
}
REQUIRED = ("unit", "layers", "width", "base", "dtype", "model_type", "modules")


@dataclass(frozen=True, eq=False)
class Patch:
    """New weights of some units of a model, and hashes of the weights that they replace.

    slices: for each layer the new weights by projection, as `Projection.lines` returns them; {} if no unit is selected.
    replaced: for each layer uint8 (k, 8). base: id, revision and checksums of the weight files. modules: for each
    projection the name of its linear module, with `{layer}` for the layer's number. applied: in an undo patch, the hash
    of each tensor that was put in.
    """

    neurons: NeuronSet
    slices: tuple[dict[str, torch.Tensor], ...]
    replaced: tuple[np.ndarray, ...]
    dtype: torch.dtype
    base: dict[str, Any]
    model_type: str
    modules: dict[str, str]
    applied: dict[str, str] | None = None

    @property
    def axes(self) -> dict[str, int]:
        """For each projection, the axis of its weight along which the units are."""
        return AXES[self.neurons.unit]

    @property
    def parameters(self) -> int:
        """Number of weights in it."""
        return sum(tensor.numel() for slices in self.slices for tensor in slices.values())

    def hashes(self) -> tuple[np.ndarray, ...]:
        """Hashes of its own slices, shaped like `replaced`."""
        return unit_hashes(self.neurons, self.slices, self.axes)


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def save(path: str | Path, patch: Patch) -> None:
    """Writes a patch, whole or not at all; equal content gives equal bytes."""
    neurons = patch.neurons
    tensors = {}
    for layer, indices in enumerate(neurons.indices):
        if len(indices):
            tensors[f"layers.{layer}.index"] = torch.tensor(indices.astype(np.int32))
            tensors[f"layers.{layer}.replaced"] = torch.tensor(patch.replaced[layer])
            for name, tensor in patch.slices[layer].items():
                tensors[f"layers.{layer}.{name}"] = tensor.contiguous()
    manifest = {
        "format": FORMAT,
        "unit": neurons.unit,
        "layers": neurons.layers,
        "width": neurons.width,
        "base": patch.base,
        "dtype": dtype_name(patch.dtype),
        "model_type": patch.model_type,
        "modules": patch.modules,
    }
    if patch.applied is not None:
        manifest["applied"] = patch.applied
    with atomic_write(path) as beside:
        # not save_file, whose files only their owner may read
        beside.write_bytes(serialised(tensors, {METADATA: json.dumps(manifest, sort_keys=True)}))


def read(path: str | Path) -> Patch:
    """Reads what `save` wrote. Raises InputError for anything else, for another format, and for weights not finite."""
    if not Path(path).is_file():
        raise InputError(
            f"{path} is not a neuron patch: it {'is a folder' if Path(path).exists() else 'does not exist'}"
        )
    try:
        with safe_open(path, framework="pt") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
            if METADATA not in metadata:
                raise ValueError(_what(names))
            manifest = parse(metadata[METADATA])
            tensors = {name: file.get_tensor(name) for name in names}
        found = manifest["format"]
        patch = _patch(manifest, tensors) if found == FORMAT else None
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not a neuron patch, or a damaged one ({said})") from None
    if patch:
        _check_finite(path, patch)
        return patch
    what = "tune the run again" if found == 1 else "read it with the program that wrote it"
    raise InputError(f"{path} is a neuron patch of format {found}, this program reads format {FORMAT}; {what}")


def _what(names: list[str]) -> str:
    """Says what a safetensors file without a patch's manifest is, from the names of its tensors."""
    if any(".lora_" in name for name in names):
        return "it is a LoRA adapter, which PEFT and servers load as it is"
    return f"its metadata have no entry `{METADATA}`, so it holds some other model's or adapter's weights"


def _patch(manifest: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Patch:
    """The patch in a file's content. Raises KeyError, TypeError or ValueError if a part is missing or does not fit."""
    if missing := [key for key in REQUIRED if key not in manifest]:
        raise ValueError(f"its manifest lacks {', '.join(missing)}")
    if not (type(manifest["layers"]) is int and 0 <= manifest["layers"] <= MOST_LAYERS):
        raise ValueError(f"its manifest says {manifest['layers']!r} layers")
    if type(manifest["width"]) is not int:
        raise ValueError(f"its manifest says a width of {manifest['width']!r}")
    axes, dtype = AXES[manifest["unit"]], DTYPES[manifest["dtype"]]
    modules = {name: str(manifest["modules"][name]) for name in axes}
    indices, slices, replaced = [], [], []
    for layer in range(manifest["layers"]):
        index = tensors.get(f"layers.{layer}.index", torch.zeros(0, dtype=torch.int32))
        names = axes if len(index) else ()
        indices.append(index.numpy())
        slices.append({name: tensors[f"layers.{layer}.{name}"] for name in names})
        hashes = tensors[f"layers.{layer}.replaced"] if len(index) else torch.zeros((0, BYTES), dtype=torch.uint8)
        replaced.append(hashes.numpy())
        if hashes.shape != (len(index), BYTES) or hashes.dtype != torch.uint8:
            raise ValueError(f"the hashes of layer {layer} are not {len(index)} times {BYTES} bytes")
        _check_shapes(layer, len(index), slices[-1], axes, dtype)
    neurons = NeuronSet(manifest["layers"], manifest["width"], tuple(indices), manifest["unit"])
    applied = manifest.get("applied")
    return Patch(
        neurons,
        tuple(slices),
        tuple(replaced),
        dtype,
        dict(manifest["base"]),
        str(manifest["model_type"]),
        modules,
        None if applied is None else dict(applied),
    )


def _check_shapes(layer: int, units: int, slices: dict[str, torch.Tensor], axes: dict[str, int], dtype: torch.dtype):
    """Raises ValueError unless a layer's slices have one dtype, whole units, and lines of one length (hidden size)."""
    for name, tensor in slices.items():
        fits = tensor.ndim == 2 and tensor.dtype == dtype and tensor.numel()
        lines = tensor.shape[axes[name]] if fits else 0
        # a neuron has one line in each projection, a head several
        if not lines or lines % units or (axes is AXES[NEURON] and lines != units):
            raise ValueError(f"layers.{layer}.{name} is {tensor.dtype} {tuple(tensor.shape)}, for {units} units")
    if len({tensor.shape[1 - axes[name]] for name, tensor in slices.items()}) > 1:
        raise ValueError(f"the tensors of layer {layer} differ in size")


def _check_finite(path: str | Path, patch: Patch) -> None:
    """Raises InputError for weights that are not finite. An undo patch gives back what was there, whatever it was."""
    for layer, slices in enumerate(patch.slices if patch.applied is None else ()):
        for name, tensor in slices.items():
            if count := int((~tensor.isfinite()).sum()):
                raise InputError(
                    f"{path}: {count} of the {tensor.numel()} weights in layers.{layer}.{name} are NaN or infinite."
                    " Copy it again from where it was made, or tune the run again"
                )
