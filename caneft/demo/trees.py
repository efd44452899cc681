"""The content of the demo's sentences, before any language spells it: trees of clauses and their roles.

Trees hold words of a twin's tables (`german.words`, `chinese.words`), each with its English and with the forms of its
own language. The languages share the roles but spell and order them differently.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Noun = Verb = Adjective = Adverb = Preposition = Any
"""Named tuples that each twin defines. All have `english`; nouns also `word` and, if polysemous, `senses` by domain."""

Translate = Callable[[Noun], str]
"""Gives the English word of a noun, and so decides the sense of a polysemous one."""

MODALS = ("can", "must", "should", "may", "will")


class NounPhrase(NamedTuple):
    determiner: str  # "the", "a", "this", "every"; Chinese also "that"
    noun: Noun
    adjective: Adjective | None = None
    relative: "Clause | None" = None  # a clause without its subject or object, which is this phrase


class PrepositionalPhrase(NamedTuple):
    preposition: Preposition
    noun_phrase: NounPhrase


class Clause(NamedTuple):
    """One finite verb and what belongs to it.

    form: "present", "perfect", "passive" or a modal; Chinese also "past", "progressive", "past passive" and "disposal"
    (past, with the object before the verb). In the passives, `agent` is the one who acts and `object` stays empty.
    front: the part that comes first in a main clause, before the subject (or, in German, in its place).
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
    """A sentence made of its spelt clauses, capitalised.

    spelt: gives the words of a clause; its second argument is the sentence's kind, or "subordinate". joints: by kind,
    the text around `{main}` and `{subordinate}`.
    """
    clauses = {"main": spelt(sentence.main, sentence.kind)}
    if sentence.subordinate:
        clauses["subordinate"] = spelt(sentence.subordinate, "subordinate")
    text = joints[sentence.kind].format(**clauses)
    return text[0].upper() + text[1:]
