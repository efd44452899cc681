"""Two text files, aligned line by line. A blank line counts like any other."""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from caneft.config import Moses
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.recognising import has_json_lines
from caneft.corpora.text import head, lines
from caneft.errors import InputError


def read(source: Moses, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by line."""
    return aligned(resolve(source.source_path), resolve(source.target_path))


def aligned(source_path: Path, target_path: Path) -> Iterator[Pair]:
    """Pairs of two files, by line.

    Raises InputError if both hold JSON objects, and at the end if one has more lines than the other.
    """
    if all(has_json_lines(head(path, "moses")) for path in (source_path, target_path)):
        raise InputError(
            f"{source_path}:1: is JSON, an object a line, and so is {target_path}.\nUse format: jsonl, of one of them."
        )
    sources = targets = 0
    for source, target in zip_longest(lines(source_path, "moses"), lines(target_path, "moses")):
        sources = source[0] if source else sources
        targets = target[0] if target else targets
        if source and target:
            yield Pair(sources, source[1], target[1])
    if sources != targets:
        raise InputError(
            f"{source_path} has {sources} lines, {target_path} has {targets}.\n"
            "The files must be aligned line by line: find the missing line, or take both files from the same release."
        )
