"""The figures, each from tidy frames (`results`) to one matplotlib Figure; several blocks are parts of one figure."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from caneft.config import Full, Lora, Neurons
from caneft.plan import Plan
from caneft.reporting.captions import METRICS, label, scientific
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.placement import label_points
from caneft.reporting.results import BLOCK
from caneft.reporting.style import COLUMN, DOUBLE, GREY, INK, LOOKS, note, panels, styled

MOST_POINTS = 20_000


@styled
def scores(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Headline metric per domain: methods as rows, a dot each, with the standard deviation over several seeds.

    frame: from `results.scores`. The line of a dot starts at the base, so that its length is the gain.
    """
    blocks = list(plan.blocks())
    shapes = [_shape(len(plan.tested(*block[1:])), most=5) for block in blocks]
    heights = [rows * (0.45 + 0.2 * len(plan.config.methods)) + 0.35 for rows, _ in shapes]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
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
    _clear_unused(grid, len(tested))
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
        colour, marker = LOOKS[plan.config.methods[variant].method]
        for base in bases:
            axes.plot([base, mean], [row, row], color=colour, linewidth=1, alpha=0.35, zorder=2)
        if deviation:
            axes.errorbar(mean, row, xerr=deviation, color=colour, linewidth=0.9, capsize=2.2, zorder=3)
        axes.plot(
            mean, row, marker, color=colour, markersize=7 if marker == "*" else 4.6, mec="white", mew=0.3, zorder=4
        )
        text = {"fontsize": 7, "va": "center", "weight": "bold" if round(mean, 1) == best else "normal"}
        right = max(mean + deviation, *bases, -np.inf)  # a loss stands left of the base, its number right of it
        axes.annotate(f"{mean:.1f}", (right, row), (5, 0), textcoords="offset points", **text)
    axes.set_yticks(range(len(variants)), [label(plan, variant) for variant in variants])
    axes.set_ylim(len(variants) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


@styled
def seen_unseen(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Seen average against unseen average of each variant; seeds faint. Left all, right the trained ones enlarged.

    frame: from `results.scores`. A block without an unseen domain says so.
    """
    blocks = list(plan.blocks())
    heights = [2.9 if plan.unseen(*block[1:]) else 1.0 for block in blocks]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    drawn = []
    for part, block in zip(parts, blocks, strict=True):
        if plan.unseen(*block[1:]) and plan.variants(Full, Lora, Neurons):
            drawn.append(_seen_unseen_axes(plan, part, _headline(plan, frame, block)))
        else:
            note(part, f"Mixture {block[2]} of {block[1]}: no unseen test domain or no trained method to compare.")
    for axes, points, means in (panel for pair in drawn for panel in pair):  # last: labels fix the layout
        texts = [label(plan, variant) for variant in means.index]
        label_points(axes, means.to_numpy(), texts, points.to_numpy())
    return figure


def _seen_unseen_axes(plan: Plan, part: Figure | SubFigure, frame: pd.DataFrame) -> list[tuple]:
    """Draws the markers; returns (axes, all points, points to label) of both panels."""
    by_seed = frame.assign(seed=frame["seed"].fillna(0)).groupby(["variant", "seed", "seen"])["score"].mean()
    points = by_seed.unstack("seen").sort_index(axis="columns", ascending=False)  # True: seen
    means = points.groupby("variant").mean().loc[[v for v in plan.config.methods if v in points.index]]
    trained = [variant for variant in means.index if plan.config.methods[variant].method != "base"]
    left, right = part.subplots(1, 2, width_ratios=(2, 3))
    for axes, variants in ((left, list(means.index)), (right, trained)):
        for variant in variants:
            colour, marker = LOOKS[plan.config.methods[variant].method]
            size = 9 if marker == "*" else 5.5
            seeds = points.loc[variant].to_numpy()
            if axes is right and len(seeds) > 1:
                axes.plot(*seeds.T, marker, color=colour, markersize=size * 0.6, alpha=0.35, mew=0)
            axes.plot(*means.loc[variant], marker, color=colour, markersize=size, mec="white", mew=0.4, zorder=3)
        axes.margins(0.14)
        axes.set(xlabel=f"{METRICS[plan.config.scoring.metrics[0]]}, average over seen domains")
    left.set(title="all methods", ylabel="average over unseen domains")
    right.set(title="trained methods, enlarged")
    _outline(left, right)
    bases = [variant for variant in means.index if variant not in trained]
    return [(left, means, means.loc[bases]), (right, points.loc[trained], means.loc[trained])]


def _outline(left: Axes, right: Axes) -> None:
    """Marks in the left panel what the right one shows."""
    (x0, x1), (y0, y1) = right.get_xlim(), right.get_ylim()
    left.plot([x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0], color=GREY, linewidth=0.7, linestyle=(0, (3, 2)))


@styled
def neurons_per_layer(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Number of selected neurons in each layer, a small panel for each neuron method.

    frame: from `results.neuron_counts`. Draws of `random` are averaged, their range is a thin line; the dashed line is
    an even spread.
    """
    blocks = list(plan.blocks())
    variants = list(dict.fromkeys(frame["variant"]))
    shape = _shape(len(variants), most=4)
    heights = [1.25 * shape[0] + 0.45 if variants else 1.0 for _ in blocks]
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, heights)
    for part, block in zip(parts, blocks, strict=True):
        if not variants:
            note(part, "No method of this configuration selects neurons.")
            continue
        grid = part.subplots(*shape, sharex=True, sharey=True, squeeze=False)
        for axes, variant in zip(grid.flat, variants, strict=False):
            _layers(plan, axes, variant, _of(frame, block).query("variant == @variant"))
        _clear_unused(grid, len(variants))
        part.supxlabel("layer", fontsize=7.5)
        part.supylabel("selected neurons", fontsize=7.5)
    return figure


def _layers(plan: Plan, axes: Axes, variant: str, frame: pd.DataFrame) -> None:
    counts = frame.groupby("layer")["neurons"].agg(["mean", "min", "max"])
    colour, _ = LOOKS[plan.config.methods[variant].method]
    axes.bar(counts.index, counts["mean"], color=colour, width=0.75, linewidth=0)
    if frame["draw"].nunique() > 1:
        axes.vlines(counts.index, counts["min"], counts["max"], color=INK, linewidth=0.7, alpha=0.7)
    axes.axhline(counts["mean"].mean(), color=INK, linewidth=0.7, linestyle=(0, (3, 2)))
    axes.set_title(label(plan, variant))
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


@styled
def importance_information(plan: Plan, tables: dict[Block, tuple[pd.DataFrame, dict] | None]) -> Figure:
    """Mean importance of each neuron against its consensus MI, with the null and the information of length alone.

    tables: by block what `results.information` returns. Beyond 20,000, unselected neurons are a sample.
    """
    titles, height = [", ".join(block) for block in tables], 3.0
    figure, parts = panels(titles, COLUMN, [height if table else 1.0 for table in tables.values()])
    for part, table in zip(parts, tables.values(), strict=True):
        if table is None:
            note(part, "No method of this configuration\nselects neurons.")
        else:
            _neuron_cloud(plan, part.subplots(), *table)
    return figure


def _neuron_cloud(plan: Plan, axes: Axes, frame: pd.DataFrame, sidecar: dict) -> None:
    positive = frame[frame["importance"] > 0]
    others, chosen = positive[~positive["selected"]], positive[positive["selected"]]
    drawn = others if len(others) <= MOST_POINTS else others.sample(MOST_POINTS, random_state=0)
    notes = [f"{len(drawn):,} of those not selected are drawn"] if len(drawn) < len(others) else []
    notes += [f"{silent:,} of importance 0 are not shown"] if (silent := len(frame) - len(positive)) else []
    dot = {"linestyle": "", "marker": "o", "mew": 0, "rasterized": True}
    dot["markersize"] = 2.4 if len(drawn) < 5000 else 1.5
    text = f"not selected: {len(frame) - frame['selected'].sum():,}"
    axes.plot(drawn["importance"], drawn["consensus"], color="#a6a6a6", alpha=0.5, label=text, **dot)
    if len(chosen):
        name = next(v for v, method in plan.config.methods.items() if method.method == "caneft")
        text = f"{label(plan, name)}: {frame['selected'].sum():,}"
        axes.plot(chosen["importance"], chosen["consensus"], color=LOOKS["caneft"][0], label=text, **dot)
    axes.set(xscale="log", xlabel="\n".join(["mean importance", *notes]), ylabel="consensus MI (nats)")
    decades = np.log10(positive["importance"].max() / positive["importance"].min())
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 2 else (1, 3), numticks=8))
    axes.xaxis.set_major_formatter(lambda value, _: scientific(value))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _reference_lines(axes, sidecar, highest=frame["consensus"].max())
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2, markerscale=5 / dot["markersize"])


