"""Base models from GGUF files: their quantised weights become an ordinary model folder, once.

A dequantised weight is a number that the file stands for, not the number that was quantised. So such a base is a model
of its own, a little worse than the one that was published; everything after this, neurons and patches too, belongs to
it. Files are read by the package gguf, and mapped to an architecture by transformers.
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft.errors import InputError
from caneft.models.ffn import layout
from caneft.models.filling import NAMED, misfits, not_finite
from caneft.models.foreign import no_gguf
from caneft.storage.files import atomic_folder, sha256

WITHOUT_WEIGHTS = {"rope_freqs.weight"}
"""Tensors that are computed, not learnt; transformers computes them from the configuration."""


def dequantise(files: list[Path], folder: Path, dtype: torch.dtype) -> tuple[Any, dict[str, Any]]:
    """Writes the model of a GGUF file into the folder, as safetensors of this dtype with configuration and tokenizer.

    files: the file, or its parts. Returns the model's configuration, and what its manifest says of the file: name,
    sha256, the scheme that it names for most of its tensors (Q4_K_M, or None), and how many tensors are of which type.
    Raises InputError if it is no whole GGUF file, is of an unknown architecture, or does not hold exactly the weights
    of its model.
    """
    with atomic_folder(folder) as beside:
        file = _joined(files, beside)
        about = _about(file)
        model, tokenizer = _loaded(file, dtype)
        _check(model, about.pop("numbers"), file)
        if len(files) > 1:
            file.unlink()
        model.save_pretrained(beside, max_shard_size="1000GB")
        tokenizer.save_pretrained(beside)
    return model.config, about


def _joined(files: list[Path], folder: Path) -> Path:
    """The file; parts are put together in the folder."""
    if len(files) == 1:
        return files[0]
    file = folder / files[0].name.partition(".part")[0]
    with open(file, "wb") as joined:
        for part in files:
            with open(part, "rb") as opened:
                shutil.copyfileobj(opened, joined)
    return file


def _about(file: Path) -> dict[str, Any]:
    """What the manifest says of the file, and how many numbers its tensors hold together."""
    from gguf import GGUFReader, LlamaFileType

    try:
        said = no_gguf(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    if said:
        raise InputError(f"{file}: {said}")
    try:
        reader = GGUFReader(file)
        kind = reader.get_field("general.file_type")
        scheme = LlamaFileType(int(kind.contents())).name.removeprefix("MOSTLY_") if kind else None
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise InputError(f"{file}: is cut off or damaged ({error}). Download it again") from None
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    return {
        "file": file.name,
        "sha256": sha256(file),
        "scheme": scheme,
        "tensors": dict(types.most_common()),
        "numbers": sum(int(tensor.n_elements) for tensor in reader.tensors if tensor.name not in WITHOUT_WEIGHTS),
    }


def _loaded(file: Path, dtype: torch.dtype) -> tuple[nn.Module, Any]:
    """Model and tokenizer, the model without the quantiser's marks, with which it could not be saved."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        model, said = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),  # of some architectures it would keep packed ones
            dtype=dtype,
            trust_remote_code=False,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:  # RuntimeError: a weight of another shape
        raise InputError(f"{file}: transformers cannot read it: {str(error).splitlines()[0]}") from None
    layout(model.config.model_type)
    if wrong := misfits(said):
        raise InputError(f"{file}: its weights do not fill its model: {wrong}")
    model.hf_quantizer, model.quantization_method, model.is_quantized = None, None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config._name_or_path = file.stem
    return model, tokenizer


def _check(model: nn.Module, numbers: int, file: Path) -> None:
    """What transformers has no place for, it leaves out silently."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights != numbers:
        raise InputError(
            f"{file}: holds {numbers:,} numbers, but its model has {weights:,} weights: this version of transformers"
            " does not read all of it"
        )
    if found := not_finite(model):
        raise InputError(f"{file}: numbers of {', '.join(found[:NAMED])} ({len(found)} in all) are not finite")
