"""Tests of significance on sufficient statistics of segments: randomisation, bootstrap, Holm. numpy only.

A *system* is one output of a test set: an array (segments, k) of whole numbers, whose sums over segments a `Score`
turns into the corpus score (lengths and n-gram matches of BLEU, say). Sums of whole numbers are exact, so outputs that
are equal have equal scores under every resample. Several seeds of one variant are several systems, and a comparison is
a list of pairs of them: all of its pairs are swapped together, and its statistic is the mean of their differences.
"""

from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
"""Corpus scores (...) of sums of statistics (..., k)."""
Pairs = Sequence[tuple[int, int]]
"""Of one comparison: numbers of the systems whose scores are subtracted, the second from the first."""

CHUNK = 250
"""Resamples at a time, which bounds the memory; always as many, so that other comparisons change no resample."""
TOLERANCE = 1e-9
"""Differences so near to each other are equal: scores of equal sums in another order of addition."""
EXACT = 2**24
"""Whole numbers up to here are exact in float32."""


def randomised(
    systems: np.ndarray, comparisons: Sequence[Pairs], score: Score, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Differences of the comparisons when each segment's outputs are swapped or not by a coin, shape (resamples,
    comparisons).

    All comparisons share the coins of a resample. Riezler and Maxwell (2005), *On Some Pitfalls in Automatic Evaluation
    and Significance Testing for MT*.
    """
    first, second = np.array([pair for pairs in comparisons for pair in pairs], dtype=int).reshape(-1, 2).T
    counts = np.array([len(pairs) for pairs in comparisons], dtype=int)
    starts, sums = np.cumsum(counts) - counts, systems.sum(axis=1)
    change = _columns(systems[second] - systems[first])
    result = np.empty((resamples, len(comparisons)))
    for start in range(0, resamples, CHUNK):
        swaps = rng.integers(2, size=(CHUNK, systems.shape[1]), dtype=bool)[: resamples - start]
        moved = _product(swaps, change, len(first))
        swapped = score(sums[first] + moved) - score(sums[second] - moved)
        result[start : start + CHUNK] = np.add.reduceat(swapped, starts, axis=1) / counts
    return result


def p_values(observed: np.ndarray, randomised: np.ndarray) -> np.ndarray:
    """Two-sided p of each comparison: (count(|difference*| >= |difference|) + 1) / (resamples + 1).

    observed: (comparisons,); randomised: (resamples, comparisons). No difference at all gives 1.
    """
    as_large = (np.abs(randomised) >= np.abs(observed) - TOLERANCE).sum(axis=0)
    return (as_large + 1) / (len(randomised) + 1)


def bootstrapped(systems: np.ndarray, score: Score, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Scores of the systems on segments drawn with replacement, the same for all systems: (resamples, systems)."""
    count, segments = systems.shape[:2]
    columns, rows = _columns(systems), np.arange(CHUNK)[:, None] * segments
    result = np.empty((resamples, count))
    for start in range(0, resamples, CHUNK):
        drawn = rng.integers(segments, size=(CHUNK, segments)) + rows
        counts = np.bincount(drawn.ravel(), minlength=CHUNK * segments).reshape(CHUNK, segments)[: resamples - start]
        result[start : start + CHUNK] = score(_product(counts, columns, count))
    return result


def interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the percentile interval that holds 95 % of the resamples, which are the first axis."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return low, high


def holm(p: Sequence[float]) -> list[float]:
    """p values of one family, adjusted by the step-down method of Holm (1979), in the order in which they were given.

    Those below a level are significant with at most that probability of one or more false ones in the family.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p, float)[order] * factors))
    return adjusted.tolist()


def _columns(systems: np.ndarray) -> np.ndarray:
    """(segments, k * systems), in float32 where no sum over the segments can pass what is exact in it."""
    small = systems.size == 0 or np.abs(systems).max() * systems.shape[1] < EXACT
    columns = systems.transpose(1, 2, 0).reshape(systems.shape[1], -1)
    return np.ascontiguousarray(columns, np.float32 if small else np.float64)


def _product(weights: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    """Weighted sums over segments as float64, (resamples, systems, k). weights: (resamples, segments)."""
    sums = (weights.astype(columns.dtype) @ columns).astype(np.float64)
    return sums.reshape(len(weights), -1, count).transpose(0, 2, 1)
