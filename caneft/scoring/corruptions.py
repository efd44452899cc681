"""Corrupts references to known degrees, to make the translations that a demonstration metric is trained on."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from caneft.corpora.store import Row


class ScoredPair(NamedTuple):
    """A corrupted translation. score: 1 for the reference itself, 0 if every word was corrupted."""

    source: str
    hypothesis: str
    reference: str
    score: float


def judged(rows: Sequence[Row], seed: int) -> list[ScoredPair]:
    """A corrupted translation of each row, with levels uniform in 0..1. The i-th depends on `rows[:i + 1]` and seed."""
    found = []
    for number, row in enumerate(rows):
        rng = Random(f"{seed} {number}")
        words = row.target.split()
        corrupted = round(rng.random() * len(words))
        others = rows[rng.randrange(number + 1)].target.split()
        score = 1 - corrupted / len(words) if words else 1.0
        found.append(ScoredPair(row.source, " ".join(corrupt(words, corrupted, others, rng)), row.target, score))
    return found


def split(pairs: Sequence[ScoredPair], share: float) -> tuple[list[ScoredPair], list[ScoredPair]]:
    """Pairs to train on, and held-out pairs, which are that share of all and evenly spread."""
    out = [int((number + 1) * share) > int(number * share) for number in range(len(pairs))]
    kept = [pair for pair, held in zip(pairs, out, strict=True) if not held]
    return kept, [pair for pair, held in zip(pairs, out, strict=True) if held]


def corrupt(words: Sequence[str], count: int, others: Sequence[str], rng: Random) -> list[str]:
    """Words of which `count`, at random places, are corrupted, each in one of four ways with equal chances.

    A word is left out, repeated, replaced by one of `others`, or moved to the end of the sentence. Raises ValueError if
    `count` exceeds the number of words.
    """
    places = set(rng.sample(range(len(words)), count))
    kept, moved = [], []
    for place, word in enumerate(words):
        if place not in places:
            kept.append(word)
            continue
        kind = rng.choice(("drop", "repeat", "replace", "move"))
        kept += {"repeat": [word, word], "replace": [rng.choice(list(others) or [""])]}.get(kind, [])
        moved += [word] if kind == "move" else []
    return [word for word in kept + moved if word]
