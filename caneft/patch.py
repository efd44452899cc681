"""The neuron patch: a small safetensors file that turns a base model into the tuned one.

Tensors, for every layer l with selected neurons: `layers.{l}.index` int32 (k,), `layers.{l}.gate` and
`layers.{l}.up` (k, hidden), `layers.{l}.down` (hidden, k), in the weights' dtype. Metadata `caneft` holds a JSON
manifest: format, layers, neurons per layer, the base's id and the hash of the slices that are replaced.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from caneft.errors import InputError
from caneft.files import replacing
from caneft.models.attention import Heads
from caneft.models.ffn import FFN
from caneft.models.units import unit_layers
from caneft.neurons import NeuronSet

FORMAT = 1


def _slices(ffn: FFN | Heads, indices: np.ndarray) -> dict[str, torch.Tensor]:
    return {name: projection.lines(torch.tensor(indices)) for name, projection in ffn.projections}


def slices_hash(model: nn.Module, neurons: NeuronSet) -> str:
    """SHA-256 over the bytes of the slices that belong to `neurons`, layer by layer."""
    digest = hashlib.sha256()
    for ffn, indices in zip(unit_layers(model, neurons.unit), neurons.indices, strict=True):
        for name, tensor in _slices(ffn, indices).items():
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write(path: Path, model: nn.Module, neurons: NeuronSet, replaced: str, base: dict[str, Any]) -> None:
    """Writes the model's present slices as a patch. replaced: `slices_hash` of the base; base: its id and revision."""
    tensors = {}
    for layer, (ffn, indices) in enumerate(zip(unit_layers(model, neurons.unit), neurons.indices, strict=True)):
        if len(indices):
            tensors[f"layers.{layer}.index"] = torch.tensor(indices.astype(np.int32))
            for name, tensor in _slices(ffn, indices).items():
                tensors[f"layers.{layer}.{name}"] = tensor.contiguous().cpu()
    manifest = {
        "format": FORMAT,
        "layers": neurons.layers,
        "neurons_per_layer": neurons.width,
        "base": base,
        "replaced_sha256": replaced,
    }
    with replacing(path) as beside:
        save_file(tensors, beside, metadata={"caneft": json.dumps(manifest, sort_keys=True)})


def read(path: Path) -> tuple[dict[str, Any], NeuronSet, dict[str, torch.Tensor]]:
    """Manifest, neurons and tensors of a patch. Raises InputError for a file that is none."""
    try:
        with safe_open(path, framework="pt") as file:
            manifest = json.loads((file.metadata() or {})["caneft"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return manifest, _neurons(manifest, tensors), tensors
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a neuron patch ({type(error).__name__}: {error}); tune the run again"
        ) from None


def _neurons(manifest: dict[str, Any], tensors: dict[str, torch.Tensor]) -> NeuronSet:
    """Neurons of a patch. Raises KeyError, TypeError or ValueError where a part is missing or does not fit."""
    if manifest["format"] != FORMAT:
        raise ValueError(f"its format is {manifest['format']}, this program reads format {FORMAT}")
    if missing := {"base", "replaced_sha256"} - manifest.keys():
        raise ValueError(f"its manifest lacks {', '.join(sorted(missing))}")
    empty = torch.zeros(0, dtype=torch.int32)
    indices = [tensors.get(f"layers.{layer}.index", empty).long().numpy() for layer in range(manifest["layers"])]
    for layer, index in enumerate(indices):
        if len(index):
            gate, up, down = (tensors[f"layers.{layer}.{name}"] for name in ("gate", "up", "down"))
            if not (len(gate) == len(index) and gate.shape == up.shape == down.T.shape):
                raise ValueError(f"the tensors of layer {layer} differ in size")
    return NeuronSet(manifest["layers"], manifest["neurons_per_layer"], tuple(indices))


@torch.no_grad()
def apply(path: Path, model: nn.Module) -> NeuronSet:
    """Puts a patch into its base model; returns the neurons. Raises InputError for another base."""
    manifest, neurons, tensors = read(path)
    layers = unit_layers(model, neurons.unit)
    sizes = (len(layers), layers[0].width)
    if sizes != (neurons.layers, neurons.width):
        raise InputError(f"{path} is for {neurons.layers} layers of {neurons.width} neurons, the model has {sizes}")
    if slices_hash(model, neurons) != manifest["replaced_sha256"]:
        raise InputError(f"{path} was made for other weights (base: {manifest['base']}); apply it to that base")
    for layer, (ffn, indices) in enumerate(zip(layers, neurons.indices, strict=True)):
        if not len(indices):
            continue
        for name, projection in ffn.projections:
            projection.replace(torch.tensor(indices), tensors[f"layers.{layer}.{name}"])
    return neurons
