"""Seen against unseen scores over a grid of learning rates, and how far two methods differ where both are equally good
on seen domains.

A higher rate gains more on the domains that are trained on and loses more on others, so a method is a curve and not a
point. What a curve reaches of the unseen score, given the seen one, is its frontier.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from caneft.scoring.significance import Difference

Point = tuple[float, float]
"""Seen and unseen score of one learning rate."""


class Matched(NamedTuple):
    """How two frontiers differ over the seen scores from `low` to `high`, which both reach.

    difference: mean over that range of the first one's unseen score less the second one's. at: seen scores at which
    either has a rate, with the difference there.
    """

    difference: Difference
    low: float
    high: float
    at: list[Point]


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other one is at least as good as in both scores, by rising seen score."""
    kept: list[Point] = []
    for seen, unseen in sorted(set(points), reverse=True):
        if not kept or unseen > kept[-1][1]:
            kept.append((seen, unseen))
    return kept[::-1]


def matched(
    first: Sequence[Point], second: Sequence[Point], on_seen: Difference, on_unseen: Difference, scale: float
) -> Matched | None:
    """The difference of two frontiers; None where they share no seen score.

    Between two rates a frontier is a straight line. What the one that is behind may rise above it, by `bulge`, is the
    difference's bias. on_seen, on_unseen: differences of the final runs, of which the errors are taken, times `scale`,
    since a trial has fewer seeds. An error in the seen score counts by the steeper of the two frontiers, by its mean
    slope over the range. Where the range is one score, the steepest part counts that touches it, of a frontier of one
    point that of the whole grid. The error of a mean over the range is taken to be that of one of its points, which it
    cannot exceed.
    """
    a, b = (np.array(frontier(points)).reshape(-1, 2).T for points in (first, second))
    if not a.size or not b.size:
        return None
    low, high = max(a[0, 0], b[0, 0]), min(a[0, -1], b[0, -1])
    if low > high:
        return None
    places = np.unique([low, high, *(seen for curve in (a, b) for seen in curve[0] if low <= seen <= high)])
    gaps = np.interp(places, *a) - np.interp(places, *b)
    width = high - low
    if width:
        slope = max(abs(np.diff(np.interp([low, high], *curve))[0]) / width for curve in (a, b))
    else:
        grids = (np.array(sorted(set(points))).T for points in (first, second))
        lines = [curve if curve.shape[1] > 1 else grid for curve, grid in zip((a, b), grids, strict=True)]
        slope = max((steep for line in lines for steep in _slopes(line, low)), default=0.0)
    segments, runs = (
        scale * math.hypot(getattr(on_unseen, part), slope * getattr(on_seen, part)) for part in ("segments", "runs")
    )
    mean = float(np.trapezoid(gaps, places) / width if width else gaps[0])
    bias = bulge(b if mean > 0 else a, low, high)
    at = [(float(seen), float(gap)) for seen, gap in zip(places, gaps, strict=True)]
    return Matched(Difference(mean, segments, runs, on_unseen.df, bias), float(low), float(high), at)


FINE = 512
"""Places at which the room above a frontier is measured."""


def bulge(curve: np.ndarray, low: float, high: float) -> float:
    """Mean height, over a range of seen scores, up to which a frontier may rise above the lines between its rates.

    A frontier that falls ever faster lies between two rates above their line, and below the lines of the neighbouring
    pairs of rates drawn on. Where there is no such pair, or the rates themselves do not fall ever faster, it lies no
    higher than the left rate. curve: seen and unseen scores, (2, rates), the first rising and the second falling.
    """
    if curve.shape[1] < 2:
        return 0.0
    places = np.linspace(low, high, FINE)
    part = np.clip(np.searchsorted(curve[0], places, side="right") - 1, 0, curve.shape[1] - 2)
    slopes = np.diff(curve[1]) / np.diff(curve[0])
    before = np.where(part > 0, slopes[part - 1], 0.0)
    room = curve[1, part] + before * (places - curve[0, part])
    last = part == len(slopes) - 1
    after = np.where(last, 0.0, slopes[np.minimum(part + 1, len(slopes) - 1)])
    drawn_back = curve[1, part + 1] + after * (places - curve[0, part + 1])
    room = np.where(last, room, np.minimum(room, drawn_back))
    line = np.interp(places, *curve)
    return float(np.where(room < line, curve[1, part] - line, room - line).mean())


def _slopes(curve: np.ndarray, seen: float) -> list[float]:
    """Steepness of the parts of a curve that touch a seen score. curve: seen and unseen scores, (2, rates)."""
    rise, run = np.abs(np.diff(curve[1])), np.diff(curve[0])
    touching = (curve[0, :-1] <= seen) & (seen <= curve[0, 1:]) & (run > 0)
    return list(rise[touching] / run[touching])
