"""NeuronSet: a set of a model's FFN neurons, each a pair (layer, index within the layer).

The units of a set can also be attention heads; everything else is the same.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caneft.errors import InputError
from caneft.storage.bounded import parse, read_arrays
from caneft.storage.files import atomic_write

NEURON, HEAD = "neuron", "head"
FORMAT = 1
UNITS = NEURON, HEAD
MOST_LAYERS, MOST_UNITS = 2**12, 2**22
"""Upper bounds accepted from a file: far beyond any model, but small enough not to fill the memory."""


@dataclass(frozen=True, eq=False)
class NeuronSet:
    """Neurons of a model with `layers` FFN layers of `width` neurons each.

    indices: for each layer, the neurons in the set, int64, ascending, without repetition.
    unit: `neuron`, or `head` for attention heads (those that share a key and value head count as one).
    Raises InputError if an index is out of range, repeated or out of order.
    """

    layers: int
    width: int
    indices: tuple[np.ndarray, ...]
    unit: str = NEURON

    def __post_init__(self):
        if self.unit not in UNITS:
            raise InputError(f"a set is of {' or '.join(UNITS)}, not of {self.unit!r}")
        if len(self.indices) != self.layers:
            raise InputError(f"{len(self.indices)} index arrays for {self.layers} layers")
        checked = tuple(_checked(layer, indices, self.width) for layer, indices in enumerate(self.indices))
        object.__setattr__(self, "indices", checked)

    @classmethod
    def from_flat(cls, layers: int, width: int, flat: Sequence[int] | np.ndarray, unit: str = NEURON) -> "NeuronSet":
        """The set of the flat indices layer * width + neuron, given in any order, each at most once."""
        flat = np.sort(np.asarray(flat, dtype=np.int64))
        if flat.size and not 0 <= flat[0] <= flat[-1] < layers * width:
            raise InputError(f"flat indices reach from {flat[0]} to {flat[-1]}, outside [0, {layers * width})")
        bounds = np.searchsorted(flat, np.arange(layers + 1) * width)
        parts = (flat[bounds[layer] : bounds[layer + 1]] - layer * width for layer in range(layers))
        return cls(layers, width, tuple(parts), unit)

    def flat(self) -> np.ndarray:
        """Flat indices layer * width + neuron, int64, ascending."""
        parts = [indices + layer * self.width for layer, indices in enumerate(self.indices)]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def per_layer(self) -> np.ndarray:
        """Number of neurons in each layer, int64 of shape (layers,)."""
        return np.array([len(indices) for indices in self.indices], dtype=np.int64)

    def __len__(self) -> int:
        return int(self.per_layer().sum())

    @property
    def fraction(self) -> float:
        """Share of all the model's units of this kind."""
        return len(self) / (self.layers * self.width)

    def parameters(self, unit_parameters: int) -> int:
        """Number of weights in the set, without biases. unit_parameters: of one unit; a neuron has 3 x hidden size."""
        return unit_parameters * len(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NeuronSet):
            return NotImplemented
        return self._space == other._space and np.array_equal(self.flat(), other.flat())

    __hash__ = None

    def __or__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined(other, np.union1d)

    def __and__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined(other, np.intersect1d)

    def __sub__(self, other: "NeuronSet") -> "NeuronSet":
        return self._combined(other, np.setdiff1d)

    def jaccard(self, other: "NeuronSet") -> float:
        """Size of the intersection over size of the union; 1 for two empty sets."""
        shared = len(self & other)
        union = len(self) + len(other) - shared
        return shared / union if union else 1.0

    def phi(self, other: "NeuronSet") -> float | None:
        """Nogueira's measure of stability: agreement beyond chance, 1 for equal sets, about 0 for random ones.

        Nogueira, Sechidis and Brown (JMLR 2018), for two sets; for sets of equal size it is Kuncheva's index. None if
        sets of these sizes cannot differ, because both are empty or both hold every neuron.
        """
        total, mean = self.layers * self.width, (len(self) + len(other)) / 2
        by_chance = mean * (1 - mean / total)
        return 1 - (mean - len(self & other)) / by_chance if by_chance else None

    def _combined(self, other: "NeuronSet", operation) -> "NeuronSet":
        if self._space != other._space:
            first, second = ("{} x {} {}s".format(*of._space) for of in (self, other))
            raise InputError(f"neuron sets of different models: {first} and {second}")
        return NeuronSet.from_flat(self.layers, self.width, operation(self.flat(), other.flat()), self.unit)

    @property
    def _space(self) -> tuple[int, int, str]:
        """The properties that two sets must share to be compared."""
        return self.layers, self.width, self.unit


