"""Labels points directly and without overlap: each label takes the cheapest of fixed places around its point."""

import numpy as np
from matplotlib.axes import Axes

from caneft.reporting.style import GREY, HALO

RADII = (3, 6, 10, 15, 21, 28, 36, 45)  # points of type between a marker and its label
ANGLES = np.deg2rad([0, 180, 90, 270, 35, 145, 215, 325, 60, 120, 240, 300, 15, 165, 195, 345])
MARKER, DOT = 6.0, 2.0  # sides of the boxes that stand for a marker and for a piece of a line
STEPS = np.array([0.25, 0.5, 0.75])  # pieces of a leader line, between the point and its label


def label_points(axes: Axes, points: np.ndarray, texts: list[str], clear: np.ndarray, lines: np.ndarray) -> None:
    """Labels points, with a leader line if a label is not next to its point. Fixes the layout of the figure.

    points: (n, 2) in data coordinates. clear: (m, 2), further points for labels to avoid. lines: (k, 2), points along
    lines to avoid.
    """
    if not texts:
        return
    figure = axes.get_figure(root=True)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72
    centred = {"textcoords": "offset points", "ha": "center", "va": "center", "fontsize": 7.5, "bbox": HALO}
    labels = [axes.annotate(text, point, (0, 0), **centred) for text, point in zip(texts, points, strict=True)]
    sizes = np.array([label.get_window_extent().size for label in labels]) / pixel + 1.5
    here, away, along = (axes.transData.transform(where) / pixel for where in (points, clear, lines))
    window = axes.get_window_extent()
    inside = np.array([window.p0, window.p1]) / pixel
    offsets = _place(here, sizes, away, along, inside)
    for label, point, offset, size in zip(labels, points, offsets, sizes, strict=True):
        label.set_position(offset)
        border = offset * (1 - np.min(size / 2 / np.maximum(np.abs(offset), 1e-9)))  # where the line leaves the label
        if np.hypot(*border) > 9:
            line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", point, border, textcoords="offset points", arrowprops=line)


def _place(
    points: np.ndarray, sizes: np.ndarray, clear: np.ndarray, lines: np.ndarray, inside: np.ndarray
) -> np.ndarray:
    """Offset of each label's centre from its point, found by coordinate descent. All lengths are in points of type."""
    direction = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1)
    choices = [np.concatenate([direction * (radius + size / 2) for radius in RADII]) for size in sizes]
    distance = np.repeat(RADII, len(ANGLES)) * 0.8
    chosen = np.array([choice[0] for choice in choices])
    for _ in range(10):
        for index, (point, size) in enumerate(zip(points, sizes, strict=True)):
            others = np.arange(len(points)) != index
            boxes, leaders = (points + chosen)[others], _leaders(points[others], chosen[others]).reshape(-1, 2)
            own = _leaders(np.broadcast_to(point, choices[index].shape), choices[index])
            centres = point + choices[index]
            cost = distance + 40 * _outside(centres, size, inside)
            cost += 4 * _overlap(centres, size, boxes, sizes[others])
            cost += 4 * _overlap(centres, size, points, MARKER) + _overlap(centres, size, clear, MARKER)
            cost += 4 * _overlap(centres, size, lines, DOT) + 8 * _overlap(centres, size, leaders, DOT)
            for step in range(len(STEPS)):
                piece = own[:, step], np.full(2, DOT)
                cost += 8 * _overlap(*piece, boxes, sizes[others]) + 4 * _overlap(*piece, lines, DOT)
            chosen[index] = choices[index][cost.argmin()]
    return chosen


def _leaders(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Pieces of the lines from points to their labels, shape (n, steps, 2)."""
    return points[:, None] + STEPS[:, None] * offsets[:, None]


def _overlap(centres: np.ndarray, size: np.ndarray, others: np.ndarray, other_sizes: np.ndarray | float) -> np.ndarray:
    """Area that each box of one size around `centres` shares with the other boxes, summed over them; (centres,)."""
    shared = (size + np.broadcast_to(other_sizes, others.shape)) / 2 - np.abs(centres[:, None] - others[None])
    return np.clip(shared, 0, None).prod(axis=-1).sum(axis=1)


def _outside(centres: np.ndarray, size: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """How far boxes extend beyond the border, shape (centres,)."""
    below, above = inside[0] - (centres - size / 2), centres + size / 2 - inside[1]
    return np.clip(below, 0, None).sum(axis=1) + np.clip(above, 0, None).sum(axis=1)
