"""Figures of what quality takes: against the number of trained parameters, and against time and memory of tuning."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from caneft.plan import ARTEFACTS, Plan
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.placement import label_points
from caneft.reporting.results import of_block
from caneft.reporting.shown import Family, families, main_variants
from caneft.reporting.style import DOUBLE, GREY, look, note, panels, styled

AVERAGES = {True: "average over seen domains", False: "average over unseen domains"}
PREFIXES = ["", "k", "M", "G", "T"]


class _Labelled(NamedTuple):
    """Points that get their labels at the end, when the layout is fixed."""

    axes: Axes
    points: list[tuple[float, float]]
    texts: list[str]
    clear: list[tuple[float, float]]


@styled
def budget(plan: Plan, scores: pd.DataFrame, records: pd.DataFrame) -> Figure:
    """Trained parameters against the seen and the unseen average: a line for each kind of method that has budgets.

    scores, records: from `results`. Bars are standard deviations over seeds; the dashed line is the base. A line joins
    the variants that differ in their budget alone, if there are two budgets (`shown.families`); others are points.
    """
    blocks = plan.shown_blocks()
    trained = {block: plan.variants_on(*block[1:], *ARTEFACTS) for block in blocks}
    kinds = {block: families(plan, names) for block, names in trained.items()}
    heights = [max(2.4, 0.15 * len(kinds[block]) + 0.5) if trained[block] else 1.0 for block in blocks]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    for part, block in zip(parts, blocks, strict=True):
        if trained[block]:
            parameters = of_block(records, block).groupby("variant")["trainable"].mean().astype(float)
            _block_of_budgets(plan, part, block, kinds[block], averages(plan, scores, block), parameters)
        else:
            note(part, "No method of this configuration is trained.")
    return figure


def averages(plan: Plan, scores: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Mean and deviation over seeds of a block's averages over domains, in the headline metric.

    scores: from `results.scores`. Rows are variants, columns (`seen`: True or False, `mean` or `std`); the deviation of
    one seed is missing.
    """
    rows = of_block(scores, block)
    rows = rows[(rows["metric"] == plan.config.scoring.metrics[0]) & (rows["method"] != COPY)]
    by_seed = rows.assign(seed=rows["seed"].fillna(0)).groupby(["variant", "seed", "seen"])["score"].mean()
    return by_seed.groupby(["variant", "seen"]).agg(["mean", "std"]).unstack("seen").swaplevel(axis="columns")


def _block_of_budgets(
    plan: Plan,
    part: Figure | SubFigure,
    block: Block,
    kinds: list[Family],
    found: pd.DataFrame,
    parameters: pd.Series,
) -> None:
    """found: from `averages`. parameters: that are trained, by variant."""
    shown = [True, False] if plan.unseen(*block[1:]) else [True]
    bases = [name for name in found.index if plan.config.methods[name].method == "base"]
    kinds = sorted(kinds, key=lambda kind: kind.budgets == 1)  # lines first
    grid = part.subplots(1, len(shown), sharex=True, squeeze=False)[0]
    for axes, seen in zip(grid, shown, strict=True):
        for name in bases:
            line = {"color": GREY, "linewidth": 0.9, "linestyle": (0, (3, 2)), "zorder": 1}
            axes.axhline(found.loc[name, (seen, "mean")], label=label(plan, name), **line)
        for kind in kinds:
            points = found.loc[kind.variants, seen].assign(parameters=parameters)
            _budget_line(plan, axes, kind, points.sort_values("parameters"))
        axes.set(xscale="log", title=AVERAGES[seen])
        axes.margins(0.08)
        _few_ticks(axes)
    handles, texts = grid[0].get_legend_handles_labels()
    part.legend(handles, texts, loc="outside right center", handlelength=1.8, labelspacing=0.35)
    part.supxlabel("trained parameters", fontsize=7.5)
    part.supylabel(METRICS[plan.config.scoring.metrics[0]], fontsize=7.5)