def _checked(layer: int, indices: np.ndarray, width: int) -> np.ndarray:
    indices = np.asarray(indices)
    if indices.ndim != 1 or (indices.size and not np.issubdtype(indices.dtype, np.integer)):
        raise InputError(f"layer {layer}: neuron indices are a 1-d array of integers, not {indices.dtype}")
    indices = indices.astype(np.int64)  # a copy, so that changes to the caller's array do not affect it
    if (np.diff(indices) <= 0).any():
        raise InputError(f"layer {layer}: neuron indices repeat or are not in ascending order")
    if indices.size and not 0 <= indices[0] <= indices[-1] < width:
        raise InputError(f"layer {layer}: neuron indices from {indices[0]} to {indices[-1]}, outside [0, {width})")
    indices.flags.writeable = False
    return indices


def save(path: str | Path, neurons: NeuronSet, description: dict) -> None:
    """Writes a neuron set and its JSON description as .npz, whole or not at all; equal content gives equal bytes."""
    layer, neuron = np.divmod(neurons.flat(), neurons.width)
    text = json.dumps(description, sort_keys=True, ensure_ascii=False).encode()
    arrays = {
        "layer": layer.astype(np.int32),
        "neuron": neuron.astype(np.int32),
        "layers": np.array(neurons.layers),
        "width": np.array(neurons.width),
        "unit": np.frombuffer(neurons.unit.encode(), dtype=np.uint8),
        "description": np.frombuffer(text, dtype=np.uint8),
        "format": np.array(FORMAT),
    }
    with atomic_write(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, array in arrays.items():
            # an explicit ZipInfo has a fixed date; with np.savez the date depends on the Python version
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def load(path: str | Path) -> NeuronSet:
    """Reads a neuron set that `save` wrote. Raises InputError with file and reason if it is anything else."""
    arrays = _arrays(path)
    try:
        layer, neuron = arrays["layer"].astype(np.int64), arrays["neuron"].astype(np.int64)
        layers, width = int(arrays["layers"]), int(arrays["width"])
        if not (0 <= layers <= MOST_LAYERS and 0 <= width <= MOST_UNITS):
            raise InputError(f"no model has {layers} layers of {width}")
        if layer.ndim != 1 or layer.shape != neuron.shape:
            raise InputError(f"layer and neuron have shapes {layer.shape} and {neuron.shape}")
        if neuron.size and not 0 <= neuron.min() <= neuron.max() < width:
            raise InputError(f"neuron indices from {neuron.min()} to {neuron.max()}, outside [0, {width})")
        return NeuronSet.from_flat(layers, width, layer * width + neuron, arrays["unit"].tobytes().decode())
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not a neuron set: {error}") from error


def read_description(path: str | Path) -> dict:
    """The description given to `save`. Raises InputError with file and reason if there is none."""
    try:
        found = parse(_arrays(path)["description"].tobytes())
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        return found
    except ValueError as error:
        raise InputError(f"{path}: not a neuron set: its description is not JSON: {error}") from error


ARRAYS = ("layer", "neuron", "layers", "width", "unit", "description")


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Every array of a neuron-set file."""
    try:
        found = read_arrays(path, ARRAYS)
        if (form := _format(path)) != FORMAT:
            raise ValueError(f"it has format {form}, this version reads {FORMAT}; delete it and run again")
        return found
    except ValueError as error:
        raise InputError(f"{path}: not a neuron set: {error}") from error


def _format(path: str | Path) -> int:
    """Format number of a neuron-set file; FORMAT if the file has none, as older ones do not."""
    try:
        return int(read_arrays(path, ["format"])["format"])
    except (TypeError, ValueError):
        return FORMAT
