"""Figures of neurons, their information and their selection, each drawn from frames (`results`) as one Figure.

Blocks that select on the same mixture share a part of the figure, which has the name of that mixture.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from caneft.plan import Plan
from caneft.reporting.inputs import Block
from caneft.reporting.labels import label, scientific
from caneft.reporting.results import BLOCK, Information
from caneft.reporting.shown import main_variants
from caneft.reporting.stability import MASKS
from caneft.reporting.style import (
    COLUMN,
    DASHED,
    DOUBLE,
    GREY,
    INK,
    LOOKS,
    grid_rows,
    look,
    panels,
    small_panels,
    styled,
)

MOST_POINTS = 20_000
MOST_NUMBERS = 6
"""Up to this many layers, bars have numbers."""
MOST_LABELS = 5
"""The most numbers of samples that are labelled below a panel of stability."""
MEASURES = {"jaccard": "Jaccard", "phi": "Nogueira's Phi", "held_out": "held-out consensus (mnats)"}
"""Titles of the panels of stability, by measure."""


@styled
def neurons_per_layer(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Draws the number of selected neurons in each layer, with a small panel for each neuron method.

    frame: from `results.neuron_counts`. Bars are means over draws, and thin lines the range of several draws. Dashed
    lines show what to expect of a random draw among the same candidates.
    """
    found = {selection: rows for selection, rows in frame.groupby(BLOCK, sort=False)}
    variants = {selection: main_variants(plan, dict.fromkeys(rows["variant"])) for selection, rows in found.items()}
    heights = [1.25 * grid_rows(len(names), 4) + 0.45 for names in variants.values()]
    figure, parts = panels(plan, found, DOUBLE, heights)
    for part, (selection, rows) in zip(parts, found.items(), strict=True):
        for axes, variant in small_panels(part, variants[selection], 4):
            _layers(plan, axes, variant, rows[rows["variant"] == variant])
        several = rows.groupby("variant")["draw"].nunique().max() > 1
        draws = ", thin lines: range over draws" if several else ""
        part.supxlabel(f"layer (dashed: a random draw among the same candidates{draws})")
        part.supylabel("selected neurons")
    return figure


def _layers(plan: Plan, axes: Axes, variant: str, frame: pd.DataFrame) -> None:
    counts = frame.groupby("layer")["neurons"].agg(["mean", "min", "max"])
    axes.bar(counts.index, counts["mean"], color=look(plan, variant).fill, width=0.75, linewidth=0)
    by_chance = frame.groupby("layer")["by_chance"].mean()
    edges = [by_chance.index - 0.45, by_chance.index + 0.45]
    axes.hlines(by_chance, *edges, color=INK, linewidth=0.7, linestyle=DASHED)
    if frame["draw"].nunique() > 1:
        axes.vlines(counts.index, counts["min"], counts["max"], color=INK, linewidth=0.7, alpha=0.7)
    if len(counts) <= MOST_NUMBERS:
        for layer, mean in counts["mean"].items():
            above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 7}
            top = counts.loc[layer, "max"]
            if 0 <= by_chance[layer] - top < 0.2 * counts["max"].max():  # the dashed line would cross the number
                top = by_chance[layer]
            axes.annotate(f"{mean:,.0f}", (layer, top), **above)
        axes.margins(y=0.2)
    axes.set_title(label(plan, variant))
    axes.grid(visible=False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))


@styled
def importance_information(plan: Plan, tables: dict[Block, Information]) -> Figure:
    """Draws each neuron's consensus MI against its mean importance, with the null, and the MI of length or loss alone.

    tables: from `results.information`. At most 20,000 unselected neurons are drawn, as a sample if there are more.
    """
    figure, parts = panels(plan, tables, COLUMN, [3.0] * len(tables))
    for part, found in zip(parts, tables.values(), strict=True):
        _neuron_cloud(plan, part.subplots(), *found)
    return figure


