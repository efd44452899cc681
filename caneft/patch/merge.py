"""Merges a base and a patch into an ordinary model folder, with weights in the patch's dtype."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from caneft.models.stored import ADAPTER, INDEX, PICKLED_INDEX, PICKLED_SUFFIX, header, weight_files
from caneft.patch.card import NAME, card
from caneft.patch.form import Patch, dtype_name, read
from caneft.patch.hashing import check_replaced, unit_hashes
from caneft.patch.outputs import new_folder
from caneft.patch.weights import DTYPES, Stored, find, model_folder, read_slices, stored_tensors
from caneft.storage.bounded import read_json
from caneft.storage.files import write_json

COPIED = ("*.json", "*.jinja", "*.model", "*.txt", "tokenizer*", "LICENSE*", "NOTICE*", "additional_chat_templates/*")
NOT_COPIED = ("config.json", INDEX, PICKLED_INDEX, "manifest.json", "cost.json")  # the last two are this workflow's
DTYPE_KEYS = ("dtype", "torch_dtype")  # transformers has renamed it


def merge(base: str | Path, path: str | Path, out: str | Path) -> Patch:
    """Writes a model card and the patched base to `out`, as `AutoModelForCausalLM.from_pretrained` loads it.

    base: a model folder or a model's manifest.json. Weights in another floating-point dtype are cast to the patch's, as
    loading the base in that dtype does. Raises InputError for another base, or if `out` exists.
    """
    (folder, pickled), patch = model_folder(base), read(path)
    places = find(folder, str(path), patch, pickled)
    present = read_slices(places, patch.dtype)
    check_replaced(str(path), patch, unit_hashes(patch.neurons, present, patch.axes))
    with new_folder(out) as beside:
        _copy_rest(folder, beside, dtype_name(patch.dtype))
        copies, files = {}, weight_files(folder, pickled)
        for file in files:
            copy = beside / _renamed(file.name)
            _copy_weights(file, copy, patch.dtype)
            copies |= stored_tensors(copy)
        for of_layer, slices in zip(places, patch.slices, strict=True):
            for name, place in of_layer.items():
                stored = copies[place.stored.name]
                replace(place, stored=stored).write(slices[name], stored.file)
        index = folder / (PICKLED_INDEX if files[0].suffix == PICKLED_SUFFIX else INDEX)
        if index.exists():
            _write_index(index, beside / INDEX, sum(stored.bytes for stored in copies.values()))
        said = card(patch, path, folder, Path(out).name, "transformers")
        (beside / NAME).write_text(said, encoding="utf-8")
    return patch


def _copy_rest(folder: Path, out: Path, dtype: str) -> None:
    """Copies tokenizer, generation settings and licence, and the configuration, which then names the dtype."""
    for file in sorted({file for pattern in COPIED for file in folder.glob(pattern)}):
        if file.is_file() and file.name not in NOT_COPIED and not file.match(ADAPTER):
            target = out / file.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target)
    config = read_json(folder / "config.json", "Download the model again.")
    if not any(key in config for key in DTYPE_KEYS):
        config["dtype"] = dtype
    write_json(out / "config.json", _with_dtype(config, dtype))


def _with_dtype(config, dtype: str):
    """A configuration in which every part that named a dtype, nested ones included, names this one."""
    if not isinstance(config, dict):
        return config
    return {
        key: dtype if key in DTYPE_KEYS and isinstance(value, str) else _with_dtype(value, dtype)
        for key, value in config.items()
    }


def _copy_weights(file: Path, out: Path, dtype: torch.dtype) -> None:
    """Copies a weight file to safetensors, tensor by tensor if it is pickled or floating-point tensors must be cast."""
    tensors = stored_tensors(file)
    cast = {name for name, stored in tensors.items() if DTYPES.get(stored.dtype, dtype) != dtype}
    if not cast and file.suffix != PICKLED_SUFFIX:
        shutil.copyfile(file, out)
        return
    kinds = {known: name for name, known in DTYPES.items()}
    said, end = {}, 0
    # wide elements first, as the format demands, so that every tensor starts at a multiple of its element's size
    sizes = {name: dtype.itemsize if name in cast else stored.element for name, stored in tensors.items()}
    for name in sorted(tensors, key=lambda name: (-sizes[name], tensors[name].start)):
        shape, begin = tensors[name].shape, end
        end += math.prod(shape) * sizes[name]
        kind = kinds[dtype] if name in cast else tensors[name].dtype
        said[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    own = {} if file.suffix == PICKLED_SUFFIX else header(file)[0]
    metadata = own.get("__metadata__", {"format": "pt"})
    text = json.dumps({"__metadata__": metadata, **said}).encode()
    text += b" " * (-len(text) % 8)
    with open(out, "wb") as handle:
        handle.write(len(text).to_bytes(8, "little") + text)
        for name in said:
            handle.write(_bytes(tensors[name], dtype if name in cast else None))


def _bytes(stored: Stored, dtype: torch.dtype | None) -> memoryview | bytes:
    """A stored tensor's bytes, cast to another dtype if one is given."""
    if not stored.bytes:
        return b""
    if dtype is None:
        return memoryview(stored.raw())
    tensor = torch.from_numpy(np.array(stored.raw())).view(DTYPES[stored.dtype]).to(dtype)
    return memoryview(tensor.view(torch.uint8).numpy())


def _renamed(name: str) -> str:
    """Name of a weight file once it is in safetensors."""
    if not name.endswith(PICKLED_SUFFIX):
        return name
    return name.removesuffix(PICKLED_SUFFIX).replace("pytorch_model", "model", 1) + ".safetensors"


def _write_index(index: Path, out: Path, size: int) -> None:
    said = read_json(index, "Download the model again.")
    if "weight_map" in said:
        said["weight_map"] = {name: _renamed(file) for name, file in said["weight_map"].items()}
    write_json(out, said | {"metadata": said.get("metadata", {}) | {"total_size": size}})
