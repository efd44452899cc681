"""Figures of the runs' results: scores by domain, seen against unseen scores, losses in training.

Each is drawn from tidy frames (`results`) as one matplotlib Figure, with a part for each block.
"""

from collections.abc import Iterable
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from caneft.config import Base
from caneft.plan import ARTEFACTS, Plan
from caneft.reporting import shown
from caneft.reporting.evidence import columns as seen_and_unseen
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, UNTRAINED, label
from caneft.reporting.measures import by_seed, headline, of_block
from caneft.reporting.placement import label_points
from caneft.reporting.results import AVERAGES
from caneft.reporting.shown import main_variants
from caneft.reporting.significant import Intervals, Signs
from caneft.reporting.style import (
    DASHED,
    DOTTED,
    DOUBLE,
    GREY,
    grid_rows,
    look,
    named_rows,
    panels,
    small_panels,
    styled,
)

MOST_BESIDE = 5
"""In the figure of scores, the most panels side by side."""
MOST_PANELS, MOST_POINTS = 24, 120
"""In the figure of losses, the most panels of a block and the most points of a line."""
BAR_POINTS = 25
"""Points of an interval's bar that labels avoid."""
PALE_DOT = {"markersize": 3.2, "alpha": 0.35, "mew": 0}
INTERVAL = "bars: 95 % intervals over test segments"
SEEDS, TRIALS = "pale: single seeds", "pale and joined: trials of a grid, in the order of rates"


@styled
def scores(plan: Plan, frame: pd.DataFrame, intervals: Intervals, signs: dict[tuple, Signs]) -> Figure:
    """Draws the headline metric per domain: a row for each method with a dot, its interval and the main table's signs.

    frame: from `results.scores`; intervals, signs: from `significant`. A line leads from the base to each dot, so its
    length is the gain. Pale dots are single seeds, if there are several.
    """
    blocks, metric = plan.shown_blocks(), plan.config.scoring.metrics[0]
    rows = [grid_rows(len(plan.tested(*block[1:])), MOST_BESIDE) for block in blocks]
    heights = [n * (0.45 + 0.2 * len(_variants(plan, b))) + 0.5 for n, b in zip(rows, blocks, strict=True)]
    figure, parts = panels(plan, blocks, DOUBLE, heights)
    for part, block in zip(parts, blocks, strict=True):
        tested, unseen = plan.tested(*block[1:]), plan.unseen(*block[1:])
        own = {key[-2:]: ends for key, ends in intervals.items() if key[:-2] == (*block, metric) and key[-1] in tested}
        rows, marks = _shown(plan, frame, block), signs.get((*block, metric), Signs({}, "", ""))
        reached = [*rows["score"], *(end for ends in own.values() for end in ends)]
        low, high = min(reached), max(reached)
        span = max(high - low, 1)
        ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
        for axes, domain in small_panels(part, tested, MOST_BESIDE):
            axes.set_title(fill(label(plan, domain) + (" (unseen)" if domain in unseen else ""), 18))
            runs = {variant: seeds["score"] for variant, seeds in rows[rows["domain"] == domain].groupby("variant")}
            ends = {variant: own.get((variant, domain)) for variant in runs}
            _dots(plan, axes, runs, ends, {variant: marks.by_cell.get((variant, domain), "") for variant in runs})
            axes.set_xlim(low - 0.1 * span, high + 0.5 * span)  # room for the number beside the dot
            axes.set_xticks(ticks[(low <= ticks) & (ticks <= high)])
        seeds = ", pale dots: single seeds" if len(plan.config.seeds) > 1 else ""
        dashed = "dashed: base; " if plan.variants(Base) else ""
        said = [f"{METRICS[metric]} ({dashed}{INTERVAL}{seeds}; bold: best)", fill(marks.meaning, 120)]
        part.supxlabel("\n".join(said[: 1 + ((*block, metric) in signs)]))
    return figure


