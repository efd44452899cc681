"""Base models by manifest: the tokenizer, and the model in memory."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft.errors import InputError
from caneft.models.ffn import ffn_layers
from caneft.models.filling import NAMED, misfits, not_finite
from caneft.models.head import take_whole_inputs
from caneft.models.manifests import PRETRAINED_HERE, remedy
from caneft.models.norms import keep_inputs
from caneft.models.stored import adapters
from caneft.storage import integrity

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_tokenizer(manifest: dict[str, Any]):
    """Tokenizer of a manifest's model.

    If it has no pad token, or one without an embedding in the model, its end-of-sequence token is used, as padding is
    masked.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    integrity.verify(Path(manifest["folder"]), manifest.get(integrity.KEY, {}), remedy=remedy(manifest))
    if manifest.get("id") == PRETRAINED_HERE:  # AutoTokenizer would split words as Qwen does
        tokenizer = PreTrainedTokenizerFast.from_pretrained(manifest["folder"])
    else:
        tokenizer = AutoTokenizer.from_pretrained(manifest["folder"], trust_remote_code=_trusted(manifest))
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= _vocabulary(manifest):
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _vocabulary(manifest: dict[str, Any]) -> int:
    """Size of the model's vocabulary."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(manifest["folder"], trust_remote_code=_trusted(manifest))
    return config.get_text_config().vocab_size


def _trusted(manifest: dict[str, Any]) -> bool:
    """Whether a model's own code may run; False for older manifests, which do not say."""
    return manifest.get("trust_remote_code", False)


def prepared(model: nn.Module) -> nn.Module:
    """Prepares a causal LM of transformers for every use here: frozen, in evaluation mode, with lower memory use."""
    take_whole_inputs(model)
    keep_inputs(model)
    return model.requires_grad_(False).eval()


def verify(manifest: dict[str, Any]) -> None:
    """Raises InputError if a model's files differ from its manifest, or an adapter's files are among them."""
    sums = (manifest.get("weights") or {}) | manifest.get(integrity.KEY, {})
    integrity.verify(Path(manifest["folder"]), sums, remedy=remedy(manifest))
    if found := adapters(Path(manifest["folder"])):  # transformers would load it too, if PEFT is installed
        raise InputError(f"{manifest['folder']} holds {', '.join(found)} of an adapter beside the model: delete them")


def load_model(manifest: dict[str, Any], dtype: str, device: torch.device, device_map: str = "none") -> nn.Module:
    """Causal LM of a manifest, in evaluation mode, every weight frozen.

    Unless the manifest allows it, weights other than safetensors are not loaded and the model's own code is not run.
    device_map: unless "none", the rule of accelerate by which the layers are spread over the visible GPUs.
    Raises InputError if files differ from the manifest, an adapter's files are among them, the model does not fit on
    the GPUs, or its weights do not fill it or are not finite in this dtype.
    """
    from transformers import AutoModelForCausalLM

    verify(manifest)
    where = {"device_map": device_map} if device_map != "none" and device.type == "cuda" else {}
    model, info = AutoModelForCausalLM.from_pretrained(
        manifest["folder"],
        dtype=DTYPES[dtype],
        trust_remote_code=_trusted(manifest),
        use_safetensors=None if manifest.get("allow_pickle") else True,  # None: prefers them
        weights_only=True,
        ignore_mismatched_sizes=True,  # `misfits` reports them with the rest
        output_loading_info=True,
        **where,
    )
    if said := misfits(info):
        raise InputError(f"{manifest['folder']}: its weights do not fill the model: {said}")
    ffn_layers(model)  # reports an unknown architecture before any work
    model = prepared(model)
    if not where:
        return _finite(model.to(device), manifest, dtype)
    if aside := {str(place) for place in model.hf_device_map.values()} & {"cpu", "disk"}:
        raise InputError(
            f"{manifest['id']} does not fit on the {torch.cuda.device_count()} visible GPUs: parts of it would be on"
            f" {' and '.join(sorted(aside))}. Give the job more GPUs (models.*.resources.gpu)"
        )
    return _finite(model, manifest, dtype)


def _finite(model: nn.Module, manifest: dict[str, Any], dtype: str) -> nn.Module:
    """The model. Raises InputError unless all its weights are finite."""
    if found := not_finite(model):
        raise InputError(
            f"{manifest['folder']}: numbers of {', '.join(found[:NAMED])} ({len(found)} in all) are not finite in"
            f" {dtype}. Are they in the files? If not, choose a models.*.dtype that can hold them"
        )
    return model
