"""Explains failures outside the program: full disks, folders that may not be written, environments that lack a file."""

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
LEAST_ROOM = 1_000_000
"""Bytes; with less free space, a job may have had no room for its log, and so have left no message."""
AGAIN = "give the same command again: finished files are kept"


def in_words(error: BaseException) -> str | None:
    """Message for an error that the machine causes, with the place and the remedy; None for other errors."""
    for cause in _causes(error):
        if (number := _number(cause)) in FULL | NOT_WRITABLE:
            named = getattr(cause, "filename", None)
            place = named or "a file of this job, such as its log"
            if number in FULL:
                return f"{place}: no space left on the device. Make room and {AGAIN}."
            if named and Path(named).is_file() and not os.access(Path(named), os.R_OK):
                return f"{place}: may not be read (its rights do not let you). Make it readable and {AGAIN}."
            return f"{place}: may not be written (read-only, or not yours). Make it writable and {AGAIN}."
        inside = Path(getattr(cause, "filename", None) or "/").is_relative_to(sys.prefix)
        if isinstance(cause, ImportError) or (isinstance(cause, FileNotFoundError) and inside):
            return _environment()
    return None


def in_words_of(said: str) -> str | None:
    """Like `in_words`, for an error of which only the traceback is known; None if the machine does not cause it."""
    found = re.findall(r"^\w+Error: \[Errno (\d+)\] ([^:\n]*)(?:: '([^'\n]+)')?", said, re.MULTILINE)
    if not found:
        return None
    number, words, place = found[-1]
    return in_words(OSError(int(number), words, place or None))


def out_of_room(folder: str | Path) -> str | None:
    """Message for a folder whose disk is full; None for others."""
    if not Path(folder).exists() or shutil.disk_usage(folder).free >= LEAST_ROOM:
        return None
    return f"{folder}: no space left on the device. Make room and {AGAIN}."


def check_writable(files: Iterable[str | Path]) -> None:
    """Raises OSError naming a folder that may not be written: a file's folder, or the nearest parent that exists."""
    for folder in sorted({Path(file).parent for file in files}):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(there))


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and those that it came from, the first cause last."""
    found = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _number(error: BaseException) -> int | None:
    """The system's error number; libraries that are not written in Python give it only in their message."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    said = re.search(r"\(os error (\d+)\)", str(error))
    return int(said[1]) if said else errno.ENOSPC if "No space left on device" in str(error) else None


def _environment() -> str | None:
    """Message about what this Python's environment lacks, by its packages' own file lists; None if it is complete."""
    gone = [
        (str(file.locate()), f"{package.metadata['Name']} {package.version}")
        for package in distributions()
        for file in package.files or ()
        if ".." not in file.parts and file.suffix != ".pyc" and not file.locate().exists()
    ]
    if not gone:
        return None
    prefix, (path, package) = Path(sys.prefix), min(gone)
    more = f", and {len(gone) - 1} more files are missing" if len(gone) > 1 else ""
    again = (prefix / "whole.json").exists() or ".snakemake" in prefix.parts
    remedy = (
        f"Remove the folder {prefix} and run the same command again; it rebuilds the folder."
        if again
        else f"Rebuild the environment {prefix}: remove that folder and install requirements.txt as before"
        " (`make demo` does so for .venv)."
    )
    return f"{path}: this file of {package} is missing from the environment{more}. {remedy}"
