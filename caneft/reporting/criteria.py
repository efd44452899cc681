"""The table of selection criteria: neuron variants of one budget, and how much their neurons are those of caneft."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.inputs import Block, neuron_files
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.numeric import read_neurons
from caneft.reporting.results import BLOCK, of_block
from caneft.reporting.tables import NONE, SEEN, UNSEEN, score_cells

ABSENT = "No table of selection criteria: no two methods select the same number of neurons."
COLUMNS = ["neurons", "n_seeds", "jaccard", "chance_jaccard", "top_layer", "top_layer_share"]
STATISTICS = [f"{average}_{name}" for average in (SEEN, UNSEEN) for name in ("mean", "std")]


def criteria_table(plan: Plan, root: str | Path, main: pd.DataFrame) -> pd.DataFrame:
    """One row per shown block and neuron variant of the block's most common number of neurons, in the headline metric.

    main: from `tables.main_table`. Columns: model, direction, mixture, variant, method, metric, neurons, n_seeds,
    jaccard (with the first variant of method caneft among them, seed by seed where it has a set for each, mean over the
    draws; missing without one), chance_jaccard (of two random sets of this size), top_layer (that holds most of the
    neurons, counted from 0), top_layer_share (its share of them), and mean and standard deviation over seeds of
    average_seen and average_unseen.
    """
    rows = []
    for block in plan.shown_blocks():
        equal = _equal_budgets(_sets(plan, Path(root), block))
        rows += _rows(plan, equal, of_block(main, block)) if len(equal) > 1 else []
    frame = pd.DataFrame(rows, columns=[*BLOCK, "variant", "method", "metric", *COLUMNS, *STATISTICS])
    return frame.astype(dict.fromkeys(["jaccard", "chance_jaccard", "top_layer_share", *STATISTICS], float))


def _sets(plan: Plan, root: Path, block: Block) -> dict[str, list[NeuronSet]]:
    """The draws of every variant that selects neurons."""
    found: dict[str, list[NeuronSet]] = {}
    for file in neuron_files(plan, [block]):
        if file.unit == "neuron":
            found.setdefault(file.variant, []).append(read_neurons(root / file.path))
    return found


def _equal_budgets(sets: dict[str, list[NeuronSet]]) -> dict[str, list[NeuronSet]]:
    """Those of the most common number of neurons; of two numbers that are as common, the one that comes first."""
    counts = Counter(len(draws[0]) for draws in sets.values())
    return {v: draws for v, draws in sets.items() if len(draws[0]) == counts.most_common(1)[0][0]}


def _rows(plan: Plan, sets: dict[str, list[NeuronSet]], main: pd.DataFrame) -> Iterator[dict]:
    """main: rows of the block."""
    headline = main[main["metric"] == plan.config.scoring.metrics[0]].set_index("variant", drop=False)
    caneft = next((draws for v, draws in sets.items() if plan.config.methods[v].method == "caneft"), None)
    for variant, draws in sets.items():
        sizes, total = np.array([len(draw) for draw in draws]), draws[0].layers * draws[0].width
        layers = sum(draw.per_layer() for draw in draws)
        row = headline.loc[variant]
        yield {name: row[name] for name in (*BLOCK, "variant", "method", "metric", "n_seeds", *STATISTICS)} | {
            "neurons": round(sizes.mean()),
            "jaccard": float("nan") if caneft is None else _shared(draws, caneft),
            "chance_jaccard": np.mean(sizes / (2 * total - sizes)),
            "top_layer": int(layers.argmax()),
            "top_layer_share": layers.max() / layers.sum(),
        }


def _shared(draws: list[NeuronSet], others: list[NeuronSet]) -> float:
    """Mean Jaccard of the draws with those of the same seed, or with the one that all seeds share."""
    others = others * len(draws) if len(others) == 1 else others
    return float(np.mean([draw.jaccard(other) for draw, other in zip(draws, others, strict=True)]))


def criteria_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The criteria as they are printed: one table per shown block. table: from `criteria_table`."""
    for block, rows in table.groupby(BLOCK, sort=False):
        yield _criteria(plan, block, rows)


def _criteria(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    averages = [SEEN, *([UNSEEN] if plan.unseen(*block[1:]) else [])]
    first = next((row.variant for row in rows.itertuples() if row.method == "caneft"), None)
    chance, metric = rows["chance_jaccard"].iloc[0], METRICS[rows["metric"].iloc[0]]
    mean = " on average" if plan.own_draws() and plan.config.selection.gamma is not None else ""
    sentences = [
        f"Every method trains {rows['neurons'].iloc[0]:,} neurons{mean}; they differ in which. {metric} is an average"
        " over domains.",
        f"Jaccard: intersection over union with the neurons of {label(plan, first)}; two random sets of this size have"
        f" about {chance:.2f}."
        if first
        else "",
        "Layer: the one that holds most of the neurons (counted from 0), and the share that it holds.",
        captions.seeds(plan) if (rows["n_seeds"] > 1).any() else "",
        "The best score of a column is bold, the second underlined.",
        plan.config.report.note.strip(),
    ]
    names = {SEEN: "seen", UNSEEN: "unseen"}
    scores = [score_cells(rows, average) for average in averages]
    return Table(
        label="tab:criteria-" + "-".join(block),
        title=f"Selection criteria at equal budget, {block[0]}, {block[1]}, mixture {block[2]}",
        caption=" ".join(filter(None, sentences)),
        columns=[Column("Method", numeric=False)]
        + [Column(names[average], metric) for average in averages]
        + [Column("Jaccard", "neurons"), Column("layer", "neurons"), Column("share (%)", "neurons")],
        rows=[
            [Cell(label(plan, row.variant)), *(cells[i] for cells in scores), Cell(_decimals(row.jaccard))]
            + [Cell(str(row.top_layer)), Cell(f"{100 * row.top_layer_share:.0f}")]
            for i, row in enumerate(rows.itertuples())
        ],
    )


def _decimals(value: float) -> str:
    return NONE if pd.isna(value) else f"{value:.2f}"
