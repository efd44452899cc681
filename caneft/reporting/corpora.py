"""The table of corpora: what was read, dropped and why, of every domain and split, and what mixtures took out.

Reasons are whatever the reports have: nothing here knows what cleaning looks for.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from caneft.corpora.store import HELD_OUT
from caneft.plan import Plan
from caneft.reporting import inputs
from caneft.reporting.columns import printed
from caneft.reporting.labels import label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.reading import checked, opened

KEYS = ["direction", "mixture", "domain", "split"]
FIRST = ["read", "dropped", "leakage", "kept", "copies"]
"""Entries of a report in the order of the table; others follow."""
LIMIT = "Limit: not drawn."


def corpus_table(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per direction, domain and split of the corpora, and then of the mixtures.

    Columns: direction, mixture (missing for a corpus), domain, split, and all counts of the reports, whose names are
    the way to them, `dropped.duplicate_pair` or `leakage.dev.leaked_pairs`; missing where a report has none.
    """
    rows = []
    for file in (*inputs.corpus_files(plan), *inputs.mixture_files(plan)):
        with opened(Path(root) / file.path) as found:
            entries = {(file.domain, split): found[split] for split in HELD_OUT if split in found}
            if file.mixture is not None:
                domains = itertools.product(plan.seen(file.direction, file.mixture), ("train", "dev"))
                entries = {(domain, split): found[split][domain] for domain, split in domains}
            for (domain, split), entry in entries.items():
                about = dict(zip(KEYS, (file.direction, file.mixture, domain, split), strict=True))
                rows.append(about | {name: int(checked(value, int)) for name, value in _flat(entry)})
    frame = pd.DataFrame(rows)
    counts = sorted((name for name in frame.columns if name not in KEYS), key=_order)
    return frame[[*KEYS, *counts]].astype(dict.fromkeys(counts, "Int64"))


def _flat(entry: dict, above: str = "") -> Iterator[tuple[str, Any]]:
    """Counts of a report by the way to them, with points between."""
    for key, value in entry.items():
        yield from _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(f"{above}{key}", value)]


def _order(name: str) -> tuple:
    first = name.split(".")[0]
    return (FIRST.index(first) if first in FIRST else len(FIRST), name)


def corpus_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The counts as they are printed, a line for every count that is not zero throughout: tables of each split of a
    direction, with a column a domain, and of each mixture of several domains.

    A mixture of one domain loses no more than its corpus did. table: from `corpus_table`.
    """
    for direction, rows in table.groupby("direction", sort=False):
        corpora, mixtures = rows[rows["mixture"].isna()], rows[rows["mixture"].notna()]
        for split, part in corpora.groupby("split", sort=False):
            yield _corpora(plan, direction, split, part)
        for name, part in mixtures.groupby("mixture", sort=False):
            if len(plan.seen(direction, name)) > 1:
                yield _mixture(plan, direction, name, part)


def _corpora(plan: Plan, direction: str, split: str, rows: pd.DataFrame) -> Table:
    held_out = " or ".join(HELD_OUT[split])
    said = {
        "": "Test sets are normalised and never filtered: what cleaning would have dropped is counted as present."
        if split == "test"
        else "",
        "dropped": "Dropped is what was read and not kept; a pair counts for the first reason that it meets.",
        "leakage": f"Leakage: dropped as the source stands in {held_out} of the same domain; pairs: with the same"
        f" target.{' A pair that leaks from both counts in both.' if len(HELD_OUT[split]) > 1 else ''}",
        "dropped.limit": LIMIT,
        "copies": "Copies: kept pairs whose target is their source.",
    }
    columns = [Column(label(plan, domain)) for domain in rows["domain"]]
    return _table(f"{direction}-{split}", f"Corpora of {direction}: {split}", said, columns, rows)


def _mixture(plan: Plan, direction: str, mixture: str, rows: pd.DataFrame) -> Table:
    rows = rows.sort_values("split", key=lambda splits: splits.map(list(HELD_OUT).index), kind="stable")
    said = {
        "": "Of what the corpora kept, what the mixture draws.",
        "leakage": "Leakage: the source stands in a held-out set of any domain of the mixture; pairs: with the same"
        " target. What leaks from several sets counts in each.",
        "dropped.limit": LIMIT,
    }
    columns = [Column(label(plan, row.domain), row.split) for row in rows.itertuples()]
    return _table(f"{direction}-{mixture}", f"Mixture {mixture} of {direction}", said, columns, rows)


def _table(name: str, title: str, said: dict[str, str], columns: list[Column], rows: pd.DataFrame) -> Table:
    """Transposed: a line for each count, as there are many reasons and few domains. said: by how a count begins."""
    counts = [count for count in rows.columns if count not in KEYS and rows[count].fillna(0).any()]
    sentences = [text for first, text in said.items() if text and any(count.startswith(first) for count in counts)]
    return Table(
        label=f"tab:corpora-{name}",
        title=title,
        caption=" ".join(sentences),
        columns=[Column("Pairs", numeric=False), *columns],
        rows=[[Cell(_words(count)), *(Cell(printed(value, ",")) for value in rows[count])] for count in counts],
    )


def _words(count: str) -> str:
    """`dropped.too_long` is `dropped: too long`; of leakage the held-out set comes first."""
    *first, last = count.split(".")
    return f"{' '.join(first)}: {last.removeprefix('leaked_').replace('_', ' ')}" if first else last
