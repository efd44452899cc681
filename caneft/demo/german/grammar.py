"""A small German grammar: cases, endings, and where the verb stands."""

from caneft.demo.english import in_order
from caneft.demo.german.words import Verb
from caneft.demo.trees import Clause, NounPhrase, PrepositionalPhrase, Sentence, arranged

# Strong endings, as in dieser, by case and gender.
STRONG = {
    "nom": {"m": "er", "f": "e", "n": "es"},
    "acc": {"m": "en", "f": "e", "n": "es"},
    "dat": {"m": "em", "f": "er", "n": "em"},
}
DEFINITE = {"er": "der", "e": "die", "es": "das", "en": "den", "em": "dem"}
STEMS = {"the": "d", "a": "ein", "this": "dies", "every": "jed"}
CONTRACTIONS = {("von", "dem"): "vom", ("in", "dem"): "im"}


def _inflected(determiner: str, gender: str, case: str) -> tuple[str, str]:
    """A determiner's form and the ending of the adjective after it.

    The adjective is weak, except after ein without an ending, where it shows the gender itself (ein neuer Ordner).
    """
    strong = STRONG[case][gender]
    if determiner == "a" and gender != "f" and (case == "nom" or (case, gender) == ("acc", "n")):
        return "ein", strong
    weak = "e" if case == "nom" or (case == "acc" and gender != "m") else "en"
    return DEFINITE[strong] if determiner == "the" else STEMS[determiner] + strong, weak


INFLECTED = {
    (determiner, gender, case): _inflected(determiner, gender, case)
    for determiner in STEMS
    for gender in "mfn"
    for case in STRONG
}

MODALS = {"can": "kann", "must": "muss", "should": "soll", "may": "darf"}

ORDERS = {
    "main": ("subject", "finite", "adverb", "object", "agent", "phrase", "nonfinite"),
    "inverted": ("front", "finite", "subject", "adverb", "object", "agent", "phrase", "nonfinite"),
    "subordinate": ("subject", "adverb", "object", "agent", "phrase", "nonfinite", "finite"),
}
JOINTS = {
    "statement": "{main}.",
    "question": "{main}?",
    "when": "Wenn {subordinate}, {main}.",
    "that": "{main}, dass {subordinate}.",
}


def german(sentence: Sentence) -> str:
    """The German sentence, capitalised, with its closing mark."""
    return arranged(sentence, lambda clause, kind: in_order(german_roles(clause), order(clause, kind)), JOINTS)


def order(clause: Clause, kind: str) -> tuple[str, ...]:
    """Roles of a clause in German order. kind: its sentence's kind, or "subordinate"."""
    if kind == "subordinate":
        return ORDERS["subordinate"]
    verb_before_subject = kind in ("question", "when") or clause.front is not None
    return ORDERS["inverted" if verb_before_subject else "main"]


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
            roles[role] = german_prepositional(preposition.word, german_noun_phrase(noun_phrase, preposition.case))
        elif modifier:
            roles[role] = modifier.word
    return roles


def german_verb(verb: Verb, form: str) -> tuple[str, str]:
    """Finite and nonfinite part of a verb in the third person singular; the nonfinite part may be empty."""
    if form == "present":
        return verb.third, ""
    if form == "perfect":
        return "hat", verb.participle
    if form == "passive":
        return "wird", verb.participle
    return MODALS[form], verb.infinitive


def german_noun_phrase(noun_phrase: NounPhrase, case: str) -> str:
    """Determiner, adjective and noun, inflected. case: "nom", "acc" or "dat"."""
    noun, adjective = noun_phrase.noun, noun_phrase.adjective
    determiner, ending = INFLECTED[noun_phrase.determiner, noun.gender, case]
    noun_form = noun.word if case == "nom" else noun.word + noun.weak
    return f"{determiner} {adjective.stem}{ending} {noun_form}" if adjective else f"{determiner} {noun_form}"


def german_prepositional(preposition: str, noun_phrase: str) -> str:
    """A preposition before an inflected noun phrase, contracted with its article as in German: vom, im."""
    determiner, _, rest = noun_phrase.partition(" ")
    contracted = CONTRACTIONS.get((preposition, determiner))
    return f"{contracted} {rest}" if contracted else f"{preposition} {noun_phrase}"
