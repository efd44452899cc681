"""Finds the GGUF file of a base model: at a path, or in an installed package and the packages with its other parts."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from caneft.config import Model
from caneft.errors import InputError

SUFFIX, PART = ".gguf", ".gguf.part"


def gguf_files(model: Model, resolve: Callable[[str], Path]) -> list[Path]:
    """The GGUF file of a model, or its parts in order. Raises InputError if there is none, or more than one."""
    if model.package is None:
        return [resolve(model.path).resolve()]
    folders = list(_folders(model.package))
    whole = sorted(file for folder in folders for file in folder.rglob(f"*{SUFFIX}"))
    split = sorted((file for folder in folders for file in folder.rglob(f"*{PART}*")), key=lambda file: file.name)
    if len(whole) > 1 or len({file.name.partition(PART)[0] for file in split}) > 1:
        listed = ", ".join(str(file) for file in whole or split)
        raise InputError(f"models.*.package {model.package} holds several models; name one as models.*.path: {listed}")
    if not whole and not split:
        raise InputError(
            f"models.*.package {model.package} holds neither a {SUFFIX} file nor parts of one ({PART}00, ...)"
        )
    return whole or split


def _folders(package: str) -> Iterator[Path]:
    """Folders of an installed package and of those with further parts of its file; none of them is imported."""
    number = 0
    while spec := find_spec(f"{package}_part{number}" if number else package):
        yield from map(Path, spec.submodule_search_locations or ())
        number += 1
    if number == 0:
        raise InputError(
            f"models.*.package names {package}, which is not installed here. Install it into the environment that runs"
            f" the workflow: pip install {package.replace('_', '-')} (make real-packages has those of config/)"
        )
