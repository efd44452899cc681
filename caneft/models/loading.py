"""Base models by manifest: the tokenizer, and the model in memory."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft import integrity
from caneft.errors import InputError
from caneft.models.ffn import ffn_layers
from caneft.models.head import take_whole_inputs
from caneft.models.manifests import PRETRAINED_HERE, remedy
from caneft.models.norms import keep_inputs

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_tokenizer(manifest: dict[str, Any]):
    """Tokenizer of a manifest; one without a pad token gets its end-of-sequence token for it."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    integrity.verify(Path(manifest["folder"]), manifest.get(integrity.KEY, {}), remedy=remedy(manifest))
    if manifest.get("id") == PRETRAINED_HERE:  # AutoTokenizer would put Qwen's own way of splitting words over it
        tokenizer = PreTrainedTokenizerFast.from_pretrained(manifest["folder"])
    else:
        tokenizer = AutoTokenizer.from_pretrained(manifest["folder"], trust_remote_code=_trusted(manifest))
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _trusted(manifest: dict[str, Any]) -> bool:
    """Whether a model's own code may run; older manifests do not say."""
    return manifest.get("trust_remote_code", False)


def prepared(model: nn.Module) -> nn.Module:
    """A causal LM of transformers as all of this computes with it: frozen, in evaluation mode, with less memory."""
    take_whole_inputs(model)
    keep_inputs(model)
    return model.requires_grad_(False).eval()


def load_model(manifest: dict[str, Any], dtype: str, device: torch.device, device_map: str = "none") -> nn.Module:
    """Causal LM of a manifest, in evaluation mode, every weight frozen.

    Its weights are safetensors, and no code of its own is run, unless the manifest allows it.
    device_map: but for "none", spreads the layers over the visible GPUs by accelerate's rule of that name. Raises
    InputError for a model that does not fit on them.
    """
    from transformers import AutoModelForCausalLM

    sums = (manifest.get("weights") or {}) | manifest.get(integrity.KEY, {})
    integrity.verify(Path(manifest["folder"]), sums, remedy=remedy(manifest))
    where = {"device_map": device_map} if device_map != "none" and device.type == "cuda" else {}
    model = AutoModelForCausalLM.from_pretrained(
        manifest["folder"],
        dtype=DTYPES[dtype],
        trust_remote_code=_trusted(manifest),
        use_safetensors=None if manifest.get("allow_pickle") else True,  # None: where there are any
        weights_only=True,
        **where,
    )
    ffn_layers(model)  # an unknown architecture is said here, before any work
    model = prepared(model)
    if not where:
        return model.to(device)
    if aside := {str(place) for place in model.hf_device_map.values()} & {"cpu", "disk"}:
        raise InputError(
            f"{manifest['id']} does not fit on the {torch.cuda.device_count()} visible GPUs: parts of it would be on"
            f" {' and '.join(sorted(aside))}. Give the job more GPUs (models.*.resources.gpu)"
        )
    return model
