"""The command line `python -m caneft verify`: whether the files of a results folder are what was written."""

import argparse
import json
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tqdm import tqdm

from caneft.errors import InputError
from caneft.storage import integrity

NO_RESULTS = ("logs", "benchmarks")
TEMPORARY = ("record.json", "model.safetensors")
"""Weights that are gone need not be missing: with `keep_full_weights: false` they are not kept."""

Check = Callable[[Path], None]


def add(commands) -> None:
    """Adds `verify` to a parser's commands."""
    about = "compare the files of a results folder with their checksums, and open those that have none"
    parser = commands.add_parser("verify", help=about, description=about)
    parser.add_argument("results", type=Path, help="results folder (`results_root`), such as results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Lists what is bad, with what to delete; ends with exit code 1 if anything is."""
    from caneft.commands.finished import open_plan  # late: --help without the configuration

    open_plan(args.results)  # refuses what is no results folder
    checks, bad = _checks(args.results), []
    with tqdm(total=sum(map(_size, checks)), unit="B", unit_scale=True, mininterval=1, disable=None) as bar:
        for path in sorted(checks):
            try:
                checks[path](path)
            except InputError as error:
                bad.append(str(error))
            bar.update(_size(path))
    print(*bad, f"{args.results}: {len(checks)} files compared or opened, {len(bad)} bad", sep="\n")
    if bad:
        sys.exit(1)


def _checks(root: Path) -> dict[Path, Check]:
    """What is done to each file; files that a sidecar names, and that are gone, are among them."""
    checks: dict[Path, Check] = {}
    for path in root.rglob("*"):
        parts = path.relative_to(root).parts
        shown = parts[0] not in NO_RESULTS and not any(part.startswith(".") for part in parts)
        if shown and path.suffix in OPENED and path.is_file():
            checks[path] = OPENED[path.suffix]
    for path in [path for path in checks if path.suffix == ".json"]:
        of_model = path.relative_to(root).parts[0] == "models" and path.name == "manifest.json"
        checks |= dict(_of_model(path) if of_model else _of_sidecar(path))
    return checks


def _of_sidecar(path: Path) -> Iterator[tuple[Path, Check]]:
    """Comparisons with the checksums of one sidecar; none where it is broken, which is said when it is opened."""
    try:
        sums = integrity.read(path)
    except InputError:
        return
    for name, expected in sums.items():
        if (path.name, name) != TEMPORARY or (path.parent / name).exists():
            yield path.parent / name, partial(integrity.compare, expected=expected)


def _of_model(path: Path) -> Iterator[tuple[Path, Check]]:
    """The same of a base model, wherever its weights lie; one of which something is gone is named by its manifest."""
    from caneft.models import manifests  # late: --help without the configuration

    try:
        manifest = manifests.read_manifest(path)
    except InputError:
        yield path, manifests.read_manifest
        return
    for name, expected in (manifest["weights"] | manifest.get(integrity.KEY, {})).items():
        place = Path(manifest["folder"]) / name
        yield place, partial(integrity.compare, expected=expected, remedy=manifests.remedy(manifest))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _open_json(path: Path) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}. {integrity.AGAIN}") from None


def _open_lines(path: Path) -> None:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                json.loads(line)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not one JSON object a line: {error}. {integrity.AGAIN}") from None


def _open_archive(path: Path) -> None:
    """Archives have a checksum of each array in them."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: broken archive: {error}. {integrity.AGAIN}") from None
    if broken:
        raise InputError(f"{path}: {broken} in it is not what was written. {integrity.AGAIN}")


OPENED: dict[str, Check] = {".json": _open_json, ".jsonl": _open_lines, ".npz": _open_archive}
"""How files are checked of which no sidecar has a checksum."""
