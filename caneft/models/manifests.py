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
"""Files next to the weights that influence a model's output."""
MANIFEST = {"folder": str, "weights": dict}
"""The keys that every manifest has, with their types."""
PRETRAINED_HERE = "pretrained here"
"""The id of every model that the workflow has pretrained."""
QUANTISED = "quantised"
"""A manifest's key for the GGUF file whose weights were dequantised: file, sha256, scheme, tensors."""
UNDO = Path("caneft", "undo.safetensors")
"""Path, in a model folder, of what `patch apply` replaced. Next to the weights, servers would load it."""


def hashed(folder: Path, origin: dict[str, Any]) -> list[Path]:
    """The weight files of a model folder whose checksums its manifest holds.

    Raises InputError if it has neither safetensors nor, if its origin allows them, pickled weights.
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
    text = config.get_text_config()  # the language part of a multimodal model
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
    """Manifest of a model, with `folder` resolved from the manifest's own. InputError if the model is missing."""
    path = Path(path)
    manifest = integrity.read_manifest(path, MANIFEST)
    folder = hub.located(manifest, path, f"the model {manifest.get('id')}", manifest["weights"])
    return manifest | {"folder": str(folder)}


def results_of(folder: Path) -> Path | None:
    """The results folder of a model folder (a base, or a run with a whole model); None if it is in none."""
    folder = folder.resolve()
    names = {"models": "manifest.json", "runs": "record.json"}
    for root in folder.parents:
        sidecar = names.get(folder.relative_to(root).parts[0])
        if sidecar and (folder / sidecar).is_file() and (root / "config.yaml").is_file():
            return root
    return None


def base(manifest: dict[str, Any]) -> dict[str, Any]:
    """The entries on the base in a patch and in a run's record."""
    return {name: manifest[name] for name in ("id", "revision", "weights", QUANTISED) if name in manifest}


def remedy(manifest: dict[str, Any]) -> str:
    """What to do if a model's file differs from the manifest; jobs depend on the manifest, not on the weights."""
    if manifest.get("id") == PRETRAINED_HERE or QUANTISED in manifest:
        return f"Delete {Path(manifest['folder']) / 'manifest.json'} and run the workflow again"
    return (
        "Put the model's files back (one of the hub: remove it from the cache, run `snakemake fetch`). If they were"
        " changed on purpose, delete the model's manifest.json in the results"
    )
