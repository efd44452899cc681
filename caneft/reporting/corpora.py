"""The table of corpora: how much was read and dropped for which reason, by domain and split, and in each mixture.

The reasons are those of the reports: nothing here knows what cleaning looks for.
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
"""Entries of a report that come first in the table, in this order; the others follow."""
LIMIT = "Limit: not drawn."


def corpus_table(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per direction, domain and split: first the corpora, then the mixtures.

    Columns: direction, mixture (missing for a corpus), domain, split, and all counts of the reports, named by their
    path, such as `dropped.duplicate_pair` or `leakage.dev.leaked_pairs`; a count is missing if a report lacks it.
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
    """The counts of a report, each with its path: the keys that lead to it, joined by points."""
    for key, value in entry.items():
        yield from _flat(value, f"{above}{key}.") if isinstance(value, dict) else [(f"{above}{key}", value)]


def _order(name: str) -> tuple:
    first = name.split(".")[0]
    return (FIRST.index(first) if first in FIRST else len(FIRST), name)


def corpus_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed tables: one per direction and split, with a column for each domain, and one per mixture of several.

    Counts that are zero throughout have no line. A mixture of one domain has no table, since it loses no more than its
    corpus did.
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
        "leakage": f"Leakage: dropped as the source is in {held_out} of the same domain; pairs: with the same"
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
        "leakage": "Leakage: the source is in a held-out set of any domain of the mixture; pairs: with the same"
        " target. What leaks from several sets counts in each.",
        "dropped.limit": LIMIT,
    }
    columns = [Column(label(plan, row.domain), row.split) for row in rows.itertuples()]
    return _table(f"{direction}-{mixture}", f"Mixture {mixture} of {direction}", said, columns, rows)


def _table(name: str, title: str, said: dict[str, str], columns: list[Column], rows: pd.DataFrame) -> Table:
    """A transposed table, with a line for each count, since there are many reasons and few domains.

    said: sentences of the caption, each by the beginning of the counts that it explains.
    """
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
    """A count in words: `dropped.too_long` is `dropped: too long`, `leakage.dev.leaked_near` is `leakage dev: near`."""
    *first, last = count.split(".")
    return f"{' '.join(first)}: {last.removeprefix('leaked_').replace('_', ' ')}" if first else last
