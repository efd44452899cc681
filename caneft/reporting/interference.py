"""The table of interference, a domain × domain matrix: how training on one domain changes the scores of the others."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import printed
from caneft.reporting.inputs import BLOCK, Block, matrices
from caneft.reporting.labels import METRICS, label, signed
from caneft.reporting.layout import BEST, Cell, Column, Table
from caneft.reporting.measures import to_base

ABSENT = "No table of interference: no method is trained on a single domain, or there is no base to compare with."
COLUMNS = ["model", "direction", "variant", "method", "metric", "mixture", "trained_on", "domain", "seen", "base"]
COLUMNS += ["difference_mean", "difference_std", "n_seeds"]


def interference_table(plan: Plan, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, direction, variant, mixture and test domain: the difference to base in the headline metric.

    Columns: model, direction, variant, method, metric, mixture, trained_on (domains, separated by spaces), domain
    (tested on), seen, base (its score), difference_mean and difference_std (over seeds; base is one run), n_seeds.
    Mixtures: those of one domain, then the first that has all these domains, if there is one.
    """
    parts = [pd.DataFrame(columns=COLUMNS)]
    for blocks in matrices(plan):
        found = []
        for block in blocks:
            about = dict(zip(BLOCK, block, strict=True)) | {"trained_on": " ".join(plan.seen(*block[1:]))}
            found.append(to_base(plan, scores, block).assign(**about))
        single = [block for block in blocks if len(plan.seen(*block[1:])) == 1]
        for variant in dict.fromkeys(run.variant for block in single for run in plan.final_runs(*block)):
            parts += [rows[rows["variant"] == variant] for rows in found]
    return pd.concat([part for part in parts if len(part)] or parts[:1])[COLUMNS]


def row_name(plan: Plan, block: Block) -> str:
    """Name of a row of a matrix: the domain that is trained on, or the mixture if it has several."""
    seen = plan.seen(*block[1:])
    return label(plan, seen[0]) if len(seen) == 1 else f"mixture {block[2]}"


def interference_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed matrices, one per model, direction and variant."""
    metric = METRICS[plan.config.scoring.metrics[0]]
    for (*pair, variant), rows in table.groupby(["model", "direction", "variant"], sort=False):
        own = dict.fromkeys(rows.loc[rows["seen"], "domain"])
        columns = list(own | dict.fromkeys(rows["domain"]))
        seeds = rows["n_seeds"].max()
        yield Table(
            label="tab:interference-" + "-".join([*pair, variant]),
            title=f"Interference by {label(plan, variant)}, {', '.join(pair)}",
            caption=captions.said(
                plan,
                f"Difference to base in {metric}{f', mean over {seeds} seeds' if seeds > 1 else ''}. A row is what was"
                " trained on, a column what was tested on. Bold: the row's own domain; others: mean over all other"
                " domains.",
            ),
            columns=[Column("Trained on", numeric=False), *(Column(label(plan, d), "tested on") for d in columns)]
            + [Column("others", "mean")],
            rows=[
                _cells(plan, (*pair, mixture), part, columns) for mixture, part in rows.groupby("mixture", sort=False)
            ],
        )


def _cells(plan: Plan, block: Block, rows: pd.DataFrame, columns: list[str]) -> list[Cell]:
    """One mixture's row. A mixture of several domains has neither a bold cell nor a mean over other domains."""
    own, differences = (rows.set_index("domain")[name].reindex(columns) for name in ("seen", "difference_mean"))
    alone = rows["seen"].sum() == 1
    marks = [BEST if alone and seen is True else "" for seen in own.tolist()]
    others = rows.loc[~rows["seen"], "difference_mean"].mean() if alone else float("nan")
    cells = [Cell(printed(value, signed), mark=mark) for value, mark in zip(differences, marks, strict=True)]
    return [Cell(row_name(plan, block)), *cells, Cell(printed(others, signed))]
