"""Random sentences of a domain, from a twin's vocabulary and the habits of its language."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeVar

from caneft.demo.trees import Adverb, Clause, Noun, NounPhrase, PrepositionalPhrase, Sentence, Verb
from caneft.demo.words import Lexicon, Vocabulary

T = TypeVar("T")

# Probability that a noun slot holds a polysemous noun; over all slots, this is 40 %.
POLYSEMOUS_AGENTS = 0.25
POLYSEMOUS_THINGS = 0.5
GENERAL_WORDS = 0.2  # share of the general lexicon in the other words of domain text


class Writer:
    """Draws sentences. It only uses `Random.random`, whose stream no Python version has changed.

    A subclass sets the frequencies of its language: `kinds` of sentences, `forms` of verbs ("modal" for any of
    `modals`), `consequences`, the forms after a condition, and `determiners`. The more often an entry is listed, the
    more often it is drawn.
    """

    vocabulary: Vocabulary
    kinds: Sequence[str]
    forms: Sequence[str]
    consequences: Sequence[str]
    modals: Sequence[str]
    determiners: Sequence[str]

    def __init__(self, domain: str, random: Random) -> None:
        self.lexicon = self.vocabulary.lexicons.get(domain, self.vocabulary.general)
        self.random = random.random
        self.used: list[Noun] = []  # a noun occurs only once in a sentence

    def sentences(self) -> Iterator[Sentence]:
        """An endless stream of sentences. Those of a named domain have at least one verb of its lexicon."""
        while True:
            yield self.sentence()

    def one(self, items: Sequence[T]) -> T:
        return items[int(self.random() * len(items))]

    def words(self) -> Lexicon:
        return self.vocabulary.general if self.random() < GENERAL_WORDS else self.lexicon

    def sentence(self) -> Sentence:
        self.used = []
        kind = self.one(self.kinds)
        if kind in ("when", "if"):
            condition = self.clause(self.one(self.lexicon.verbs), self.forms, rich=0.4)
            main = self.clause(self.one(self.words().verbs), self.consequences, rich=0.3)
            return Sentence(kind, main, condition)
        if kind == "that":
            report = Clause(self.agent(0.2), self.one(self.vocabulary.reporting))
            return Sentence(kind, report, self.clause(self.one(self.lexicon.verbs), self.forms, rich=0.5))
        verb = self.one(self.lexicon.verbs)
        return Sentence(kind, self.clause(verb, self.forms, rich=1.0, front=kind == "statement"))

    def clause(self, verb: Verb, forms: Sequence[str], rich: float, front: bool = False) -> Clause:
        """A clause; `rich` scales the chances of optional parts, `front` allows one before the verb."""
        form = self.one(forms)
        if form == "modal":
            form = self.one(self.modals)
        passive = form in ("passive", "past passive")
        attribute = 0.2 + 0.2 * rich
        subject = self.thing(attribute) if passive else self.agent(attribute)
        agent = self.agent(attribute) if passive and self.random() < 0.3 + 0.3 * rich else None
        accusative = None if passive else self.thing(attribute)
        fronted: Adverb | PrepositionalPhrase | None = None
        adverb = phrase = None
        if front and self.random() < 0.35:
            fronted = self.phrase(form) if self.random() < 0.7 else self.adverb(form)
        else:
            adverb = self.adverb(form) if self.random() < 0.25 * rich else None
            phrase = self.phrase(form) if self.random() < 0.3 * rich else None
        return Clause(subject, verb, form, accusative, agent, adverb, phrase, fronted)

    def adverb(self, form: str) -> Adverb:
        """An adverb that goes with this form of the verb."""
        return self.one(self.vocabulary.adverbs)

    def phrase(self, form: str) -> PrepositionalPhrase:
        """A prepositional phrase that goes with this form of the verb."""
        return PrepositionalPhrase(self.one(self.vocabulary.prepositions), self.thing(0.25))

    def agent(self, attribute: float) -> NounPhrase:
        polysemous = self.random() < POLYSEMOUS_AGENTS
        return self.noun_phrase(self.vocabulary.polysemous_agents if polysemous else self.words().agents, attribute)

    def thing(self, attribute: float) -> NounPhrase:
        polysemous = self.random() < POLYSEMOUS_THINGS
        return self.noun_phrase(self.vocabulary.polysemous_things if polysemous else self.words().things, attribute)

    def noun_phrase(self, nouns: Sequence[Noun], attribute: float) -> NounPhrase:
        """A phrase around one of these nouns, with an adjective with probability `attribute`."""
        noun = self.one(nouns)
        while noun in self.used:
            noun = self.one(nouns)
        self.used.append(noun)
        adjective = self.one(self.words().adjectives) if self.random() < attribute else None
        return NounPhrase(self.one(self.determiners), noun, adjective)
