"""The table of overlap: test segments that are in a mixture's training data, and all scores with and without them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions, inputs
from caneft.reporting.columns import methods, numbers, score_cells
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import NONE, Cell, Column, Table, of_columns, words
from caneft.reporting.measures import headline
from caneft.reporting.reading import opened
from caneft.reporting.results import BLOCK

COUNTS = ["segments", "pairs", "sources"]
KEYS = ["variant", "method", "metric"]


def without(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, domain outside its mixture, variant, seed and metric.

    Columns: model, direction, mixture, domain, segments, pairs and sources (how many segments are flagged because the
    training data have the pair, or only the source), variant, method, seed, metric, without (score of the segments that
    are not flagged; missing if no segment is flagged, or all are).
    """
    rows = [row for file in inputs.overlap_files(plan) for row in _rows(plan, file, Path(root) / file.path)]
    frame = pd.DataFrame(rows, columns=[*BLOCK, "domain", *COUNTS, "variant", "method", "seed", "metric", "without"])
    return frame.astype({"seed": "Int64", "without": float})


def _rows(plan: Plan, file: inputs.OverlapFile, path: Path) -> Iterator[dict[str, Any]]:
    with opened(path, with_format=True) as content:
        for domain in file.domains:
            found = content["domains"][domain]
            pairs, sources = (int(found["flagged"][kind]) for kind in ("pair", "source"))
            counts = {"segments": int(found["segments"]), "pairs": pairs, "sources": sources}
            scored = 0 < pairs + sources < counts["segments"]
            for name, (variant, method, seed) in file.runs.items():
                for metric in plan.config.scoring.metrics:
                    yield file.row | {
                        **{"domain": domain, **counts},
                        **{"variant": variant, "method": method, "seed": seed, "metric": metric},
                        "without": float(found["runs"][name][metric]["score"]) if scored else float("nan"),
                    }


def overlap_table(scores: pd.DataFrame, without: pd.DataFrame) -> pd.DataFrame:
    """One row per block, domain outside its mixture, variant and metric.

    Columns: model, direction, mixture, domain, segments, pairs, sources, variant, method, metric, n_seeds, with_mean,
    with_std (over all segments), without_mean, without_std (over those that are not flagged: the same if none is
    flagged, missing if all are). Deviations are sample standard deviations over seeds.
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
    """The printed tables: flagged segments per direction, then scores per block; test sets without any are left out."""
    flagged = table[table["pairs"] + table["sources"] > 0]
    for direction, rows in flagged.groupby("direction", sort=False):
        yield _flagged(plan, direction, rows)
    for block, rows in flagged.groupby(BLOCK, sort=False):
        yield _scores(plan, block, rows)


def absent(table: pd.DataFrame) -> str:
    """The sentence that is printed if no segment is flagged."""
    if table.empty:
        return "No table of overlap: no mixture is tested on a domain that it does not train on."
    looked_at = table[["direction", "mixture", "domain"]].drop_duplicates()
    return (
        "No overlap: no source of a test set is in the training data of a mixture to which its domain does not"
        f" belong ({len(looked_at)} pair{'s' * (len(looked_at) > 1)} of mixture and test set looked at)."
    )


def _flagged(plan: Plan, direction: str, rows: pd.DataFrame) -> Table:
    found = rows[["mixture", "domain", *COUNTS]].drop_duplicates()
    return of_columns(
        f"tab:overlap-{direction}",
        f"Overlap of test sets with training data, {direction}",
        captions.said(
            plan,
            "Test segments whose source is in the training data of a mixture to which their domain does not belong:"
            " with the same target (pairs), or with others alone (sources). Test sets without any are not shown.",
        ),
        [
            words("Mixture", found["mixture"]),
            words("Tested on", (label(plan, domain) for domain in found["domain"])),
            numbers("Segments", found["segments"], ","),
            *(numbers(name, found[name], ",", "flagged") for name in ("pairs", "sources")),
            numbers("% of all", 100 * (found["pairs"] + found["sources"]) / found["segments"], ".2f", "flagged"),
        ],
    )


def _scores(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    columns = []
    for domain, part in headline(plan, rows).groupby("domain", sort=False):
        segments, pairs, sources = part[COUNTS].iloc[0]
        group = f"{label(plan, domain)}: {pairs + sources:,} of {segments:,} flagged"
        columns += [(Column(kind, group), _column(part, kind)) for kind in ("with", "without")]
    own = "Base is trained on none of them, so its change is what leaving them out does to the score."
    return of_columns(
        "tab:overlap-" + "-".join(block),
        f"{METRICS[plan.config.scoring.metrics[0]]} without overlap, {', '.join(block[:2])}, mixture {block[2]}",
        captions.said(
            plan,
            "Scores of all segments (with), and without the flagged ones (without), whose source is in the mixture's"
            " training data.",
            own if "base" in set(part["method"]) else "",
            captions.seeds(plan) if (part["n_seeds"] > 1).any() else "",
            captions.BEST_VALUE,
        ),
        [methods(plan, part["variant"]), *columns],
    )


def _column(rows: pd.DataFrame, kind: str) -> list[Cell]:
    """Cells of one column, with dashes if all segments of the test set are flagged and none is left to score."""
    return [Cell(NONE)] * len(rows) if rows[f"{kind}_mean"].isna().all() else score_cells(rows, kind)
