"""The English side of both twins: the same trees in English words, in the order of English or of the source."""

from collections.abc import Callable

from caneft.demo.trees import MODALS, Clause, NounPhrase, PrepositionalPhrase, Sentence, Translate, Verb, arranged

Order = Callable[[Clause, str], tuple[str, ...]]
"""Roles of a clause in a language's order; the second argument is the sentence's kind, or "subordinate"."""

STATEMENT = ("front", "subject", "finite", "nonfinite", "object", "agent", "phrase", "adverb")
QUESTION = ("finite", "subject", "nonfinite", "object", "agent", "phrase", "adverb")
JOINTS = {
    "statement": "{main}.",
    "question": "{main}?",
    "when": "When {subordinate}, {main}.",
    "if": "If {subordinate}, {main}.",
    "that": "{main} that {subordinate}.",
}


def english(sentence: Sentence, translate: Translate, *, order: Order | None = None) -> str:
    """The English sentence; with `order` its words are in the order of another language's clauses."""
    return arranged(sentence, lambda clause, kind: english_clause(clause, kind, translate, order), JOINTS)


def english_clause(clause: Clause, kind: str, translate: Translate, order: Order | None = None) -> str:
    """Words of one clause. kind: its sentence's kind, or "subordinate"."""
    question = kind == "question"
    roles = english_roles(clause, translate, question=question and order is None, order=order)
    if order is None:
        return in_order(roles, QUESTION if question else STATEMENT)
    return in_order(roles, order(clause, kind))


def in_order(roles: dict[str, str], order: tuple[str, ...], gap: str = " ") -> str:
    """The words of all roles that are present, in this order."""
    return gap.join([roles[role] for role in order if roles.get(role)])


def english_roles(
    clause: Clause, translate: Translate, *, question: bool = False, order: Order | None = None
) -> dict[str, str]:
    """English words of each role of a clause; an absent role has no entry. A question without auxiliary takes do."""
    finite, nonfinite = english_verb(clause.verb, clause.form, question=question)
    roles = {"finite": finite, "nonfinite": nonfinite}
    for role in ("subject", "object", "agent"):
        if noun_phrase := getattr(clause, role):
            roles[role] = english_noun_phrase(noun_phrase, translate, order)
    if clause.agent:
        roles["agent"] = f"by {roles['agent']}"
    for role in ("adverb", "phrase", "front"):
        modifier = getattr(clause, role)
        if isinstance(modifier, PrepositionalPhrase):
            preposition, noun_phrase = modifier
            roles[role] = f"{preposition.english} {english_noun_phrase(noun_phrase, translate, order)}"
        elif modifier:
            roles[role] = modifier.english
    return roles


def english_verb(verb: Verb, form: str, *, question: bool = False) -> tuple[str, str]:
    """Finite and nonfinite part of a verb in the third person singular; the nonfinite part may be empty."""
    if form in MODALS:
        return form, verb.english
    if form == "present":
        return ("does", verb.english) if question else (verb.english_third, "")
    if form in ("past", "disposal"):
        return ("did", verb.english) if question else (verb.english_past, "")
    if form == "perfect":
        return "has", verb.english_participle
    if form == "progressive":
        return "is", verb.english_progressive
    return {"passive": "is", "past passive": "was"}[form], verb.english_participle


def english_noun_phrase(noun_phrase: NounPhrase, translate: Translate, order: Order | None = None) -> str:
    """Determiner, adjective, noun and relative clause; a or an by the word that follows it."""
    determiner, noun, adjective, relative = noun_phrase
    words = f"{adjective.english} {translate(noun)}" if adjective else translate(noun)
    phrase = f"{indefinite_article(words) if determiner == 'a' else determiner} {words}"
    if relative is None:
        return phrase
    clause = english_clause(relative, "subordinate", translate, order)
    return f"{phrase} that {clause}" if order is None else f"{clause} that {phrase}"


def indefinite_article(words: str) -> str:
    """ "a" or "an" before these words."""
    vowel = words[0] in "aeiou" and not words.startswith(("eu", "one", "uni", "use"))
    return "an" if vowel or words.startswith(("heir", "honest", "honour", "hour")) else "a"
