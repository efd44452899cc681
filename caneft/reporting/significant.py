"""What tests of significance say, for tables: intervals of scores, signs beside them, and the table of differences.

A family of comparisons is one printed table: p values are adjusted over it by Holm's method.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from caneft.config.metrics import MEASURES, is_better
from caneft.config.names import AVERAGE_ALL, AVERAGE_SEEN, AVERAGE_UNSEEN
from caneft.plan import Plan, comparison
from caneft.reporting.inputs import Block
from caneft.reporting.labels import label, metric_label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.reading import checked, naming, number, read_json, text
from caneft.reporting.results import BLOCK, SCALE, of_block
from caneft.scoring.significance import LEAST_RUNS, holm

BETTER, WORSE, BEST_RIVAL = "†", "↓", "‡"
"""Than the baseline; and on the better one of the method and its best rival."""
SCALED = ["difference", "low", "high", "se_segments", "se_runs"]
COLUMNS = ["metric", "a", "b", "column", *SCALED[:3], "p", *SCALED[3:], "df", "p_runs"]
RUNS, SEGMENTS = "runs", "segments"
"""Tests behind the signs of a table: of methods, of which there are several runs, or of the outputs that there are."""
ABSENT = "No tests of significance: there is no baseline and no method to compare the others with."
RANKED = {"dev_loss": "by the loss on dev", "exact": "by exact match on dev", "chrf": "by chrF2 on dev"}


Intervals = dict[tuple, tuple[float, float]]
"""Ends of 95 % intervals of scores, by block, metric, variant and column."""


class Signs(NamedTuple):
    """Signs of one main table by variant and column; what they mean, and which test says so."""

    by_cell: dict[tuple[str, str], str]
    meaning: str
    test: str

    @property
    def caption(self) -> str:
        return f"{self.meaning}: {self.test} of this table." if self.meaning else ""


def comparisons(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per shown block, metric, comparison and column, neural metrics times 100.

    Columns: model, direction, mixture, metric, a, b, column (a domain or an average), difference (a less b), low, high
    (95 % bootstrap interval over segments), p (of segments), se_segments and se_runs (both parts of the standard
    error), df (degrees of freedom of the latter), p_runs (of methods); the last three are missing under three seeds. No
    p is adjusted.
    """
    rows = []
    for block in plan.shown_blocks():
        with naming(Path(root) / comparison.path(block)):
            for metric, entry in _read(root, block)["metrics"].items():
                for found in entry["comparisons"]:
                    about = {name: text(found[name]) for name in ("a", "b", "column")}
                    about |= {name: number(found[name]) for name in ("p", "p_runs")}
                    about |= {name: SCALE.get(metric, 1) * number(found[name]) for name in SCALED}
                    about["df"] = checked(found["df"], int)
                    rows.append(dict(zip(BLOCK, block, strict=True)) | {"metric": metric} | about)
    return pd.DataFrame(rows, columns=[*BLOCK, *COLUMNS]).astype({"se_runs": float, "df": "Int64", "p_runs": float})


def intervals(plan: Plan, root: str | Path) -> Intervals:
    """Ends of the 95 % interval of a score by block, metric, variant and column, neural metrics times 100."""
    found = {}
    for block in plan.shown_blocks():
        with naming(Path(root) / comparison.path(block)):
            for metric, entry in _read(root, block)["metrics"].items():
                for variant, columns in entry["scores"].items():
                    for column, score in columns.items():
                        ends = (SCALE.get(metric, 1) * float(score[end]) for end in ("low", "high"))
                        found[*block, metric, variant, column] = tuple(ends)
    return found


def _best_rival(root: str | Path, block: Block) -> tuple[str | None, str | None]:
    """Best rival of the method in a block, and what it was ranked by; None where it has none."""
    found = _read(root, block)
    with naming(Path(root) / comparison.path(block)):
        if not found.get("rival"):
            return None, None
        return text(found["rival"]), text(found["rival_by"])


def _read(root: str | Path, block: Block) -> dict[str, Any]:
    return read_json(Path(root) / comparison.path(block), with_format=True)


def adjusted(rows: pd.DataFrame) -> pd.DataFrame:
    """One family of comparisons with two further columns: `test`, of runs where there are enough, and its `p_holm`."""
    test = RUNS if len(rows) and rows["p_runs"].notna().all() else SEGMENTS
    return rows.assign(test=test, p_holm=holm(rows["p_runs" if test == RUNS else "p"].tolist()))


def main_family(plan: Plan, block: Block, rows: pd.DataFrame, rival: str | None) -> pd.DataFrame:
    """What one main table compares: all with the baseline, and the method with its rival. rows: of one metric."""
    baseline, method = comparison.baseline(plan, block), comparison.method(plan, block)
    of_rival = (rows["a"] == method) & (rows["b"] == rival)
    return adjusted(rows[(rows["b"] == baseline) | of_rival])


