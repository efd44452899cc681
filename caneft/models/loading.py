"""Base models by manifest: where the weights are, and what they are."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft import hub, integrity
from caneft.errors import InputError
from caneft.models.ffn import ffn_layers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PICKLED = "pytorch_model*.bin"
BESIDE = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
)
"""Files beside the weights that decide what a model says."""
MANIFEST = {"folder": str, "weights": dict}
"""What every manifest has."""
PRETRAINED_HERE = "pretrained here"
"""In the place of an id."""


def describe(folder: Path, origin: dict[str, Any], config: Any) -> dict[str, Any]:
    """Manifest of a model folder: origin, sizes, and a checksum of each weight file.

    Raises InputError if it has no weights in safetensors, nor any that its origin allows.
    """
    text = config.get_text_config()  # of a model that also sees, the part that writes
    weights = sorted(folder.glob("*.safetensors"))
    if not weights and origin.get("allow_pickle"):
        weights = sorted(folder.glob(PICKLED))
        if not weights:
            raise InputError(
                f"{folder} holds neither *.safetensors nor {PICKLED}: it has no weights that can be loaded"
            )
    if not weights:
        raise InputError(
            f"{folder} holds no *.safetensors. If its weights are in {PICKLED}, a format that can carry code: convert"
            " them, name a revision that has safetensors, or set models.*.allow_pickle: true for this model"
        )
    return {
        "format": integrity.FORMAT,
        **origin,
        "architecture": config.model_type,
        "layers": text.num_hidden_layers,
        "hidden_size": text.hidden_size,
        "neurons_per_layer": text.intermediate_size,
        "weights": integrity.sums(*weights),
        integrity.KEY: integrity.sums(*(file for file in folder.iterdir() if file.name in BESIDE)),
    }


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Manifest of a model, `folder` made absolute against the manifest's own place. InputError if it is not there."""
    path = Path(path)
    manifest = integrity.read_manifest(path, MANIFEST)
    folder = hub.located(manifest, path, f"the model {manifest.get('id')}", manifest["weights"])
    return manifest | {"folder": str(folder)}


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


def remedy(manifest: dict[str, Any]) -> str:
    """What to do where a file of a model is not what its manifest says; jobs ask for the manifest, not for weights."""
    if manifest.get("id") == PRETRAINED_HERE:
        return f"Delete {Path(manifest['folder']) / 'manifest.json'} and run the workflow again"
    return (
        "Put the model's files back (one of the hub: remove it from the cache, run `snakemake fetch`). If they were"
        " changed on purpose, delete the model's manifest.json in the results"
    )


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
    model = model.requires_grad_(False).eval()
    if not where:
        return model.to(device)
    if aside := {str(place) for place in model.hf_device_map.values()} & {"cpu", "disk"}:
        raise InputError(
            f"{manifest['id']} does not fit on the {torch.cuda.device_count()} visible GPUs: parts of it would be on"
            f" {' and '.join(sorted(aside))}. Give the job more GPUs (models.*.resources.gpu)"
        )
    return model
