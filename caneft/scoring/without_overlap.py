"""Scores on a test set without the items that are in a mixture's training data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caneft.corpora.overlap import PAIR, SOURCE
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.scoring import surface, translated


def score_without(
    flagged: Mapping[str, str],
    references: Mapping[str, Sequence[Row]],
    translations: Mapping[str, Path],
    target_language: str | None,
    metrics: Sequence[str],
) -> dict[str, Any]:
    """Number of segments, number of flagged ones by kind, and each run's scores on the rest, from `surface.score`.

    flagged: kind by id, from `overlap.flags`. references: the rows of the one domain. translations: file by run. If no
    segment is flagged, the scores are those of the whole set; if every one is, there are none: in both cases no file is
    opened and `runs` is empty. Raises InputError if an id is not of the test set, or a file does not fit it.
    """
    ((domain, rows),) = references.items()
    if unknown := flagged.keys() - {row.id for row in rows}:
        raise InputError(f"{min(unknown)} is flagged, but no id of the test set of {domain}; run flag_overlap again")
    counts = Counter(flagged.values())
    runs = {}
    if 0 < len(flagged) < len(rows):
        left = [number for number, row in enumerate(rows) if row.id not in flagged]
        for run, path in translations.items():
            lines = translated.read(path, references)[domain]
            runs[run] = surface.score([lines[n] for n in left], [rows[n] for n in left], target_language, metrics)
    return {"segments": len(rows), "flagged": {kind: counts[kind] for kind in (PAIR, SOURCE)}, "runs": runs}