def signs(plan: Plan, block: Block, family: pd.DataFrame, rival: str | None) -> dict[tuple[str, str], str]:
    """Signs by variant and column of one main table. family: from `main_family`."""
    baseline, method = comparison.baseline(plan, block), comparison.method(plan, block)
    significant = family[family["p_holm"] < plan.config.significance.alpha]
    found: dict[tuple[str, str], str] = {}
    for row in significant[significant["b"] == baseline].itertuples():
        found[row.a, row.column] = BETTER if _a_is_better(row) else WORSE
    for row in significant[(significant["a"] == method) & (significant["b"] == rival)].itertuples():
        winner = (row.a if _a_is_better(row) else row.b), row.column
        found[winner] = found.get(winner, "") + BEST_RIVAL
    return found


def _a_is_better(row) -> bool:
    return is_better(row.metric, row.difference, 0)


def of_main_tables(plan: Plan, root: str | Path, rows: pd.DataFrame) -> dict[tuple, Signs]:
    """Signs by shown block and metric. rows: from `comparisons`."""
    found = {}
    for block in plan.shown_blocks():
        rival, by = _best_rival(root, block)
        for metric, part in of_block(rows, block).groupby("metric", sort=False):
            family = main_family(plan, block, part, rival)
            if len(family):
                of_cells, meaning = signs(plan, block, family, rival), _meaning(plan, block, rival, by)
                found[*block, metric] = Signs(of_cells, meaning, _tested(plan, family))
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
    """Which test stands behind the signs of a table. family: from `adjusted`."""
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
    """All comparisons with p adjusted over the printed table that they are part of. rows: from `comparisons`.

    The method against every other variant is the family of this table; what is left, every other variant against the
    baseline, is a second one. The signs of the main table have a family of their own: `main_family`.
    Columns: as of `comparisons`, test (`runs` or `segments`), p_holm (of that test), family (`method` or `baseline`).
    """
    parts = []
    for (*block, _), part in rows.groupby([*BLOCK, "metric"], sort=False):
        with_method = part["a"] == comparison.method(plan, tuple(block))
        for family, chosen in (("method", part[with_method]), ("baseline", part[~with_method])):
            parts.append(adjusted(chosen).assign(family=family))
    return pd.concat(parts) if parts else rows.assign(test=None, p_holm=None, family=None)


def stored(table: pd.DataFrame) -> pd.DataFrame:
    """As it is stored: a p that is small is written as such, in place of 0.0000."""
    return table.assign(**{name: table[name].map(_p, na_action="ignore") for name in ("p", "p_runs", "p_holm")})


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def significance_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The method minus every other variant, one table per shown block and metric. table: from `significance_table`."""
    for block in plan.shown_blocks():
        method = comparison.method(plan, block)
        for metric in plan.config.scoring.all:
            rows = of_block(table, block).query("metric == @metric and family == 'method'")
            if len(rows):
                yield _differences(plan, block, metric, method, rows)


def _differences(plan: Plan, block: Block, metric: str, method: str, rows: pd.DataFrame) -> Table:
    names = {
        AVERAGE_SEEN: ("average", "seen"),
        AVERAGE_UNSEEN: ("average", "unseen"),
        AVERAGE_ALL: ("average", "all"),
    }
    seen = plan.seen(*block[1:])
    found = list(dict.fromkeys(rows["column"]))
    in_order = [*seen, AVERAGE_SEEN, *plan.unseen(*block[1:]), AVERAGE_UNSEEN, AVERAGE_ALL]
    columns = [column for column in in_order if column in found]
    heads = [names.get(c) or (label(plan, c), "seen" if c in seen else "unseen") for c in columns]
    alpha, better = plan.config.significance.alpha, "Negative" if MEASURES[metric].lower_is_better else "Positive"
    said = (
        f"{better}: {label(plan, method)} is better. {BETTER} {_tested(plan, rows)}"
        " of this table. Both tests, intervals and standard errors are in significance.csv."
    )
    return Table(
        label="tab:significance-" + "-".join([*block, metric]),
        title=f"{label(plan, method)} minus every other method, {metric_label(plan, metric)}, {', '.join(block)}",
        caption=" ".join(filter(None, [said, plan.config.report.note.strip()])),
        columns=[Column("Against", numeric=False), *(Column(*head) for head in heads)],
        rows=[
            [Cell(label(plan, other)), *(_difference(part.set_index("column").loc[c], alpha) for c in columns)]
            for other, part in rows.groupby("b", sort=False)
        ],
    )


def _difference(row: pd.Series, alpha: float) -> Cell:
    text = f"{round(row['difference'], 1) + 0:+.1f}".replace("-", "−")
    return Cell(text, signs=BETTER if row["p_holm"] < alpha else "")