def _budget_line(plan: Plan, axes: Axes, kind: Family, points: pd.DataFrame) -> None:
    """One family. points: mean, std, parameters, ascending."""
    own, many = look(plan, kind.variants[0]), kind.budgets > 1
    markers = own.markers(4.8 if many else 4) | ({"linestyle": "-", "linewidth": 1.1} if many else {})
    name = label(plan, kind.variants[0]) + (f" ({kind.budgets} budgets)" if many else "")
    if points["std"].notna().any():
        bars = {"linestyle": "", "color": own.colour, "linewidth": 0.8, "capsize": 1.8, "zorder": 2.2 + many}
        axes.errorbar(points["parameters"], points["mean"], yerr=points["std"], **bars)
    axes.plot(points["parameters"], points["mean"], label=name, zorder=2.5 + many, **markers)


def _few_ticks(axes: Axes) -> None:
    """Labels such as 20k on a log axis that may span less than a decade or many."""
    low, high = axes.get_xlim()
    steps = (1,) if high / low > 1000 else (1, 3) if high / low > 30 else (1, 2, 5)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """33000 is 33k."""
    power = int(np.clip(np.floor(np.log10(value) / 3 + 1e-9), 0, len(PREFIXES) - 1))
    return f"{value / 1000**power:.3g}{PREFIXES[power]}"


@styled
def quality_cost(plan: Plan, scores: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """Seen average against wall time and peak memory of a tuning process: a marker for each trained variant.

    scores: from `results.scores`. costs: of the stage `tuning`, from `results.costs`; where there is a GPU, its memory
    is shown. The grey line is the Pareto front: nothing is both better and cheaper than a point on it.
    """
    blocks = plan.shown_blocks()
    shown = {block: main_variants(plan, plan.variants_on(*block[1:], *ARTEFACTS)) for block in blocks}
    heights = [2.6 + 0.1 * max(0, len(shown[block]) - 8) if shown[block] else 1.0 for block in blocks]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    drawn: list[_Labelled] = []
    for part, block in zip(parts, blocks, strict=True):
        if shown[block]:
            quality = averages(plan, scores, block)[(True, "mean")]
            cost = _cost(of_block(costs, block)).loc[shown[block]]
            drawn += _block_of_costs(plan, part, cost.assign(quality=quality))
        else:
            note(part, "No method of this configuration is trained.")
    _label(drawn)
    return figure


def _cost(costs: pd.DataFrame) -> pd.DataFrame:
    """By variant: seconds (mean over seeds), memory in MB (highest of the seeds), and whether it is a GPU's."""
    on_gpu = costs["cuda_peak_memory_mb"].notna().any()
    memory = "cuda_peak_memory_mb" if on_gpu else "peak_memory_mb"
    found = costs.groupby("variant").agg(seconds=("wall_seconds", "mean"), memory=(memory, "max"))
    return found.astype(float).assign(on_gpu=on_gpu)


def _block_of_costs(plan: Plan, part: Figure | SubFigure, found: pd.DataFrame) -> list[_Labelled]:
    """found: from `_cost`, with quality."""
    memory = "peak GPU memory of tuning (MB)" if found["on_gpu"].any() else "peak memory of the tuning process (MB)"
    drawn = []
    grid = part.subplots(1, 2, sharey=True)
    for axes, column, name in zip(grid, ("seconds", "memory"), ("wall time of tuning (s)", memory), strict=True):
        points = found[[column, "quality"]]
        for variant in points.index:
            axes.plot(*points.loc[variant], **look(plan, variant).markers(5.5), zorder=3)
        axes.margins(0.14)
        axes.set(xlabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        cheapest_front(axes, points.to_numpy())
        texts, places = [label(plan, variant) for variant in points.index], [tuple(row) for row in points.to_numpy()]
        drawn.append(_Labelled(axes, places, texts, places))
    grid[0].set_ylabel(f"{METRICS[plan.config.scoring.metrics[0]]}, average over seen domains")
    return drawn


def cheapest_front(axes: Axes, points: np.ndarray) -> None:
    """Pareto front of (cost, quality): the best that each cost buys, as a step line to the right border."""
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]  # cost, ascending
    front = ordered[ordered[:, 1] > np.maximum.accumulate(np.append(-np.inf, ordered[:-1, 1]))]
    limits = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    cost, quality = [front[0, 0], *front[:, 0], limits["xlim"][1]], [limits["ylim"][0], *front[:, 1], front[-1, 1]]
    axes.step(cost, quality, where="post", color=GREY, linewidth=0.7, zorder=1)
    axes.set(**limits)


def _label(drawn: list[_Labelled]) -> None:
    for axes, points, texts, clear in drawn:
        label_points(axes, np.array(points), texts, np.array(clear))
