"""Overlap: items of a test set that are in the training data of a mixture without the test set's domain.

`mixing` keeps a mixture's own test sets out of its training data. Test sets of other domains do not influence the draw,
so that a new domain retrains nothing; items that they share with the training data are flagged instead.
"""

from collections.abc import Sequence

from caneft.corpora.cleaning import held_out_forms, without_leakage
from caneft.corpora.store import Row

PAIR, SOURCE = "pair", "source"


def flags(test: Sequence[Row], train: Sequence[Row]) -> dict[str, str]:
    """The test rows that leak from train, as `mixing` judges it, by id.

    `pair`: train has the row's source and target as a pair; `source`: it has a source like the row's, but only with
    other targets. A row with mojibake also counts in its repaired form, because its copy in train has been repaired.
    All sides must be normalised, as in prepared rows.
    """
    forms = held_out_forms(test)
    apart = set(without_leakage(forms, {"train": train})[0])
    pairs = {(row.source, row.target) for row in train}
    found = dict.fromkeys((row.id for row in forms if row not in apart), SOURCE)
    return found | {row.id: PAIR for row in forms if (row.source, row.target) in pairs}
