"""The prepared corpus: JSONL files of rows, and how the configured sources become them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from caneft.corpora.text import lines
from caneft.errors import InputError
from caneft.storage import bounded, integrity
from caneft.storage.bounded import parse
from caneft.storage.files import atomic_write, write_json

if TYPE_CHECKING:
    from caneft.config import Cleaning, Domain, Source

__all__ = [
    "HELD_OUT",
    "Row",
    "prepare",
    "prepare_pretraining",
    "read",
    "read_json",
    "read_testset",
    "write",
    "write_json",
]

HELD_OUT = {"train": ("dev", "test"), "dev": ("test",), "test": ()}
"""Each split with the splits whose sources it must not contain."""


class Row(NamedTuple):
    """A prepared pair. id: domain.split.line, e.g. `it.train.17`; domain: set if domains are mixed."""

    id: str
    source: str
    target: str
    domain: str | None = None


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Writes rows as JSONL in UTF-8, whole or not at all; fields in the order of `Row`, without those that are None."""
    with atomic_write(path) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            record = {field: value for field, value in row._asdict().items() if value is not None}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read(path: str | Path) -> list[Row]:
    """Rows of a prepared corpus; fields that `Row` lacks are ignored.

    Raises InputError naming file and line, or a file that differs from what its report says was written.
    """
    path = Path(path)
    for report in (path.with_name("report.json"), path.with_suffix(".report.json")):
        integrity.verify_beside(path, report)
    rows = []
    for number, text in lines(path):
        try:
            record = parse(text)
            row = Row(**{field: record[field] for field in Row._fields if field in record})
            if not all(isinstance(value, str) for value in row[: 3 + (row.domain is not None)]):
                raise TypeError("id, source, target and domain must be strings")
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{path}:{number}: not a row of a prepared corpus: {error}.\nDelete the file and run again."
            ) from None
        rows.append(row)
    return rows


def read_testset(domains: Sequence[str], paths: Sequence[str | Path]) -> dict[str, list[Row]]:
    """Rows of a test set by domain, in the order of `domains`.

    paths: a file for each domain, or one file of rows that carry their domain, as a mixture's dev pairs do. Raises
    InputError if a row belongs to none of the domains, or a domain has no row.
    """
    read_rows = [read(path) for path in paths]
    if len(paths) > 1 or not any(row.domain for row in read_rows[0]):
        if len(paths) != len(domains):
            raise InputError(f"{len(paths)} test corpora for {len(domains)} domains ({', '.join(domains)})")
        return dict(zip(domains, read_rows, strict=True))
    found: dict[str, list[Row]] = {domain: [] for domain in domains}
    for row in read_rows[0]:
        if row.domain not in found:
            raise InputError(f"{paths[0]}: {row.id} is of the domain {row.domain}, not of {', '.join(domains)}")
        found[row.domain].append(row)
    if missing := [domain for domain, rows in found.items() if not rows]:
        raise InputError(f"{paths[0]}: no row is of the domain {' or '.join(missing)}")
    return found


def read_json(path: str | Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises InputError naming file and line, or a format that this version does not read.
    """
    content = bounded.read_json(path)
    integrity.check_format(path, content)
    return content


def prepare(
    domain: "Domain",
    name: str,
    resolve: Callable[[str], Path],
    rules: "Cleaning | None" = None,
    languages: tuple[str, str] | None = None,
) -> tuple[dict[str, list[Row]], dict[str, dict]]:
    """Rows of a domain's splits and a report of each.

    Train and dev are cleaned, test is only normalised. The sources of this domain's dev and test are removed from
    train, those of its test from dev; then `limit` pairs are drawn. All pairs read for a split are held out, drawn or
    not; but if both splits read the same files, only the drawn ones. Other domains are not considered: see `mixing`.
    rules: by default those of an empty section `cleaning`. languages: codes of the two sides, if the rules need them.
    Report: `read`, `kept`, `dropped` by reason (these sum to `read`), `repaired` by kind, `leakage` by held-out split,
    `copies`, and for test `present`, the flaws that remain. Raises InputError if a source cannot be read or nothing of
    it is left.
    """
    from caneft.corpora import cleaning, readers  # late: jobs that read prepared rows do not need their imports

    sources = {split: source for split in HELD_OUT if (source := getattr(domain, split)) is not None}
    pairs, held_out, reports, rows = {}, {}, {}, {}
    for split, source in sources.items():
        found = list(readers.read(source, split, resolve))
        judge = cleaning.normalised if split == "test" else cleaning.clean
        pairs[split], reports[split] = judge(found, rules or cleaning.DEFAULTS, languages)
        held_out[split] = cleaning.held_out_forms(found) if split == "test" else pairs[split]
    for split, source in reversed(sources.items()):
        others = {other: held_out[other] for other in HELD_OUT[split] if other in sources}
        for other in others:
            if source.paths() and source.paths() == sources[other].paths():
                others[other] = _drawn(held_out[other], rows[other])
        rows[split] = _finish(pairs[split], others, source, f"{name}.{split}", reports[split])
    return {split: rows[split] for split in sources}, reports


def _drawn(pairs: Sequence, rows: Sequence[Row]) -> list:
    """The pairs that became rows."""
    numbers = {int(row.id.rpartition(".")[2]) for row in rows}
    return [pair for pair in pairs if pair.line in numbers]


def prepare_pretraining(
    source: "Source",
    name: str,
    resolve: Callable[[str], Path],
    rules: "Cleaning | None" = None,
    languages: tuple[str, str] | None = None,
) -> tuple[list[Row], dict]:
    """Rows of one pretraining source, cleaned and drawn, with ids `name.line`, and a report as for `prepare`."""
    from caneft.corpora import cleaning, readers

    found = readers.read(source, "train", resolve)
    pairs, report = cleaning.clean(found, rules or cleaning.DEFAULTS, languages)
    return _finish(pairs, {}, source, name, report), report


def _finish(pairs: list, held_out: Mapping[str, list], source: "Source", name: str, report: dict) -> list[Row]:
    """Removes leakage, draws, completes the report and makes rows."""
    from caneft.corpora import cleaning

    apart, leakage = cleaning.without_leakage(pairs, held_out)
    drawn = cleaning.sample(apart, source.limit, source.seed)
    report["dropped"] |= {"leakage": len(pairs) - len(apart), "limit": len(apart) - len(drawn)}
    report |= {"kept": len(drawn), "leakage": leakage, "copies": cleaning.copies(drawn)}
    if not drawn:
        files = " and ".join(source.paths()) or source.format
        dropped = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items() if count)
        reason = f"{report['read']} pairs read, dropped: {dropped}" if report["read"] else "nothing to read in it"
        raise InputError(f"corpus {name} ({files}): no pair is left ({reason}).\nName another file for this corpus.")
    return [Row(f"{name}.{pair.line}", pair.source, pair.target) for pair in drawn]
