"""Results of the tests of significance, for tables: intervals of scores, signs beside scores, the table of differences.

The comparisons of one printed table are a family: their p values are adjusted together, by Holm's method.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from caneft.config.metrics import MEASURES, is_better
from caneft.plan import Plan, comparison
from caneft.reporting import captions
from caneft.reporting.columns import score_columns
from caneft.reporting.inputs import Block
from caneft.reporting.labels import label, metric_label, signed
from caneft.reporting.layout import Cell, Table, of_columns, words
from caneft.reporting.measures import of_block
from caneft.reporting.reading import checked, number, opened, text
from caneft.reporting.results import BLOCK, SCALE
from caneft.scoring.significance import LEAST_RUNS, holm

BETTER, WORSE, BEST_RIVAL = "†", "↓", "‡"
"""Signs: better and worse than the baseline; and the mark of the better one of the method and its best rival."""
SCALED = ["difference", "low", "high", "se_segments", "se_runs"]
COLUMNS = ["metric", "a", "b", "column", *SCALED[:3], "p", *SCALED[3:], "df", "p_runs"]
RUNS, SEGMENTS = "runs", "segments"
"""Tests behind the signs of a table: of methods, from several runs each, or only of the outputs at hand."""
ABSENT = "No tests of significance: there is no baseline and no method to compare the others with."
RANKED = {"dev_loss": "by the loss on dev", "exact": "by exact match on dev", "chrf": "by chrF2 on dev"}


Intervals = dict[tuple, tuple[float, float]]
"""Ends of 95 % intervals of scores, by block, metric, variant and column."""


class Signs(NamedTuple):
    """Signs of one main table by variant and column, with what they mean and the test behind them."""

    by_cell: dict[tuple[str, str], str]
    meaning: str
    test: str

    @property
    def caption(self) -> str:
        return f"{self.meaning}: {self.test} of this table." if self.meaning else ""


def comparisons(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per shown block, metric, comparison and column; neural metrics are multiplied by 100.

    Columns: model, direction, mixture, metric, a, b, column (a domain or an average), difference (a less b), low, high
    (95 % bootstrap interval over segments), p (of segments), se_segments and se_runs (the two parts of the standard
    error), df (degrees of freedom of the latter), p_runs (of methods). The last three are missing with fewer than three
    seeds. No p is adjusted.
    """
    rows = []
    for block in plan.shown_blocks():
        with tests(root, block) as tested:
            for metric, entry in tested["metrics"].items():
                for found in entry["comparisons"]:
                    about = {name: text(found[name]) for name in ("a", "b", "column")}
                    about |= {name: number(found[name]) for name in ("p", "p_runs")}
                    about |= {name: SCALE.get(metric, 1) * number(found[name]) for name in SCALED}
                    about["df"] = checked(found["df"], int)
                    rows.append(dict(zip(BLOCK, block, strict=True)) | {"metric": metric} | about)
    return pd.DataFrame(rows, columns=[*BLOCK, *COLUMNS]).astype({"se_runs": float, "df": "Int64", "p_runs": float})


def intervals(plan: Plan, root: str | Path) -> Intervals:
    """Ends of each score's 95 % interval by block, metric, variant and column; neural metrics are multiplied by 100."""
    found = {}
    for block in plan.shown_blocks():
        with tests(root, block) as tested:
            for metric, entry in tested["metrics"].items():
                for variant, columns in entry["scores"].items():
                    for column, score in columns.items():
                        ends = (SCALE.get(metric, 1) * float(score[end]) for end in ("low", "high"))
                        found[*block, metric, variant, column] = tuple(ends)
    return found


def tests(root: str | Path, block: Block) -> AbstractContextManager[dict[str, Any]]:
    """Opens a block's file of significance."""
    return opened(Path(root) / comparison.path(block), with_format=True)


def adjusted(rows: pd.DataFrame) -> pd.DataFrame:
    """One family of comparisons with two more columns: `test` (of runs if there are enough), and its `p_holm`."""
    test = RUNS if len(rows) and rows["p_runs"].notna().all() else SEGMENTS
    return rows.assign(test=test, p_holm=holm(rows["p_runs" if test == RUNS else "p"].tolist()))


def of_main_tables(plan: Plan, root: str | Path, rows: pd.DataFrame) -> dict[tuple, Signs]:
    """Signs by shown block and metric. rows: from `comparisons`.

    A main table compares all variants with the baseline, and the method with its best rival: these are one family.
    """
    found = {}
    for block in plan.shown_blocks():
        baseline, method = comparison.baseline(plan, block), comparison.method(plan, block)
        rival, by = best_rival(root, block)
        for metric, part in of_block(rows, block).groupby("metric", sort=False):
            family = adjusted(part[(part["b"] == baseline) | ((part["a"] == method) & (part["b"] == rival))])
            if len(family):
                signs = _signs(family[family["p_holm"] < plan.config.significance.alpha], baseline, method, rival)
                found[*block, metric] = Signs(signs, _meaning(plan, block, rival, by), _tested(plan, family))
    return found


