"""The pairs that every reader yields."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Resolve = Callable[[str], Path]


class Pair(NamedTuple):
    """A sentence pair. line: its line in the file if a pair is one line, else its place among the pairs; from 1."""

    line: int
    source: str
    target: str
