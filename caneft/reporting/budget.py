"""The table of budgets: variants that differ only in how much they train."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions, shown
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.results import BLOCK, of_block
from caneft.reporting.tables import NONE, SEEN, UNSEEN, score_cells

ABSENT = "No table of budgets: no two variants of a method differ in how much they train alone."
BY_CONSENSUS = ("caneft", "caneft-attention")
"""Methods whose gamma is a cut: of other criteria it is only the smallest consensus that happens to be selected."""
COLUMNS = ["trainable_parameters", "share", "neurons", "fraction", "gamma", "n_seeds"]
STATISTICS = [f"{average}_{name}" for average in (SEEN, UNSEEN) for name in ("mean", "std")]


def budget_table(plan: Plan, main: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row per shown block and variant, by series and trained parameters, in the headline metric.

    A series are the variants of one method that differ in nothing but their budget, of which there are at least two.
    main: from `tables.main_table`; records: from `results`. Columns: model, direction, mixture, series (its variant
    that is first in the configuration), variant, method, metric, trainable_parameters, share (of the model's), neurons,
    fraction and gamma in nats (means over seeds; missing where none are selected), n_seeds, and mean and standard
    deviation over seeds of average_seen and average_unseen.
    """
    rows = []
    for block in plan.shown_blocks():
        found = of_block(main, block)
        headline = found[found["metric"] == plan.config.scoring.metrics[0]].set_index("variant", drop=False)
        for series in (kind.variants for kind in shown.kinds(plan, block) if kind.budgets > 1):
            points = [_row(headline.loc[v], of_block(records, block).query("variant == @v"), series[0]) for v in series]
            points.sort(key=lambda row: row["trainable_parameters"])
            rows += points if points[0]["trainable_parameters"] < points[-1]["trainable_parameters"] else []
    frame = pd.DataFrame(rows, columns=[*BLOCK, "series", "variant", "method", "metric", *COLUMNS, *STATISTICS])
    kinds = dict.fromkeys(["share", "fraction", "gamma", *STATISTICS], "Float64")
    return frame.astype(kinds | {"trainable_parameters": "Int64", "neurons": "Int64"})


def _row(main: pd.Series, records: pd.DataFrame, series: str) -> dict:
    means = records[["trainable", "total", "neurons", "fraction", "gamma"]].mean()
    return {name: main[name] for name in (*BLOCK, "variant", "method", "metric", "n_seeds", *STATISTICS)} | {
        "series": series,
        "trainable_parameters": round(means["trainable"]),
        "share": means["trainable"] / means["total"],
        "neurons": pd.NA if pd.isna(means["neurons"]) else round(means["neurons"]),
        "fraction": means["fraction"],
        "gamma": means["gamma"],
    }


def stored(table: pd.DataFrame) -> pd.DataFrame:
    """The budgets as they are stored: gamma, which may be very small, in full. table: from `budget_table`."""
    return table.assign(gamma=table["gamma"].map("{:.6g}".format, na_action="ignore"))


def budget_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The budgets as they are printed: one table per shown block. table: from `budget_table`."""
    for block, rows in table.groupby(BLOCK, sort=False):
        yield _budgets(plan, block, rows)


def _budgets(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    averages = {SEEN: "seen", UNSEEN: "unseen"} if plan.unseen(*block[1:]) else {SEEN: "seen"}
    metric = METRICS[rows["metric"].iloc[0]]
    sentences = [
        f"Variants of a method that differ in how much they train alone. {metric} is an average over domains.",
        "Share: of all FFN neurons (or heads). Gamma: the consensus MI, in nats, from which on neurons are selected."
        if rows["neurons"].notna().any()
        else "",
        captions.seeds(plan),
        "The best score of a column is bold, the second underlined.",
        plan.config.report.note.strip(),
    ]
    cells = {average: score_cells(rows, average) for average in averages}
    return Table(
        label="tab:budget-" + "-".join(block),
        title=f"Budgets of {block[0]}, {block[1]}, mixture {block[2]}",
        caption=" ".join(filter(None, sentences)),
        columns=[Column("Method", numeric=False), Column("parameters", "trained"), Column("% of all", "trained")]
        + [Column("number", "neurons"), Column("share (%)", "neurons"), Column("gamma", "neurons")]
        + [Column(name, metric) for name in averages.values()],
        rows=[
            [Cell(label(plan, row.variant)), *_sizes(row), *(cells[average][i] for average in averages)]
            for i, row in enumerate(rows.itertuples())
        ],
    )


def _sizes(row) -> list[Cell]:
    gamma = NONE if pd.isna(row.gamma) or row.method not in BY_CONSENSUS else f"{row.gamma:.4f}"
    return [
        Cell(f"{row.trainable_parameters:,}"),
        Cell(f"{100 * row.share:.1f}"),
        Cell(NONE if pd.isna(row.neurons) else f"{row.neurons:,}"),
        Cell(NONE if pd.isna(row.fraction) else f"{100 * row.fraction:.1f}"),
        Cell(gamma),
    ]
