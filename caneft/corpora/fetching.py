"""Corpora that are downloaded: once, by reading them, into the caches of the libraries that read them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caneft.config import Hub, Source
from caneft.corpora import readers


def fetch(source: Source, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """Reads a remote source to its end, so that it is in its library's cache, and says what it was.

    Returns revision (the commit on the hub; None for what is not there), number of pairs, and SHA-256 of their text.
    Raises InputError if it cannot be had.
    """
    digest, pairs = hashlib.sha256(), 0
    for pair in readers.read(source, "train", resolve):
        digest.update(json.dumps([pair.source, pair.target]).encode())
        pairs += 1
    return {"revision": _revision(source), "pairs": pairs, "sha256": digest.hexdigest()}


def _revision(source: Source) -> str | None:
    if not isinstance(source, Hub):
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(source.name, revision=source.revision).sha
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled):  # a folder, or read from the cache
        return source.revision
