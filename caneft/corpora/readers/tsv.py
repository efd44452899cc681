"""Tab-separated text without quoting, one pair per line. Blank lines are not pairs.

All lines must have the same number of columns. One more or fewer means a tab inside a segment, or a lost tab, and then
it is unknown which column is which.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from caneft.config import Tsv
from caneft.corpora.readers.header import is_header, is_quoted, is_separator
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError

LOOKED_AT = 20
"""Number of pairs that tell whether cells are in quotes."""


def read(source: Tsv, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line. Raises InputError if both sides of all pairs at the beginning, two at least, are in quotes."""
    path = resolve(source.path)
    pairs = _pairs(source, path)
    begin = list(islice(pairs, LOOKED_AT))
    if len(begin) > 1 and all(is_quoted(pair.source, pair.target) for pair in begin):
        first, last = begin[0], begin[-1]
        raise InputError(
            f"{path}:{first.line}: quoted cells ({first.source!r}, {first.target!r}), as in all pairs up to line"
            f" {last.line}: this format has no quoting.\nExport the text without quotes."
        )
    yield from chain(begin, pairs)


def _pairs(source: Tsv, path: Path) -> Iterator[Pair]:
    needed = max(source.source_column, source.target_column) + 1
    first, usual = 0, 0
    for number, text in lines(path, source.format):
        columns = text.split("\t")
        if not text.strip(" "):  # a lone tab is not a blank line: it is a pair with two empty sides
            continue
        if not first and is_separator(text):
            raise InputError(f"{path}:{number}: {text!r} names the cells' separator, not a pair.\nDelete the line.")
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
                "If it ends a line, put a line feed in its place; if it is in a segment, a space."
            )
        pair = Pair(number, columns[source.source_column], columns[source.target_column])
        if not first and is_header(pair.source, pair.target):
            raise InputError(
                f"{path}:{number}: a header ({pair.source!r}, {pair.target!r}), not a pair.\nDelete the line."
            )
        first, usual = first or number, len(columns)
        yield pair
