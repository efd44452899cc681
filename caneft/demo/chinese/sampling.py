"""The frequencies of Chinese sentences, and which of their parts go together."""

from collections.abc import Sequence

from caneft.demo import sampling
from caneft.demo.chinese.grammar import MODALS, family
from caneft.demo.chinese.words import VOCABULARY
from caneft.demo.trees import Adverb, Clause, NounPhrase, PrepositionalPhrase, Verb

RELATIVE = 0.4  # chance of a relative clause if there is no adjective, as a multiple of the chance of an adjective


class ChineseWriter(sampling.Writer):
    """Draws Chinese sentences: forms of the verb decide which adverbs and phrases go with it."""

    vocabulary = VOCABULARY
    kinds = ("statement",) * 11 + ("question",) * 2 + ("if",) * 4 + ("that",) * 3
    forms = (
        ("present",) * 3
        + ("past",) * 6
        + ("perfect",) * 3
        + ("progressive",) * 3
        + ("past passive",) * 4
        + ("disposal",) * 3
        + ("modal",) * 6
    )
    consequences = ("present",) + ("modal",) * 3  # forms that go with 就
    relatives = ("past",) * 3 + ("progressive", "modal")
    modals = tuple(MODALS)
    determiners = ("the",) * 10 + ("a",) * 5 + ("this",) * 3 + ("that",) * 2 + ("every",)

    def clause(self, verb: Verb, forms: Sequence[str], rich: float, front: bool = False) -> Clause:
        """As in any language, but 把 takes only a definite object, and 被 no agent with a relative clause."""
        clause = super().clause(verb, forms, rich, front)
        if clause.agent:
            return clause._replace(agent=clause.agent._replace(relative=None))
        if clause.form == "disposal" and clause.object.determiner in ("a", "every"):
            return clause._replace(object=clause.object._replace(determiner="the"))
        return clause

    def adverb(self, form: str) -> Adverb:
        return self.one([adverb for adverb in self.vocabulary.adverbs if family(form) in adverb.forms])

    def phrase(self, form: str) -> PrepositionalPhrase:
        fitting = [preposition for preposition in self.vocabulary.prepositions if family(form) in preposition.forms]
        preposition = self.one(fitting)
        if preposition.nouns == "abstract":
            return PrepositionalPhrase(preposition, self.noun_phrase(self.vocabulary.polysemous_things, 0.25))
        return PrepositionalPhrase(preposition, super().thing(0.25))

    def agent(self, attribute: float) -> NounPhrase:
        """An agent, perhaps with a relative clause about what it does to a thing."""
        phrase = super().agent(attribute)
        if self.takes_relative(phrase, attribute):
            return phrase._replace(relative=self.relative(object=super().thing(0)))
        return phrase

    def thing(self, attribute: float) -> NounPhrase:
        """A thing, perhaps with a relative clause about what an agent does to it."""
        phrase = super().thing(attribute)
        if self.takes_relative(phrase, attribute):
            return phrase._replace(relative=self.relative(subject=super().agent(0)))
        return phrase

    def takes_relative(self, phrase: NounPhrase, attribute: float) -> bool:
        return phrase.adjective is None and self.random() < RELATIVE * attribute

    def relative(self, subject: NounPhrase | None = None, object: NounPhrase | None = None) -> Clause:
        form = self.one(self.relatives)
        form = self.one(self.modals) if form == "modal" else form
        return Clause(subject, self.one(self.words().verbs), form, object)
