"""Metrics that compare outputs with references: one entry each, with all that scoring and significance tests need.

sacrebleu computes the statistics of segments. This module computes corpus scores from their sums, for many sums at
once, with numpy. `config.metrics.MEASURES` has what people read of a metric, and whether lower is better.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from sacrebleu.metrics import BLEU, CHRF, TER

from caneft.config import languages
from caneft.errors import InputError


class Metric(NamedTuple):
    """The functions of a metric.

    make: maps the target language's tag to an object with the interface of sacrebleu's metrics. from_sums: maps sums
    (..., k) of the statistics of segments, which are whole numbers, to corpus scores (...).
    """

    make: Callable[[str | None], Any]
    from_sums: Callable[[np.ndarray], np.ndarray]


class ExactMatch:
    """Share of hypotheses equal to their reference, in per cent, without regard to white space at the ends.

    Has the interface of sacrebleu's metrics.
    """

    def corpus_score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> SimpleNamespace:
        pairs = list(zip(hypotheses, *references, strict=True))
        return SimpleNamespace(score=100 * sum(h.strip() == r.strip() for h, r in pairs) / len(pairs))

    def get_signature(self) -> str:
        return "exact|norm:strip|version:1"

    def _cache_references(self, references: Sequence[Sequence[str]]) -> list[str]:
        return [reference.strip() for reference in references[0]]

    def _preprocess_segment(self, hypothesis: str) -> str:
        return hypothesis.strip()

    def _compute_segment_statistics(self, hypothesis: str, reference: str) -> list[int]:
        return [hypothesis == reference, 1]


def bleu(sums: np.ndarray) -> np.ndarray:
    """BLEU (...) from sums (..., 10) of sacrebleu's statistics: lengths of output and reference, matches, n-grams.

    Uses sacrebleu's defaults: four orders, exponential smoothing, no effective order.
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
    orders = ((hypothesis > 0) & (reference > 0)).sum(axis=-1)  # if either is 0, so are the matches
    precision = (match / np.maximum(hypothesis, 1)).sum(axis=-1)
    recall = (match / np.maximum(reference, 1)).sum(axis=-1)
    weighted = orders * (4 * precision + recall)
    return 100 * 5 * precision * recall / np.where(weighted > 0, weighted, 1)


def ter(sums: np.ndarray) -> np.ndarray:
    """TER (...) from sums (..., 2) of sacrebleu's statistics: edits and reference words; 100 for edits and no words."""
    edits, words = sums[..., 0], sums[..., 1]
    return 100 * np.where(words > 0, edits / np.maximum(words, 1), edits > 0)


def mean(sums: np.ndarray) -> np.ndarray:
    """Mean (...) from sums (..., 2): of the values, and of 1 for each segment."""
    return sums[..., 0] / sums[..., 1]


def _tokenizer(target: str | None) -> str:
    if (found := languages.tokenizer(target)) is None:
        raise InputError(f"sacreBLEU has no tokenizer for '{target}', whose words are not apart: {languages.INSTEAD}.")
    return found


def _ter(target: str | None) -> TER:
    """TER that counts each Chinese or Japanese character as a word."""
    has_no_spaces = _tokenizer(target) in ("zh", "ja-mecab")
    return TER(normalized=has_no_spaces, asian_support=has_no_spaces)


METRICS = {
    "bleu": Metric(lambda target: BLEU(tokenize=_tokenizer(target)), bleu),
    "chrf": Metric(lambda target: CHRF(), chrf),
    "ter": Metric(_ter, ter),
    "exact": Metric(lambda target: ExactMatch(), lambda sums: 100 * mean(sums)),
}
"""Metrics by name. BLEU uses sacrebleu's zh tokenizer for the tags `zh` and `yue-hant`."""
