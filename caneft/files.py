"""Outputs appear whole or not at all: write beside, fsync, rename."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Path beside `path` to write to; it takes `path`'s place when the block ends well and goes when it does not.

    The suffix is kept, for libraries that look at it. durable: whether it must be on disk before it takes the place;
    without, it outlives the process but not the machine.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        if durable:
            sync(beside)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def sync(path: str | Path) -> None:
    """Waits until a file's bytes are on disk."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def write_json(path: str | Path, content: Any) -> None:
    """Writes JSON with sorted keys, atomically."""
    with replacing(path) as beside:
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_jsonl(path: str | Path, lines: Iterable[Any]) -> None:
    """Writes one JSON object a line, keys as they come, atomically."""
    with replacing(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def split_archive(path: str | Path) -> tuple[Path, str | None]:
    """The file on disk that a path is about, and the file in it: `texts.zip::train.de` is train.de in texts.zip."""
    found = re.fullmatch(r"(.+?\.zip)::(.+)", str(path), re.IGNORECASE | re.DOTALL)
    return (Path(found[1]), found[2]) if found else (Path(path), None)
