"""Width and height of text in LaTeX's own typeface, estimated on the safe side, which decide how a table is set."""

import math
from typing import NamedTuple


class Size(NamedTuple):
    """A font size of the class article at 10 points: command; letters, lines and the gap beside a column in points.

    em: factor on the width of letters, which at small sizes are wider than large letters scaled down.
    """

    command: str
    points: float
    line: float
    gap: float
    em: float


SIZES = [
    Size(r"\small", 9, 11, 4, 1.03),
    Size(r"\footnotesize", 8, 9.5, 3, 1.07),
    Size(r"\scriptsize", 7, 8, 2.5, 1.14),
]
CAPTION = Size(r"\normalsize", 10, 12, 0, 1.0)
NOTES = SIZES[1]

BOLD = 1.16
"""Width of bold letters, in widths of upright ones."""

_EMS = {0.31: "ijl.,:;'|! ", 0.4: "frst()[]-I/`", 0.505: "0123456789acevxyz–", 0.79: "ABCDEFGHKLNOPQRUVXYZ+−±=&<>~^_w"}
_EM_OF = {sign: em for em, signs in (_EMS | {1.04: "mMW%@"}).items() for sign in signs}
_OTHER, _UNKNOWN = 0.57, 5.0  # small letters with a stem; a code point in brackets


def width(text: str, size: Size) -> float:
    """Width of a line of text in points, rather a little too much than too little."""
    ems = sum(_EM_OF.get(sign, _OTHER if ord(sign) < 0x2100 else _UNKNOWN) for sign in text)
    return ems * size.points * size.em


def deviation_width(text: str, size: Size) -> float:
    """Width in points of a deviation, which is set with its sign as a subscript of about three quarters of the size."""
    return 0.87 * width(f"±{text}", size)


def caption_height(text: str, line: float) -> float:
    """Height in points of a caption in lines of this width, including the space around it."""
    return _height(text, line, CAPTION) + 20


def notes_height(notes: list[str], line: float) -> float:
    """Height in points of the notes below a table; 0 without notes."""
    return _height(" ".join(notes), line, NOTES) + 6 if notes else 0.0


def _height(text: str, line: float, size: Size) -> float:
    return math.ceil(1.03 * width(text, size) / line) * size.line
