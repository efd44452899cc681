"""Models that exist already: on the hub, or in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caneft.config import Model
from caneft.errors import InputError
from caneft.models.ffn import layout

WANTED = ("*.json", "*.safetensors", "tokenizer*", "*.model", "*.jinja", "merges.txt", "vocab*")


def find(model: Model, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """Origin of a model: id, revision and the folder that holds it; a hub model is downloaded unless it is cached."""
    if model.path is not None:
        folder = resolve(model.path).resolve()
        return {"id": folder.name, "revision": None, "folder": str(folder)}
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(model.hub, revision=model.revision, allow_patterns=list(WANTED))
    except GatedRepoError:
        raise InputError(
            f"{model.hub} is gated: accept its licence on the hub, then log in with `hf auth login` or set HF_TOKEN"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"{model.hub} (revision {model.revision}) is neither in the cache nor can it be downloaded:"
            f" {str(error).splitlines()[0]}\nRun `snakemake fetch` where there is a network, or give models.*.path."
        ) from None
    return {"id": model.hub, "revision": Path(folder).name, "folder": str(folder)}


def architecture(folder: Path) -> Any:
    """Configuration of a model folder. Raises InputError if its architecture has no FFN layout, or it is no model."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is not a model folder: {str(error).splitlines()[0]}") from None
    layout(found.model_type)
    return found
