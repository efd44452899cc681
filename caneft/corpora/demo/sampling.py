"""Random sentences of a domain, out of its lexicon and the shared grammar."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from caneft.corpora.demo.grammar import MODALS, Clause, NounPhrase, PrepositionalPhrase, Sentence
from caneft.corpora.demo.lexicon import (
    ADVERBS,
    GENERAL,
    LEXICONS,
    POLYSEMOUS,
    PREPOSITIONS,
    REPORTING,
    Adverb,
    Lexicon,
    Noun,
    Verb,
)

T = TypeVar("T")

# How often a noun slot holds a polysemous noun: 40 % of all slots together.
POLYSEMOUS_AGENTS = 0.25
POLYSEMOUS_THINGS = 0.5
GENERAL_WORDS = 0.2  # share of the general lexicon in the other words of domain text

KINDS = ("statement",) * 11 + ("question",) * 2 + ("wenn",) * 4 + ("dass",) * 3
FORMS = ("present",) * 8 + ("perfect",) * 5 + ("passive",) * 5 + ("modal",) * 6
DETERMINERS = ("der",) * 10 + ("ein",) * 6 + ("dieser",) * 3 + ("jeder",)


def sentences(domain: str, random: Random) -> Iterator[Sentence]:
    """Sentences of a domain without end. Those of a named domain have at least one verb of its lexicon."""
    writer = _Writer(domain, random)
    while True:
        yield writer.sentence()


class _Writer:
    """Draws sentences. Only `Random.random` is asked, whose stream no Python version has changed."""

    def __init__(self, domain: str, random: Random) -> None:
        self.lexicon = LEXICONS.get(domain, GENERAL)
        self.random = random.random
        self.used: list[Noun] = []  # a noun stands once in a sentence

    def one(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def words(self) -> Lexicon:
        return GENERAL if self.random() < GENERAL_WORDS else self.lexicon

    def sentence(self) -> Sentence:
        self.used = []
        kind = self.one(KINDS)
        if kind == "wenn":
            condition = self.clause(self.one(self.lexicon.verbs), rich=0.4)
            return Sentence(kind, self.clause(self.one(self.words().verbs), rich=0.3), condition)
        if kind == "dass":
            report = Clause(self.agent(0.2), self.one(REPORTING))
            return Sentence(kind, report, self.clause(self.one(self.lexicon.verbs), rich=0.5))
        return Sentence(kind, self.clause(self.one(self.lexicon.verbs), rich=1.0, front=kind == "statement"))

    def clause(self, verb: Verb, rich: float, front: bool = False) -> Clause:
        """A clause; `rich` scales the chances of optional parts, `front` allows one before the verb."""
        form = self.one(FORMS)
        if form == "modal":
            form = self.one(tuple(MODALS))
        passive = form == "passive"
        attribute = 0.2 + 0.2 * rich
        subject = self.thing(attribute) if passive else self.agent(attribute)
        agent = self.agent(attribute) if passive and self.random() < 0.3 + 0.3 * rich else None
        accusative = None if passive else self.thing(attribute)
        fronted: Adverb | PrepositionalPhrase | None = None
        adverb = phrase = None
        if front and self.random() < 0.35:
            fronted = self.phrase() if self.random() < 0.7 else self.one(ADVERBS)
        else:
            adverb = self.one(ADVERBS) if self.random() < 0.25 * rich else None
            phrase = self.phrase() if self.random() < 0.3 * rich else None
        return Clause(subject, verb, form, accusative, agent, adverb, phrase, fronted)

    def phrase(self) -> PrepositionalPhrase:
        return PrepositionalPhrase(self.one(PREPOSITIONS), self.thing(0.25))

    def agent(self, attribute: float) -> NounPhrase:
        polysemous = self.random() < POLYSEMOUS_AGENTS
        return self.noun_phrase(POLYSEMOUS if polysemous else self.words().agents, attribute)

    def thing(self, attribute: float) -> NounPhrase:
        polysemous = self.random() < POLYSEMOUS_THINGS
        return self.noun_phrase(POLYSEMOUS if polysemous else self.words().things, attribute)

    def noun_phrase(self, nouns: Sequence[Noun], attribute: float) -> NounPhrase:
        """A phrase around one of these nouns, with an adjective in a share `attribute` of the cases."""
        noun = self.one(nouns)
        while noun in self.used:
            noun = self.one(nouns)
        self.used.append(noun)
        adjective = self.one(self.words().adjectives) if self.random() < attribute else None
        return NounPhrase(self.one(DETERMINERS), noun, adjective)
