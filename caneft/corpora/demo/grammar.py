"""A small German grammar with its English counterpart: trees in, sentences out.

A clause is a tree of roles (subject, finite verb, object, ...). Each language spells the roles and puts them in its own
order; English words in German order are the same spelling with the other order.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from caneft.corpora.demo.lexicon import Adjective, Adverb, Noun, Preposition, Verb

Translate = Callable[[Noun], str]
"""English word of a noun: what decides the sense of a polysemous one."""

# Strong endings, as on dieser; gender within case.
STRONG = {
    "nom": {"m": "er", "f": "e", "n": "es"},
    "acc": {"m": "en", "f": "e", "n": "es"},
    "dat": {"m": "em", "f": "er", "n": "em"},
}
DEFINITE = {"er": "der", "e": "die", "es": "das", "en": "den", "em": "dem"}
DETERMINERS = {"der": "the", "ein": "a", "dieser": "this", "jeder": "every"}
CONTRACTIONS = {("von", "dem"): "vom", ("in", "dem"): "im"}


def _inflected(kind: str, gender: str, case: str) -> tuple[str, str]:
    """A determiner's form and the ending of the adjective after it.

    The adjective is weak, except after ein without an ending: there it shows the gender itself (ein neuer Ordner).
    """
    strong = STRONG[case][gender]
    if kind == "ein" and gender != "f" and (case == "nom" or (case, gender) == ("acc", "n")):
        return "ein", strong
    weak = "e" if case == "nom" or (case == "acc" and gender != "m") else "en"
    if kind == "der":
        return DEFINITE[strong], weak
    return (kind if kind == "ein" else kind.removesuffix("er")) + strong, weak


INFLECTED = {
    (kind, gender, case): _inflected(kind, gender, case) for kind in DETERMINERS for gender in "mfn" for case in STRONG
}

MODALS = {"kann": "can", "muss": "must", "soll": "should", "darf": "may"}
FORMS = ("present", "perfect", "passive", *MODALS)

GERMAN_ORDER = {
    "main": ("subject", "finite", "adverb", "object", "agent", "phrase", "nonfinite"),
    "inverted": ("front", "finite", "subject", "adverb", "object", "agent", "phrase", "nonfinite"),
    "subordinate": ("subject", "adverb", "object", "agent", "phrase", "nonfinite", "finite"),
}
ENGLISH_ORDER = {
    "statement": ("front", "subject", "finite", "nonfinite", "object", "agent", "phrase", "adverb"),
    "question": ("finite", "subject", "nonfinite", "object", "agent", "phrase", "adverb"),
}


class NounPhrase(NamedTuple):
    determiner: str  # a key of DETERMINERS
    noun: Noun
    adjective: Adjective | None = None


class PrepositionalPhrase(NamedTuple):
    preposition: Preposition
    noun_phrase: NounPhrase


class Clause(NamedTuple):
    """One finite verb and what belongs to it.

    form: one of FORMS. In the passive, `agent` is the one who acts and `object` stays empty.
    front: what stands before the finite verb of a main clause instead of the subject.
    """

    subject: NounPhrase
    verb: Verb
    form: str = "present"
    object: NounPhrase | None = None
    agent: NounPhrase | None = None
    adverb: Adverb | None = None
    phrase: PrepositionalPhrase | None = None
    front: Adverb | PrepositionalPhrase | None = None


class Sentence(NamedTuple):
    """kind: "statement" or "question" (`main` alone), "wenn" or "dass" (`main` and `subordinate`)."""

    kind: str
    main: Clause
    subordinate: Clause | None = None


def german(sentence: Sentence) -> str:
    """The German sentence, capitalised, with its closing mark."""

    def roles(clause: Clause, question: bool) -> dict[str, str]:
        return german_roles(clause)

    return _arranged(sentence, roles, in_german_order=True, joints=("Wenn {}, {}.", "{}, dass {}."))


def english(sentence: Sentence, translate: Translate, *, german_order: bool = False) -> str:
    """The English sentence; with `german_order` its words stand in the order of the German clauses."""

    def roles(clause: Clause, question: bool) -> dict[str, str]:
        return english_roles(clause, translate, question=question and not german_order)

    return _arranged(sentence, roles, in_german_order=german_order, joints=("When {}, {}.", "{} that {}."))


def _arranged(
    sentence: Sentence,
    roles: Callable[[Clause, bool], Mapping[str, str]],
    *,
    in_german_order: bool,
    joints: tuple[str, str],
) -> str:
    """Spell the clauses of a sentence by `roles` and join them in one language's order."""
    kind, main, subordinate = sentence
    main_order, subordinate_order = _orders(sentence, in_german_order)
    main_words = _joined(roles(main, kind == "question"), main_order)
    if subordinate is None:
        text = main_words + ("?" if kind == "question" else ".")
    else:
        subordinate_words = _joined(roles(subordinate, False), subordinate_order)
        if kind == "wenn":
            text = joints[0].format(subordinate_words, main_words)
        else:
            text = joints[1].format(main_words, subordinate_words)
    return text[0].upper() + text[1:]


