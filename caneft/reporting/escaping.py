"""Text for LaTeX: special characters, letters that pdfLaTeX lacks, and places to break long words."""

import re
import unicodedata
from itertools import groupby

BREAK = "\u200b"
"""Zero-width space: a line may be broken here."""
LONG_WORD = 18
"""A word can be broken after every run of this many letters."""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar\allowbreak{}",  # sacrebleu's signatures have no other place for a line break
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "†": r"$^\dagger$",
    "‡": r"$^\ddagger$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "≈": r"$\approx$",
    "…": r"\ldots{}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "„": ",,",
    "§": r"\S{}",
    "\u00a0": "~",
    BREAK: r"\allowbreak{}",
}
_LIGATURES = "æøœßłıÆØŒŁ"
_ACCENTS = set("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")


def escape(text: str) -> str:
    """Escapes text so that LaTeX prints it as it is.

    Latin letters with accents of its default encoding stay. XeLaTeX and LuaLaTeX print all other letters, but pdfLaTeX,
    which lacks them, prints their code points.
    """
    return "".join(_escaped(foreign, "".join(signs)) for foreign, signs in groupby(text, key=_is_foreign))


def _escaped(foreign: bool, text: str) -> str:
    if not foreign:
        return "".join(_ESCAPES.get(sign, sign) for sign in text)
    points = " ".join(f"U+{ord(sign):04X}" for sign in text)
    return rf"\ifdefined\Umathchar {text}\else[{points}]\fi{{}}"


def _is_foreign(sign: str) -> bool:
    """Whether LaTeX's default encoding lacks a letter and cannot compose it of a letter and an accent."""
    base, *accents = unicodedata.normalize("NFD", sign)
    known = sign in _ESCAPES or sign in _LIGATURES or sign.isascii()
    return not known and not (ord(sign) < 0x180 and base.isascii() and set(accents) <= _ACCENTS)


def breakable(text: str) -> str:
    """Adds places for line breaks to long words: after marks such as an underscore, and after `LONG_WORD` letters."""
    return re.sub(rf"[^\s-]{{{LONG_WORD},}}", lambda word: _with_breaks(word.group()), text)


def _with_breaks(word: str) -> str:
    return re.sub(rf"[_/=.:,;](?=\w)|[^\W_]{{{LONG_WORD}}}(?=[^\W_])", lambda found: found.group() + BREAK, word)