def _reference_lines(axes: Axes, sidecar: dict, highest: float) -> None:
    """What a neuron without information reaches by chance, and what the response length alone tells."""
    null, quantile = sidecar["null"], float(sidecar["null"]["quantile"])
    top = 1.06 * max(highest, 1.5 * quantile)
    axes.axhline(quantile, color="#0072B2", linewidth=1, label=f"null, error rate {null['error_rate']:g}")
    if lengths := (sidecar.get("length") or {}).get("one_vs_rest"):
        length = min(lengths.values())
        text = "response length" if length < top else f"response length: {length:.2g}, above"
        axes.axhline(length, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), label=text)
    axes.set_ylim(0, top)


@styled
def stability(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Agreement of what disjoint halves of the samples select, against their number; grey: labels shuffled.

    frame: from `results.stability`. Lines are means over splits, dots are single splits.
    """
    blocks = list(plan.blocks())
    figure, parts = panels([", ".join(block) for block in blocks], DOUBLE, [2.3 if len(frame) else 1.0 for _ in blocks])
    for part, block in zip(parts, blocks, strict=True):
        rows = _of(frame, block)
        if rows.empty:
            note(part, "No method of this configuration selects neurons.")
            continue
        neurons, total = rows[["neurons", "total"]].iloc[0]
        left, right = part.subplots(1, 2)
        _agreement(left, rows, "jaccard")
        _agreement(right, rows, "correlation")
        left.set(title=f"selected neurons: {neurons:,} of {total:,}", ylabel="Jaccard")
        right.set(title="consensus MI of all neurons", ylabel="rank correlation")
        part.supxlabel("samples of each domain in each half", fontsize=7.5)
    return figure


def _agreement(axes: Axes, frame: pd.DataFrame, measure: str) -> None:
    means = frame.groupby("samples")[[measure, f"noise_{measure}"]].mean()
    ends = means.ffill().iloc[-1]
    apart = max(0, 0.2 - abs(ends.iloc[0] - ends.iloc[1])) / 2 * (1 if ends.iloc[0] >= ends.iloc[1] else -1)
    looks = [(LOOKS["caneft"][0], "disjoint halves", apart), (GREY, "shuffled labels", -apart)]
    for name, (colour, text, shift) in zip(means, looks, strict=True):
        axes.plot(means.index, means[name], color=colour, linewidth=1.3)
        axes.plot(frame["samples"], frame[name], "o", color=colour, markersize=3, mew=0, alpha=0.55, clip_on=False)
        if np.isfinite(ends[name]):
            place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
            axes.annotate(
                f"{text}\n{round(ends[name], 2) + 0:.2f}", (1, ends[name] + shift), (3, 0), color=colour, **place
            )
    axes.set(xscale="log", xlim=(means.index[0] / 1.2, means.index[-1] * 1.2))
    axes.set_ylim(min(0, frame[list(means)].min(axis=None)), 1)
    labelled = means.index[::-1][:: 1 if len(means) <= 6 else 2]
    axes.set_xticks(means.index, [f"{samples:,}" if samples in labelled else "" for samples in means.index])
    axes.xaxis.set_minor_locator(NullLocator())


def _shape(count: int, most: int) -> tuple[int, int]:
    """Rows and columns of `count` panels with at most `most` side by side, the rows about equally full."""
    rows = max(1, -(-count // most))
    return rows, max(1, -(-count // rows))


def _clear_unused(grid: np.ndarray, used: int) -> None:
    """Takes away the panels after the first `used`; those above them get the tick labels of the bottom row."""
    for axes in grid.flat[used:]:
        axes.axis("off")
    for column in grid.T:
        axes = [axes for axes in column if axes.axison][-1]
        axes.tick_params(axis="x", labelbottom=True)


def _headline(plan: Plan, frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Scores of one block in the first metric, without copy."""
    rows = _of(frame, block)
    return rows[(rows["metric"] == plan.config.scoring.metrics[0]) & (rows["method"] != COPY)]


def _of(frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    return frame[(frame[BLOCK] == list(block)).all(axis=1)]
