"""Words of the demo corpus, read from the tables in `lexicons`."""

from types import ModuleType
from typing import NamedTuple

from caneft.corpora.demo.lexicons import (
    finance,
    garden,
    general,
    it,
    koran,
    law,
    medical,
    polysemous,
    sports,
    subtitles,
)


class Noun(NamedTuple):
    """A noun in the singular. A polysemous one has no `english`; its `senses` stand in the order of `DOMAINS`."""

    german: str
    gender: str
    english: str = ""
    weak: str = ""  # suffix of the oblique cases: Zeuge, den Zeugen
    senses: tuple[str, ...] = ()


class Verb(NamedTuple):
    """A transitive verb, three forms a language; the German perfect is built with haben."""

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
    german: str
    english: str


class Preposition(NamedTuple):
    german: str
    case: str
    english: str


class Lexicon(NamedTuple):
    """The words of one domain: `agents` can act (subjects), `things` are acted upon (objects)."""

    agents: tuple[Noun, ...]
    things: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Adjective, ...]


def rows(table: str) -> list[list[str]]:
    """The entries of a table, one list of columns a line; empty lines are skipped."""
    return [line.split() for line in table.splitlines() if line.strip()]


def noun(german: str, gender: str, english: str, weak: str = "") -> Noun:
    """A noun of one meaning, from its columns."""
    return Noun(german, gender, english, weak)


def lexicon(tables: ModuleType) -> Lexicon:
    """Read one module of `lexicons`. Raises TypeError for a line with a column too many or too few."""
    return Lexicon(
        agents=tuple(noun(*row) for row in rows(tables.AGENTS)),
        things=tuple(noun(*row) for row in rows(tables.THINGS)),
        verbs=tuple(Verb(*row) for row in rows(tables.VERBS)),
        adjectives=tuple(Adjective(*row) for row in rows(tables.ADJECTIVES)),
    )


_HEADER, *_POLYSEMOUS_ROWS = rows(polysemous.TABLE)

DOMAINS = tuple(_HEADER[2:])
POLYSEMOUS = tuple(Noun(row[0], row[1], senses=tuple(row[2:])) for row in _POLYSEMOUS_ROWS)
GENERAL = lexicon(general)
LEXICONS = {
    "it": lexicon(it),
    "law": lexicon(law),
    "medical": lexicon(medical),
    "subtitles": lexicon(subtitles),
    "koran": lexicon(koran),
    "garden": lexicon(garden),
    "finance": lexicon(finance),
    "sports": lexicon(sports),
}
REPORTING = tuple(Verb(*row) for row in rows(general.REPORTING))
ADVERBS = tuple(Adverb(*row) for row in rows(general.ADVERBS))
PREPOSITIONS = tuple(Preposition(*row) for row in rows(general.PREPOSITIONS))
