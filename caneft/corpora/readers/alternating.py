"""One text file with the two languages on alternating lines, as in UM-Corpus (Tian et al. 2014).

A blank line is an empty side, which cleaning counts; blank lines at the end are ignored. If a blank line follows every
pair, it is a separator. The first six lines show whether it does, and this must then hold for all pairs: a line too
many or too few would shift every later pair.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest

from caneft.config import Alternating
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError

Line = tuple[int, str]

SEPARATED = [False, False, True, False, False, True]
"""Which of the first lines are blank, if pairs are separated; the last one may be the end of the file."""


def read(source: Alternating, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs, numbered from 1 by their place. Raises InputError, at the end, if the last line has no counterpart."""
    path = resolve(source.path)
    numbered = _without_blank_end(lines(path, source.format))
    head = list(islice(numbered, len(SEPARATED)))
    separated = len(head) > 4 and [not text for _, text in head] == SEPARATED[: len(head)]
    lines_of_pairs = zip_longest(*[chain(head, numbered)] * (3 if separated else 2))
    for number, (first, second, *separator) in enumerate(lines_of_pairs, start=1):
        if second is None:
            raise InputError(
                f"{path}: an odd number of lines, {first[0]}: one of them has no counterpart.\n"
                "The languages must alternate line by line: find the missing line, or put an empty one in its place."
            )
        if any(line and line[1] for line in separator):
            raise InputError(
                f"{path}:{separator[0][0]}: not blank, as every third line before it is.\n"
                "Either a blank line stands after every pair or after none: correct the pairs around this line."
            )
        yield Pair(number, first[1], second[1]) if source.first == "source" else Pair(number, second[1], first[1])


def _without_blank_end(numbered: Iterable[Line]) -> Iterator[Line]:
    """Lines up to the last one that is not blank; blank lines become empty."""
    read = 0
    for number, text in numbered:
        if text.strip():
            yield from ((blank, "") for blank in range(read + 1, number))
            yield number, text
            read = number
