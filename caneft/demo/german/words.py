"""German words of the demo corpus, read from the tables in `lexicons`."""

from functools import partial
from typing import NamedTuple

from caneft.demo import words
from caneft.demo.german.lexicons import finance, garden, general, it, koran, law, medical, polysemous, sports, subtitles


class Noun(NamedTuple):
    """A noun in the singular. A polysemous one has no `english`; its `senses` are in the order of the domains."""

    word: str
    gender: str
    english: str = ""
    weak: str = ""  # suffix of the oblique cases: Zeuge, den Zeugen
    senses: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A transitive verb, with three forms per language; the German perfect is built with haben."""

    infinitive: str
    third: str
    participle: str
    english: str
    english_third: str
    english_participle: str


class Adjective(NamedTuple):
    stem: str
    english: str


class Adverb(NamedTuple):
    word: str
    english: str


class Preposition(NamedTuple):
    word: str
    case: str
    english: str


_HEADER, *_ROWS = words.rows(polysemous.TABLE)
_POLYSEMOUS = tuple(Noun(word, gender, senses=tuple(senses)) for word, gender, *senses in _ROWS)
_lexicon = partial(words.lexicon, noun=Noun, verb=Verb, adjective=Adjective)

VOCABULARY = words.Vocabulary(
    domains=tuple(_HEADER[2:]),
    polysemous_agents=_POLYSEMOUS,
    polysemous_things=_POLYSEMOUS,
    general=_lexicon(general),
    lexicons={
        "it": _lexicon(it),
        "law": _lexicon(law),
        "medical": _lexicon(medical),
        "subtitles": _lexicon(subtitles),
        "koran": _lexicon(koran),
        "garden": _lexicon(garden),
        "finance": _lexicon(finance),
        "sports": _lexicon(sports),
    },
    reporting=tuple(Verb(*row) for row in words.rows(general.REPORTING)),
    adverbs=tuple(Adverb(*row) for row in words.rows(general.ADVERBS)),
    prepositions=tuple(Preposition(*row) for row in words.rows(general.PREPOSITIONS)),
)
