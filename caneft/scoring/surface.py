"""Scores outputs against references, and counts what went wrong in decoding."""

from collections.abc import Mapping, Sequence
from typing import Any

from caneft.config.metrics import best
from caneft.corpora.sides import label, language, visible
from caneft.corpora.store import Row
from caneft.plan.settings import ScoreSettings
from caneft.scoring.metrics import METRICS

OVERLONG_FACTOR, OVERLONG_OFFSET = 2, 20
LANGUAGE_BYTES = 20
"""Outputs of fewer bytes are too short to tell their language."""


def corpus_scores(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str | None, metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Corpus score and signature by metric. target_language: code such as `en`, which word-based metrics need."""
    result = {}
    for name in metrics:
        metric = METRICS[name].make(target_language)
        score = metric.corpus_score(list(hypotheses), [list(references)]).score
        result[name] = {"score": score, "signature": str(metric.get_signature())}
    return result


def health(
    hypotheses: Sequence[str], references: Sequence[str], truncated: Sequence[bool], target_language: str | None
) -> dict[str, int | None]:
    """Counts of bad outputs: empty, truncated, over-long (more than twice the reference's characters plus 20), and in a
    wrong language. The last is None if the target language has no code that can be identified."""
    pairs = list(zip(hypotheses, references, strict=True))
    return {
        "empty": sum(not visible(hypothesis).strip() for hypothesis in hypotheses),
        "truncated": sum(truncated),
        "overlong": sum(len(h) > OVERLONG_FACTOR * len(r) + OVERLONG_OFFSET for h, r in pairs),
        "wrong_language": _wrong_language(pairs, target_language),
    }


def _wrong_language(pairs: Sequence[tuple[str, str]], target: str | None) -> int | None:
    """Number of hypotheses that py3langid finds in another language, though it finds the reference in the target's."""
    if target is None or label(target) is None:
        return None
    long = [(h, r) for h, r in pairs if len(h.encode()) >= LANGUAGE_BYTES]
    return sum(language(h, target) != target == language(r, target) for h, r in long)


def score(
    hypotheses: Sequence[dict[str, Any]], references: Sequence[Row], target_language: str | None, metrics: Sequence[str]
) -> dict[str, Any]:
    """Scores, signatures and health counts of one domain; hypotheses as in a translations file, aligned.

    metrics: the first is the headline. If every adapter has translated, adds `adapters`, the scores of each by its
    domain, `chosen`, the one whose hypotheses are reported, and `oracle`, the best one in the headline metric.
    """
    texts, targets = [line["hypothesis"] for line in hypotheses], [row.target for row in references]
    truncated = ["truncated" in line["flags"] for line in hypotheses]
    return {
        "segments": len(targets),
        **corpus_scores(texts, targets, target_language, metrics),
        "health": health(texts, targets, truncated, target_language),
        **_adapter_scores(hypotheses, targets, target_language, metrics),
    }


def score_domains(
    hypotheses: Mapping[str, Sequence[dict[str, Any]]], references: Mapping[str, Sequence[Row]], settings: ScoreSettings
) -> dict[str, dict[str, Any]]:
    """`score` for every domain of the references."""
    told = settings.target_language, settings.metrics
    return {domain: score(hypotheses[domain], rows, *told) for domain, rows in references.items()}


def _adapter_scores(
    hypotheses: Sequence[dict[str, Any]], targets: Sequence[str], target_language: str | None, metrics: Sequence[str]
) -> dict[str, Any]:
    """The entries that `score` adds if every adapter has translated; none otherwise."""
    if not hypotheses or "alternatives" not in hypotheses[0]:
        return {}
    adapters = sorted(hypotheses[0]["alternatives"])
    texts = {adapter: [line["alternatives"][adapter] for line in hypotheses] for adapter in adapters}
    scores = {adapter: corpus_scores(texts[adapter], targets, target_language, metrics) for adapter in adapters}
    oracle = best(metrics[0], {adapter: scores[adapter][metrics[0]]["score"] for adapter in adapters})
    return {"adapters": scores, "chosen": hypotheses[0]["adapter"], "oracle": oracle}
