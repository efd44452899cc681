"""Tab-separated text without quoting, one pair a line. Blank lines are no pairs."""

from collections.abc import Iterator

from caneft.config import Tsv
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError


def read(source: Tsv, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line."""
    path = resolve(source.path)
    needed = max(source.source_column, source.target_column) + 1
    for number, text in lines(path):
        columns = text.split("\t")
        if not text.strip(" "):  # a lone tab is no blank line: it is a pair with two empty sides
            continue
        if len(columns) < needed:
            raise InputError(
                f"{path}:{number}: {len(columns)} tab-separated columns where {needed} are needed.\n"
                "Correct the line, or source_column and target_column of this corpus (counted from 0)."
            )
        yield Pair(number, columns[source.source_column], columns[source.target_column])
