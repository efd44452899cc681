"""The parts of a twin's vocabulary, and how its tables are read."""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple

from caneft.demo.trees import Adjective, Adverb, Noun, Preposition, Verb


class Lexicon(NamedTuple):
    """The words of one domain: `agents` can act (subjects), `things` are acted upon (objects)."""

    agents: tuple[Noun, ...]
    things: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Adjective, ...]


class Vocabulary(NamedTuple):
    """The words of a twin. polysemous_agents, polysemous_things: with `senses` in the order of `domains`."""

    domains: tuple[str, ...]
    polysemous_agents: tuple[Noun, ...]
    polysemous_things: tuple[Noun, ...]
    general: Lexicon
    lexicons: Mapping[str, Lexicon]
    reporting: tuple[Verb, ...]
    adverbs: tuple[Adverb, ...]
    prepositions: tuple[Preposition, ...]

    @property
    def polysemous(self) -> tuple[Noun, ...]:
        """Every polysemous noun, once."""
        return tuple(dict.fromkeys(self.polysemous_agents + self.polysemous_things))


def rows(table: str) -> list[list[str]]:
    """The entries of a table, one list of columns per line; empty lines are skipped."""
    return [line.split() for line in table.splitlines() if line.strip()]


def lexicon(tables: ModuleType, noun: Callable, verb: Callable, adjective: Callable) -> Lexicon:
    """Reads one module of word tables. noun, verb, adjective: make a word from its columns.

    Raises TypeError for a line with a column too many or too few.
    """
    return Lexicon(
        agents=tuple(noun(*row) for row in rows(tables.AGENTS)),
        things=tuple(noun(*row) for row in rows(tables.THINGS)),
        verbs=tuple(verb(*row) for row in rows(tables.VERBS)),
        adjectives=tuple(adjective(*row) for row in rows(tables.ADJECTIVES)),
    )
