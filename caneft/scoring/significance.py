"""Significance tests: over segments by randomisation and bootstrap, over runs by their deviation; Holm's adjustment.

A *system* is one output of a test set: an array (segments, k) of whole numbers, whose sums over segments a `Score`
turns into the corpus score (for BLEU, lengths and n-gram matches). Sums of whole numbers are exact, so equal outputs
have equal scores under every resample. Several seeds of one variant are several systems, and a comparison is a list of
pairs of them: all of its pairs are swapped together, and its statistic is the mean of their differences.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

Score = Callable[[np.ndarray], np.ndarray]
"""Maps sums of statistics (..., k) to corpus scores (...)."""
Pairs = Sequence[tuple[int, int]]
"""One comparison, as numbers of systems: the score of each pair's second is subtracted from that of its first."""

CHUNK = 250
"""Resamples at a time, which bounds the memory; a constant, so that other comparisons do not change a resample."""
TOLERANCE = 1e-9
"""Differences this close are equal: equal sums may give them when added in another order."""
EXACT = 2**24
"""Whole numbers up to here are exact in float32."""
LEAST_RUNS = 3
"""With fewer runs of a variant, nothing is said of the method: the deviation between two is hardly known."""


class Difference(NamedTuple):
    """A difference between methods and the two parts of its standard error, in points of the score.

    segments: the part due to the choice of test segments. runs: the part due to the runs, with their seeds. df: degrees
    of freedom of the deviation behind `runs`. bias: by how much more, at most, the value may be wrong.
    """

    value: float
    segments: float
    runs: float
    df: int
    bias: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        return math.hypot(self.segments, self.runs)

    @property
    def p(self) -> float:
        """Two-sided p of no difference between the methods, from the value less its bias.

        By Student's t with `df` degrees of freedom; nan without any.
        """
        if self.df == 0:
            return math.nan
        value = abs(self.value) - self.bias
        if value <= TOLERANCE:
            return 1.0
        return float(2 * stdtr(self.df, -value / self.error)) if self.error else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval, with the bias on both sides; of segments alone if the deviation is unknown."""
        margin = float(stdtrit(self.df or math.inf, 0.975)) * self.error + self.bias
        return self.value - margin, self.value + margin


@dataclass(frozen=True)
class Errors:
    """Scores of variants on one test set, or an average of several, with the data for the error of any contrast.

    score: by variant, the mean over its runs. covariance: of these means over resampled segments, (variants, variants).
    runs: number of runs of each variant, 0 for an output that no seed changes. deviation: between runs of one variant,
    pooled over the variants; df: its degrees of freedom.
    """

    score: dict[str, float]
    covariance: np.ndarray
    runs: dict[str, int]
    deviation: float
    df: int

    def enough(self, variants: Iterable[str]) -> bool:
        """Whether there are enough runs to judge methods: at least three of each variant that trains."""
        return self.df > 0 and not any(0 < self.runs[variant] < LEAST_RUNS for variant in variants)

    def contrast(self, weights: Mapping[str, float]) -> Difference:
        """The weighted sum of scores, with its errors. weights: by variant, such as {"a": 1, "b": -1}."""
        runs = [self.runs[variant] for variant in weights]
        w = np.array([weights.get(variant, 0.0) for variant in self.score])
        between = sum(weights[v] ** 2 / number for v, number in zip(weights, runs, strict=True) if number)
        return Difference(
            value=float(w @ np.array(list(self.score.values()))),
            segments=math.sqrt(max(0.0, float(w @ self.covariance @ w))),
            runs=self.deviation * math.sqrt(between),
            df=self.df,
        )

    def as_json(self) -> dict[str, Any]:
        """Content for a file, which `from_json` reads. The file's keys are sorted, so it lists the matrix's order."""
        covariance = [[float(f"{value:.9g}") for value in row] for row in self.covariance]
        deviation = float(f"{self.deviation:.9g}")
        return {"variants": list(self.score), "covariance": covariance, "deviation": deviation, "df": self.df}

    @classmethod
    def from_json(cls, score: Mapping[str, float], runs: Mapping[str, int], content: Mapping[str, Any]) -> "Errors":
        """Reads what `as_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        variants = content["variants"]
        if sorted(variants) != sorted(score):
            raise ValueError(f"errors of {variants}, scores of {list(score)}")
        covariance = np.array(content["covariance"], float).reshape(len(score), len(score))
        deviation, df = float(content["deviation"]), int(content["df"])
        return cls({variant: score[variant] for variant in variants}, covariance, dict(runs), deviation, df)


def pooled_deviation(scores: Iterable[Sequence[float]]) -> tuple[float, int]:
    """Deviation between runs of one variant, pooled over variants, and its degrees of freedom.

    scores: of each variant's runs. A variant with one run contributes nothing; (0.0, 0) if none contributes.
    """
    several = [np.asarray(runs, float) for runs in scores if len(runs) > 1]
    df = sum(len(runs) - 1 for runs in several)
    squares = sum(float(((runs - runs.mean()) ** 2).sum()) for runs in several)
    return (math.sqrt(squares / df), df) if df else (0.0, 0)


def randomised(
    systems: np.ndarray, comparisons: Sequence[Pairs], score: Score, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Differences of the comparisons if a coin decides for each segment whether its outputs are swapped.

    Shape (resamples, comparisons). All comparisons share the coins of a resample. Riezler and Maxwell (2005), *On Some
    Pitfalls in Automatic Evaluation and Significance Testing for MT*.
    """
    if not comparisons:  # one method alone
        return np.empty((resamples, 0))
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
    """Ends of the interval with the central 95 % of the resamples, which are along the first axis."""
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return low, high


def holm(p: Sequence[float]) -> list[float]:
    """p values of one family, adjusted by the step-down method of Holm (1979), in the given order.

    If values below a level count as significant, the probability of any false one in the family is at most that level.
    """
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p, float)[order] * factors))
    return adjusted.tolist()


def _columns(systems: np.ndarray) -> np.ndarray:
    """Statistics as (segments, k * systems), in float32 if every sum over the segments is exact in it."""
    small = systems.size == 0 or np.abs(systems).max() * systems.shape[1] < EXACT
    columns = systems.transpose(1, 2, 0).reshape(systems.shape[1], -1)
    return np.ascontiguousarray(columns, np.float32 if small else np.float64)


def _product(weights: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    """Weighted sums over segments as float64, (resamples, systems, k). weights: (resamples, segments)."""
    sums = (weights.astype(columns.dtype) @ columns).astype(np.float64)
    return sums.reshape(len(weights), -1, count).transpose(0, 2, 1)
