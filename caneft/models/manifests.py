"""Manifests of base models: where the weights are, and what they are."""

from pathlib import Path
from typing import Any

from caneft.errors import InputError
from caneft.storage import hub, integrity

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
QUANTISED = "quantised"
"""Key of what a manifest says of the GGUF file whose weights were dequantised: file, sha256, scheme, tensors."""
UNDO = Path("caneft", "undo.safetensors")
"""In a model folder, what `patch apply` replaced. It is not beside the weights, where servers would load it."""


def hashed(folder: Path, origin: dict[str, Any]) -> list[Path]:
    """The weight files of a model folder whose checksums its manifest names.

    Raises InputError if it has no weights in safetensors, nor any that its origin allows.
    """
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
    return weights


def describe(folder: Path, origin: dict[str, Any], config: Any) -> dict[str, Any]:
    """Manifest of a model folder: origin, sizes, and a checksum of each weight file.

    Raises InputError as `hashed` does.
    """
    text = config.get_text_config()  # of a model that also sees, the part that writes
    weights = hashed(folder, origin)
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


def results_of(folder: Path) -> Path | None:
    """The results folder of which a model folder is part: a base, or a run with the weights of a whole model."""
    folder = folder.resolve()
    names = {"models": "manifest.json", "runs": "record.json"}
    for root in folder.parents:
        sidecar = names.get(folder.relative_to(root).parts[0])
        if sidecar and (folder / sidecar).is_file() and (root / "config.yaml").is_file():
            return root
    return None


def base(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a patch and the record of a run say of their base."""
    return {name: manifest[name] for name in ("id", "revision", "weights", QUANTISED) if name in manifest}


def remedy(manifest: dict[str, Any]) -> str:
    """What to do where a file of a model is not what its manifest says; jobs ask for the manifest, not for weights."""
    if manifest.get("id") == PRETRAINED_HERE or QUANTISED in manifest:
        return f"Delete {Path(manifest['folder']) / 'manifest.json'} and run the workflow again"
    return (
        "Put the model's files back (one of the hub: remove it from the cache, run `snakemake fetch`). If they were"
        " changed on purpose, delete the model's manifest.json in the results"
    )
