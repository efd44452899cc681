"""Names of columns, where a table has them in its first line."""

import re

from caneft.config.languages import NAMES

SIDES = ({"source", "src"}, {"target", "tgt", "trg"})
SIDE = re.compile(r"(?P<side>source|src|target|tgt|trg)(?:[ _-]?(?:text|sentence|segment|lang|language))?")
TAG = re.compile(r"[a-z]{2,3}[-_](?:[A-Z]{2}|XX|[A-Z][a-z]{3})")
CODES = NAMES.keys() - {"et"}
"""Not Estonian's, which is a word: with it French says what Dutch says with `en`."""
LANGUAGES = {name.lower() for name in NAMES.values()}


def is_header(source: str, target: str) -> bool:
    """Whether the two cells of a table's first line name their columns, which only certain names do.

    Of two cells that differ: a side each (source, tgt_text), a language each by its English name, a tag with region or
    script each (en-US, deu_Latn), or a code of two letters each, of which one is `en`, which is no English word.
    """
    cells = source.strip(), target.strip()
    low = tuple(map(str.lower, cells))
    if low[0] == low[1]:
        return False
    sides = [SIDE.fullmatch(cell) for cell in low]
    if all(sides):
        return (sides[0]["side"] in SIDES[0]) != (sides[1]["side"] in SIDES[0])
    return (
        all(cell in LANGUAGES for cell in low)
        or all(map(TAG.fullmatch, cells))
        or ("en" in cells and all(cell in CODES for cell in cells))
    )
