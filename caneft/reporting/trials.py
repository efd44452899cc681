"""The table of trials: the scores of every learning rate of every grid, and which rate was chosen."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import averages, methods, numbers, printed
from caneft.reporting.labels import METRICS, scientific
from caneft.reporting.layout import BEST, NONE, Cell, Column, Table, of_columns, words
from caneft.reporting.results import BLOCK

ABSENT = "No table of trials: every learning rate is fixed by the configuration, none is chosen from a grid."
EDGES = {"low": "lowest", "high": "highest"}


def trial_table(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials as they are stored, with rates in full."""
    return trials.assign(learning_rate=trials["learning_rate"].map("{:g}".format))


def trial_tables(plan: Plan, trials: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per block in which rates are chosen."""
    metric, judge = METRICS[plan.config.scoring.metrics[0]], METRICS[plan.config.scoring.judge]
    tested = plan.config.trials.test_sets
    unused = f"No choice depends on {metric} on the test sets." if tested else "Trials did not translate the test sets."
    for block, rows in trials.groupby(BLOCK, sort=False):
        shown = averages(plan, block) if tested else {}
        marks = [BEST if chosen else "" for chosen in rows["chosen"]]
        errors = [printed(error, ".1f").replace(NONE, "") for error in rows["behind_se"]]
        dev, behind = ([printed(value, ".1f") for value in rows[name]] for name in ("dev", "behind"))
        yield of_columns(
            "tab:trials-" + "-".join(block),
            f"Trials of learning rates, {', '.join(block[:2])}, mixture {block[2]}",
            captions.said(
                plan,
                f"{captions.trial_seeds(plan)} of each rate; scores are means over them and over domains. Behind:"
                f" {judge} on dev below the highest of the grid, ± the standard error of that difference, from segments"
                " and seeds. The lowest rate within one standard error of the highest is chosen; the final runs have"
                f" other seeds. {unused}",
            ),
            [
                methods(plan, rows["variant"]),
                numbers("Learning rate", rows["learning_rate"], scientific),
                (Column(judge, "dev"), [Cell(text, mark=mark) for text, mark in zip(dev, marks, strict=True)]),
                (Column("behind", "dev"), [Cell(*pair) for pair in zip(behind, errors, strict=True)]),
                *(numbers(name, rows[average], ".1f", f"test {metric}") for average, name in shown.items()),
                words("Choice", map(_choice, rows.to_dict("records"))),
            ],
        )


def _choice(row: dict) -> str:
    if row["chosen"]:
        return f"chosen; the {EDGES[row['edge']]} of its grid" if pd.notna(row["edge"]) else "chosen"
    if pd.notna(row["dev"]):
        return ""
    return "diverged" if pd.isna(row["diverged_at"]) else f"diverged at step {row['diverged_at']}"
