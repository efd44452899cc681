"""Models that exist already: on the hub, or in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caneft.config import Model
from caneft.errors import InputError
from caneft.models.ffn import layout
from caneft.models.manifests import PICKLED
from caneft.storage import hub

WANTED = ("*.json", "*.safetensors", "tokenizer*", "*.model", "*.jinja", "merges.txt", "vocab*")
UNWANTED = ("original/*", "consolidated*", "onnx/*")
"""Copies of the weights in other programs' formats."""


def find(model: Model, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """Origin of a model: id, revision, the folder that holds it, and what is allowed when it is loaded.

    A hub model is downloaded unless it is cached; its revision is the commit that was found.
    """
    allowed = {name: getattr(model, name) for name in ("trust_remote_code", "allow_pickle")}
    if model.path is not None:
        folder = resolve(model.path).resolve()
        return {"id": folder.name, "revision": None, "folder": str(folder), **allowed}
    wanted = [*WANTED, *(["*.py"] if model.trust_remote_code else [])]
    folder = _download(model, wanted)
    if model.allow_pickle and not any(folder.glob("*.safetensors")):
        folder = _download(model, [*wanted, PICKLED])
    return {"id": model.hub, "revision": folder.name, "folder": str(folder), **allowed}


def _download(model: Model, patterns: list[str]) -> Path:
    return hub.snapshot(model.hub, model.revision, patterns, "models.*", UNWANTED)


def architecture(origin: dict[str, Any]) -> Any:
    """Configuration of an origin's model.

    Raises InputError if the folder holds no model, the model needs its own code but is not trusted, or its FFN layout
    is unknown.
    """
    from transformers import AutoConfig

    folder, trusted = origin["folder"], origin["trust_remote_code"]
    try:
        found = AutoConfig.from_pretrained(folder, trust_remote_code=trusted)
    except Exception as error:  # anything that transformers and the hub's library raise for faulty files
        if "trust_remote_code" in str(error):
            raise InputError(
                f"{folder} needs Python code that comes with the model. Read its *.py files; if you trust them, set"
                " models.*.trust_remote_code: true for this model"
            ) from None
        raise InputError(f"{folder} is not a model folder: {' '.join(str(error).split()[:60])}") from None
    layout(found.model_type)
    return found
