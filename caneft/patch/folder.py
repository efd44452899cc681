"""Applies patches to model folders on disk, in place, and restores the same bytes.

Before anything changes, an undo patch is written. Then every weight file that holds selected units is copied, changed
and renamed into its place, so a killed run leaves each file either as it was or as it will be; the undo patch
identifies both. It has its own folder, because servers load every *.safetensors beside the weights.
"""

import dataclasses
import re
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from caneft.errors import InputError
from caneft.models.manifests import UNDO, results_of
from caneft.patch.form import Patch, read, save
from caneft.patch.hashing import check_replaced, count_units, equal, tensor_hash, unit_hashes
from caneft.patch.weights import Place, check_dtype, find, read_slices
from caneft.storage.files import atomic_write

Slices = tuple[dict[str, torch.Tensor], ...]


def apply(folder: str | Path, path: str | Path, undo: str | Path | None = None, force: bool = False) -> Patch:
    """Puts a patch into a folder's weight files. Returns the patch. After a kill, the same call resumes.

    undo: the patch that brings the old bytes back; by default caneft/undo.safetensors in the folder. force: changes a
    model of the workflow's results too, whose jobs then refuse it. Raises InputError for other weights than those that
    the patch replaces, and for an undo patch of something else.
    """
    folder, patch = Path(folder), read(path)
    if not force and (results := results_of(folder)):
        raise InputError(
            f"{folder} belongs to the results in {results}, which know it by its checksums: jobs would refuse it, and"
            " so would `verify`. Apply the patch to a copy of it, or make a new folder with `patch merge`; --force"
            " applies it here"
        )
    undo = Path(undo) if undo else folder / UNDO
    places = find(folder, str(path), patch)
    remedy = "`merge` makes a folder in the patch's dtype"
    check_dtype(str(path), patch, places, remedy)
    with _alone(folder, places, undo):
        present = read_slices(places)
        if undo.exists():
            back = read(undo)
            _check_pair(undo, back, path, patch)
            _check_either(folder, back, present)
        else:
            check_replaced(str(path), patch, unit_hashes(patch.neurons, present, patch.axes))
            save(undo, _inverse(patch, present))
        _put(places, present, patch.slices)
    return patch


def revert(folder: str | Path, undo: str | Path | None = None) -> Patch:
    """Restores the bytes that `apply` replaced, even if it was killed. Removes an undo patch in the default place.

    Raises InputError for weights that are neither the undo patch's nor those that it replaces.
    """
    folder, own = Path(folder), undo is None
    undo = folder / UNDO if own else Path(undo)
    if own and not undo.exists():
        raise InputError(f"{undo} does not exist: no patch was applied to {folder}, or its undo patch is elsewhere")
    back = read(undo)
    if back.applied is None:
        raise InputError(f"{undo} is a patch, but not one that `apply` left to undo another")
    places = find(folder, str(undo), back)
    check_dtype(str(undo), back, places, "It belongs to another folder")
    with _alone(folder, places, undo):
        present = read_slices(places)
        _check_either(folder, back, present)
        _put(places, present, back.slices)
        if own:
            undo.unlink()
    return back


@contextmanager
def _alone(folder: Path, places: list[dict[str, Place]], undo: Path) -> Iterator[None]:
    """Keeps other processes out of a folder, and removes what killed ones left unfinished."""
    aside = folder / UNDO.parent
    aside.mkdir(exist_ok=True)
    lock = FileLock(aside / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is at work in {folder}; wait for it") from None
    try:
        for file in {place.stored.file for of_layer in places for place in of_layer.values()} | {undo}:
            unfinished = re.compile(rf"\.{re.escape(file.stem)}\.\d+{re.escape(file.suffix)}")  # by `atomic_write`
            for left in file.parent.glob(".*"):
                if unfinished.fullmatch(left.name):
                    left.unlink()
        yield
    finally:
        if [left.name for left in aside.iterdir()] == ["lock"]:
            shutil.rmtree(aside)  # while it is locked
        lock.release()


def _inverse(patch: Patch, present: Slices) -> Patch:
    """The patch that restores `present`. `applied` identifies each tensor, even if others of its unit differ."""
    applied = {
        f"layers.{layer}.{name}": tensor_hash(tensor)
        for layer, slices in enumerate(patch.slices)
        for name, tensor in slices.items()
    }
    return dataclasses.replace(patch, slices=present, replaced=patch.hashes(), applied=applied)


def _check_pair(undo: Path, back: Patch, path: str | Path, patch: Patch) -> None:
    """Raises InputError unless the existing undo patch undoes this patch."""
    same = back.applied is not None and back.neurons == patch.neurons
    pairs = [(back.replaced, patch.hashes()), (patch.replaced, back.hashes())] if same else []
    if not same or not all(units.all() for a, b in pairs for units in equal(a, b)):
        raise InputError(f"{undo} undoes another patch than {path}. Revert that one first, or name another --undo")


def _check_either(folder: Path, back: Patch, present: Slices) -> None:
    """Raises InputError unless every unit is as before the patch or as after it.

    A unit with one weight file changed and another not yet is neither, but each of its tensors is one or the other.
    """
    hashes = unit_hashes(back.neurons, present, back.axes)
    known = [old | new for old, new in zip(equal(hashes, back.hashes()), equal(hashes, back.replaced), strict=True)]
    for layer, slices in enumerate(present):
        if all(
            tensor_hash(tensor) in (tensor_hash(back.slices[layer][name]), back.applied[f"layers.{layer}.{name}"])
            for name, tensor in slices.items()
        ):
            known[layer][:] = True
    if not all(units.all() for units in known):
        differ = count_units(back.neurons, [~units for units in known])
        raise InputError(f"{folder} holds neither what was there before the patch nor the patch itself: {differ}")


def _put(places: list[dict[str, Place]], present: Slices, wanted: Slices) -> None:
    """Writes slices into the weight files, one file after the other, and only those that differ."""
    changes = defaultdict(list)
    for of_layer, old, new in zip(places, present, wanted, strict=True):
        for name, place in of_layer.items():
            if tensor_hash(old[name]) != tensor_hash(new[name]):
                changes[place.stored.file].append((place, new[name]))
    for file, of_file in changes.items():
        with atomic_write(file) as beside:
            shutil.copy2(file, beside)
            for place, slices in of_file:
                place.write(slices, beside)
