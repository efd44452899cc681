"""What every reader yields."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Resolve = Callable[[str], Path]


class Pair(NamedTuple):
    """A sentence pair and where it stands, from 1: its line where a pair is a line, else its place among the pairs."""

    line: int
    source: str
    target: str
