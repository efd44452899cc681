"""Names of columns, where a table has them in its first line."""

import re

from caneft.config import languages
from caneft.config.languages import NAMES

SIDES = ({"source", "src"}, {"target", "tgt", "trg"})
SOURCES = SIDES[0] | {"input", "original", "sentence1", "text1"}
TARGETS = SIDES[1] | {"output", "reference", "ref", "translation", "sentence2", "text2"}
TEXT = "text|sentence|segment|lang|language"
SIDE = re.compile(rf"(?P<side>{'|'.join(sorted(SOURCES | TARGETS))})(?:[ _-]?(?:{TEXT}))?")
TAG = re.compile(r"[a-z]{2,3}[-_](?:[A-Z]{2}|XX|[A-Z][a-z]{3})")
CODED = re.compile(rf"([a-z]{{2}})[ _-](?:{TEXT})")
CODES = NAMES.keys() - {"et"}
"""Not Estonian's, which is a word: with it French says what Dutch says with `en`."""
NO_WORDS = {"en", *(code for code in CODES if not set(code) & set("aeiouy"))}
"""Codes that are no words: English's, and those without a vowel."""
OTHERWISE = {
    "de": ("deutsch", "allemand", "alemán", "tedesco", "德语", "德文"),
    "en": ("englisch", "anglais", "inglés", "inglese", "英语", "英文"),
    "es": ("spanisch", "espagnol", "español"),
    "fr": ("französisch", "français", "francés"),
    "it": ("italienisch", "italien", "italiano"),
    "ja": ("japanisch", "日本語", "日语"),
    "ko": ("koreanisch", "한국어"),
    "nl": ("niederländisch", "nederlands"),
    "pl": ("polnisch", "polski"),
    "pt": ("portugiesisch", "português"),
    "ru": ("russisch", "русский"),
    "zh": ("chinesisch", "chinois", "中文", "汉语"),
}
"""Names of languages that are not English."""
LANGUAGES = {name.lower(): code for code, name in NAMES.items()}
LANGUAGES |= {name: code for code, names in OTHERWISE.items() for name in names}


def is_header(source: str, target: str) -> bool:
    """Whether the two cells of a table's first line name their columns, which only certain names do.

    Of two cells that differ: a side each (source, tgt_text), a language each by its name, a tag with region or script
    each (en-US, deu_Latn), a code and what it is of each (de_text), a code of three letters each, or one of two letters
    each, of which one is no word. `Deutsch` and `German` are a pair: they name one language.
    """
    cells = tuple(cell.strip().removesuffix(":").rstrip() for cell in (source, target))
    low = tuple(map(str.lower, cells))
    if low[0] == low[1]:
        return False
    sides = [SIDE.fullmatch(cell) for cell in low]
    if all(sides):
        return (sides[0]["side"] in SOURCES) != (sides[1]["side"] in SOURCES)
    named, coded = [LANGUAGES.get(cell) for cell in low], [CODED.fullmatch(cell) for cell in low]
    return (
        (all(named) and named[0] != named[1])
        or all(map(TAG.fullmatch, cells))
        or (all(coded) and all(found[1] in NAMES for found in coded) and coded[0][1] != coded[1][1])
        or (
            cells in (low, tuple(map(str.upper, cells)))
            and (all(map(_is_alpha3, low)) or (all(cell in CODES for cell in low) and bool({*low} & NO_WORDS)))
        )
    )


def _is_alpha3(cell: str) -> bool:
    """Whether a cell is the code of a common language in three letters: `the` and `die` are of others."""
    return len(cell) == 3 and cell.isascii() and languages.code(cell) in NAMES and languages.alpha3(cell) == cell
