"""Decides which pairs of a corpus are kept: repairs, cleaning steps, leakage, draw.

Pairs are named tuples with `source` and `target`: `readers.Pair` before, `store.Row` after preparation.
"""

import math
import random
import statistics
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from caneft.config import Cleaning
from caneft.corpora.sides import NO_LANGUAGE, has_inner_control, key, language, normalise, visible, without_mojibake

P = TypeVar("P")
Languages = tuple[str, str]
Flags = Callable[[Sequence[P]], Iterable[bool]]

DEFAULTS = Cleaning()
SLACK = 10
"""Characters added to both lengths of a ratio, because on short sides a few more mean nothing."""
KINDS = ("mojibake", "not_nfc", "control_characters")


def clean(pairs: Iterable[P], rules: Cleaning = DEFAULTS, languages: Languages | None = None) -> tuple[list[P], dict]:
    """The pairs that pass the rules, normalised, and a report.

    languages: codes of the two sides, which `wrong_language` needs.
    Report: `read`, `kept`, `dropped` by reason (each pair under the first step that drops it), `repaired`: pairs by
    kind of repair, and `copies`: kept pairs whose target equals their source.
    """
    read = list(pairs)
    whole = [pair for pair in read if rules.mojibake != "drop" or not has_mojibake(pair)]
    dropped = {"mojibake": len(read) - len(whole)} if rules.mojibake == "drop" else {}
    normal, repaired = _repaired(whole, rules.mojibake == "repair")
    kept, found = _sieved(normal, steps(rules, languages))
    report = {"read": len(read), "kept": len(kept), "dropped": dropped | found, "repaired": repaired}
    return kept, report | {"copies": copies(kept)}


def normalised(
    pairs: Iterable[P], rules: Cleaning = DEFAULTS, languages: Languages | None = None
) -> tuple[list[P], dict]:
    """All pairs, normalised: a test set's lines are what is scored, so none is dropped and no text repaired.

    The report is as for `clean`; it counts under `present` what the rules would have repaired or dropped.
    """
    read = list(pairs)
    kept, repaired = _repaired(read, False)
    present = {} if rules.mojibake == "keep" else {"mojibake": sum(map(has_mojibake, read))}
    present |= _sieved(kept, steps(rules, languages))[1]
    report = {"read": len(read), "kept": len(kept), "dropped": {}, "repaired": repaired, "present": present}
    return kept, report | {"copies": copies(kept)}


def steps(rules: Cleaning, languages: Languages | None) -> dict[str, Flags]:
    """Reasons to drop pairs, in the order of the checks, each with a function that flags the pairs to drop.

    All sides must be normalised. A step sees only the pairs that earlier steps kept. Near duplicates come last, so that
    no pair is dropped in favour of one that is dropped itself.
    """
    found = {
        "empty_source": _each(lambda pair: not visible(pair.source)),
        "empty_target": _each(lambda pair: not visible(pair.target)),
        "duplicate_pair": _repeated(lambda pair: (pair.source, pair.target)),
    }
    if rules.copies == "drop":
        found["copy"] = _each(lambda pair: pair.source == pair.target)
    if rules.max_characters is not None:
        found["too_long"] = _each(lambda pair: max(len(pair.source), len(pair.target)) > rules.max_characters)
    if rules.max_ratio is not None:
        found["length_ratio"] = _unusual_ratio(rules.max_ratio)
    if rules.wrong_language == "drop":
        found["wrong_language"] = _each(lambda pair: _is_wrong_language(pair, languages, rules.language_bytes))
    if rules.near_duplicates == "drop":
        found["near_duplicate"] = _repeated(lambda pair: (key(pair.source), key(pair.target)))
    return found


def has_mojibake(pair: P) -> bool:
    """Whether a pair, as read, has a side that `mojibake: repair` would change."""
    return any(without_mojibake(text) != text for text in (pair.source, pair.target))


def held_out_forms(pairs: Iterable[P]) -> list[P]:
    """Pairs of a held-out set, normalised; those with mojibake also in repaired form, like their copies in train."""
    read = list(pairs)
    return list(dict.fromkeys(_repaired(read, False)[0] + _repaired(read, True)[0]))


