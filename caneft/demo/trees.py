"""What a sentence of the demo says, before any language spells it: trees of clauses and their roles.

Trees hold words of a twin's tables (`german.words`, `chinese.words`), each of which knows its English beside its own
language's form. The languages share the roles and differ in how they spell and order them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Noun = Verb = Adjective = Adverb = Preposition = Any
"""Named tuples of a twin's own. All have `english`; nouns also `word` and, if polysemous, `senses` by domain."""

Translate = Callable[[Noun], str]
"""English word of a noun: what decides the sense of a polysemous one."""

MODALS = ("can", "must", "should", "may", "will")


class NounPhrase(NamedTuple):
    determiner: str  # "the", "a", "this", "every"; Chinese also "that"
    noun: Noun
    adjective: Adjective | None = None
    relative: "Clause | None" = None  # a clause without the subject or the object that this phrase is in it


class PrepositionalPhrase(NamedTuple):
    preposition: Preposition
    noun_phrase: NounPhrase


class Clause(NamedTuple):
    """One finite verb and what belongs to it.

    form: "present", "perfect", "passive" or a modal; Chinese also "past", "progressive", "past passive" and "disposal"
    (past, with the object before the verb). In the passives, `agent` is the one who acts and `object` stays empty.
    front: what stands first in a main clause, before the subject (or, in German, instead of it).
    """

    subject: NounPhrase | None
    verb: Verb
    form: str = "present"
    object: NounPhrase | None = None
    agent: NounPhrase | None = None
    adverb: Adverb | None = None
    phrase: PrepositionalPhrase | None = None
    front: Adverb | PrepositionalPhrase | None = None


class Sentence(NamedTuple):
    """kind: "statement" or "question" (`main` alone), "when", "if" or "that" (`main` and `subordinate`)."""

    kind: str
    main: Clause
    subordinate: Clause | None = None


def arranged(sentence: Sentence, spelt: Callable[[Clause, str], str], joints: Mapping[str, str]) -> str:
    """A sentence out of its spelt clauses, capitalised.

    spelt: words of a clause; its second argument is the sentence's kind, or "subordinate". joints: by kind, what stands
    around `{main}` and `{subordinate}`.
    """
    clauses = {"main": spelt(sentence.main, sentence.kind)}
    if sentence.subordinate:
        clauses["subordinate"] = spelt(sentence.subordinate, "subordinate")
    text = joints[sentence.kind].format(**clauses)
    return text[0].upper() + text[1:]
