"""Base models from GGUF files: converts the quantised weights to an ordinary model folder, once.

A dequantised weight is the number that the file represents, not the number that was quantised. So such a base is a
separate model, a little worse than the published one, and everything made from it, neurons and patches too, belongs to
it. The package gguf reads the files, and transformers maps them to an architecture.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
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

    files: the file, or its parts. Returns the model's configuration, and the manifest's entry on the file: name,
    sha256, the scheme that it names for most of its tensors (such as Q4_K_M, or None), and the number of tensors of
    each type.
    Raises InputError if it is not a whole GGUF file, is of an unknown architecture, or does not hold exactly the
    weights of its model.
    """
    with atomic_folder(folder) as beside, _parsed_once():
        file = _joined(files, beside)
        about = _about(file)
        model, tokenizer = _loaded(file, dtype)
        _check(model, about.pop("numbers"), file)
        if len(files) > 1:
            file.unlink()
        model.save_pretrained(beside, max_shard_size="1000GB")
        tokenizer.save_pretrained(beside)
    return model.config, about


@contextmanager
def _parsed_once() -> Iterator[None]:
    """Makes transformers reuse the file as parsed for `_about`.

    Otherwise it would parse it three more times, for configuration, weights and tokenizer, and a vocabulary of 262,144
    words takes 9 seconds each time.
    """
    import gguf

    reader = gguf.GGUFReader
    gguf.GGUFReader = lru_cache(maxsize=1)(reader)
    try:
        yield
    finally:
        gguf.GGUFReader = reader


def _joined(files: list[Path], folder: Path) -> Path:
    """The whole file; parts are joined in the folder."""
    if len(files) == 1:
        return files[0]
    file = folder / files[0].name.partition(".part")[0]
    with open(file, "wb") as joined:
        for part in files:
            with open(part, "rb") as opened:
                shutil.copyfileobj(opened, joined)
    return file


def _about(file: Path) -> dict[str, Any]:
    """The manifest's entry on the file, and the total of numbers in its tensors."""
    from gguf import GGUFReader, LlamaFileType

    try:
        said = no_gguf(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror})") from None
    if said:
        raise InputError(f"{file}: {said}")
    try:
        reader = GGUFReader(str(file))
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
    """Model and tokenizer; the model without the quantiser's attributes, which would prevent saving."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    try:
        model, said = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),  # else weights stay packed in some architectures
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
    """Raises InputError if transformers silently left out numbers of the file, or if a weight is not finite."""
    weights = sum(parameter.numel() for parameter in model.parameters())
    if weights != numbers:
        raise InputError(
            f"{file}: holds {numbers:,} numbers, but its model has {weights:,} weights: this version of transformers"
            " does not read all of it"
        )
    if found := not_finite(model):
        raise InputError(f"{file}: numbers of {', '.join(found[:NAMED])} ({len(found)} in all) are not finite")
