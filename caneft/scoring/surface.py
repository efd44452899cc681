"""BLEU and chrF2 through sacrebleu, exact match, and counts of what went wrong in decoding."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from caneft.config import languages
from caneft.corpora.sides import label, language, visible
from caneft.corpora.store import Row
from caneft.errors import InputError

OVERLONG_FACTOR, OVERLONG_OFFSET = 2, 20
LANGUAGE_BYTES = 20
"""Shorter outputs are in no language that could be told."""


class ExactMatch:
    """Share of hypotheses equal to their reference, in per cent; white space at the ends does not count.

    With the interface of sacrebleu's metrics.
    """

    def corpus_score(self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> SimpleNamespace:
        pairs = list(zip(hypotheses, *references, strict=True))
        return SimpleNamespace(score=100 * sum(h.strip() == r.strip() for h, r in pairs) / len(pairs))

    def get_signature(self) -> str:
        return "exact|norm:strip|version:1"


def _tokenizer(target: str | None) -> str:
    if (found := languages.tokenizer(target)) is None:
        raise InputError(f"sacreBLEU has no tokenizer for '{target}', so BLEU says nothing there: {languages.INSTEAD}.")
    return found


METRICS: dict[str, Callable[[str | None], Any]] = {
    "bleu": lambda target: BLEU(tokenize=_tokenizer(target)),
    "chrf": lambda target: CHRF(),
    "exact": lambda target: ExactMatch(),
}
"""Metric by name, made for a target language's tag (`zh` and `yue-hant` get sacrebleu's zh tokenizer)."""


def corpus_scores(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str | None, metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Corpus score and signature by metric. target_language: code such as `en`, which BLEU needs."""
    result = {}
    for name in metrics:
        metric = METRICS[name](target_language)
        score = metric.corpus_score(list(hypotheses), [list(references)]).score
        result[name] = {"score": score, "signature": str(metric.get_signature())}
    return result


def health(
    hypotheses: Sequence[str], references: Sequence[str], truncated: Sequence[bool], target_language: str | None
) -> dict[str, int | None]:
    """Counts of empty, truncated and over-long outputs (more than twice the reference's characters plus 20), and of
    those in a wrong language; None for these where the target language has no code that can be identified."""
    pairs = list(zip(hypotheses, references, strict=True))
    return {
        "empty": sum(not visible(hypothesis).strip() for hypothesis in hypotheses),
        "truncated": sum(truncated),
        "overlong": sum(len(h) > OVERLONG_FACTOR * len(r) + OVERLONG_OFFSET for h, r in pairs),
        "wrong_language": _wrong_language(pairs, target_language),
    }


def _wrong_language(pairs: Sequence[tuple[str, str]], target: str | None) -> int | None:
    """Hypotheses that py3langid finds in another language than the target, where it finds the reference in that."""
    if target is None or label(target) is None:
        return None
    long = [(h, r) for h, r in pairs if len(h.encode()) >= LANGUAGE_BYTES]
    return sum(language(h, target) != target == language(r, target) for h, r in long)


def score(
    hypotheses: Sequence[dict[str, Any]], references: Sequence[Row], target_language: str | None, metrics: Sequence[str]
) -> dict[str, Any]:
    """Scores, signatures and health counts of one domain; hypotheses as in a translations file, aligned.

    metrics: the first is the headline. If every adapter has translated: also `adapters`, the scores of each by its
    domain, `chosen`, the one whose hypotheses are reported, and `oracle`, the one with the highest headline metric.
    """
    texts, targets = [line["hypothesis"] for line in hypotheses], [row.target for row in references]
    truncated = ["truncated" in line["flags"] for line in hypotheses]
    return {
        "segments": len(targets),
        **corpus_scores(texts, targets, target_language, metrics),
        "health": health(texts, targets, truncated, target_language),
        **_adapter_scores(hypotheses, targets, target_language, metrics),
    }


def _adapter_scores(
    hypotheses: Sequence[dict[str, Any]], targets: Sequence[str], target_language: str | None, metrics: Sequence[str]
) -> dict[str, Any]:
    """What `score` adds for an unseen domain of a run with adapters; nothing for all others."""
    if not hypotheses or "alternatives" not in hypotheses[0]:
        return {}
    adapters = sorted(hypotheses[0]["alternatives"])
    texts = {adapter: [line["alternatives"][adapter] for line in hypotheses] for adapter in adapters}
    scores = {adapter: corpus_scores(texts[adapter], targets, target_language, metrics) for adapter in adapters}
    oracle = max(scores, key=lambda adapter: scores[adapter][metrics[0]]["score"])  # the first among equals
    return {"adapters": scores, "chosen": hypotheses[0]["adapter"], "oracle": oracle}
