"""Unseen against seen scores over a grid of learning rates, and how much two methods differ at equal seen scores.

A higher rate gains more on the trained domains and loses more on others, so a method is a curve and not a point.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from caneft.scoring.significance import Difference

Point = tuple[float, float]
"""Seen and unseen score of one learning rate."""
LEAST_RATES = 3
"""The fewest rates that show the course of a curve."""


class Matched(NamedTuple):
    """How two curves differ over the seen scores from `low` to `high`, which both reach.

    difference: mean over that range of the first curve's unseen score less the second's. at: the seen scores at which
    either curve has a rate, each with the difference there.
    """

    difference: Difference
    low: float
    high: float
    at: list[Point]


def curve(points: Sequence[Point]) -> np.ndarray:
    """Seen and unseen scores by rising seen score, (2, rates). points: by rising rate.

    Leaves out rates above that of the best seen score, since they lose on both sides. Of points with equal seen scores,
    keeps the one with the better unseen score.
    """
    best = max(range(len(points)), key=lambda n: points[n], default=-1)
    unseen = {}
    for score, other in points[: best + 1]:
        unseen[score] = max(other, unseen.get(score, -math.inf))
    return np.array(sorted(unseen.items()), float).reshape(-1, 2).T


def matched(
    first: Sequence[Point], second: Sequence[Point], on_seen: Difference, on_unseen: Difference, scale: float
) -> Matched | None:
    """The difference of two methods' curves; None if they share no range of seen scores, or one has too few rates.

    Between two rates, a curve is a straight line. The bias is how far the truth may be from these lines towards no
    difference, if every unseen score between two rates is between theirs. on_seen, on_unseen: differences of the final
    runs, whose errors are used, times `scale`, since a trial has fewer seeds. An error in the seen score is multiplied
    by the mean steepness over the range of the steeper curve. The error of one point stands for that of the mean over
    the range, which cannot exceed it.
    """
    a, b = curve(first), curve(second)
    if min(a.shape[1], b.shape[1]) < LEAST_RATES:
        return None
    low, high = max(a[0, 0], b[0, 0]), min(a[0, -1], b[0, -1])
    if low >= high:
        return None
    places = np.unique([low, high, *(seen for own in (a, b) for seen in own[0] if low <= seen <= high)])
    gaps = np.interp(places, *a) - np.interp(places, *b)
    steep = max(np.abs(np.diff(np.interp(places, *own))).sum() / (high - low) for own in (a, b))
    segments, runs = (
        scale * math.hypot(getattr(on_unseen, part), steep * getattr(on_seen, part)) for part in ("segments", "runs")
    )
    mean = float(np.trapezoid(gaps, places) / (high - low))
    ahead, behind = (a, b) if mean > 0 else (b, a)
    bias = room(ahead, places, min) + room(behind, places, max)
    at = [(float(seen), float(gap)) for seen, gap in zip(places, gaps, strict=True)]
    return Matched(Difference(mean, segments, runs, on_unseen.df, bias), float(low), float(high), at)


def room(curve: np.ndarray, places: np.ndarray, which: Callable[[float, float], float]) -> float:
    """Mean distance over a range between a curve's lines and the lower or higher unseen score of the rates around it.

    curve: seen and unseen scores, (2, rates). places: the ends of the range, and all of the curve's rates between them.
    which: min or max.
    """
    middles = (places[1:] + places[:-1]) / 2  # between places, the distance is linear
    right = np.searchsorted(curve[0], middles)
    ends = [which(*pair) for pair in zip(curve[1, right - 1], curve[1, right], strict=True)]
    return float(np.average(np.abs(np.interp(middles, *curve) - ends), weights=np.diff(places)))
