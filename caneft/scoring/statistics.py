"""Sufficient statistics of segments, and corpus scores from their sums: what tests of significance resample.

sacrebleu computes the statistics. Its scores from sums are computed here for many sums at once, with numpy.
"""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from caneft.scoring.significance import Score
from caneft.scoring.surface import METRICS

DECIMALS = 6
"""Of segment scores of neural metrics, as their files have them."""


class Surface:
    """A metric of `surface.METRICS` on one test set."""

    def __init__(self, name: str, target_language: str | None, references: Sequence[str]):
        self.metric, self.references = METRICS[name](target_language), references
        self.sacrebleu = isinstance(self.metric, BLEU | CHRF)
        if self.sacrebleu:
            self.prepared = self.metric._cache_references([references])
        self.known: dict[tuple[int, str], list[float]] = {}

    def __call__(self, hypotheses: Sequence[str]) -> np.ndarray:
        """Statistics of a system, (segments, k), whole numbers in float64; of exact match hits and segments."""
        for segment, hypothesis in enumerate(hypotheses):
            if (segment, hypothesis) not in self.known:  # variants often agree
                self.known[segment, hypothesis] = self._segment(segment, hypothesis)
        return np.array([self.known[key] for key in enumerate(hypotheses)], dtype=np.float64)

    def _segment(self, segment: int, hypothesis: str) -> list[float]:
        if not self.sacrebleu:
            return [self.metric.corpus_score([hypothesis], [[self.references[segment]]]).score / 100, 1]
        prepared = self.metric._preprocess_segment(hypothesis)
        return self.metric._compute_segment_statistics(prepared, self.prepared[segment])

    @property
    def score(self) -> Score:
        """Corpus scores from sums of statistics."""
        if isinstance(self.metric, BLEU):
            return bleu
        return chrf if self.sacrebleu else lambda sums: 100 * mean(sums)


def bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU (...) from sums (..., 10) of sacrebleu's statistics: lengths of output and reference, matches, n-grams.

    With sacrebleu's defaults: four orders, exponential smoothing, no effective order.
    """
    length, reference, correct, total = sums[..., 0], sums[..., 1], sums[..., 2:6], sums[..., 6:10]
    with np.errstate(divide="ignore", invalid="ignore"):
        smoothed = np.where(correct > 0, correct, 0.5 ** np.cumsum(correct == 0, axis=-1))
        precision = np.log(smoothed / total).mean(axis=-1)
        score = 100 * np.exp(precision + np.minimum(0, 1 - reference / length))
    return np.where((total > 0).all(axis=-1) & (correct > 0).any(axis=-1), score, 0.0)


def chrf(sums: np.ndarray) -> np.ndarray:
    """chrF2 (...) from sums (..., 3 * orders) of sacrebleu's statistics: n-grams of output, of reference, matches."""
    hypothesis, reference, match = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    orders = ((hypothesis > 0) & (reference > 0)).sum(axis=-1)  # where either is 0, so are the matches
    precision = (match / np.maximum(hypothesis, 1)).sum(axis=-1)
    recall = (match / np.maximum(reference, 1)).sum(axis=-1)
    weighted = orders * (4 * precision + recall)
    return 100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1)


def segment_scores(scores: Sequence[float]) -> np.ndarray:
    """Statistics (segments, 2) of a metric that is a mean over segments: the score as a whole number, and 1."""
    whole = np.round(np.asarray(scores, float) * 10**DECIMALS)
    return np.stack([whole, np.ones(len(whole))], axis=-1)


def mean(sums: np.ndarray) -> np.ndarray:
    """Mean (...) from sums (..., 2) of values and of segments."""
    return sums[..., 0] / sums[..., 1]


def mean_of_segments(sums: np.ndarray) -> np.ndarray:
    """Mean (...) from sums (..., 2) of `segment_scores`."""
    return mean(sums) / 10**DECIMALS
