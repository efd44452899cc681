"""Figures that are matrices of numbers: interference between domains, overlap of selected sets.

Every cell has its number; colours go from light to dark, so that they are read in grey too.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from caneft.plan import Plan
from caneft.reporting.inputs import COPY
from caneft.reporting.interference import signed
from caneft.reporting.jaccard import Sets
from caneft.reporting.labels import METRICS, label
from caneft.reporting.results import of_block
from caneft.reporting.shown import interfering
from caneft.reporting.style import DOUBLE, GREY, INK, clear_unused, grid_shape, panels, styled

SHARED = LinearSegmentedColormap.from_list("shared", ["#ffffff", "#a8d5e8", "#0072B2", "#00304d"])
CHANGE = LinearSegmentedColormap.from_list("change", ["#00304d", "#0072B2", "#ffffff", "#F6C244", "#E08A00"])
"""Losses are dark in print without colour, gains are not."""
BASELINE = "Jaccard (grey bar: labels shuffled,\nor random sets of candidates)"


@styled
def interference(plan: Plan, scores: pd.DataFrame) -> Figure:
    """Difference to base in the headline metric, by what was trained on and tested on: a panel for each variant.

    scores: from `results.scores`, of `inputs.drawn_blocks`. Frames are around a row's own domain. Colours are the same
    in all panels.
    """
    found = {blocks[0][:2]: _differences(plan, blocks, scores) for blocks in interfering(plan)}
    shapes, heights = {}, []
    for pair, frame in found.items():
        rows, columns = frame["trained_on"].nunique(), frame["domain"].nunique()
        shapes[pair] = grid_shape(frame["variant"].nunique(), most=2 if columns <= 7 else 1)
        below = _slant([label(plan, domain) for domain in frame["domain"].unique()])
        heights.append(shapes[pair][0] * (0.24 * rows + 0.62 + below) + 0.35)
    most = max(1, *(frame["difference"].abs().max() for frame in found.values()))
    figure, parts = panels(plan, found, DOUBLE, heights)
    for part, (pair, frame) in zip(parts, found.items(), strict=True):
        _matrices_of_pair(plan, part, shapes[pair], frame, TwoSlopeNorm(0, -most, most))
    return figure


def _differences(plan: Plan, blocks: list, scores: pd.DataFrame) -> pd.DataFrame:
    """One row per variant, mixture and test domain: trained_on (as printed), own (is of the mixture), difference."""
    rows = []
    for block in blocks:
        seen = plan.seen(*block[1:])
        trained_on = label(plan, seen[0]) if len(seen) == 1 else f"mixture {block[2]}"
        part = of_block(scores, block)
        part = part[(part["metric"] == plan.config.scoring.metrics[0]) & (part["method"] != COPY)]
        means = part.groupby(["method", "variant", "domain"], sort=False)["score"].mean().reset_index()
        base = means[means["method"] == "base"].set_index("domain")["score"]
        for row in means[(means["method"] != "base") & means["domain"].isin(base.index)].itertuples():
            own = {"own": row.domain in seen, "difference": row.score - base[row.domain]}
            rows.append({"variant": row.variant, "trained_on": trained_on, "domain": row.domain} | own)
    frame = pd.DataFrame(rows, columns=["variant", "trained_on", "domain", "own", "difference"])
    alone = {label(plan, plan.seen(*block[1:])[0]) for block in blocks if len(plan.seen(*block[1:])) == 1}
    return frame[frame["variant"].isin(set(frame.loc[frame["trained_on"].isin(alone), "variant"]))]


def _matrices_of_pair(plan: Plan, part: Figure | SubFigure, shape, frame: pd.DataFrame, norm: Normalize) -> None:
    own = list(dict.fromkeys(frame.loc[frame["own"], "domain"]))
    domains = own + [domain for domain in dict.fromkeys(frame["domain"]) if domain not in own]
    rows = list(dict.fromkeys(frame["trained_on"]))
    grid = part.subplots(*shape, sharey=True, squeeze=False)
    variants = [variant for variant in plan.config.methods if variant in set(frame["variant"])]
    for axes, variant in zip(grid.flat, variants, strict=False):
        cells = frame[frame["variant"] == variant]
        values = cells.pivot(index="trained_on", columns="domain", values="difference").reindex(rows, columns=domains)
        heat_map(axes, values.to_numpy(), rows, [label(plan, d) for d in domains], CHANGE, norm, signed)
        for row, domain in cells.loc[cells["own"], ["trained_on", "domain"]].itertuples(index=False):
            corner = (domains.index(domain) - 0.5, rows.index(row) - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.1, clip_on=False, zorder=4))
        axes.set_title(label(plan, variant), weight="bold")
    clear_unused(grid, len(variants))
    metric = METRICS[plan.config.scoring.metrics[0]]
    part.supxlabel(f"tested on (difference to base in {metric})", fontsize=7.5)
    part.supylabel("trained on", fontsize=7.5)


@styled
def jaccard(plan: Plan, found: dict[tuple[str, str, str], Sets], across: pd.DataFrame) -> Figure:
    """Jaccard of selected sets: between criteria, between domains, between draws; and across models and directions.

    found, across: from `jaccard.sets` and `jaccard.across`. Beside what sets share stands what they would share if the
    mask of their candidates, or shuffled labels, had chosen them.
    """
    names = [[label(plan, name) for name in [*sets.criteria, *sets.domains]] for sets in found.values()]
    sides = [max(len(sets.criteria), len(sets.draws) + 2, 4) for sets in found.values()]
    heights = [0.27 * side + 0.65 + _slant(own) for side, own in zip(sides, names, strict=True)]
    if len(across):
        heights.append(0.22 * len(across) + 0.6)
    figure, parts = panels(plan, [*found, *[("across models and directions",)] * bool(len(across))], DOUBLE, heights)
    for part, sets in zip(parts, found.values(), strict=False):
        _sets(plan, part, sets)
    if len(across):
        names = [f"{' '.join(row.a)} / {' '.join(row.b)}" for row in across.itertuples()]
        _dots(parts[-1].subplots(), names, across)
    return figure


def _sets(plan: Plan, part: Figure | SubFigure, sets: Sets) -> None:
    right = part
    if len(sets.criteria) > 1:
        left, right = part.subfigures(1, 2, width_ratios=(1.45, 1))
        left.suptitle(f"criteria: {sets.neurons:,} of {sets.total:,} neurons", fontsize=8)
        _lower_triangle(left.subplots(), sets.criteria, [label(plan, name) for name in sets.criteria], sets.by_chance)
        left.supxlabel("in brackets: random sets of the same candidates", fontsize=7.5)
    heights = [max(3, len(sets.domains)), *([0.8 * len(sets.draws) + 1] if len(sets.draws) else [])]
    stacked = right.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    stacked[0].set_title(f"domains: as many by MI with each\n(random sets: {sets.chance:.2f})")
    _lower_triangle(stacked[0], sets.domains, [label(plan, name) for name in sets.domains])
    if len(sets.draws):
        names = [sets.draws_of(row, label(plan, row.variant)) for row in sets.draws.itertuples()]
        _dots(stacked[1], names, sets.draws)


def _lower_triangle(axes: Axes, matrix: pd.DataFrame, names: list[str], beside: pd.DataFrame | None = None) -> None:
    """A symmetric matrix without its diagonal of ones; few cells do not fill the whole panel. beside: in brackets."""
    values = np.where(np.tri(len(matrix), k=-1, dtype=bool), matrix.to_numpy(), np.nan)[1:, :-1]
    heat_map(axes, values, names[1:], names[:-1], SHARED, Normalize(0, 1), lambda value: f"{value:.2f}")
    for cell in axes.texts if beside is not None else ():
        column, row = map(int, cell.get_position())
        cell.set_text(f"{cell.get_text()}\n({beside.iloc[row + 1, column]:.2f})")
    room = max(3, len(values))
    axes.set(xlim=(-0.5, room - 0.5), ylim=(len(values) - 0.5, len(values) - room - 0.5))


def _dots(axes: Axes, names: Sequence[str], frame: pd.DataFrame) -> None:
    """Jaccard on a line from 0 to 1, a row each, and chance as a bar across it. frame: jaccard, chance."""
    for row, (value, chance) in enumerate(zip(frame["jaccard"], frame["chance"], strict=True)):
        axes.plot([chance, value], [row, row], color=GREY, linewidth=0.9, zorder=2)
        axes.plot(chance, row, "|", color=GREY, markersize=9, mew=1.4, zorder=3)
        axes.plot(value, row, "o", color="#0072B2", markersize=4.6, zorder=4)
        axes.annotate(f"{value:.2f}", (max(value, chance), row), (6, 0), textcoords="offset points", va="center")
    axes.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], ylim=(len(frame) - 0.4, -0.6), xlabel=BASELINE)
    axes.set_yticks(range(len(frame)), names)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def heat_map(
    axes: Axes,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    colours: Colormap,
    norm: Normalize,
    text: Callable[[float], str],
) -> None:
    """Draws a matrix with the number in every cell; cells that are NaN stay empty."""
    edges = [np.arange(count + 1) - 0.5 for count in values.shape[::-1]]
    axes.pcolormesh(*edges, values, cmap=colours, norm=norm, edgecolors="white", linewidth=0.8)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = "white" if _lightness(colours(norm(value))) < 0.5 else "black"
            axes.text(column, row, text(value), ha="center", va="center", fontsize=7, color=ink, zorder=3)
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if _slant(columns) else {}
    axes.set_xticks(range(len(columns)), columns, **slanted)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _slant(names: Sequence[str]) -> float:
    """Inches that slanted names take below a matrix; 0 where they are short enough to stand level."""
    longest = max(map(len, names))
    return 0.04 * longest if longest > 9 else 0


def _lightness(colour: Iterable[float]) -> float:
    red, green, blue, _ = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
