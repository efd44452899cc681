"""Weights in a model folder's files: found by name, read and written line by line, with the rest left on disk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from caneft.errors import InputError
from caneft.models.attention import Heads
from caneft.models.ffn import FFN, ROWS, Projection
from caneft.models.manifests import read_manifest
from caneft.models.resolving import architecture
from caneft.models.stored import PICKLED_SUFFIX, header, unpickled, weight_files
from caneft.models.units import unit_layers
from caneft.neurons import NeuronSet
from caneft.patch.form import Patch, dtype_name
from caneft.patch.memory import check_fit

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
OTHER_DTYPES = {"F64": torch.float64, "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8}
OTHER_DTYPES |= {"U8": torch.uint8, "BOOL": torch.bool}
INTEGERS = {2: np.int16, 4: np.int32}


@dataclass(frozen=True)
class Stored:
    """A tensor in a safetensors file: its bytes begin at `start`. dtype: its name in the file, such as `BF16`."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    bytes: int

    @property
    def element(self) -> int:
        """Bytes of one element."""
        return self.bytes // max(1, math.prod(self.shape))

    def mapped(self, mode: str = "r", file: Path | None = None) -> np.memmap:
        """Its elements as integers of the same size, mapped from the file or from a copy of it."""
        kind = INTEGERS[DTYPES[self.dtype].itemsize]
        return np.memmap(file or self.file, kind, mode, self.start, self.shape)

    def raw(self) -> np.ndarray:
        """Its bytes as uint8, on disk until they are used."""
        return np.memmap(self.file, np.uint8, "r", self.start, self.bytes)


@dataclass(frozen=True)
class Unpickled(Stored):
    """A tensor of a pickled file, which cannot be written. tensor: on disk until it is used, if the file allows it."""

    tensor: torch.Tensor

    def mapped(self, mode: str = "r", file: Path | None = None) -> np.ndarray:
        return self.tensor.view({2: torch.int16, 4: torch.int32}[self.tensor.itemsize]).numpy()

    def raw(self) -> np.ndarray:
        return self.tensor.contiguous().flatten().view(torch.uint8).numpy()


@dataclass(frozen=True)
class Place:
    """The place of a patch's slices of one layer and projection: some lines of a stored tensor.

    module: name of the linear module in the causal LM. lines: int64 (k * lines of a unit,).
    """

    stored: Stored
    module: str
    projection: Projection
    lines: np.ndarray

    def read(self) -> torch.Tensor:
        """The present slices, in the stored dtype."""
        mapped = self.stored.mapped()
        lines = mapped[self.lines] if self.projection.axis == ROWS else mapped[:, self.lines]
        return torch.from_numpy(np.array(lines, order="C")).view(DTYPES[self.stored.dtype])

    def write(self, slices: torch.Tensor, file: Path) -> None:
        """Writes slices into a copy of the file."""
        mapped = self.stored.mapped("r+", file)
        raw = slices.contiguous().view({2: torch.int16, 4: torch.int32}[slices.itemsize]).numpy()
        mapped[self.lines if self.projection.axis == ROWS else np.s_[:, self.lines]] = raw
        mapped.flush()


def model_folder(path: str | Path) -> tuple[Path, bool]:
    """The folder of a model, given directly or by its manifest.json of this workflow.

    Also returns whether pickled weights may be read, which only a manifest can allow.
    """
    path = Path(path)
    manifest = path / "manifest.json" if path.is_dir() and not (path / "config.json").exists() else path
    if manifest.is_dir():
        return path, False
    try:
        found = read_manifest(manifest)
        return Path(found["folder"]), bool(found.get("allow_pickle", False))
    except (OSError, KeyError, TypeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is neither a model folder nor a model's manifest.json ({said})") from None


def stored_tensors(file: Path) -> dict[str, Stored]:
    """Tensors of a weight file by name."""
    if file.suffix == PICKLED_SUFFIX:
        return {name: _unpickled(name, file, tensor) for name, tensor in unpickled(file, "cpu").items()}
    found, origin = header(file)
    return {
        name: Stored(name, file, said["dtype"], tuple(said["shape"]), origin + start, end - start)
        for name, said in found.items()
        if name != "__metadata__"
        for start, end in [said["data_offsets"]]
    }


def _unpickled(name: str, file: Path, tensor: torch.Tensor) -> Unpickled:
    known = {dtype: said for said, dtype in (OTHER_DTYPES | DTYPES).items()}
    dtype = known.get(tensor.dtype, str(tensor.dtype))
    return Unpickled(name, file, dtype, tuple(tensor.shape), 0, tensor.numel() * tensor.itemsize, tensor)


def find(folder: Path, name: str, patch: Patch, pickled: bool = False) -> list[dict[str, Place]]:
    """For each layer by projection, where a patch's slices are in a model folder; {} for a layer without any.

    name: of the patch, for messages. pickled: whether pickled weights may be read. Raises InputError if the patch does
    not fit the model, or the weights are quantised.
    """
    model, layers = skeleton(folder, patch.neurons)
    check_fit(name, patch, layers)
    stored = {
        _key(tensor): found for file in weight_files(folder, pickled) for tensor, found in stored_tensors(file).items()
    }
    names = {module: module_name for module_name, module in model.named_modules()}
    return [
        {part: _place(folder, stored, names[at.linear], at, indices) for part, at in layer.projections}
        if len(indices)
        else {}
        for layer, indices in zip(layers, patch.neurons.indices, strict=True)
    ]


def skeleton(folder: Path, neurons: NeuronSet) -> tuple[nn.Module, Sequence[FFN | Heads]]:
    """A folder's causal LM without weights, and the layers of its units."""
    config = architecture({"folder": folder, "trust_remote_code": False})
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    return model, unit_layers(model, neurons.unit)


def _key(name: str) -> tuple[str, ...]:
    """A tensor's name without `model`, which some files of a model family include and others omit."""
    return tuple(part for part in name.split(".") if part != "model")


def _place(folder: Path, stored: dict, module: str, projection: Projection, indices: np.ndarray) -> Place:
    found = stored.get(_key(f"{module}.weight"))
    if found is None:
        raise InputError(f"{folder} has no tensor {module}.weight")
    if found.dtype not in DTYPES:
        raise InputError(f"{found.file}: {module}.weight is stored as {found.dtype}; known: {', '.join(DTYPES)}")
    if found.shape != tuple(projection.linear.weight.shape):
        raise InputError(f"{found.file}: {module}.weight is {found.shape}, its configuration says otherwise")
    return Place(found, module, projection, projection.places(torch.tensor(indices)).numpy())


def read_slices(
    places: list[dict[str, Place]], dtype: torch.dtype | None = None
) -> tuple[dict[str, torch.Tensor], ...]:
    """The present slices at these places. dtype: to cast them to, as loading the model in it would."""
    return tuple({name: place.read().to(dtype) for name, place in of_layer.items()} for of_layer in places)


def check_dtype(name: str, patch: Patch, places: list[dict[str, Place]], remedy: str) -> None:
    """Raises InputError unless the stored tensors have the patch's dtype."""
    for of_layer in places:
        for place in of_layer.values():
            if DTYPES[place.stored.dtype] != patch.dtype:
                raise InputError(
                    f"{name} is in {dtype_name(patch.dtype)}, but {place.stored.file} holds"
                    f" {dtype_name(DTYPES[place.stored.dtype])}. {remedy}"
                )
