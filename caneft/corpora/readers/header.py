"""Recognises what is no pair in the first lines of a table: names of columns, a separator, cells in quotes."""

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
"""Without Estonian's `et`, which is a word: French `et` and Dutch `en` both mean "and"."""
NO_WORDS = {"en", *(code for code in CODES if not set(code) & set("aeiouy"))}
"""Codes that do not count as words: English's, and those without a vowel."""
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
"""Names of languages in other languages than English."""
SEPARATOR = re.compile(r'"?sep=.?"?\s*', re.IGNORECASE)
QUOTED = re.compile(r'"(?:[^"]|"")*"')
LANGUAGES = {name.lower(): code for code, name in NAMES.items()}
LANGUAGES |= {name: code for code, names in OTHERWISE.items() for name in names}


def is_header(source: str, target: str) -> bool:
    """Whether the two cells of a table's first line name their columns; only certain names are recognised.

    The cells must differ and be of the same kind: a side (source, tgt_text), the name of a language, a tag with region
    or script (en-US, deu_Latn), a code with what it labels (de_text), a three-letter code, or a two-letter code (at
    least one of the two not a word). `Deutsch` and `German` are a pair, because they name the same language.
    """
    cells = tuple(_unquoted(cell.strip()).strip().removesuffix(":").rstrip() for cell in (source, target))
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


def is_separator(line: str) -> bool:
    """Whether a line only tells a spreadsheet program which character separates the cells: `sep=;`."""
    return SEPARATOR.fullmatch(line) is not None


def is_quoted(source: str, target: str) -> bool:
    """Whether both cells are in double quotes, with those inside them doubled, as programs export CSV."""
    return all(map(QUOTED.fullmatch, (source, target)))


def _unquoted(cell: str) -> str:
    return cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "\"'" else cell


def _is_alpha3(cell: str) -> bool:
    """Whether a cell is the three-letter code of a common language; `the` and `die` are codes of others."""
    return len(cell) == 3 and cell.isascii() and languages.code(cell) in NAMES and languages.alpha3(cell) == cell
