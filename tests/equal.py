"""Compares two results folders byte for byte, without what records times and hosts."""

import re
from pathlib import Path

TIMED = re.compile(
    r"(logs|benchmarks)/.*|.*cost\.(json|csv|md|tex|html|pdf|png|svg)|(report|overview)\.html|(.*/)?\.[^/]*(/.*)?"
)
"""Paths below a results folder that are no results: logs, times, the report and its first page, and hidden files."""


def files(root: Path) -> dict[str, Path]:
    """The files of a results folder by relative path."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {name: path for name, path in found.items() if not TIMED.fullmatch(name)}


def differences(here: Path, there: Path) -> list[str]:
    """Paths that only one folder has, or whose bytes differ."""
    first, second = files(here), files(there)
    odd = first.keys() ^ second.keys()
    return sorted(odd | {name for name in first.keys() - odd if first[name].read_bytes() != second[name].read_bytes()})
