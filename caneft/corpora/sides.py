"""One side of a pair, as text: its normal form, its mojibake, its near-duplicate key, its language."""

import copy
import functools
import re
import unicodedata
from collections.abc import Iterable

from caneft.config import languages
from caneft.errors import InputError, did_you_mean

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")  # category Cc, line and paragraph separator
NO_LANGUAGE = "zxx"


def normalise(text: str) -> str:
    """Text in NFC; each run of white space, control characters and line separators is one space, at the ends none."""
    return " ".join(CONTROL.sub(" ", unicodedata.normalize("NFC", text)).split())


def has_inner_control(text: str) -> bool:
    """Whether there are control characters or line separators between other characters."""
    return CONTROL.search(text.strip()) is not None


def without_mojibake(text: str) -> str:
    """Text as it was before decoding in a wrong encoding, if ftfy can recover it; else the text itself.

    It must be given as read, because a wrong decoding turns some characters into control characters or spaces. Nothing
    else of ftfy is used (no quotes, ligatures, widths, entities), and nothing becomes U+FFFD by guessing.
    Source: R. Speer, ftfy 6 (Zenodo 2019), `fix_encoding`.
    """
    if text.isascii():  # never the result of a wrong decoding; ftfy knows that too, but is slower
        return text
    import ftfy  # imported late: jobs that clean nothing do not need it

    return ftfy.fix_encoding(text, ftfy.TextFixerConfig(explain=False, replace_lossy_sequences=False))


class _Marks(dict):
    """For str.translate: maps punctuation and white space (categories P and Z) to a space. Filled on demand."""

    def __missing__(self, character: int) -> int:
        self[character] = ord(" ") if unicodedata.category(chr(character))[0] in "PZ" else character
        return self[character]


class _Invisible(dict):
    """For str.translate: deletes invisible characters, which are format characters (category Cf) and those of `UNSEEN`.
    Filled on demand."""

    def __missing__(self, character: int) -> int | None:
        is_unseen = unicodedata.category(chr(character)) == "Cf" or any(character in some for some in UNSEEN)
        self[character] = None if is_unseen else character
        return self[character]


UNSEEN = (
    range(0x34F, 0x350), range(0x115F, 0x1161), range(0x17B4, 0x17B6), range(0x180B, 0x1810), range(0x2065, 0x2066),
    range(0x2800, 0x2801), range(0x3164, 0x3165), range(0xFE00, 0xFE10), range(0xFFA0, 0xFFA1), range(0xFFF0, 0xFFF9),
    range(0xE0000, 0xE1000),
)  # fmt: skip
"""Unicode's Default_Ignorable outside category Cf (variation selectors, fillers, joiners), and blank Braille."""
MARKS, INVISIBLE = _Marks(), _Invisible()
BETWEEN_DIGITS = re.compile(r"(?<=\d) +(?=\d)")


def visible(text: str) -> str:
    """A text, normalised, without invisible characters: soft hyphens, zero-width spaces, direction marks, fillers.

    Only for comparisons: in some scripts such characters decide how a word is written.
    """
    seen = text if text.isascii() else text.translate(INVISIBLE)
    return text if seen == text else normalise(seen)  # letters, accents or spaces may now be adjacent


def key(text: str) -> str:
    """A text without case, punctuation, white space and invisible characters; if nothing is left, the visible text.

    Between digits one mark is left: 2.5 and 2,5 are alike, 25 is another number. Digits and symbols (< + = €) stay.
    """
    text = visible(text)
    words = text.casefold().translate(MARKS)
    return BETWEEN_DIGITS.sub("|", words).replace(" ", "") or text


def language(text: str, among: str) -> str:
    """Code of the language that py3langid recognises in a text; `zxx` for no language, such as markup.

    among: tag of a candidate language, in addition to those with two-letter codes. It is also returned for its near
    languages, which a sentence cannot distinguish. The rare other languages are no candidates: with them, the model
    takes English for `pcm`. Raises InputError if the model does not know `among`.
    """
    found = _identifier(among).classify(text)[0]
    return among if found in {label(among), *languages.near(among)} else found


@functools.cache
def label(tag: str) -> str | None:
    """The model's name for a language, or for one that counts as the same; None if it has none."""
    known = set(_model().labels)
    own = [languages.code(tag), languages.alpha3(tag), languages.macrolanguage(tag)]
    candidates = [*own, *sorted(languages.near(tag))]
    return next((name for name in candidates if name in known), None)


@functools.cache
def _model():
    """The model with all its languages; loading takes a third of a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)  # arrays in the wheel, no pickle, no network


@functools.cache
def _identifier(tag: str):
    identifier = copy.copy(_model())  # its languages are chosen below; the arrays are shared
    known: Iterable[str] = identifier.labels
    if (own := label(tag)) is None:
        raise InputError(
            f"cleaning.wrong_language: py3langid does not know the language '{tag}'. {did_you_mean(tag, known)}\n"
            "Name the direction by ISO 639 codes, such as de-en, or set cleaning.wrong_language: keep."
        )
    identifier.set_languages({own, NO_LANGUAGE, *(name for name in known if len(name) == 2)})
    return identifier
