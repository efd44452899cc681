"""Sufficient statistics of segments, which significance tests resample, and corpus scores from their sums."""

from collections.abc import Sequence

import numpy as np

from caneft.scoring.metrics import METRICS, mean
from caneft.scoring.significance import Score

DECIMALS = 6
"""Decimals of neural metrics' segment scores in files."""


class Surface:
    """A metric of `metrics.METRICS` on one test set. score: maps sums of statistics to corpus scores."""

    def __init__(self, name: str, target_language: str | None, references: Sequence[str]):
        self.metric = METRICS[name].make(target_language)
        self.score: Score = METRICS[name].from_sums
        self.prepared = self.metric._cache_references([references])
        self.known: dict[tuple[int, str], list[float]] = {}

    def __call__(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Statistics of a system, (segments, k): whole numbers in float64."""
        for segment, hypothesis in enumerate(hypotheses):
            if (segment, hypothesis) not in self.known:  # variants often agree
                prepared = self.metric._preprocess_segment(hypothesis)
                found = self.metric._compute_segment_statistics(prepared, self.prepared[segment])
                self.known[segment, hypothesis] = found
        return np.array([self.known[key] for key in enumerate(hypotheses)], dtype=np.float64)


def segment_scores(scores: Sequence[float]) -> np.ndarray:
    """Statistics (segments, 2) of a metric that is a mean over segments: the score as a whole number, and 1."""
    whole = np.round(np.asarray(scores, float) * 10**DECIMALS)
    return np.stack([whole, np.ones(len(whole))], axis=-1)


def mean_of_segments(sums: np.ndarray) -> np.ndarray:
    """Mean (...) from sums (..., 2) of `segment_scores`."""
    return mean(sums) / 10**DECIMALS
