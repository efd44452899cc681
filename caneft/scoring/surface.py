"""BLEU and chrF2 through sacrebleu, and counts of what went wrong in decoding."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sacrebleu.metrics import BLEU, CHRF

from caneft.corpora.store import Row
from caneft.corpora.text import lines
from caneft.errors import InputError

OVERLONG_FACTOR, OVERLONG_OFFSET = 2, 20

METRICS: dict[str, Callable[[str], Any]] = {
    "bleu": lambda target: BLEU(trg_lang=target),
    "chrf": lambda target: CHRF(),
}
"""Metric by name, made for a target language code (`zh` gets sacrebleu's zh tokenizer)."""


def corpus_scores(
    hypotheses: Sequence[str], references: Sequence[str], target_language: str, metrics: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Corpus score and signature by metric. target_language: code such as `en`."""
    result = {}
    for name in metrics:
        metric = METRICS[name](target_language)
        score = metric.corpus_score(list(hypotheses), [list(references)]).score
        result[name] = {"score": score, "signature": str(metric.get_signature())}
    return result


def health(hypotheses: Sequence[str], references: Sequence[str], truncated: Sequence[bool]) -> dict[str, int]:
    """Counts of empty, truncated and over-long outputs (more than twice the reference's characters plus 20)."""
    pairs = zip(hypotheses, references, strict=True)
    return {
        "empty": sum(not hypothesis.strip() for hypothesis in hypotheses),
        "truncated": sum(truncated),
        "overlong": sum(len(h) > OVERLONG_FACTOR * len(r) + OVERLONG_OFFSET for h, r in pairs),
    }


def score(
    hypotheses: Sequence[dict[str, Any]], references: Sequence[Row], target_language: str, metrics: Sequence[str]
) -> dict[str, Any]:
    """Scores, signatures and health counts of one domain; hypotheses as in a translations file, aligned."""
    texts, targets = [line["hypothesis"] for line in hypotheses], [row.target for row in references]
    truncated = ["truncated" in line["flags"] for line in hypotheses]
    return {
        "segments": len(targets),
        **corpus_scores(texts, targets, target_language, metrics),
        "health": health(texts, targets, truncated),
    }


def copies(references: Mapping[str, Sequence[Row]]) -> dict[str, list[dict[str, Any]]]:
    """The sources as their own translations."""
    return {
        domain: [{"id": row.id, "hypothesis": row.source, "flags": []} for row in rows]
        for domain, rows in references.items()
    }


def read_translations(path: Path, references: Mapping[str, Sequence[Row]]) -> dict[str, list[dict[str, Any]]]:
    """Lines of a translations file by domain.

    Raises InputError unless their ids are those of the references, in order.
    """
    found: dict[str, list[dict[str, Any]]] = {domain: [] for domain in references}
    try:
        for _, text in lines(path):
            line = json.loads(text)
            if not (isinstance(line["hypothesis"], str) and isinstance(line["flags"], list)):
                raise TypeError("a hypothesis is a string, its flags are a list")
            found[line["domain"]].append(line)
        aligned = all([line["id"] for line in found[d]] == [row.id for row in rows] for d, rows in references.items())
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a translations file ({error!r}); delete it and run the workflow again") from None
    if not aligned:
        raise InputError(
            f"{path}: its ids are not those of the test sets, in order; delete it and run the workflow again"
        )
    return found
