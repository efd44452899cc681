"""Style of figures: sizes, colours for colour-blind readers too (Okabe and Ito 2008), and files without dates."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from caneft.plan import Block, Plan
from caneft.storage.files import atomic_write

COLUMN, DOUBLE = 3.3, 7.0
"""Widths of one and of two columns of a paper, in inches."""

INK, GREY = "#333333", "#8c8c8c"
DASHED, DOTTED = (0, (3, 2)), (0, (1, 1.5))
HALO = {"boxstyle": "square,pad=0.02", "fc": "white", "ec": "none", "alpha": 0.7}  # behind a label on thin lines
LOOKS = {  # method -> colour, marker; the markers tell families apart in print without colour
    "base": (GREY, "X"),
    "icl": ("#5a5a5a", "d"),
    "full": ("#000000", "s"),
    "lora": ("#0072B2", "D"),
    "adapters": ("#5D3A9B", "p"),
    "random": ("#E69F00", "v"),
    "bottom": ("#8A6200", "v"),
    "importance": ("#009E73", "^"),
    "activation": ("#009E73", "<"),
    "gradient": ("#009E73", ">"),
    "specific": ("#CC79A7", "P"),
    "joint": ("#56B4E9", "o"),
    "caneft": ("#D55E00", "*"),
    "caneft-geometric": ("#882255", "h"),
    "caneft-harmonic": ("#117733", "8"),
    "caneft-attention": ("#8F3A00", "H"),
}


@dataclass(frozen=True)
class Look:
    """The look of one variant. hollow: whether its markers are outlines."""

    colour: str
    marker: str
    hollow: bool

    @property
    def fill(self) -> str:
        """Colour of areas and lines, paler if markers are outlines."""
        return _paler(self.colour, 0.5) if self.hollow else self.colour

    def markers(self, size: float = 5) -> dict[str, Any]:
        """Arguments for plotting markers without lines."""
        size *= (1.55 if self.marker == "*" else 1) * (0.85 if self.hollow else 1)
        edge = {"mfc": "white", "mec": self.colour, "mew": 0.9} if self.hollow else {"mec": "white", "mew": 0.35}
        return {"linestyle": "", "marker": self.marker, "color": self.colour, "markersize": size, **edge}


def look(plan: Plan, variant: str) -> Look:
    """The look of the variant's method; every second variant of a method is hollow, and later ones are paler."""
    methods = plan.config.methods
    colour, marker = LOOKS[methods[variant].method]
    position = [name for name in methods if methods[name].method == methods[variant].method].index(variant)
    return Look(_paler(colour, min(0.7, 0.35 * (position // 2))), marker, hollow=position % 2 == 1)


def _paler(colour: str, share: float) -> str:
    """A colour mixed with white."""
    return to_hex([part + (1 - part) * share for part in to_rgb(colour)])


SETTINGS = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7,
    "figure.titlesize": 8.5,
    "figure.labelsize": 7.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b0b0b0",
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "pdf.fonttype": 42,
    "svg.hashsalt": "caneft",
    "savefig.dpi": 200,
    "figure.dpi": 200,
}

logging.getLogger("fontTools").setLevel(logging.WARNING)  # else it logs every glyph of a PDF

METADATA = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator: makes a function draw with the project's settings, without changing the global ones."""

    @functools.wraps(draw)
    def wrapped(*args, **kwargs) -> Figure:
        with mpl.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return wrapped


def save(figure: Figure, stem: str | Path) -> None:
    """Writes `{stem}.pdf`, `.svg` and `.png`, each whole or not at all. Equal figures give equal bytes."""
    with mpl.rc_context(SETTINGS):
        for suffix, metadata in METADATA.items():
            with atomic_write(f"{stem}.{suffix}") as beside:
                figure.savefig(beside, format=suffix, metadata=metadata)
                if suffix == "png":
                    _fewer_colours(beside)


def _fewer_colours(path: Path) -> None:
    """Reduces a PNG to a palette of 256 colours: a third of the bytes, without a visible difference."""
    with Image.open(path) as image:
        dots = tuple(round(dots) for dots in image.info["dpi"])
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, format="png", optimize=True, dpi=dots)


def panels(
    plan: Plan, blocks: Iterable[Block], width: float, heights: list[float]
) -> tuple[Figure, list[Figure | SubFigure]]:
    """A figure with a part for each block, one below the other; each part has a title if the plan shows several."""
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    parts = [figure] if len(heights) == 1 else list(figure.subfigures(len(heights), 1, height_ratios=heights))
    if len(plan.shown_blocks()) > 1:
        for part, block in zip(parts, blocks, strict=True):
            part.suptitle(", ".join(block), fontweight="bold")
    return figure, parts


def grid_rows(count: int, most: int) -> int:
    """Rows of a grid of `count` panels, at most `most` of them side by side."""
    return max(1, -(-count // most))


def small_panels(
    part: Figure | SubFigure, names: Sequence[str], most: int, sharex: bool = True
) -> Iterator[tuple[Axes, str]]:
    """A panel with one scale for each name, in rows that are about equally full; clears the rest once all are drawn."""
    rows = grid_rows(len(names), most)
    grid = part.subplots(rows, grid_rows(len(names), rows), sharex=sharex, sharey=True, squeeze=False)
    yield from zip(grid.flat, names, strict=False)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    for column in grid.T:  # the lowest panel of a column has the numbers, even if there is room below it
        lowest = [axes for axes in column if axes.axison][-1]
        lowest.tick_params(axis="x", labelbottom=True)


def named_rows(columns: list[Axes], names: Sequence[str]) -> None:
    """Sets up one row per name, from the top, in panels that are side by side; the first panel shows the names."""
    columns[0].set_yticks(range(len(names)), names)
    columns[0].set_ylim(len(names) - 0.4, -0.6)
    for axes in columns:
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