def best_rival(root: str | Path, block: Block) -> tuple[str | None, str | None]:
    """The method's best rival in a block, and what rivals were ranked by; None for both without a rival."""
    with tests(root, block) as found:
        if not found.get("rival"):
            return None, None
        return text(found["rival"]), text(found["rival_by"])


def _signs(
    significant: pd.DataFrame, baseline: str | None, method: str | None, rival: str | None
) -> dict[tuple[str, str], str]:
    """Signs by variant and column of one main table."""
    better = [is_better(row.metric, row.difference, 0) for row in significant.itertuples()]
    rows = list(zip(significant.itertuples(), better, strict=True))
    found = {(row.a, row.column): BETTER if better else WORSE for row, better in rows if row.b == baseline}
    for row, better in rows:
        if (row.a, row.b) == (method, rival):
            winner = (row.a if better else row.b), row.column
            found[winner] = found.get(winner, "") + BEST_RIVAL
    return found


def _meaning(plan: Plan, block: Block, rival: str | None, by: str | None) -> str:
    """What the signs of one main table mean. by: what the rival was ranked by."""
    baseline, method = comparison.baseline(plan, block), comparison.method(plan, block)
    parts = []
    if baseline is not None:
        parts.append(f"{BETTER} better, {WORSE} worse than {label(plan, baseline)}")
    if rival is not None:
        pair = f"{label(plan, method)} and its best rival {RANKED[by]}, {label(plan, rival)}"
        parts.append(f"{BEST_RIVAL} the better one of {pair}")
    return "; ".join(parts)


def _tested(plan: Plan, family: pd.DataFrame) -> str:
    """The test behind the signs of a table, in words. family: from `adjusted`."""
    section = plan.config.significance
    if set(family["test"]) == {RUNS}:
        df = family["df"].max()
        test = (
            f"Student's t with the error of segments and that of runs ({df} degrees of freedom), so that it speaks of"
            " the methods"
        )
    else:
        test = (
            f"paired approximate randomisation of segments ({section.resamples:,} resamples), which speaks of these"
            f" outputs and not of other runs of a method (that takes {LEAST_RUNS} seeds)"
        )
    return f"{test}; p < {section.alpha:g} after Holm's correction over the {len(family)} comparisons"


def significance_table(plan: Plan, rows: pd.DataFrame) -> pd.DataFrame:
    """All comparisons, with p adjusted within their family. rows: from `comparisons`.

    The printed table is one family: the method against every other variant. The other comparisons, of variants with
    the baseline, are a second one. The signs of the main table have their own family (`of_main_tables`).
    Columns: those of `comparisons`, test (`runs` or `segments`), p_holm (of that test), family (`method` or
    `baseline`).
    """
    parts = []
    for (*block, _), part in rows.groupby([*BLOCK, "metric"], sort=False):
        with_method = part["a"] == comparison.method(plan, tuple(block))
        for family, chosen in (("method", part[with_method]), ("baseline", part[~with_method])):
            parts.append(adjusted(chosen).assign(family=family))
    return pd.concat(parts) if parts else rows.assign(test=None, p_holm=None, family=None)


def stored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is stored: a small p as 1.2e-05, and not as 0.0000."""
    return table.assign(**{name: table[name].map(_p, na_action="ignore") for name in ("p", "p_runs", "p_holm")})


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def significance_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The method minus every other variant: a table per shown block and metric."""
    for block in plan.shown_blocks():
        for metric in plan.config.scoring.all:
            rows = of_block(table, block).query("metric == @metric and family == 'method'")
            if len(rows):
                yield _differences(plan, block, metric, rows)


def _differences(plan: Plan, block: Block, metric: str, rows: pd.DataFrame) -> Table:
    method, others = label(plan, comparison.method(plan, block)), rows["b"].unique()
    columns = [words("Against", (label(plan, other) for other in others))]
    for name, column in score_columns(plan, block).items():
        if name in set(rows["column"]):
            part = rows[rows["column"] == name].set_index("b").loc[others]
            signs = [BETTER if p < plan.config.significance.alpha else "" for p in part["p_holm"]]
            cells = [Cell(signed(value), signs=sign) for value, sign in zip(part["difference"], signs, strict=True)]
            columns.append((column, cells))
    better = "Negative" if MEASURES[metric].lower_is_better else "Positive"
    return of_columns(
        "tab:significance-" + "-".join([*block, metric]),
        f"{method} minus every other method, {metric_label(plan, metric)}, {', '.join(block)}",
        captions.said(
            plan,
            f"{better}: {method} is better. {BETTER} {_tested(plan, rows)}"
            " of this table. Both tests, intervals and standard errors are in significance.csv.",
        ),
        columns,
    )
