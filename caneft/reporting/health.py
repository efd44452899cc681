"""The table of decoding health: outputs that are empty, cut, over-long or in a wrong language, counted."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.results import BLOCK, FLAGS, of_block
from caneft.reporting.tables import NONE

ABSENT = "No table of decoding health: no output is empty, cut at the length limit, over-long or in a wrong language."
HEADERS = {"empty": "empty", "truncated": "cut", "overlong": "over-long", "wrong_language": "wrong language"}


def health_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per block, variant and domain: sums over seeds. scores: from `results.scores`.

    Columns: model, direction, mixture, variant, method, domain, seen, n_seeds, segments, empty, truncated, overlong,
    wrong_language (missing where the target language cannot be told). Copy is left out: it is no output of a model.
    """
    one_metric = scores[(scores["method"] != COPY) & (scores["metric"] == scores["metric"].iloc[0])]
    keys = [*BLOCK, "variant", "method", "domain", "seen"]
    found = one_metric.groupby(keys, sort=False)
    sums = found[["segments", *FLAGS]].sum(min_count=1).astype("Int64")
    sums.insert(0, "n_seeds", found.size())
    return sums.reset_index()


def health_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The counts as they are printed: one table per shown block in which something is wrong. table: from above."""
    for block in plan.shown_blocks():
        rows = of_block(table, block)
        sums = rows.groupby(["variant", "seen"], sort=False)[["segments", *FLAGS]].sum(min_count=1)
        wrong = sums[sums[FLAGS].sum(axis=1) > 0]
        if len(wrong):
            yield _health(plan, block, wrong.reset_index(), rows["variant"].nunique())


def _health(plan: Plan, block: Block, rows: pd.DataFrame, variants: int) -> Table:
    fine = variants - rows["variant"].nunique()
    seeds = len(plan.config.seeds)
    sentences = [
        "Outputs that are empty, cut at the length limit, over-long (more than twice the reference's characters plus"
        " 20), or in another language than the target: number and per cent of the segments"
        f"{', summed over domains and seeds' if seeds > 1 else ', summed over domains'}. All of them count in the"
        " scores.",
        f"Not shown is where there are none; {fine} method{'s' * (fine > 1)} ha{'ve' if fine > 1 else 's'} none at all."
        if fine
        else "Not shown is where there are none.",
        "The target language cannot be told." if rows["wrong_language"].isna().all() else "",
    ]
    return Table(
        label="tab:health-" + "-".join(block),
        title=f"Decoding health of {block[0]}, {block[1]}, mixture {block[2]}",
        caption=" ".join(filter(None, [*sentences, plan.config.report.note.strip()])),
        columns=[Column("Method", numeric=False), Column("Domains", numeric=False), Column("Segments")]
        + [Column(f"{name} (%)") for name in HEADERS.values()],
        rows=[
            [Cell(label(plan, row["variant"])), Cell("seen" if row["seen"] else "unseen"), Cell(f"{row['segments']:,}")]
            + [_count(row[flag], row["segments"]) for flag in FLAGS]
            for row in rows.to_dict("records")
        ],
    )


def _count(count: int, segments: int) -> Cell:
    return Cell(NONE if pd.isna(count) else f"{count:,} ({100 * count / segments:.2f})")
