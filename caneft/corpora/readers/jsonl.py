"""JSON objects, one per line. Blank lines are not pairs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caneft.config import Jsonl
from caneft.corpora.readers import records
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines


def read(source: Jsonl, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line."""
    yield from records.pairs(_records(resolve(source.path), source.format), source.source, source.target)


def _records(path: Path, form: str) -> Iterator[tuple[int, str, Any]]:
    for number, text in lines(path, form):
        if text.strip():
            record = records.parse(text, path, first_line=number, remedy="Correct or delete the line.")
            yield number, f"{path}:{number}", record