def _orders(sentence: Sentence, in_german_order: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Role orders of the main and the subordinate clause."""
    if not in_german_order:
        main = ENGLISH_ORDER["question" if sentence.kind == "question" else "statement"]
        return main, ENGLISH_ORDER["statement"]
    verb_before_subject = sentence.kind in ("question", "wenn") or sentence.main.front is not None
    return GERMAN_ORDER["inverted" if verb_before_subject else "main"], GERMAN_ORDER["subordinate"]


def _joined(roles: Mapping[str, str], order: tuple[str, ...]) -> str:
    return " ".join([roles[role] for role in order if roles.get(role)])


def german_roles(clause: Clause) -> dict[str, str]:
    """German words of each role of a clause; an absent role has no entry."""
    finite, nonfinite = german_verb(clause.verb, clause.form)
    roles = {"subject": german_noun_phrase(clause.subject, "nom"), "finite": finite, "nonfinite": nonfinite}
    if clause.object:
        roles["object"] = german_noun_phrase(clause.object, "acc")
    if clause.agent:
        roles["agent"] = german_prepositional("von", german_noun_phrase(clause.agent, "dat"))
    for role, modifier in (("adverb", clause.adverb), ("phrase", clause.phrase), ("front", clause.front)):
        if isinstance(modifier, PrepositionalPhrase):
            preposition, noun_phrase = modifier
            roles[role] = german_prepositional(preposition.german, german_noun_phrase(noun_phrase, preposition.case))
        elif modifier:
            roles[role] = modifier.german
    return roles


def german_verb(verb: Verb, form: str) -> tuple[str, str]:
    """Finite and nonfinite part of a verb in the third person singular; the nonfinite part may be empty."""
    if form == "present":
        return verb.third, ""
    if form == "perfect":
        return "hat", verb.participle
    if form == "passive":
        return "wird", verb.participle
    return form, verb.infinitive


def german_noun_phrase(noun_phrase: NounPhrase, case: str) -> str:
    """Determiner, adjective and noun, inflected. case: "nom", "acc" or "dat"."""
    kind, noun, adjective = noun_phrase
    determiner, ending = INFLECTED[kind, noun.gender, case]
    noun_form = noun.german if case == "nom" else noun.german + noun.weak
    return f"{determiner} {adjective.stem}{ending} {noun_form}" if adjective else f"{determiner} {noun_form}"


def german_prepositional(preposition: str, noun_phrase: str) -> str:
    """A preposition before an inflected noun phrase, contracted with its article where German does: vom, im."""
    determiner, _, rest = noun_phrase.partition(" ")
    contracted = CONTRACTIONS.get((preposition, determiner))
    return f"{contracted} {rest}" if contracted else f"{preposition} {noun_phrase}"


def english_roles(clause: Clause, translate: Translate, *, question: bool = False) -> dict[str, str]:
    """English words of each role of a clause; an absent role has no entry. A question in the present takes does."""
    finite, nonfinite = english_verb(clause.verb, clause.form, question=question)
    subject = english_noun_phrase(clause.subject, translate)
    roles = {"subject": subject, "finite": finite, "nonfinite": nonfinite}
    if clause.object:
        roles["object"] = english_noun_phrase(clause.object, translate)
    if clause.agent:
        roles["agent"] = f"by {english_noun_phrase(clause.agent, translate)}"
    for role, modifier in (("adverb", clause.adverb), ("phrase", clause.phrase), ("front", clause.front)):
        if isinstance(modifier, PrepositionalPhrase):
            preposition, noun_phrase = modifier
            roles[role] = f"{preposition.english} {english_noun_phrase(noun_phrase, translate)}"
        elif modifier:
            roles[role] = modifier.english
    return roles


def english_verb(verb: Verb, form: str, *, question: bool = False) -> tuple[str, str]:
    """Finite and nonfinite part of a verb in the third person singular; the nonfinite part may be empty."""
    if form == "present":
        return ("does", verb.english) if question else (verb.english_third, "")
    if form == "perfect":
        return "has", verb.english_participle
    if form == "passive":
        return "is", verb.english_participle
    return MODALS[form], verb.english


def english_noun_phrase(noun_phrase: NounPhrase, translate: Translate) -> str:
    """Determiner, adjective and noun; a or an by the word that follows it."""
    kind, noun, adjective = noun_phrase
    words = f"{adjective.english} {translate(noun)}" if adjective else translate(noun)
    return f"{indefinite_article(words) if kind == 'ein' else DETERMINERS[kind]} {words}"


def indefinite_article(words: str) -> str:
    """ "a" or "an" before these words."""
    vowel = words[0] in "aeiou" and not words.startswith(("eu", "one", "uni", "use"))
    return "an" if vowel or words.startswith(("heir", "honest", "honour", "hour")) else "a"


def nouns(sentence: Sentence) -> list[Noun]:
    """Every noun of a sentence, in no particular order."""
    found = []
    for clause in (sentence.main, sentence.subordinate):
        for part in clause or ():
            if isinstance(part, PrepositionalPhrase):
                part = part.noun_phrase
            if isinstance(part, NounPhrase):
                found.append(part.noun)
    return found
