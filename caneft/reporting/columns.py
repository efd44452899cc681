"""Columns of numbers, and the columns that several tables share: methods, and scores of domains and averages."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from caneft.config.names import AVERAGES
from caneft.plan import Block, Plan
from caneft.reporting.labels import label
from caneft.reporting.layout import NONE, Cell, Column, Printed, mark_best, words

SEEN, UNSEEN, ALL = AVERAGES
STATISTICS = [f"{average}_{name}" for average in (SEEN, UNSEEN) for name in ("mean", "std")]
"""Columns of the main table that other tables of the headline metric repeat."""


def numbers(name: str, values: Iterable[Any], form: str | Callable[[Any], str], group: str = "") -> Printed:
    """A column of numbers, each printed by `printed`."""
    return Column(name, group), [Cell(printed(value, form)) for value in values]


def printed(value: Any, form: str | Callable[[Any], str]) -> str:
    """A number in a format such as `.1f`, or printed by a function; a dash if it is missing."""
    if pd.isna(value):
        return NONE
    return form(value) if callable(form) else format(value, form)


def score_columns(plan: Plan, block: Block) -> dict[str, Column]:
    """Columns of the domains and averages that a block shows. A single domain has no average, which would repeat it."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    columns = {domain: Column(label(plan, domain), "seen") for domain in seen}
    columns |= {SEEN: Column("average", "seen")} if len(seen) > 1 else {}
    columns |= {domain: Column(label(plan, domain), "unseen") for domain in unseen}
    columns |= {UNSEEN: Column("average", "unseen")} if len(unseen) > 1 else {}
    return columns | ({ALL: Column("average", "all")} if unseen else {})


def averages(plan: Plan, block: Block) -> dict[str, str]:
    """Names of the averages over the seen and, if there are any, the unseen domains."""
    return {SEEN: "seen", UNSEEN: "unseen"} if plan.unseen(*block[1:]) else {SEEN: "seen"}


def average_columns(plan: Plan, block: Block, rows: pd.DataFrame, group: str) -> list[Printed]:
    """Columns of these averages, from rows of the main table."""
    return [(Column(name, group), score_cells(rows, average)) for average, name in averages(plan, block).items()]


def methods(plan: Plan, variants: Iterable[str]) -> Printed:
    """The first column of most tables."""
    return words("Method", (label(plan, variant) for variant in variants))


def score_cells(
    rows: pd.DataFrame, name: str, signs: dict[tuple[str, str], str] | None = None, errors: bool = False
) -> list[Cell]:
    """Cells of one column: means (`{name}_mean`) with deviations over seeds (`{name}_std`); the best two are marked.

    signs: those of significance, by variant and column. errors: whether the metric counts errors. Then the lowest
    scores are best, and have two decimals, since they differ little.
    """
    form = ".2f" if errors else ".1f"
    texts = [format(mean, form) for mean in rows[f"{name}_mean"]]
    deviations = ["" if pd.isna(deviation) else format(deviation, form) for deviation in rows[f"{name}_std"]]
    beside = [(signs or {}).get((variant, name), "") for variant in rows["variant"]]
    return [Cell(*parts) for parts in zip(texts, deviations, mark_best(texts, lowest=errors), beside, strict=True)]
