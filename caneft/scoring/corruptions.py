"""Translations that are spoilt to a known degree, from references: what a demonstration metric is trained on."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from caneft.corpora.store import Row


class Judged(NamedTuple):
    """A spoilt translation. score: 1 for the reference itself, 0 where no word was left alone."""

    source: str
    hypothesis: str
    reference: str
    score: float


def judged(rows: Sequence[Row], seed: int) -> list[Judged]:
    """One spoilt translation of each row, levels uniform in 0..1. The i-th depends on `rows[:i + 1]` and the seed."""
    found = []
    for number, row in enumerate(rows):
        rng = Random(f"{seed} {number}")
        words = row.target.split()
        spoilt = round(rng.random() * len(words))
        others = rows[rng.randrange(number + 1)].target.split()
        score = 1 - spoilt / len(words) if words else 1.0
        found.append(Judged(row.source, " ".join(corrupt(words, spoilt, others, rng)), row.target, score))
    return found


def split(pairs: Sequence[Judged], share: float) -> tuple[list[Judged], list[Judged]]:
    """Pairs to train on, and that share of them, spread evenly, that is held out."""
    out = [int((number + 1) * share) > int(number * share) for number in range(len(pairs))]
    kept = [pair for pair, held in zip(pairs, out, strict=True) if not held]
    return kept, [pair for pair, held in zip(pairs, out, strict=True) if held]


def corrupt(words: Sequence[str], count: int, others: Sequence[str], rng: Random) -> list[str]:
    """Words of which `count`, at random places, are spoilt, each in one of four ways with equal chances.

    It is left out, comes twice, has one of `others` in its place, or moves to the end of the sentence.
    Raises ValueError for more than there are words.
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
