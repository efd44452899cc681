"""Overlap: items of a test set that stand in the training data of a mixture to which its domain does not belong.

A mixture's own test sets are kept out of its training data (`mixing`). Those of all other domains have no say in what
is drawn, so that a new domain retrains nothing: what they share with it is flagged instead.
"""

from collections.abc import Iterable, Sequence

from caneft.corpora.store import Row

PAIR, SOURCE = "pair", "source"


def flags(test: Sequence[Row], train: Iterable[Row]) -> dict[str, str]:
    """By id, in their order, the test rows whose source is one of train's.

    `pair`: train has the target beside it, too; `source`: the source alone, with other targets. All sides must be
    normalised, as those of prepared rows are: the equality is that of `cleaning.without_leakage`.
    """
    pairs = {(row.source, row.target) for row in train}
    sources = {source for source, _ in pairs}
    leaked = (row for row in test if row.source in sources)
    return {row.id: PAIR if (row.source, row.target) in pairs else SOURCE for row in leaked}
