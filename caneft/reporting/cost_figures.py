"""Figures of quality against cost: the number of trained parameters, and the time and memory of tuning."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from caneft.plan import ARTEFACTS, Plan
from caneft.reporting import shown
from caneft.reporting.evidence import columns
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.measures import by_seed, headline, of_block
from caneft.reporting.shown import Family, main_variants
from caneft.reporting.significant import Intervals
from caneft.reporting.style import DASHED, DOUBLE, GREY, look, named_rows, panels, styled

AVERAGES = {True: "average over seen domains", False: "average over unseen domains"}
PREFIXES = ["", "k", "M", "G", "T"]


@styled
def budget(plan: Plan, scores: pd.DataFrame, records: pd.DataFrame) -> Figure:
    """Draws the seen and the unseen average against the number of trained parameters.

    Lines join variants that differ only in their budget (`shown.families`); the others are points. Bars are standard
    deviations over seeds, and the dashed line is the base. Blocks without a sweep are left out.
    """
    blocks = shown.swept(plan)
    kinds = {block: sorted(shown.kinds(plan, block), key=lambda kind: kind.budgets == 1) for block in blocks}
    heights = [max(2.4, 0.15 * len(kinds[block]) + 0.5) for block in blocks]
    figure, parts = panels(plan, blocks, DOUBLE, heights)
    for part, block in zip(parts, blocks, strict=True):
        parameters = of_block(records, block).groupby("variant")["trainable"].mean().astype(float)
        found = averages(plan, scores, block)
        halves = [True, False] if plan.unseen(*block[1:]) else [True]
        grid = part.subplots(1, len(halves), sharex=True, squeeze=False)[0]
        for axes, seen in zip(grid, halves, strict=True):
            for name in (name for name in found.index if plan.config.methods[name].method == "base"):
                line = {"color": GREY, "linewidth": 0.9, "linestyle": DASHED, "zorder": 1}
                axes.axhline(found.loc[name, (seen, "mean")], label=label(plan, name), **line)
            for kind in kinds[block]:  # lines first
                points = found.loc[kind.variants, seen].assign(parameters=parameters)
                _budget_line(plan, axes, kind, points.sort_values("parameters"))
            axes.set(xscale="log", title=AVERAGES[seen])
            axes.margins(0.08)
            _few_ticks(axes)
        handles, texts = grid[0].get_legend_handles_labels()
        part.legend(handles, texts, loc="outside right center", handlelength=1.8, labelspacing=0.35)
        bars = " (bars: standard deviation over seeds)" if len(plan.config.seeds) > 1 else ""
        part.supxlabel(f"trained parameters{bars}")
        part.supylabel(METRICS[plan.config.scoring.metrics[0]])
    return figure


def averages(plan: Plan, scores: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Mean and deviation over seeds of a block's averages over domains, in the headline metric.

    Rows are variants, columns are pairs of `seen` (True or False) and `mean` or `std`. The deviation is missing for one
    seed.
    """
    found = by_seed(headline(plan, scores, block)).groupby(["variant", "seen"]).agg(["mean", "std"])
    return found.unstack("seen").swaplevel(axis="columns")


def _budget_line(plan: Plan, axes: Axes, kind: Family, points: pd.DataFrame) -> None:
    """Draws one family. points: mean, std and parameters, by ascending parameters."""
    own, many = look(plan, kind.variants[0]), kind.budgets > 1
    markers = own.markers(4.8 if many else 4) | ({"linestyle": "-", "linewidth": 1.1} if many else {})
    name = label(plan, kind.variants[0]) + (f" ({kind.budgets} budgets)" if many else "")
    if points["std"].notna().any():
        bars = {"linestyle": "", "color": own.colour, "linewidth": 0.8, "capsize": 1.8, "zorder": 2.2 + many}
        axes.errorbar(points["parameters"], points["mean"], yerr=points["std"], **bars)
    axes.plot(points["parameters"], points["mean"], label=name, zorder=2.5 + many, **markers)


def _few_ticks(axes: Axes) -> None:
    """Sets few ticks, with labels such as 20k, on a log axis that spans anything from part of a decade to many."""
    low, high = axes.get_xlim()
    steps = (1,) if high / low > 1000 else (1, 3) if high / low > 30 else (1, 2, 5)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _short(value: float) -> str:
    """A number with a prefix: 33k for 33000."""
    power = int(np.clip(np.floor(np.log10(value) / 3 + 1e-9), 0, len(PREFIXES) - 1))
    return f"{value / 1000**power:.3g}{PREFIXES[power]}"


@styled
def quality_cost(plan: Plan, scores: pd.DataFrame, costs: pd.DataFrame, intervals: Intervals) -> Figure:
    """Draws a row for each trained variant: its seen average, and the time and peak memory of its tuning.

    costs: of the stage `tuning`, from `results.costs`. On a GPU, time is wall time and memory is the GPU's. On CPUs,
    time is processor time, since jobs run in parallel.
    """
    blocks = shown.trained(plan)
    variants = {block: main_variants(plan, plan.variants_on(*block[1:], *ARTEFACTS)) for block in blocks}
    figure, parts = panels(plan, blocks, DOUBLE, [0.7 + 0.2 * len(variants[block]) for block in blocks])
    for part, block in zip(parts, blocks, strict=True):
        own, metric = of_block(costs, block), plan.config.scoring.metrics[0]
        quality = averages(plan, scores, block)[(True, "mean")]
        column = columns(plan, block)[0]
        ends = {variant: intervals.get((*block, metric, variant, column)) for variant in variants[block]}
        on_gpu = own["cuda_peak_memory_mb"].notna().any()
        time, memory = ("wall", "cuda_peak") if on_gpu else ("cpu", "peak")
        left, middle, right = part.subplots(1, 3, sharey=True)
        for row, variant in enumerate(variants[block]):
            runs = own[own["variant"] == variant]
            if ends[variant]:
                left.plot(ends[variant], [row, row], color=look(plan, variant).colour, lw=0.9)
            left.plot(quality[variant], row, **look(plan, variant).markers(4.6), zorder=3)
            _bar(middle, row, runs[f"{time}_seconds"].mean(), look(plan, variant).fill)
            _bar(right, row, runs[f"{memory}_memory_mb"].max(), look(plan, variant).fill)
        named_rows([left, middle, right], [label(plan, variant) for variant in variants[block]])
        left.set_xlabel(f"{METRICS[metric]}, average over seen domains\n(bars: 95 % intervals over segments)")
        mean = " (mean over seeds)" if len(plan.config.seeds) > 1 else ""
        middle.set_xlabel(f"{'wall' if on_gpu else 'processor'} time of tuning, s{mean}")
        right.set_xlabel(f"peak memory of {'the GPU in ' if on_gpu else ''}tuning, MB")
        for axes in (left, middle, right):
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return figure


def _bar(axes: Axes, row: int, value: float, colour: str) -> None:
    """Draws a bar from 0 with its number."""
    axes.barh(row, value, height=0.6, color=colour, linewidth=0)
    axes.annotate(f"{value:,.0f}", (value, row), (3, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_xlim(0, max(axes.get_xlim()[1], 1.25 * value))
