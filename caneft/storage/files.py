"""Outputs appear whole or not at all: write beside, fsync, rename."""

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
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk is not said with the file's name
        raise
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Folder to fill, for libraries that write folders; its files go to `folder` when the block ends well.

    Each is on disk before it goes. What a killed process had begun is removed.
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
    """Folder in TMPDIR that goes when the block ends. Those of the same prefix that killed processes left go first.

    Each process holds a lock on its own: a folder without one is nobody's. Where there are no locks, all are left.
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
            if folder.exists():  # else another process took it for one that was left, before the lock
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
    """Takes the disk space of a file's whole size: a full disk is an OSError now, no SIGBUS when a map is written."""
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
    """Writes one JSON object a line, keys as they come, atomically."""
    with atomic_write(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def link(file: Path, place: Path) -> None:
    """Makes `place` the same file, which takes no room. Atomic. Raises OSError on a file system without hard links."""
    with atomic_write(place) as beside:
        beside.unlink(missing_ok=True)  # of a killed process with the same id
        os.link(file, beside)


def link_or_copy(file: Path, place: Path) -> None:
    """`link`, or a copy on a file system without hard links."""
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
    """The file on disk that a path is about, and the file in it: `texts.zip::train.de` is train.de in texts.zip."""
    found = re.fullmatch(r"(.+?\.zip)::(.+)", str(path), re.IGNORECASE | re.DOTALL)
    return (Path(found[1]), found[2]) if found else (Path(path), None)
