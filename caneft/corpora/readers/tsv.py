"""Tab-separated text without quoting, one pair a line. Blank lines are no pairs.

All lines have the same number of columns. One more or less is a tab inside a segment, or a lost one, and which column
is which is not known any more.
"""

from collections.abc import Iterator

from caneft.config import Tsv
from caneft.corpora.readers.header import is_header
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError


def read(source: Tsv, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line."""
    path = resolve(source.path)
    needed = max(source.source_column, source.target_column) + 1
    first, usual = 0, 0
    for number, text in lines(path, source.format):
        columns = text.split("\t")
        if not text.strip(" "):  # a lone tab is no blank line: it is a pair with two empty sides
            continue
        if len(columns) < needed:
            raise InputError(
                f"{path}:{number}: {len(columns)} tab-separated columns where {needed} are needed.\n"
                "Correct the line, or source_column and target_column of this corpus (counted from 0)."
            )
        if first and len(columns) != usual:
            raise InputError(
                f"{path}:{number}: {len(columns)} tab-separated columns, where line {first} has {usual}.\n"
                "Is there a tab inside a segment of one of them? Put a space in its place, or delete the line."
            )
        if "\r" in text.rstrip("\r"):
            raise InputError(
                f"{path}:{number}: a carriage return inside the line.\n"
                "If it ends a line, put a line feed in its place; if it stands in a segment, a space."
            )
        pair = Pair(number, columns[source.source_column], columns[source.target_column])
        if not first and is_header(pair.source, pair.target):
            raise InputError(
                f"{path}:{number}: a header ({pair.source!r}, {pair.target!r}), not a pair.\nDelete the line."
            )
        first, usual = first or number, len(columns)
        yield pair
