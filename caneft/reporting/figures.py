"""Figures of what the runs reached: scores by domain, seen against unseen, losses in training.

Each is drawn from tidy frames (`results`) as one matplotlib Figure; several blocks are parts of one figure.
"""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from caneft.plan import ARTEFACTS, Plan
from caneft.reporting.inputs import Block, block_runs
from caneft.reporting.labels import METRICS, UNTRAINED, label
from caneft.reporting.placement import label_points
from caneft.reporting.results import AVERAGES, of_block
from caneft.reporting.shown import main_variants
from caneft.reporting.style import DOUBLE, GREY, clear_unused, grid_shape, look, note, panels, styled

MOST_PANELS, MOST_POINTS = 24, 120
"""Of the losses: panels of a block, points of a line."""


@styled
def scores(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Headline metric per domain: methods as rows, a dot each, with the standard deviation over several seeds.

    frame: from `results.scores`. The line of a dot starts at the base, so that its length is the gain.
    """
    blocks = plan.shown_blocks()
    shapes = [grid_shape(len(plan.tested(*block[1:])), most=5) for block in blocks]
    sizes = [rows * (0.45 + 0.2 * len(_variants(plan, block))) for (rows, _), block in zip(shapes, blocks, strict=True)]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, [size + 0.35 for size in sizes])
    for part, block, shape in zip(parts, blocks, shapes, strict=True):
        _block_of_scores(plan, part, block, shape, _headline(plan, frame, block))
    return figure


def _block_of_scores(plan: Plan, part: Figure | SubFigure, block: Block, shape: tuple[int, int], frame) -> None:
    tested, unseen = plan.tested(*block[1:]), plan.unseen(*block[1:])
    summary = frame.groupby(["domain", "variant"])["score"].agg(["mean", "std"]).fillna({"std": 0})
    low, high = (summary["mean"] - summary["std"]).min(), (summary["mean"] + summary["std"]).max()
    span = max(high - low, 1)
    limits = (low - 0.2 * span, high + 0.5 * span)  # room for the number beside the dot
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    grid = part.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    for axes, domain in zip(grid.flat, tested, strict=False):
        axes.set_title(fill(label(plan, domain) + (" (unseen)" if domain in unseen else ""), 18))
        _dots(plan, axes, summary.loc[domain])
        axes.set_xlim(limits)
        axes.set_xticks(ticks[(low <= ticks) & (ticks <= high)])
    clear_unused(grid, len(tested))
    part.supxlabel(METRICS[plan.config.scoring.metrics[0]], fontsize=7.5)


def _dots(plan: Plan, axes: Axes, summary: pd.DataFrame) -> None:
    """One domain's methods. summary: mean and std by variant."""
    variants = [variant for variant in plan.config.methods if variant in summary.index]
    bases = [summary.loc[v, "mean"] for v in variants if plan.config.methods[v].method == "base"]
    for base in bases:
        axes.axvline(base, color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    best = max(round(summary.loc[variant, "mean"], 1) for variant in variants)
    for row, variant in enumerate(variants):
        mean, deviation = summary.loc[variant, ["mean", "std"]]
        own = look(plan, variant)
        for base in bases:
            axes.plot([base, mean], [row, row], color=own.colour, linewidth=1, alpha=0.35, zorder=2)
        if deviation:
            axes.errorbar(mean, row, xerr=deviation, color=own.colour, linewidth=0.9, capsize=2.2, zorder=3)
        axes.plot(mean, row, **own.markers(4.6), zorder=4)
        text = {"fontsize": 7, "va": "center", "weight": "bold" if round(mean, 1) == best else "normal"}
        right = max(mean + deviation, *bases, -np.inf)  # a loss stands left of the base, its number right of it
        axes.annotate(f"{mean:.1f}", (right, row), (5, 0), textcoords="offset points", **text)
    axes.set_yticks(range(len(variants)), [label(plan, variant) for variant in variants])
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


@styled
def seen_unseen(plan: Plan, frame: pd.DataFrame, trials: pd.DataFrame) -> Figure:
    """Seen average against unseen average of each variant; seeds and trials faint. Left all, right the trained ones.

    frame: from `results.scores`, trials: from `results.trials`. A block without an unseen domain says so.
    """
    blocks = plan.shown_blocks()
    comparable = {block: plan.unseen(*block[1:]) and plan.variants_on(*block[1:], *ARTEFACTS) for block in blocks}
    heights = [2.5 + 0.075 * max(6, len(_variants(plan, block))) if comparable[block] else 1.0 for block in blocks]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    drawn = []
    for part, block in zip(parts, blocks, strict=True):
        if comparable[block]:
            tried = of_block(trials, block).dropna(subset=AVERAGES)
            tried = tried[tried["variant"].isin(_variants(plan, block))]
            drawn += _seen_unseen_axes(plan, part, _headline(plan, frame, block), tried)
        else:
            note(part, f"Mixture {block[2]} of {block[1]}: no unseen test domain or no trained method to compare.")
    for axes, points, means in drawn:  # last: labels fix the layout
        texts = [label(plan, variant) for variant in means.index]
        label_points(axes, means.to_numpy(), texts, points.to_numpy())
    return figure


def _seen_unseen_axes(plan: Plan, part: Figure | SubFigure, frame: pd.DataFrame, trials: pd.DataFrame) -> list[tuple]:
    """Draws the markers; returns (axes, points that labels keep off, points to label) of both panels."""
    by_seed = frame.assign(seed=frame["seed"].fillna(0)).groupby(["variant", "seed", "seen"])["score"].mean()
    points = by_seed.unstack("seen").sort_index(axis="columns", ascending=False)  # True: seen
    means = points.groupby("variant").mean().loc[[v for v in plan.config.methods if v in points.index]]
    trained = [variant for variant in means.index if plan.config.methods[variant].method not in UNTRAINED]
    crowd = _crowd(means.loc[trained])
    left, right = part.subplots(1, 2, width_ratios=(2, 3))
    for axes, variants in ((left, list(means.index)), (right, crowd)):
        for variant in variants:
            own, seeds = look(plan, variant), points.loc[variant].to_numpy()
            if axes is right and len(seeds) > 1:
                axes.plot(*seeds.T, own.marker, color=own.fill, markersize=3.2, alpha=0.35, mew=0)
            axes.plot(*means.loc[variant], **own.markers(5.5), zorder=3)
        axes.margins(0.14)
        axes.set(xlabel=f"{METRICS[plan.config.scoring.metrics[0]]}, average over seen domains")
    left.set(title="all methods", ylabel="average over unseen domains")
    right.set(title="trained methods, enlarged" + (", outliers left out" if len(crowd) < len(trained) else ""))
    right.set(xlim=right.get_xlim(), ylim=right.get_ylim())  # whatever the trials reached
    for axes in (left, right):
        _trials(plan, axes, trials)
        _front(axes, means.to_numpy())
    _outline(left, right)
    tried = trials[AVERAGES].set_axis(points.columns, axis="columns")
    others = [variant for variant in means.index if variant not in crowd]
    return [
        (left, pd.concat([means, tried]), means.loc[others]),
        (right, points.loc[crowd], means.loc[crowd]),
    ]


def _crowd(means: pd.DataFrame) -> list[str]:
    """Variants without those far out on an axis, by Tukey's outer fences: one of these presses all others together."""
    low, high = means.quantile(0.25), means.quantile(0.75)
    reach = 3 * (high - low).clip(lower=1)  # points of the metric
    return list(means.index[((means >= low - reach) & (means <= high + reach)).all(axis=1)])


def _trials(plan: Plan, axes: Axes, trials: pd.DataFrame) -> None:
    """What each variant's grid reached, small and pale, on a line in the order of the rates."""
    for variant, tried in trials.sort_values("learning_rate").groupby("variant", sort=False):
        own = look(plan, variant)
        seen, unseen = tried[AVERAGES].to_numpy().T
        axes.plot(seen, unseen, color=own.fill, linewidth=0.6, alpha=0.35, zorder=1.5)
        axes.plot(seen, unseen, own.marker, color=own.fill, markersize=2.6, alpha=0.5, mew=0, zorder=1.6)


def _front(axes: Axes, points: np.ndarray) -> None:
    """Pareto front: the border of what at least one of the points equals or surpasses on both axes."""
    ordered = points[np.lexsort(-points.T[::-1])]  # seen, descending
    front = ordered[ordered[:, 1] > np.maximum.accumulate(np.append(-np.inf, ordered[:-1, 1]))][::-1]
    (left, _), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    seen, unseen = [left, *front[:, 0], front[-1, 0]], [front[0, 1], *front[:, 1], bottom]
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    axes.step(seen, unseen, where="pre", color=GREY, linewidth=0.7, zorder=1)


def _outline(left: Axes, right: Axes) -> None:
    """Marks in the left panel what the right one shows."""
    (x0, x1), (y0, y1) = right.get_xlim(), right.get_ylim()
    left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=GREY, linewidth=0.7, linestyle=(0, (3, 2)))


@styled
def training(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Losses of every trained variant against the step, a small panel each: training a line, dev markers.

    frame: from `results.losses`. The first seed is bold. Training is a running mean over a fortieth of the steps.
    """
    blocks = plan.shown_blocks()
    trained = [main_variants(plan, plan.variants_on(*block[1:], *ARTEFACTS))[:MOST_PANELS] for block in blocks]
    shapes = [grid_shape(len(variants), most=4) for variants in trained]
    heights = [1.15 * rows + 0.5 if variants else 1.0 for variants, (rows, _) in zip(trained, shapes, strict=True)]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    for part, block, variants, shape in zip(parts, blocks, trained, shapes, strict=True):
        if variants:
            _block_of_losses(plan, part, variants, shape, of_block(frame, block))
        else:
            note(part, "No method of this configuration is trained.")
    return figure


def _block_of_losses(
    plan: Plan, part: Figure | SubFigure, variants: list[str], shape: tuple[int, int], frame: pd.DataFrame
) -> None:
    grid = part.subplots(*shape, sharex=True, sharey=True, squeeze=False)
    drawn = []
    for axes, variant in zip(grid.flat, variants, strict=False):
        axes.set_title(label(plan, variant))
        rows = frame[frame["variant"] == variant]
        for number, (_, run) in enumerate(rows.groupby("seed")):
            drawn += _losses(plan, axes, variant, run.sort_values("step"), bold=number == 0)
    ends = np.concatenate([values[len(values) // 20 :] for values in drawn])  # a first step far above hides the rest
    room = 0.05 * (ends.max() - ends.min())
    grid[0, 0].set_ylim(ends.min() - room, ends.max() + room)
    grid[0, 0].yaxis.set_major_locator(MaxNLocator(4))
    clear_unused(grid, len(variants))
    left_out = frame["variant"].nunique() - len(variants)
    more = f"; {left_out} more variants: see their log.jsonl" if left_out else ""
    part.supxlabel(f"optimizer step (lines: training, markers: dev{more})", fontsize=7.5)
    part.supylabel("loss, nats per token", fontsize=7.5)


def _losses(plan: Plan, axes: Axes, variant: str, run: pd.DataFrame, bold: bool) -> list[np.ndarray]:
    """One run's curve; returns what is drawn."""
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
    """Variants that a block shows, without further budgets of the same."""
    return main_variants(plan, dict.fromkeys(run.variant for run in block_runs(plan, block)))


def _headline(plan: Plan, frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Scores of one block's variants in the first metric, without copy."""
    rows = of_block(frame, block)
    return rows[(rows["metric"] == plan.config.scoring.metrics[0]) & rows["variant"].isin(_variants(plan, block))]
