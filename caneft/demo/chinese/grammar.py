"""A small Chinese grammar: measure words, aspect, 被, 把, and attributes before the noun."""

from caneft.demo.chinese.words import Verb
from caneft.demo.english import in_order
from caneft.demo.trees import Clause, NounPhrase, PrepositionalPhrase, Sentence, arranged

DETERMINERS = {"the": "", "a": "一", "this": "这", "that": "那", "every": "每"}
"""The word before the measure word. A bare noun is definite here."""

MODALS = {"can": "可以", "must": "必须", "should": "应该", "will": "会"}

# Everything that goes with the verb, except the object, comes before it. A finite part is a modal, 正在 or 被; if there
# is none, the English one is placed next to its verb.
BEFORE = ("front", "subject", "adverb", "link")
ORDERS = {
    "modal": (*BEFORE, "finite", "phrase", "nonfinite", "object"),
    "progressive": (*BEFORE, "finite", "phrase", "nonfinite", "object"),
    "past passive": (*BEFORE, "phrase", "finite", "agent", "nonfinite"),
    "disposal": (*BEFORE, "phrase", "object", "finite", "nonfinite"),
}
OTHER_ORDER = (*BEFORE, "phrase", "finite", "nonfinite", "object")

JOINTS = {
    "statement": "{main}。",
    "question": "{main}吗？",
    "if": "如果{subordinate}，{main}。",
    "that": "{main}{subordinate}。",
}
HAPLOLOGY = ("正在在", "正在")  # 在 is not repeated after 正在


def chinese(sentence: Sentence) -> str:
    """The Chinese sentence, without spaces, with its closing mark."""
    return arranged(sentence, chinese_clause, JOINTS)


def order(clause: Clause, kind: str) -> tuple[str, ...]:
    """Roles of a clause in Chinese order, whatever the kind of sentence."""
    return ORDERS.get(family(clause.form), OTHER_ORDER)


def family(form: str) -> str:
    """The form itself, or "modal" for any modal."""
    return "modal" if form in MODALS else form


def chinese_clause(clause: Clause, kind: str) -> str:
    """A clause in Chinese. kind: its sentence's kind (after "if", the consequence takes 就), or "subordinate"."""
    roles = chinese_roles(clause)
    if clause.subject:
        then = "就" if kind == "if" else ""
        roles["link"] = then + ("都" if clause.subject.determiner == "every" else "")
    return in_order(roles, order(clause, kind), gap="").replace(*HAPLOLOGY)


def chinese_roles(clause: Clause) -> dict[str, str]:
    """Chinese words of each role of a clause; an absent role has no entry."""
    finite, nonfinite = chinese_verb(clause.verb, clause.form, has_object=clause.object is not None)
    roles = {"finite": finite, "nonfinite": nonfinite}
    for role in ("subject", "object", "agent"):
        if noun_phrase := getattr(clause, role):
            roles[role] = chinese_noun_phrase(noun_phrase)
    if clause.form == "disposal":
        roles["object"] = f"把{roles['object']}"
    for role in ("adverb", "phrase", "front"):
        modifier = getattr(clause, role)
        if isinstance(modifier, PrepositionalPhrase):
            preposition, noun_phrase = modifier
            roles[role] = f"{preposition.before}{chinese_noun_phrase(noun_phrase)}{preposition.behind}"
            if role == "front":
                roles[role] += "，"
        elif modifier:
            roles[role] = modifier.word
    return roles


def chinese_verb(verb: Verb, form: str, *, has_object: bool = True) -> tuple[str, str]:
    """The word before the verb, if any, and the verb with its aspect.

    The past without an object occurs in relative clauses (学生完成的作业), which need no 了.
    """
    if form in MODALS:
        return MODALS[form], verb.word
    if form == "past":
        return "", f"{verb.word}了" if has_object else verb.word
    return {
        "present": ("", verb.word),
        "perfect": ("", f"{verb.word}过"),
        "progressive": ("正在", verb.word),
        "past passive": ("被", f"{verb.word}了"),
        "disposal": ("", f"{verb.word}了"),
    }[form]


def chinese_noun_phrase(noun_phrase: NounPhrase) -> str:
    """Relative clause with 的, determiner with the noun's measure word, adjective and noun."""
    determiner, noun, adjective, relative = noun_phrase
    measured = DETERMINERS[determiner] + noun.measure if DETERMINERS[determiner] else ""
    attribute = f"{chinese_clause(relative, 'subordinate')}的" if relative else ""
    return f"{attribute}{measured}{adjective.word if adjective else ''}{noun.word}"
