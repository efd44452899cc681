"""Overlap: items of a test set that stand in the training data of a mixture to which its domain does not belong.

A mixture's own test sets are kept out of its training data (`mixing`). Those of all other domains have no say in what
is drawn, so that a new domain retrains nothing: what they share with it is flagged instead.
"""

from collections.abc import Sequence

from caneft.corpora.cleaning import without_leakage
from caneft.corpora.store import Row

PAIR, SOURCE = "pair", "source"


def flags(test: Sequence[Row], train: Sequence[Row]) -> dict[str, str]:
    """By id, in their order, the test rows that leak from train, as `cleaning.without_leakage` judges it.

    `pair`: train has the row's source and target beside each other; `source`: a source like it, with other targets
    only. All sides must be normalised, as those of prepared rows are.
    """
    apart = {row.id for row in without_leakage(test, {"train": train})[0]}
    pairs = {(row.source, row.target) for row in train}
    return {row.id: PAIR if (row.source, row.target) in pairs else SOURCE for row in test if row.id not in apart}