def _neuron_cloud(plan: Plan, axes: Axes, frame: pd.DataFrame, sidecar: dict, variant: str | None) -> None:
    positive = frame[frame["importance"] > 0]
    others, chosen = positive[~positive["selected"]], positive[positive["selected"]]
    drawn = others if len(others) <= MOST_POINTS else others.sample(MOST_POINTS, random_state=0)
    notes = [f"{len(drawn):,} of those not selected are drawn"] if len(drawn) < len(others) else []
    notes += [f"{silent:,} of importance 0 are not shown"] if (silent := len(frame) - len(positive)) else []
    dot = {"linestyle": "", "marker": "o", "mew": 0, "rasterized": True}
    dot["markersize"] = 2.4 if len(drawn) < 5000 else 1.5
    text = f"not selected: {len(frame) - frame['selected'].sum():,}"
    axes.plot(drawn["importance"], drawn["consensus"], color="#a6a6a6", alpha=0.5, label=text, **dot)
    if variant is not None:
        text = f"{label(plan, variant)}: {frame['selected'].sum():,}"
        axes.plot(chosen["importance"], chosen["consensus"], color=look(plan, variant).colour, label=text, **dot)
    axes.set(xscale="log", xlabel="\n".join(["mean importance", *notes]), ylabel="consensus MI (nats)")
    decades = np.log10(positive["importance"].max() / positive["importance"].min())
    axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades > 2 else (1, 3), numticks=8))
    axes.xaxis.set_major_formatter(lambda value, _: scientific(value))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _reference_lines(axes, sidecar, highest=frame["consensus"].max())
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1), ncols=2, markerscale=5 / dot["markersize"])


def _reference_lines(axes: Axes, sidecar: dict, highest: float) -> None:
    """Draws what a neuron without information reaches by chance, and what a sample's length or loss alone tells."""
    null, quantile = sidecar["null"], float(sidecar["null"]["quantile"])
    top = 1.06 * max(highest, 1.5 * quantile)
    axes.axhline(quantile, color="#0072B2", linewidth=1, label=f"null at {null['error_rate']:g}: {quantile:.2g}")
    for name, dashes, text in (("length", (3, 2), "length alone"), ("loss", (1, 1.5), "loss alone")):
        if by_domain := (sidecar.get(name) or {}).get("one_vs_rest"):
            least = min(by_domain.values())
            text = f"{text}: {least:.2g}" + ("" if least < top else ", above")
            axes.axhline(least, color=INK, linewidth=0.9, linestyle=(0, dashes), label=text)
    axes.set_ylim(0, top)


@styled
def stability(plan: Plan, frame: pd.DataFrame) -> Figure:
    """Draws agreement and held-out consensus of sets selected on disjoint halves, against the number of samples.

    frame: from `results.stability`. Each scope of the mask has a row of panels, and each criterion a line: means over
    splits, with standard errors as bars. Grey is the mean over the criteria with shuffled labels.
    """
    found = {selection: rows for selection, rows in frame.groupby(BLOCK, sort=False)}
    scopes = {selection: list(dict.fromkeys(rows["scope"])) for selection, rows in found.items()}
    heights = [0.75 + 1.75 * len(names) for names in scopes.values()]
    figure, parts = panels(plan, found, DOUBLE, heights)
    for part, (selection, rows) in zip(parts, found.items(), strict=True):
        grid = part.subplots(len(scopes[selection]), len(MEASURES), sharex=True, sharey="col", squeeze=False)
        for line, scope in zip(grid, scopes[selection], strict=True):
            for axes, measure in zip(line, MEASURES, strict=True):
                _curves(plan, axes, rows[rows["scope"] == scope], measure)
            line[0].set_ylabel(f"mask {MASKS[scope]}" if scope != "off" else "no mask")
        for axes, title in zip(grid[0], MEASURES.values(), strict=True):
            axes.set_title(title)
        neurons, total = rows[["neurons", "total"]].iloc[0]
        below = f"samples of each domain in each half (sets of {neurons:,} of {total:,} neurons)"
        part.supxlabel(below)
        part.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure


def _curves(plan: Plan, axes: Axes, frame: pd.DataFrame, measure: str) -> None:
    """Draws the lines of one measure and scope; held-out consensus is in millinats."""
    scale = 1000 if measure == "held_out" else 1
    noise = scale * frame.groupby("samples")[f"noise_{measure}"].mean()
    axes.plot(noise.index, noise, color=GREY, linewidth=1.1, linestyle=DASHED, label="shuffled labels")
    for criterion, rows in frame.groupby("criterion", sort=False):
        by_size = rows.groupby("samples")[measure]
        means, errors = scale * by_size.mean(), scale * by_size.sem()
        colour, marker = LOOKS[criterion]
        size = 7 if marker == "*" else 4.5
        line = {"color": colour, "marker": marker, "markersize": size, "mec": "white", "mew": 0.35, "linewidth": 1.2}
        axes.errorbar(means.index, means, errors.fillna(0), elinewidth=0.8, label=label(plan, criterion), **line)
    sizes = sorted(frame["samples"].unique())
    axes.set(xscale="log", xlim=(sizes[0] / 1.25, sizes[-1] * 1.25))
    axes.set_ylim(min(0, axes.get_ylim()[0]), axes.get_ylim()[1])
    labelled = sizes[::-1][:: -(-len(sizes) // MOST_LABELS)]
    axes.set_xticks(sizes, [f"{samples:,}" if samples in labelled else "" for samples in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
