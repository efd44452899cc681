"""Which pairs of a corpus are kept: normalisation, cleaning, leakage, draw.

Pairs are named tuples with `source` and `target`: `readers.Pair` before, `store.Row` after preparation.
"""

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

P = TypeVar("P")

FLAWS = ("empty_source", "empty_target", "duplicate_pair")
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # category Cc, line and paragraph separator


def normalise(text: str) -> str:
    """Text in NFC; each run of white space, control characters and line separators is one space, none at the ends."""
    return " ".join(CONTROL.sub(" ", unicodedata.normalize("NFC", text)).split())


def clean(pairs: Iterable[P]) -> tuple[list[P], dict]:
    """Normalised pairs without empty sides and exact repetitions (the first stays), and a report.

    Report: `read`, `kept`, `dropped` by reason, and `copies`: kept pairs whose target is their source.
    """
    judged = list(_judged(pairs))
    kept = [pair for pair, flaw in judged if flaw is None]
    return kept, {"read": len(judged), "kept": len(kept), "dropped": _flaw_counts(judged), "copies": copies(kept)}


def normalised(pairs: Iterable[P]) -> tuple[list[P], dict]:
    """All pairs, normalised: a test set's lines are what is scored, so none is dropped.

    Report as of `clean`; what it would have dropped is counted under `present`.
    """
    judged = list(_judged(pairs))
    kept = [pair for pair, _ in judged]
    report = {"read": len(judged), "kept": len(kept), "dropped": {}, "copies": copies(kept)}
    return kept, report | {"present": _flaw_counts(judged)}


def without_leakage(train: Iterable[P], held_out: Mapping[str, Sequence[P]]) -> tuple[list[P], dict]:
    """The pairs whose source is no source of a held-out set, and per held-out set what was dropped for it.

    All sides must be normalised. `leaked_pairs`: source and target are a held-out pair; `leaked_sources`: the
    source alone is. A pair that leaks from two sets counts in both.
    """
    pairs = {name: {(pair.source, pair.target) for pair in rows} for name, rows in held_out.items()}
    sources = {name: {source for source, _ in pairs[name]} for name in held_out}
    report = {name: {"leaked_pairs": 0, "leaked_sources": 0} for name in held_out}
    kept = []
    for pair in train:
        leaks = [name for name in held_out if pair.source in sources[name]]
        for name in leaks:
            report[name]["leaked_pairs" if (pair.source, pair.target) in pairs[name] else "leaked_sources"] += 1
        if not leaks:
            kept.append(pair)
    return kept, report


def sample(pairs: Sequence[P], limit: int | None, seed: int | str) -> list[P]:
    """At most `limit` of the pairs, drawn without replacement and returned in their order; all, if it is None."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    return [pairs[index] for index in sorted(random.Random(seed).sample(range(len(pairs)), limit))]


def copies(pairs: Iterable[P]) -> int:
    """Number of pairs whose target is their source."""
    return sum(pair.source == pair.target for pair in pairs)


def _judged(pairs: Iterable[P]) -> Iterator[tuple[P, str | None]]:
    """Every pair, normalised, with the flaw that cleaning drops it for, if any."""
    seen = set()
    for pair in pairs:
        pair = pair._replace(source=normalise(pair.source), target=normalise(pair.target))
        sides = (pair.source, pair.target)
        is_flawed = (not pair.source, not pair.target, sides in seen)
        seen.add(sides)
        yield pair, next((flaw for flaw, found in zip(FLAWS, is_flawed, strict=True) if found), None)


def _flaw_counts(judged: Iterable[tuple[P, str | None]]) -> dict[str, int]:
    counts = Counter(flaw for _, flaw in judged)
    return {flaw: counts[flaw] for flaw in FLAWS}
