"""Overlap: items of a test set that stand in the training data of a mixture to which its domain does not belong.

A mixture's own test sets are kept out of its training data (`mixing`). Those of all other domains do not influence
what is drawn, so that a new domain retrains nothing: what they share with it is flagged instead.
"""

from collections.abc import Sequence

from caneft.corpora.cleaning import held_out_forms, without_leakage
from caneft.corpora.store import Row

PAIR, SOURCE = "pair", "source"


def flags(test: Sequence[Row], train: Sequence[Row]) -> dict[str, str]:
    """By id, the test rows that leak from train, as `mixing` judges it.

    `pair`: train has the row's source and target beside each other; `source`: a source like it, with other targets
    only. A row with mojibake counts in its repaired form too, as its copy in train has been repaired. All sides must
    be normalised, as those of prepared rows are.
    """
    forms = held_out_forms(test)
    apart = set(without_leakage(forms, {"train": train})[0])
    pairs = {(row.source, row.target) for row in train}
    found = dict.fromkeys((row.id for row in forms if row not in apart), SOURCE)
    return found | {row.id: PAIR for row in forms if (row.source, row.target) in pairs}
