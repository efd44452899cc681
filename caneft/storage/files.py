"""Writes outputs whole or not at all: to a temporary file beside them, then fsync and rename."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from caneft.errors import InputError


@contextmanager
def atomic_write(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yields a path beside `path` to write to, which replaces `path` if the block succeeds and is removed if not.

    The suffix is kept, for libraries that look at it. durable: whether the file must be on disk before it replaces
    `path`; otherwise it survives a crash of the process but not of the machine.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield beside
        if durable:
            sync(beside)
        os.replace(beside, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # the error of a full disk does not name the file
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a folder to fill, for libraries that write folders; its files move to `folder` if the block succeeds.

    All of them are on disk before the first one moves. What a killed process had begun is removed.
    """
    folder = Path(folder)
    beside = folder / ".unfinished"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        yield beside
        files = sorted(path for path in beside.rglob("*") if path.is_file())
        for file in files:
            sync(file)
        for file in files:
            place = folder / file.relative_to(beside)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yields a folder in TMPDIR, removed when the block ends. First removes those of its prefix that nobody uses.

    Each process locks its own folder; an unlocked one was left by a killed process. Without locks, nothing is removed.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError), _opened(left) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as stack:
        while True:
            folder = Path(tempfile.mkdtemp(prefix=prefix))
            with suppress(OSError):
                fcntl.flock(stack.enter_context(_opened(folder)), fcntl.LOCK_EX)
            if folder.exists():  # else another process removed it as abandoned before it was locked
                break
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield handle
    finally:
        os.close(handle)


def sync(path: str | Path) -> None:
    """Waits until a file's bytes are on disk."""
    with open(path, "rb") as handle:
        os.fsync(handle.fileno())


def allocate(path: str | Path) -> None:
    """Reserves disk space for a file's whole size: a full disk raises OSError now, not SIGBUS when a map is written."""
    with open(path, "r+b") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, os.fstat(handle.fileno()).st_size)
        except OSError as error:
            error.filename = str(path)
            raise


def write_json(path: str | Path, content: Any) -> None:
    """Writes JSON with sorted keys, atomically."""
    with atomic_write(path) as beside:
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_jsonl(path: str | Path, lines: Iterable[Any]) -> None:
    """Writes one JSON object per line, with its keys in the given order, atomically."""
    with atomic_write(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def link(file: Path, place: Path) -> None:
    """Makes `place` a hard link to `file`, atomically. Raises OSError on a file system without hard links."""
    with atomic_write(place) as beside:
        beside.unlink(missing_ok=True)  # left by a killed process with the same id
        os.link(file, beside)


def link_or_copy(file: Path, place: Path) -> None:
    """Makes a hard link, or a copy on a file system without hard links."""
    try:
        link(file, place)
    except OSError:
        with atomic_write(place) as beside:
            shutil.copyfile(file, beside)


def hidden(file: Path) -> Path:
    """The hidden file in which a step keeps its results, because Snakemake removes the file itself before a job.

    Raises InputError if a folder is in the way.
    """
    place = file.with_name(f".{file.name}")
    if place.is_dir():
        raise InputError(f"{place}: is a folder; a file is needed. Move it away and run the workflow again.")
    return place


def split_archive(path: str | Path) -> tuple[Path, str | None]:
    """The file on disk that a path names, and the member in it, if any: `x.zip::train.de` is train.de in x.zip."""
    found = re.fullmatch(r"(.+?\.zip)::(.+)", str(path), re.IGNORECASE | re.DOTALL)
    return (Path(found[1]), found[2]) if found else (Path(path), None)
