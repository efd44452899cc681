"""Verifies heavy files: a sidecar lists their checksums under `files`, and readers of such a file compare its checksum.

Sidecars that older versions wrote lack the entry, so there is nothing to compare.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from caneft.errors import InputError
from caneft.storage.bounded import read_json
from caneft.storage.files import sha256

KEY = "files"
FORMAT = 1
"""Format number of all JSON files between the stages. Files of older versions, which lack one, have this format too."""
LIMIT = "CANEFT_VERIFY_UP_TO_GB"
"""Environment variable: the size in GB above which files are not compared when they are read. In no job's params."""
AGAIN = "Delete it and run the workflow again"
MISSING = "Run the workflow again with this file as its target: snakemake --cores all FILE"


def publish_limit(gigabytes: float | None) -> None:
    """Sets the environment variable of the limit for jobs; None (no limit) keeps what the user may have set."""
    if gigabytes is not None:
        os.environ[LIMIT] = str(gigabytes)


def sums(*paths: str | Path) -> dict[str, str]:
    """SHA-256 of files by name, for the `files` of a sidecar beside them."""
    return {Path(path).name: sha256(path) for path in sorted(paths)}


def verify(
    folder: Path, expected: Mapping[str, str], names: Iterable[str] | None = None, remedy: str | None = None
) -> None:
    """Compares files of a folder with their checksums, except files above the limit. names: None for all.

    remedy: the advice in the message; a file that no job names among its outputs comes back if another one is deleted.

    Raises InputError naming a file that is missing, or is not what was written.
    """
    limit = float(os.environ.get(LIMIT) or "inf") * 1e9
    for name in expected if names is None else names:
        path = folder / name
        if name in expected and (not path.is_file() or path.stat().st_size <= limit):
            compare(path, expected[name], remedy)


def compare(path: Path, expected: str, remedy: str | None = None) -> None:
    """Raises InputError unless the file has this checksum."""
    try:
        found = sha256(path)
    except FileNotFoundError:
        raise InputError(f"{path}: is missing. {remedy or MISSING}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). {remedy or AGAIN}") from None
    if found != expected:
        raise InputError(
            f"{path}: is not what was written: its sha256 is {found[:12]}..., not {expected[:12]}... {remedy or AGAIN}"
        )


def verify_beside(path: str | Path, sidecar: str | Path) -> None:
    """Compares a file with its checksum in the sidecar, if it has one. Raises InputError as `verify` does."""
    path, said = Path(path), read(Path(sidecar))
    verify(path.parent, said, [path.name])


def check_format(path: str | Path, content: Any) -> None:
    """Raises InputError for a JSON object of a format that this version does not read."""
    found = content.get("format", FORMAT) if isinstance(content, dict) else FORMAT
    if found != FORMAT:
        raise InputError(
            f"{path}: has format {found!r}; this version reads format {FORMAT}.\nDelete it and run the workflow again,"
            " or read it with the version that wrote it."
        )


def read_manifest(path: Path, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Reads the manifest of a model or metric. kinds: the type of each required key, `folder` among them.

    Raises InputError for a broken file, a format that this version does not read, and missing keys or wrong types.
    """
    content = read_json(path)
    check_format(path, content)
    wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
    if wrong or "\0" in content["folder"]:
        said = " and ".join(wrong) or "folder"
        raise InputError(f"{path}: no manifest: {said} missing or of a wrong kind. {AGAIN}")
    return content


def read(sidecar: Path) -> dict[str, str]:
    """Checksums in a sidecar; none if it is missing or too old to have any. Raises InputError if it is broken."""
    if not sidecar.exists():
        return {}
    content = read_json(sidecar)
    check_format(sidecar, content)
    found = content.get(KEY, {})
    if not isinstance(found, dict):
        raise InputError(f"{sidecar}: `{KEY}` is not a list of checksums. {AGAIN}")
    return found
