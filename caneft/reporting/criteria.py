"""The table of selection criteria: neuron variants of one budget, and the overlap of their neurons with caneft's."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import captions, results
from caneft.reporting.columns import STATISTICS, average_columns, methods, numbers
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import Table, of_columns
from caneft.reporting.measures import headline, jaccard_by_chance, of_block
from caneft.reporting.results import BLOCK

ABSENT = "No table of selection criteria: no two methods select the same number of neurons."
COLUMNS = ["neurons", "n_seeds", "jaccard", "chance_jaccard", "top_layer", "top_layer_share"]


def criteria_table(plan: Plan, root: str | Path, main: pd.DataFrame) -> pd.DataFrame:
    """One row per shown block and variant with the block's most common number of neurons, in the headline metric.

    Columns: model, direction, mixture, variant, method, metric, neurons, n_seeds, jaccard (with the first variant of
    method caneft among them: mean over draws, seed by seed if it has a set for each; missing without one),
    chance_jaccard (of two random sets of this size), top_layer (the one with most of the neurons, counted from 0),
    top_layer_share (its share of them), and mean and standard deviation over seeds of average_seen and average_unseen.
    """
    rows = []
    for block in plan.shown_blocks():
        sets: dict[str, list[NeuronSet]] = {}
        for file, chosen, _ in results.neuron_sets(plan, root, [block]):
            sets.setdefault(file.variant, []).append(chosen)
        # The most common number of neurons; on a tie, the one that comes first.
        ((budget, count),) = Counter(len(draws[0]) for draws in sets.values()).most_common(1) or [(0, 0)]
        equal = {variant: draws for variant, draws in sets.items() if len(draws[0]) == budget}
        rows += _rows(plan, equal, of_block(main, block)) if count > 1 else []
    frame = pd.DataFrame(rows, columns=[*BLOCK, "variant", "method", "metric", *COLUMNS, *STATISTICS])
    return frame.astype(dict.fromkeys(["jaccard", "chance_jaccard", "top_layer_share", *STATISTICS], float))


def _rows(plan: Plan, sets: dict[str, list[NeuronSet]], main: pd.DataFrame) -> Iterator[dict]:
    """The table's rows of one block. main: rows of the block."""
    scores = headline(plan, main).set_index("variant", drop=False)
    caneft = next((draws for v, draws in sets.items() if plan.config.methods[v].method == "caneft"), None)
    for variant, draws in sets.items():
        sizes, total = np.array([len(draw) for draw in draws]), draws[0].layers * draws[0].width
        layers = sum(draw.per_layer() for draw in draws)
        yield scores.loc[variant].to_dict() | {
            "neurons": round(sizes.mean()),
            "jaccard": float("nan") if caneft is None else _shared(draws, caneft),
            "chance_jaccard": np.mean([jaccard_by_chance(size, size, total) for size in sizes]),
            "top_layer": int(layers.argmax()),
            "top_layer_share": layers.max() / layers.sum(),
        }


def _shared(draws: list[NeuronSet], others: list[NeuronSet]) -> float:
    """Mean Jaccard of the draws with the other variant's draws of the same seed, or with its only set."""
    others = others * len(draws) if len(others) == 1 else others
    return float(np.mean([draw.jaccard(other) for draw, other in zip(draws, others, strict=True)]))


def criteria_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per shown block."""
    for block, rows in table.groupby(BLOCK, sort=False):
        first = next(iter(rows.loc[rows["method"] == "caneft", "variant"]), None)
        by_chance, metric = rows["chance_jaccard"].iloc[0], METRICS[rows["metric"].iloc[0]]
        mean = " on average" if plan.own_draws() and plan.config.selection.gamma is not None else ""
        shared = (
            f"Jaccard: intersection over union with the neurons of {label(plan, first)}; two random sets of this size"
        )
        yield of_columns(
            "tab:criteria-" + "-".join(block),
            f"Selection criteria at equal budget, {block[0]}, {block[1]}, mixture {block[2]}",
            captions.said(
                plan,
                f"Every method trains {rows['neurons'].iloc[0]:,} neurons{mean}; they differ in which. {metric} is an"
                " average over domains.",
                f"{shared} have about {by_chance:.2f}." if first else "",
                "Layer: the one that holds most of the neurons (counted from 0), and the share that it holds.",
                captions.seeds(plan) if (rows["n_seeds"] > 1).any() else "",
                captions.BEST_SCORE,
            ),
            [
                methods(plan, rows["variant"]),
                *average_columns(plan, block, rows, metric),
                numbers("Jaccard", rows["jaccard"], ".2f", "neurons"),
                numbers("layer", rows["top_layer"], "d", "neurons"),
                numbers("share (%)", 100 * rows["top_layer_share"], ".0f", "neurons"),
            ],
        )
