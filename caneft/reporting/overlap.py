"""The table of overlap: test segments that stand in a mixture's training data, and all scores with and without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions, inputs
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.reading import naming, read_json
from caneft.reporting.results import BLOCK
from caneft.reporting.tables import NONE, score_cells

COUNTS = ["segments", "pairs", "sources"]
KEYS = ["variant", "method", "metric"]


def without(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, domain outside of its mixture, variant, seed and metric.

    Columns: model, direction, mixture, domain, segments, pairs, sources (how many of the segments are flagged because
    of the pair, or of the source alone), variant, method, seed, metric, without (score of the segments that are not
    flagged; missing where no segment is, or every one).
    """
    rows = [row for file in inputs.overlap_files(plan) for row in _rows(plan, file, Path(root) / file.path)]
    frame = pd.DataFrame(rows, columns=[*BLOCK, "domain", *COUNTS, "variant", "method", "seed", "metric", "without"])
    return frame.astype({"seed": "Int64", "without": float})


def _rows(plan: Plan, file: inputs.OverlapFile, path: Path) -> Iterator[dict[str, Any]]:
    found = read_json(path, with_format=True)
    with naming(path):
        pairs, sources = (int(found["flagged"][kind]) for kind in ("pair", "source"))
        counts = {"segments": int(found["segments"]), "pairs": pairs, "sources": sources}
        scored = 0 < pairs + sources < counts["segments"]
        for name, (variant, method, seed) in file.runs.items():
            for metric in plan.config.scoring.metrics:
                yield {
                    **dict(zip(BLOCK, file.block, strict=True)),
                    **{"domain": file.domain, **counts},
                    **{"variant": variant, "method": method, "seed": seed, "metric": metric},
                    "without": float(found["runs"][name][metric]["score"]) if scored else float("nan"),
                }


def overlap_table(scores: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """One row per block, domain outside of its mixture, variant and metric. scores: from `results.scores`.

    Columns: model, direction, mixture, domain, segments, pairs, sources, variant, method, metric, n_seeds, with_mean,
    with_std (over all segments), without_mean, without_std (over those that are not flagged; where none is flagged the
    same, where all are missing). Deviations are sample standard deviations over seeds.
    """
    outside = scores.loc[~scores["seen"] & (scores["method"] != COPY), [*BLOCK, "domain", *KEYS, "seed", "score"]]
    runs = without.merge(outside, on=[*BLOCK, "domain", *KEYS, "seed"], how="left", validate="one_to_one")
    runs["without"] = runs["without"].where(runs["pairs"] + runs["sources"] > 0, runs["score"])
    by_variant = runs.groupby([*BLOCK, "domain", *COUNTS, *KEYS], sort=False)
    return by_variant.agg(
        n_seeds=("score", "size"),
        with_mean=("score", "mean"),
        with_std=("score", "std"),
        without_mean=("without", "mean"),
        without_std=("without", "std"),
    ).reset_index()


def overlap_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The overlap as it is printed: what is flagged per direction, then the scores per block; nothing that is not.

    table: from `overlap_table`.
    """
    flagged = table[table["pairs"] + table["sources"] > 0]
    for direction, rows in flagged.groupby("direction", sort=False):
        yield _flagged(plan, direction, rows)
    for block, rows in flagged.groupby(BLOCK, sort=False):
        yield _scores(plan, block, rows)


def absent(table: pd.DataFrame) -> str:
    """What is said where no segment is flagged. table: from `overlap_table`."""
    if table.empty:
        return "No table of overlap: no mixture is tested on a domain that it does not train on."
    looked_at = table[["direction", "mixture", "domain"]].drop_duplicates()
    return (
        "No overlap: no source of a test set stands in the training data of a mixture to which its domain does not"
        f" belong ({len(looked_at)} pair{'s' * (len(looked_at) > 1)} of mixture and test set looked at)."
    )


def _flagged(plan: Plan, direction: str, rows: pd.DataFrame) -> Table:
    counts = rows[["mixture", "domain", *COUNTS]].drop_duplicates()
    caption = (
        "Test segments whose source stands in the training data of a mixture to which their domain does not belong:"
        " with the same target (pairs), or with others alone (sources). Test sets without any are not shown."
    )
    return Table(
        label=f"tab:overlap-{direction}",
        title=f"Overlap of test sets with training data, {direction}",
        caption=" ".join(filter(None, [caption, plan.config.report.note.strip()])),
        columns=[Column("Mixture", numeric=False), Column("Tested on", numeric=False), Column("Segments")]
        + [Column(name, "flagged") for name in ("pairs", "sources", "% of all")],
        rows=[
            [Cell(row.mixture), Cell(label(plan, row.domain))]
            + [Cell(f"{getattr(row, name):,}") for name in COUNTS]
            + [Cell(f"{100 * (row.pairs + row.sources) / row.segments:.2f}")]
            for row in counts.itertuples()
        ],
    )


def _scores(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    metric = plan.config.scoring.metrics[0]
    headline = rows[rows["metric"] == metric]
    by_domain = {domain: part for domain, part in headline.groupby("domain", sort=False)}
    columns, cells = [], []
    for domain, part in by_domain.items():
        segments, pairs, sources = part[COUNTS].iloc[0]
        group = f"{label(plan, domain)}: {pairs + sources:,} of {segments:,} flagged"
        columns += [Column("with", group), Column("without", group)]
        cells += [_column(part, "with"), _column(part, "without")]
    variants = next(iter(by_domain.values()))
    sentences = [
        "Scores of all segments (with), and of those alone that are not flagged: whose source does not stand in the"
        " mixture's training data (without).",
        "Base is trained on none: how it changes is what leaving them out does to the score itself."
        if "base" in set(variants["method"])
        else "",
        captions.seeds(plan) if (variants["n_seeds"] > 1).any() else "",
        "The best value of a column is bold, the second underlined.",
        plan.config.report.note.strip(),
    ]
    return Table(
        label="tab:overlap-" + "-".join(block),
        title=f"{METRICS[metric]} without overlap, {', '.join(block[:2])}, mixture {block[2]}",
        caption=" ".join(filter(None, sentences)),
        columns=[Column("Method", numeric=False), *columns],
        rows=[[Cell(label(plan, name)), *row] for name, *row in zip(variants["variant"], *cells, strict=True)],
    )


def _column(rows: pd.DataFrame, kind: str) -> list[Cell]:
    """Cells of one column; of a test set that is flagged as a whole nothing is left to score."""
    if rows[f"{kind}_mean"].isna().all():
        return [Cell(NONE)] * len(rows)
    return score_cells(rows, kind)
