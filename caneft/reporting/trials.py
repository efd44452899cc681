"""The table of trials: what every learning rate of every grid reached, and which one was chosen."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label, scientific
from caneft.reporting.layout import BEST, Cell, Column, Table
from caneft.reporting.results import AVERAGES, BLOCK
from caneft.reporting.tables import NONE

ABSENT = "No table of trials: every learning rate is fixed by the configuration, none is chosen from a grid."
EDGES = {"low": "lowest", "high": "highest"}


def trial_table(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials as they are stored: rates in full. trials: from `results.trials`."""
    return trials.assign(learning_rate=trials["learning_rate"].map("{:g}".format))


def trial_tables(plan: Plan, trials: pd.DataFrame) -> Iterator[Table]:
    """The trials as they are printed: one table per block in which rates are chosen. trials: from `results.trials`."""
    for block, rows in trials.groupby(BLOCK, sort=False):
        yield _trials(plan, block, rows)


def _trials(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    metric, judge = METRICS[plan.config.scoring.metrics[0]], METRICS[plan.config.scoring.judge]
    shown = AVERAGES[: 2 if plan.unseen(*block[1:]) else 1]
    names = dict(zip(AVERAGES, ("seen", "unseen"), strict=True))
    caption = (
        f"{captions.trial_seeds(plan)} of each rate; scores are means over them and over domains. Behind: {judge} on"
        " dev below the highest of the grid, ± the standard error of that difference, from segments and seeds."
        " The lowest rate within one standard error of the highest is chosen; the final runs have other seeds."
        f" No choice depends on {metric} on the test sets."
    )
    return Table(
        label="tab:trials-" + "-".join(block),
        title=f"Trials of learning rates, {', '.join(block[:2])}, mixture {block[2]}",
        caption=" ".join(filter(None, [caption, plan.config.report.note.strip()])),
        columns=[
            Column("Method", numeric=False),
            Column("Learning rate"),
            Column(judge, "dev"),
            Column("behind", "dev"),
            *(Column(names[average], f"test {metric}") for average in shown),
            Column("Choice", numeric=False),
        ],
        rows=[_cells(plan, row, shown) for row in rows.to_dict("records")],
    )


def _cells(plan: Plan, row: dict, shown: list[str]) -> list[Cell]:
    mark = BEST if row["chosen"] else ""
    behind = Cell(_number(row["behind"]), "" if pd.isna(row["behind_se"]) else f"{row['behind_se']:.1f}")
    scores = [Cell(_number(row["dev"]), mark=mark), behind, *(Cell(_number(row[average])) for average in shown)]
    return [Cell(label(plan, row["variant"])), Cell(scientific(row["learning_rate"])), *scores, Cell(_choice(row))]


def _number(value: float) -> str:
    return NONE if pd.isna(value) else f"{value:.1f}"


def _choice(row: dict) -> str:
    if row["chosen"]:
        return f"chosen; the {EDGES[row['edge']]} of its grid" if pd.notna(row["edge"]) else "chosen"
    if pd.notna(row["dev"]):
        return ""
    return "diverged" if pd.isna(row["diverged_at"]) else f"diverged at step {row['diverged_at']}"
