"""Output folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caneft.errors import InputError
from caneft.storage.files import sync


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """Yields a folder beside `out` to fill, which becomes `out` if the block succeeds and is removed if not.

    Raises InputError if `out` exists.
    """
    out = Path(out).absolute()
    if os.path.lexists(out):
        raise InputError(f"{out} exists already; remove it or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.name}.unfinished")
    try:
        beside.mkdir()
    except FileExistsError:
        raise InputError(
            f"{beside} exists: another process writes {out}, or one was killed. If so, remove it"
        ) from None
    try:
        yield beside
        for file in beside.rglob("*"):
            if file.is_file():
                sync(file)
        beside.rename(out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
