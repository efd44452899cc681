"""JSON objects, one a line. Blank lines are no pairs."""

from collections.abc import Iterator

from caneft.config import Jsonl
from caneft.corpora.readers import records
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines


def read(source: Jsonl, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line."""
    path = resolve(source.path)
    for number, text in lines(path, source.format):
        if text.strip():
            where = f"{path}:{number}"
            record = records.parse(text, path, first_line=number, remedy="Correct or delete the line.")
            yield Pair(number, records.field(record, source.source, where), records.field(record, source.target, where))