def _dots(
    plan: Plan,
    axes: Axes,
    runs: dict[str, pd.Series],
    intervals: dict[str, tuple[float, float] | None],
    signs: dict[str, str],
) -> None:
    """Draws one domain. By variant, runs: scores of its seeds; intervals: ends of its interval; signs: its signs."""
    variants = [variant for variant in plan.config.methods if variant in runs]
    means = {variant: runs[variant].mean() for variant in variants}
    bases = [means[v] for v in variants if plan.config.methods[v].method == "base"]
    for base in bases:
        axes.axvline(base, color=GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    best = max(round(mean, 1) for mean in means.values())
    for row, (variant, mean) in enumerate(means.items()):
        own, ends = look(plan, variant), intervals[variant] or (mean, mean)
        for base in bases:
            axes.plot([base, mean], [row, row], color=own.colour, linewidth=2.4, alpha=0.25, zorder=2)
        axes.plot(ends, [row, row], color=own.colour, linewidth=0.9, marker="|", markersize=4, zorder=3)
        if len(runs[variant]) > 1:
            axes.plot(runs[variant], [row] * len(runs[variant]), own.marker, color=own.fill, **PALE_DOT, zorder=3.5)
        axes.plot(mean, row, **own.markers(4.6), zorder=4)
        text = {"fontsize": 7, "va": "center", "weight": "bold" if round(mean, 1) == best else "normal"}
        right = max(*ends, *bases, *runs[variant])  # even if the dot is left of the base, its number is right of it
        axes.annotate(f"{mean:.1f}{signs[variant]}", (right, row), (5, 0), textcoords="offset points", **text)
    named_rows([axes], [label(plan, variant) for variant in variants])


@styled
def seen_unseen(plan: Plan, frame: pd.DataFrame, trials: pd.DataFrame, intervals: Intervals) -> Figure:
    """Draws each variant's unseen average against its seen average, with seeds and trials faint.

    The left panel has all variants; the right one enlarges the trained ones. frame: from `results.scores`; intervals:
    from `significant`. Blocks without an unseen domain are left out.
    """
    blocks = shown.with_unseen(plan)
    heights = [2.7 + 0.075 * max(6, len(_variants(plan, block))) for block in blocks]
    figure, parts = panels(plan, blocks, DOUBLE, heights)
    drawn = []
    for part, block in zip(parts, blocks, strict=True):
        tried = of_block(trials, block).dropna(subset=AVERAGES)
        tried = tried[tried["variant"].isin(_variants(plan, block))]
        drawn += _seen_unseen_axes(plan, part, block, _shown(plan, frame, block), tried, intervals)
    for axes, points, bars, means in drawn:  # last: labels fix the layout
        texts = [label(plan, variant) for variant in means.index]
        label_points(axes, means.to_numpy(), texts, points.to_numpy(), bars)
    return figure


def _seen_unseen_axes(
    plan: Plan, part: Figure | SubFigure, block: Block, frame: pd.DataFrame, trials: pd.DataFrame, intervals: Intervals
) -> list[tuple]:
    """Draws the markers; returns (axes, points and bars that labels avoid, points to label) for both panels."""
    metric, columns = plan.config.scoring.metrics[0], seen_and_unseen(plan, block)
    points = by_seed(frame).unstack("seen").sort_index(axis="columns", ascending=False)  # True: seen
    means = points.groupby("variant").mean().loc[[v for v in plan.config.methods if v in points.index]]
    trained = [variant for variant in means.index if plan.config.methods[variant].method not in UNTRAINED]
    crowd = _crowd(means.loc[trained])
    left, right = part.subplots(1, 2, width_ratios=(2, 3))
    bars = {}
    for axes, variants in ((left, list(means.index)), (right, crowd)):
        for variant in variants:
            own, seeds, (x, y) = look(plan, variant), points.loc[variant].to_numpy(), means.loc[variant]
            if axes is right and len(seeds) > 1:
                axes.plot(*seeds.T, own.marker, color=own.fill, **PALE_DOT)
            ends = [intervals.get((*block, metric, variant, column)) for column in columns]
            line = {"color": own.colour, "linewidth": 0.7, "alpha": 0.5, "zorder": 2}
            if all(ends):
                axes.plot(ends[0], [y, y], **line)
                axes.plot([x, x], ends[1], **line)
                bars[variant] = _along(ends, (x, y))
            axes.plot(x, y, **own.markers(5.5), zorder=3)
        axes.margins(0.1)
        axes.set(xlabel="average over seen domains")
    left.set(title="all methods", ylabel="average over unseen domains")
    right.set(title="trained methods, enlarged" + (", outliers left out" if len(crowd) < len(trained) else ""))
    right.set(xlim=right.get_xlim(), ylim=right.get_ylim())  # the trials, drawn next, must not change the limits
    for axes in (left, right):
        _trials(plan, axes, trials)
    _outline(left, right)
    pale = [text for text, said in ((SEEDS, len(plan.config.seeds) > 1), (TRIALS, len(trials))) if said]
    part.supxlabel(f"{METRICS[metric]} ({'; '.join([INTERVAL, *pale])})")
    tried = trials[AVERAGES].set_axis(points.columns, axis="columns")
    others = [variant for variant in means.index if variant not in crowd]
    return [
        (left, pd.concat([means, tried]), _together(bars, means.index), means.loc[others]),
        (right, points.loc[crowd], _together(bars, crowd), means.loc[crowd]),
    ]


def _together(bars: dict[str, np.ndarray], variants: Iterable[str]) -> np.ndarray:
    return np.concatenate([np.empty((0, 2)), *(bars[variant] for variant in variants if variant in bars)])


def _along(ends: list[tuple[float, float]], centre: tuple[float, float]) -> np.ndarray:
    """Points on the two bars of a cross, for labels to avoid. ends: those of the bar in x, then of the bar in y."""
    (x, y), ((left, right), (low, high)) = centre, ends
    bars = ((left, y), (right, y)), ((x, low), (x, high))
    return np.concatenate([np.linspace(*bar, BAR_POINTS) for bar in bars])


def _crowd(means: pd.DataFrame) -> list[str]:
    """Variants without outliers on an axis (beyond Tukey's outer fences), one of which would crowd all the others."""
    low, high = means.quantile(0.25), means.quantile(0.75)
    reach = 3 * (high - low).clip(lower=1)  # points of the metric
    return list(means.index[((means >= low - reach) & (means <= high + reach)).all(axis=1)])


def _trials(plan: Plan, axes: Axes, trials: pd.DataFrame) -> None:
    """Draws the trials of each variant's grid, small and pale, joined by a line in the order of their rates."""
    for variant, tried in trials.sort_values("learning_rate").groupby("variant", sort=False):
        own = look(plan, variant)
        seen, unseen = tried[AVERAGES].to_numpy().T
        axes.plot(seen, unseen, color=own.fill, linewidth=0.6, alpha=0.35, zorder=1.5)
        axes.plot(seen, unseen, own.marker, color=own.fill, markersize=2.6, alpha=0.5, mew=0, zorder=1.6)


def _outline(left: Axes, right: Axes) -> None:
    """Outlines in the left panel what the right one shows."""
    (x0, x1), (y0, y1) = right.get_xlim(), right.get_ylim()
    left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=GREY, linewidth=0.7, linestyle=DASHED)
    where = {"ha": "right", "va": "bottom", "textcoords": "offset points", "fontsize": 7, "color": GREY}
    left.annotate("enlarged on the right", (x1, y1), (0, 2), **where)