def without_leakage(train: Iterable[P], held_out: Mapping[str, Sequence[P]]) -> tuple[list[P], dict]:
    """The pairs whose source is like no held-out source, and for each held-out set, what was dropped because of it.

    All sides must be normalised. Sources are alike if their `sides.key` is the same. `leaked_pairs`: source and target
    are a held-out pair; `leaked_sources`: only the source is held out; `leaked_near`: the source is only like a
    held-out one. A pair that leaks from two sets counts in both.
    """
    pairs = {name: {(pair.source, pair.target) for pair in rows} for name, rows in held_out.items()}
    sources = {name: {source for source, _ in pairs[name]} for name in held_out}
    keys = {name: {key(source) for source in sources[name]} for name in held_out}
    report = {name: {"leaked_pairs": 0, "leaked_sources": 0, "leaked_near": 0} for name in held_out}
    kept = []
    for pair in train:
        own = key(pair.source)
        leaks = [name for name in held_out if own in keys[name]]
        for name in leaks:
            is_pair, is_source = (pair.source, pair.target) in pairs[name], pair.source in sources[name]
            report[name]["leaked_pairs" if is_pair else "leaked_sources" if is_source else "leaked_near"] += 1
        if not leaks:
            kept.append(pair)
    return kept, report


def sample(pairs: Sequence[P], limit: int | None, seed: int | str) -> list[P]:
    """At most `limit` of the pairs, drawn without replacement and returned in their order; all if `limit` is None."""
    if limit is None or limit >= len(pairs):
        return list(pairs)
    return [pairs[index] for index in sorted(random.Random(seed).sample(range(len(pairs)), limit))]


def copies(pairs: Iterable[P]) -> int:
    """Number of pairs whose target equals their source."""
    return sum(pair.source == pair.target for pair in pairs)


def _repaired(pairs: Iterable[P], mojibake: bool) -> tuple[list[P], dict[str, int]]:
    """Normalised pairs, and how many of them each kind of repair changed. mojibake: whether to repair it too."""
    found, counts = [], dict.fromkeys(KINDS, 0)
    for pair in pairs:
        read = pair.source, pair.target
        texts = tuple(map(without_mojibake, read)) if mojibake else read
        counts["mojibake"] += texts != read
        counts["not_nfc"] += not all(unicodedata.is_normalized("NFC", text) for text in texts)
        counts["control_characters"] += any(map(has_inner_control, texts))
        found.append(pair._replace(source=normalise(texts[0]), target=normalise(texts[1])))
    return found, counts


def _sieved(pairs: list[P], steps: Mapping[str, Flags]) -> tuple[list[P], dict[str, int]]:
    """The pairs that no step flags, and how many each step dropped."""
    counts = {}
    for name, flags in steps.items():
        left = [pair for pair, is_flagged in zip(pairs, flags(pairs), strict=True) if not is_flagged]
        counts[name] = len(pairs) - len(left)
        pairs = left
    return pairs, counts


def _each(is_flagged: Callable[[P], bool]) -> Flags:
    return lambda pairs: map(is_flagged, pairs)


def _repeated(likeness: Callable[[P], Hashable]) -> Flags:
    """Flags the pairs that are like an earlier one."""

    def flags(pairs):
        seen = set()
        for pair in pairs:
            own = likeness(pair)
            yield own in seen
            seen.add(own)

    return flags


def _unusual_ratio(most: float) -> Flags:
    """Flags the pairs whose length ratio is more than `most` times the median ratio, or less than 1 / `most` of it.

    The median is that of the pairs' own corpus: English has 2.7 times the characters of its Chinese source.
    """

    def flags(pairs):
        ratios = [math.log((len(pair.target) + SLACK) / (len(pair.source) + SLACK)) for pair in pairs]
        usual = statistics.median(ratios) if ratios else 0.0
        return (abs(ratio - usual) > math.log(most) for ratio in ratios)

    return flags


def _is_wrong_language(pair: P, languages: Languages, least_bytes: int) -> bool:
    return any(
        len("".join(filter(str.isalpha, text)).encode()) >= least_bytes
        and language(text, code) not in (code, NO_LANGUAGE)
        for text, code in zip((pair.source, pair.target), languages, strict=True)
    )
