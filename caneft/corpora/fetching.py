"""Downloads remote corpora once, by reading them, into the caches of the libraries that read them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from caneft.config import Hub, Source
from caneft.corpora import readers
from caneft.errors import InputError
from caneft.storage.bounded import AGAIN, read_json

Resolve = Callable[[str], Path]


def fetch(source: Source, resolve: Resolve) -> dict[str, Any]:
    """Reads a remote source to its end, so that it is in its library's cache, and describes it.

    Returns revision (the commit on the hub, or the configured one if the hub was not asked), number of pairs, and
    SHA-256 of their text. Raises InputError if the source is not available.
    """
    return {"revision": _revision(source), **_content(source, resolve)}


def check(sources: Mapping[str, Source], file: Path, resolve: Resolve) -> None:
    """Raises InputError if a source no longer reads as it did when it was fetched.

    Without network, `datasets` takes the latest version in its cache, whatever revision is requested.
    """
    for part, said in read_json(file).items():
        try:
            source, wanted = sources[part], {key: said[key] for key in ("pairs", "sha256", "revision")}
        except (KeyError, TypeError):
            raise InputError(f"{file}: does not say what was fetched of {part}. {AGAIN}") from None
        found = _content(source, resolve)
        if not found.items() <= wanted.items():
            raise InputError(
                f"{part}: the cache holds other text ({found['pairs']} pairs) than was fetched ({said['pairs']} pairs,"
                f" revision {said['revision']}), such as that of another revision.\nSet HF_HOME to a folder of this"
                f" project's own, delete {file} and run `snakemake fetch`."
            )


def _content(source: Source, resolve: Resolve) -> dict[str, Any]:
    digest, pairs = hashlib.sha256(), 0
    for pair in readers.read(source, "train", resolve):
        digest.update(json.dumps([pair.source, pair.target]).encode())
        pairs += 1
    return {"pairs": pairs, "sha256": digest.hexdigest()}


def _revision(source: Source) -> str | None:
    if not isinstance(source, Hub):
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        return HfApi().dataset_info(source.name, revision=source.revision).sha
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled):  # a folder, or read from the cache
        return source.revision
