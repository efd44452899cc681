"""The command line `python -m caneft verify`: finds missing and damaged files of a results folder.

Heavy files have a checksum in a sidecar. Others are only opened, or only have to exist: a change by hand is not seen.
"""

import argparse
import json
import shlex
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from caneft.errors import InputError
from caneft.storage import integrity

NO_RESULTS = ("logs", "benchmarks")
TEMPORARY = ("record.json", "model.safetensors")
"""A sidecar, and weights that it names but that may be gone: `keep_full_weights: false` does not keep them."""
AGAIN = (
    "Missing files: run the workflow again. Those that it does not make by itself it makes as targets:"
    " snakemake --cores all FILE ..."
)

Check = Callable[[Path], None]


def add(commands) -> None:
    """Adds `verify` to a parser's commands."""
    about = (
        "compare corpora, dumps, weights and translations with their checksums, only open other JSON and neuron sets,"
        " and list missing files"
    )
    parser = commands.add_parser("verify", help=about, description=about)
    parser.add_argument("results", type=Path, help="results folder (`results_root`), such as results")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Lists bad files, with what to delete, and missing files. Ends with exit code 1 if there are any."""
    from tqdm import tqdm  # late: --help needs neither it nor the configuration

    from caneft.commands import held
    from caneft.commands.finished import open_plan

    plan = open_plan(args.results)  # raises InputError if it is not a results folder
    checks, bad = _checks(args.results), []
    wanted = {args.results / name for name in held.files(plan)}
    missing = {path for path in wanted | set(checks) if path.is_relative_to(args.results) and not path.exists()}
    found = sorted(set(checks) - missing)
    with tqdm(total=sum(map(_size, found)), unit="B", unit_scale=True, mininterval=1, disable=None) as bar:
        for path in found:
            try:
                checks[path](path)
            except InputError as error:
                bad.append(str(error))
            bar.update(_size(path))
    print(*bad, *_listed(missing), sep="\n", end="\n" if bad or missing else "")
    if missing:
        print(AGAIN)
    opened = sum(checks[path] in OPENED.values() for path in found)
    print(
        f"{args.results}: {len(found) - opened} files compared with their checksums, {opened} without one (scores,"
        f" records, neuron sets) only opened, {len(bad)} bad, {len(missing)} missing"
    )
    if bad or missing:
        sys.exit(1)


def _listed(missing: set[Path]) -> Iterator[str]:
    """A line for each missing file, or one for a whole folder that is missing."""
    by_place = Counter(_place(path) for path in missing)
    for place, count in sorted(by_place.items()):
        yield f"{place}: missing" if place in missing else f"{place}: missing, and the {count} files that belong in it"


def _place(path: Path) -> Path:
    """The file itself, or the topmost missing folder above it."""
    return path if path.parent.exists() else _place(path.parent)


def _checks(root: Path) -> dict[Path, Check]:
    """The check for each file, including missing files that a sidecar names."""
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
    """Comparisons with the checksums of one sidecar; none if it is broken, which its own check reports."""
    try:
        sums = integrity.read(path)
    except InputError:
        return
    for name, expected in sums.items():
        if (path.name, name) != TEMPORARY or (path.parent / name).exists():
            yield _compared(path.parent, name, expected)


def _of_model(path: Path) -> Iterator[tuple[Path, Check]]:
    """The same for a base model, wherever its weights are. If any are gone, the check of its manifest reports it."""
    from caneft.models import manifests  # late: --help does not need the configuration

    try:
        manifest = manifests.read_manifest(path)
    except InputError:
        yield path, manifests.read_manifest
        return
    folder = Path(manifest["folder"])
    folder = path.parent if folder == path.parent.resolve() else folder
    for name, expected in (manifest["weights"] | manifest.get(integrity.KEY, {})).items():
        yield _compared(folder, name, expected, remedy=manifests.remedy(manifest))


def _compared(folder: Path, name: str, expected: str, remedy: str | None = None) -> tuple[Path, Check]:
    """The comparison of one file. In a folder with an applied patch, the remedy for changed weights is to revert it."""
    from caneft.models.manifests import UNDO  # late: as above

    if name.endswith(".safetensors") and (folder / UNDO).exists():
        remedy = f"A patch is applied here. To take it out: python -m caneft patch revert {shlex.quote(str(folder))}"
    return folder / name, partial(integrity.compare, expected=expected, remedy=remedy)


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
    """Compares each array in an archive with the checksum that the archive has of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: broken archive: {error}. {integrity.AGAIN}") from None
    if broken:
        raise InputError(f"{path}: {broken} in it is not what was written. {integrity.AGAIN}")


OPENED: dict[str, Check] = {".json": _open_json, ".jsonl": _open_lines, ".npz": _open_archive}
"""Checks, by suffix, for files whose checksum is in no sidecar."""
