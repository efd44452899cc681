"""The stored weight files of a model folder: which ones are loaded, and what their headers say."""

import math
from pathlib import Path
from typing import Any

from caneft.errors import InputError
from caneft.models.foreign import foreign
from caneft.storage.bounded import parse, read_json

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED_WHOLE, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PICKLED_SUFFIX = ".bin"
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4, "C64": 64, "BOOL": 8}
BITS |= dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
BITS |= {f"{sign}{bits}": bits for sign in "IU" for bits in (8, 16, 32, 64)}
"""Bits per element, by the dtypes of the format."""
LARGEST_HEADER = 100_000_000
"""Bytes of the longest header that the format allows."""
ADAPTER = "adapter_*"
"""Files that PEFT writes. From them, transformers loads an adapter into the model in the same folder."""
AGAIN = "Download the model again."


def adapters(folder: Path) -> list[str]:
    """Names of an adapter's files in a folder."""
    return sorted(file.name for file in folder.glob(ADAPTER))


def weight_files(folder: Path, pickled: bool = False) -> list[Path]:
    """The files that transformers would load, in the index's order: safetensors or, if there are none, pickled ones.

    pickled: whether pickled files are allowed. Raises InputError if there are no files, or some of the index are
    missing.
    """
    for whole, index in ((WHOLE, INDEX), *([(PICKLED_WHOLE, PICKLED_INDEX)] if pickled else [])):
        if (folder / whole).exists() or (folder / whole).is_symlink():  # a broken link counts as a file
            return [folder / whole]
        if (folder / index).exists():
            return _indexed(folder, index)
    said = f"{folder} has neither {WHOLE} nor {INDEX}"
    if any((folder / name).exists() for name in (PICKLED_WHOLE, PICKLED_INDEX)):
        said += (
            ". Its weights are pickled, a format that can carry code: convert them to safetensors (`patch merge` and"
            " `to-lora` take the manifest.json of a model with models.*.allow_pickle: true, too)"
        )
    raise InputError(said)


def _indexed(folder: Path, index: str) -> list[Path]:
    try:
        names = list(dict.fromkeys(read_json(folder / index, AGAIN)["weight_map"].values()))
        files = [folder / name for name in names]
        missing = [str(name) for name, file in zip(names, files, strict=True) if not file.is_file()]
    except InputError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / index} is not an index of weights ({error!r})") from None
    if missing:
        raise InputError(f"{folder} lacks {', '.join(missing)}, which {index} names. {AGAIN}")
    return files


def header(file: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of a safetensors file, and where its tensors begin.

    Raises InputError if the file is of another kind or cut off, or a tensor's bytes do not match its shape and dtype.
    """
    size = file.stat().st_size
    with open(file, "rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        text = handle.read(length) if length <= min(size - 8, LARGEST_HEADER) else b""
    if 0 < size - 8 < length <= LARGEST_HEADER:
        raise InputError(f"{file} is damaged: it has {size:,} bytes, and its header alone {length:,}. {AGAIN}")
    try:
        found = parse(text)
        ends = [_end(said) for name, said in found.items() if name != "__metadata__"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not a safetensors file ({error!r})") from None
    expected = 8 + length + max(ends, default=0)
    if expected != size:
        raise InputError(f"{file} is damaged: its tensors should end at byte {expected}, it has {size}. {AGAIN}")
    return found, 8 + length


def _end(said: dict[str, Any]) -> int:
    """Where a tensor ends. Raises ValueError if its number of bytes does not match its shape and dtype."""
    start, end = said["data_offsets"]
    bits = math.prod(said["shape"]) * BITS[said["dtype"]]
    if not 0 <= start <= end or min(said["shape"], default=0) < 0 or (end - start) * 8 != bits:
        raise ValueError(f"{said['dtype']} of shape {said['shape']} in bytes {start} to {end}")
    return end


def shapes(file: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype, as safetensors names it, of each tensor in a weight file; no weight is read.

    From a pickled file only tensors are unpickled, and dtypes have torch's names. Raises InputError if the file cannot
    be read, or is something else (`foreign`).
    """
    if said := foreign(file):
        raise InputError(f"{file} {said}")
    if file.suffix != PICKLED_SUFFIX:
        found, _ = header(file)
        return {n: (tuple(said["shape"]), said["dtype"]) for n, said in found.items() if n != "__metadata__"}
    return {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in unpickled(file, "meta").items()}


def unpickled(file: Path, device: str) -> dict[str, Any]:
    """Tensors of a pickled weight file by name. Only tensors are unpickled; on a CPU they are memory-mapped, not read.

    Raises InputError if the file cannot be read in this way, or holds anything else.
    """
    import torch
    from transformers.modeling_utils import load_state_dict

    try:
        found = load_state_dict(str(file), device, weights_only=True)
        wrong = [name for name, tensor in found.items() if not isinstance(tensor, torch.Tensor)]
    except Exception as error:  # the library raises many kinds of exceptions for faulty files
        raise InputError(f"{file} cannot be read as tensors alone: {str(error).splitlines()[0]}") from None
    if wrong:
        raise InputError(f"{file} holds more than tensors by name: {', '.join(map(str, wrong[:3]))}")
    return found
