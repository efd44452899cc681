"""Figures of matrices: interference between domains, overlap of selected sets.

Every cell shows its number. Colours go from light to dark, so that they can be read in grey too.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from caneft.plan import Plan
from caneft.reporting.interference import interference_table, row_name
from caneft.reporting.jaccard import Sets
from caneft.reporting.labels import METRICS, label, signed
from caneft.reporting.shown import interfering
from caneft.reporting.style import DOUBLE, GREY, INK, grid_rows, named_rows, panels, small_panels, styled

SHARED = LinearSegmentedColormap.from_list("shared", ["#ffffff", "#a8d5e8", "#0072B2", "#00304d"])
CHANGE = LinearSegmentedColormap.from_list("change", ["#00304d", "#0072B2", "#ffffff", "#F6C244", "#E08A00"])
"""In print without colour, losses are dark and gains are not."""
BASELINE = "Jaccard (grey bar: labels shuffled,\nor random sets of candidates)"


@styled
def interference(plan: Plan, scores: pd.DataFrame) -> Figure:
    """Draws the difference to base in the headline metric, by training and test domain: a panel for each variant.

    scores: from `results.scores`, for `inputs.drawn_blocks`. A frame marks a row's own domains. All panels have the
    same scale of colours.
    """
    frame = interference_table(plan, scores)
    found = {
        blocks[0][:2]: (blocks, frame[(frame["model"] == blocks[0][0]) & (frame["direction"] == blocks[0][1])])
        for blocks in interfering(plan)
    }
    heights = []
    for _, rows in found.values():
        names = [label(plan, domain) for domain in rows["domain"].unique()]
        height = 0.24 * rows["mixture"].nunique() + 0.62 + _slant(names)
        heights.append(grid_rows(rows["variant"].nunique(), _most_beside(rows)) * height + 0.35)
    most = max(1, *(rows["difference_mean"].abs().max() for _, rows in found.values()))
    figure, parts = panels(plan, found, DOUBLE, heights)
    for part, (blocks, rows) in zip(parts, found.values(), strict=True):
        _matrices(plan, part, blocks, rows, TwoSlopeNorm(0, -most, most))
    return figure


def _most_beside(frame: pd.DataFrame) -> int:
    """How many matrices with these rows' domains as columns fit side by side."""
    return 2 if frame["domain"].nunique() <= 7 else 1


def _matrices(plan: Plan, part: Figure | SubFigure, blocks: list, frame: pd.DataFrame, norm: Normalize) -> None:
    """Draws the panels of one model and direction. frame: from `interference_table`."""
    own = dict.fromkeys(domain for block in blocks for domain in plan.seen(*block[1:]))
    domains = list(own | dict.fromkeys(frame["domain"]))
    rows = {block[2]: row_name(plan, block) for block in blocks if block[2] in set(frame["mixture"])}
    mixtures = list(rows)
    variants = [variant for variant in plan.config.methods if variant in set(frame["variant"])]
    for axes, variant in small_panels(part, variants, _most_beside(frame), sharex=False):
        cells = frame[frame["variant"] == variant]
        values = cells.pivot(index="mixture", columns="domain", values="difference_mean")
        values = values.reindex(mixtures, columns=domains)
        names = [label(plan, domain) for domain in domains]
        heat_map(axes, values.to_numpy(float), list(rows.values()), names, CHANGE, norm, signed)
        for mixture, domain in cells.loc[cells["seen"].astype(bool), ["mixture", "domain"]].itertuples(index=False):
            corner = (domains.index(domain) - 0.5, mixtures.index(mixture) - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, linewidth=1.1, clip_on=False, zorder=4))
        axes.set_title(label(plan, variant), weight="bold")
    metric = METRICS[plan.config.scoring.metrics[0]]
    part.supxlabel(f"tested on (difference to base in {metric})")
    part.supylabel("trained on")


@styled
def jaccard(plan: Plan, found: dict[tuple[str, str, str], Sets], across: pd.DataFrame) -> Figure:
    """Draws Jaccard of selected sets: between criteria, domains and draws, and across models and directions.

    found, across: from `jaccard.sets` and `jaccard.across`. Each value is shown with that of sets chosen by chance:
    random sets of the same candidates, or sets selected with shuffled labels.
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
        left.supxlabel("in brackets: random sets of the same candidates")
    heights = [max(3, len(sets.domains)), *([0.8 * len(sets.draws) + 1] if len(sets.draws) else [])]
    stacked = right.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    stacked[0].set_title(f"domains: as many by MI with each\n(random sets: {sets.chance:.2f})")
    _lower_triangle(stacked[0], sets.domains, [label(plan, name) for name in sets.domains])
    if len(sets.draws):
        kinds = {"seeds": "seeds", "halves": "halves\n({:,.0f} a domain)"}
        names = [f"{label(plan, r.variant)}: {kinds[r.kind].format(r.samples)}" for r in sets.draws.itertuples()]
        _dots(stacked[1], names, sets.draws)


def _lower_triangle(axes: Axes, matrix: pd.DataFrame, names: list[str], beside: pd.DataFrame | None = None) -> None:
    """Draws a symmetric matrix below its diagonal; a small one does not fill the panel. beside: numbers in brackets."""
    values = np.where(np.tri(len(matrix), k=-1, dtype=bool), matrix.to_numpy(), np.nan)[1:, :-1]
    heat_map(axes, values, names[1:], names[:-1], SHARED, Normalize(0, 1), lambda value: f"{value:.2f}")
    for cell in axes.texts if beside is not None else ():
        column, row = map(int, cell.get_position())
        cell.set_text(f"{cell.get_text()}\n({beside.iloc[row + 1, column]:.2f})")
    room = max(3, len(values))
    axes.set(xlim=(-0.5, room - 0.5), ylim=(len(values) - 0.5, len(values) - room - 0.5))


def _dots(axes: Axes, names: Sequence[str], frame: pd.DataFrame) -> None:
    """Draws a row for each name: a dot for Jaccard on a scale from 0 to 1, a bar for chance. frame: jaccard, chance."""
    for row, (value, chance) in enumerate(zip(frame["jaccard"], frame["chance"], strict=True)):
        axes.plot([chance, value], [row, row], color=GREY, linewidth=0.9, zorder=2)
        axes.plot(chance, row, "|", color=GREY, markersize=9, mew=1.4, zorder=3)
        axes.plot(value, row, "o", color="#0072B2", markersize=4.6, zorder=4)
        axes.annotate(f"{value:.2f}", (max(value, chance), row), (6, 0), textcoords="offset points", va="center")
    axes.set(xlim=(0, 1.12), xticks=[0, 0.5, 1], xlabel=BASELINE)
    named_rows([axes], names)


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
    """Height in inches of slanted names below a matrix; 0 if they are short enough not to be slanted."""
    longest = max(map(len, names))
    return 0.04 * longest if longest > 9 else 0


def _lightness(colour: Iterable[float]) -> float:
    red, green, blue, _ = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
