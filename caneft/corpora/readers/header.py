"""Names of columns, where a table has them in its first line."""

import re

SIDES = ({"source", "src"}, {"target", "tgt", "trg"})
SIDE = re.compile(r"(?P<side>source|src|target|tgt|trg)(?:[ _-]?(?:text|sentence|segment|lang|language))?")
TAG = re.compile(r"[a-z]{2,3}[-_](?:[A-Z]{2}|XX|[A-Z][a-z]{3})")
CODES = {
    "ar", "bg", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "es", "eu", "fa", "fi", "fr", "ga", "gl", "he", "hi",
    "hr", "hu", "hy", "id", "is", "it", "ja", "ka", "ko", "lt", "lv", "mk", "ms", "mt", "nb", "nl", "nn", "no", "pl",
    "pt", "ro", "ru", "sk", "sl", "sq", "sr", "sv", "ta", "th", "tr", "uk", "ur", "vi", "zh"
}  # fmt: skip
"""Not all: Estonian's, `et`, is a word, with which French says what Dutch says with `en`."""
LANGUAGES = {
    "arabic", "bulgarian", "catalan", "chinese", "croatian", "czech", "danish", "dutch", "english", "estonian",
    "finnish", "french", "german", "greek", "hebrew", "hindi", "hungarian", "icelandic", "indonesian", "irish",
    "italian", "japanese", "korean", "latvian", "lithuanian", "norwegian", "persian", "polish", "portuguese",
    "romanian", "russian", "serbian", "slovak", "slovenian", "spanish", "swedish", "thai", "turkish", "ukrainian",
    "urdu", "vietnamese"
}  # fmt: skip


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