@styled
def training(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Draws the losses of each trained variant by step in a small panel: training as lines, dev as markers.

    frame: from `results.losses`. The first seed is bold. Lines are running means over a fortieth of the steps.
    """
    blocks, epochs = shown.trained(plan), plan.config.tuning.epochs
    trained = [main_variants(plan, plan.variants_on(*block[1:], *ARTEFACTS))[:MOST_PANELS] for block in blocks]
    figure, parts = panels(plan, blocks, DOUBLE, [1.15 * grid_rows(len(variants), 4) + 0.5 for variants in trained])
    for part, block, variants in zip(parts, blocks, trained, strict=True):
        own, drawn = of_block(frame, block), []
        for axes, variant in small_panels(part, variants, 4):
            axes.set_title(label(plan, variant))
            rows = own[own["variant"] == variant]
            for number, (_, run) in enumerate(rows.groupby("seed")):
                drawn += _losses(plan, axes, variant, run.sort_values("step"), bold=number == 0)
            for epoch in range(1, epochs):
                end = (rows["step"].max() + 1) * epoch / epochs
                axes.axvline(end, color=GREY, linewidth=0.8, linestyle=DOTTED, zorder=1)
        # Without the first steps, which are so high that they would flatten the rest.
        ends = np.concatenate([values[len(values) // 20 :] for values in drawn])
        room = 0.05 * (ends.max() - ends.min())
        axes.set_ylim(ends.min() - room, ends.max() + room)  # all panels have one scale
        axes.yaxis.set_major_locator(MaxNLocator(4))
        left_out = own["variant"].nunique() - len(variants)
        more = f"; {left_out} more variants: see their log.jsonl" if left_out else ""
        dotted = ", dotted: end of an epoch" if epochs > 1 else ""
        part.supxlabel(f"optimizer step (lines: training, markers: dev{dotted}{more})")
        part.supylabel("loss, nats per token")
    return figure


def _losses(plan: Plan, axes: Axes, variant: str, run: pd.DataFrame, bold: bool) -> list[np.ndarray]:
    """Draws the losses of one run, and returns the drawn values."""
    own = look(plan, variant)
    smooth = run["loss"].rolling(max(1, len(run) // 40), min_periods=1).mean()
    every = max(1, -(-len(run) // MOST_POINTS))
    weight = {"linewidth": 1.0, "zorder": 3} if bold else {"linewidth": 0.6, "alpha": 0.35, "zorder": 2}
    axes.plot(run["step"][::every], smooth[::every], color=own.fill, **weight)
    dev = run.dropna(subset="dev_loss")
    marker = {"mfc": "white", "mec": own.colour, "markersize": 3.6, "mew": 0.9, "zorder": 4}
    faint = {"mfc": own.fill, "mec": "none", "markersize": 2.6, "alpha": 0.35, "zorder": 2}
    axes.plot(dev["step"], dev["dev_loss"], linestyle="", marker="o", **(marker if bold else faint))
    return [smooth.to_numpy(), dev["dev_loss"].to_numpy()]


def _variants(plan: Plan, block: Block) -> list[str]:
    """Variants that a block shows, without a method's further budgets."""
    return main_variants(plan, dict.fromkeys(run.variant for run in plan.final_runs(*block)))


def _shown(plan: Plan, frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    """The headline scores of these variants."""
    rows = headline(plan, frame, block)
    return rows[rows["variant"].isin(_variants(plan, block))]
