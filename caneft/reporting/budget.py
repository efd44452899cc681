"""The table of budgets: variants that differ only in how much they train."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions, shown
from caneft.reporting.columns import STATISTICS, average_columns, methods, numbers
from caneft.reporting.labels import METRICS
from caneft.reporting.layout import Table, of_columns
from caneft.reporting.measures import headline, of_block
from caneft.reporting.results import BLOCK

ABSENT = "No table of budgets: no two variants of a method differ only in how much they train."
BY_CONSENSUS = ("caneft", "caneft-attention")
"""Methods that cut at gamma: for other criteria, it is only the lowest consensus that happens to be selected."""
COLUMNS = ["trainable_parameters", "share", "neurons", "fraction", "gamma", "n_seeds"]


def budget_table(plan: Plan, main: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row per shown block and variant, by series and trained parameters, in the headline metric.

    A series is the variants of one method that differ only in their budget, with at least two different budgets.
    Columns: model, direction, mixture, series (its first variant in the configuration), variant, method, metric,
    trainable_parameters, share (of the model's parameters), neurons, fraction and gamma in nats (means over seeds;
    missing if none are selected), n_seeds, and mean and standard deviation over seeds of average_seen and
    average_unseen.
    """
    sizes = ["trainable", "total", "neurons", "fraction", "gamma"]
    means = records.groupby([*BLOCK, "variant"])[sizes].mean().reset_index()
    means = means.assign(share=means["trainable"] / means["total"], trainable=means["trainable"].round())
    found = headline(plan, main).drop(columns="trainable_parameters").merge(means, on=[*BLOCK, "variant"])
    found = found.rename(columns={"trainable": "trainable_parameters"}).assign(neurons=found["neurons"].round())
    parts = [found[:0].assign(series=None)]
    for block in plan.shown_blocks():
        rows = of_block(found, block).set_index("variant", drop=False)
        for series in (kind.variants for kind in shown.kinds(plan, block) if kind.budgets > 1):
            points = rows.loc[series].sort_values("trainable_parameters", kind="stable").assign(series=series[0])
            parts += [points] if points["trainable_parameters"].nunique() > 1 else []
    frame = pd.concat(parts)[[*BLOCK, "series", "variant", "method", "metric", *COLUMNS, *STATISTICS]]
    kinds = dict.fromkeys(["share", "fraction", "gamma", *STATISTICS], "Float64")
    return frame.astype(kinds | {"trainable_parameters": "Int64", "neurons": "Int64"})


def stored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is stored: gamma, which may be very small, with six digits."""
    return table.assign(gamma=table["gamma"].map("{:.6g}".format, na_action="ignore"))


def budget_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per shown block."""
    for block, rows in table.groupby(BLOCK, sort=False):
        metric = METRICS[rows["metric"].iloc[0]]
        units = "Share: of all FFN neurons (or heads). Gamma: the lowest consensus MI of a"
        yield of_columns(
            "tab:budget-" + "-".join(block),
            f"Budgets of {block[0]}, {block[1]}, mixture {block[2]}",
            captions.said(
                plan,
                f"Variants of a method that differ only in how much they train. {metric} is an average over domains.",
                f"{units} selected neuron, in nats." if rows["neurons"].notna().any() else "",
                captions.seeds(plan),
                captions.BEST_SCORE,
            ),
            [
                methods(plan, rows["variant"]),
                numbers("parameters", rows["trainable_parameters"], ",", "trained"),
                numbers("% of all", 100 * rows["share"], ".1f", "trained"),
                numbers("number", rows["neurons"], ",", "neurons"),
                numbers("share (%)", 100 * rows["fraction"], ".1f", "neurons"),
                numbers("gamma", rows["gamma"].where(rows["method"].isin(BY_CONSENSUS)), ".4f", "neurons"),
                *average_columns(plan, block, rows, metric),
            ],
        )
