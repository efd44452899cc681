"""The Chinese twin's grammar compared with sentences written by hand, and rules for all of its text."""

import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from caneft import demo
from caneft.config import Demo, DemoPretraining
from caneft.corpora.readers import read
from caneft.demo.chinese import grammar
from caneft.demo.chinese.words import Adjective, Adverb, Noun, Preposition, Verb
from caneft.demo.english import english
from caneft.demo.trees import Clause, NounPhrase, PrepositionalPhrase, Sentence

TEACHER = Noun("老师", "位", "teacher")
STUDENT = Noun("学生", "名", "student")
BOOK = Noun("书", "本", "book")
LETTER = Noun("信", "封", "letter")
METHOD = Noun("方法", "种", senses=("method", "trick"))
NEW = Adjective("新", "new")
STRANGE = Adjective("奇怪的", "strange")
WRITE = Verb("写", "write", "writes", "wrote", "written", "writing")
READ = Verb("朗读", "read", "reads", "read", "read", "reading")
KNOW = Verb("知道", "know", "knows", "knew", "known", "knowing")
YESTERDAY = Adverb("昨天", ("past",), "yesterday")
IN = Preposition("在", "中", "abstract", ("past",), "in")
WITH = Preposition("用", "", "any", ("past",), "with")


def the(noun, adjective=None):
    return NounPhrase("the", noun, adjective)


def spelt(sentence: Sentence) -> tuple[str, str, str]:
    """Chinese, English, and English in Chinese order."""

    def first_sense(noun):
        return noun.english or noun.senses[0]

    return (
        grammar.chinese(sentence),
        english(sentence, first_sense),
        english(sentence, first_sense, order=grammar.order),
    )


@pytest.mark.parametrize(
    ("noun_phrase", "expected"),
    [
        (the(BOOK), "书"),
        (NounPhrase("a", BOOK), "一本书"),
        (NounPhrase("this", LETTER), "这封信"),
        (NounPhrase("that", TEACHER), "那位老师"),
        (NounPhrase("every", STUDENT), "每名学生"),
        (NounPhrase("a", BOOK, NEW), "一本新书"),
        (NounPhrase("this", METHOD, STRANGE), "这种奇怪的方法"),
        (the(METHOD, STRANGE), "奇怪的方法"),
        (NounPhrase("this", BOOK, relative=Clause(the(STUDENT), WRITE, "past")), "学生写的这本书"),
        (NounPhrase("a", TEACHER, relative=Clause(None, WRITE, "past", the(BOOK))), "写了书的一位老师"),
        (the(BOOK, None)._replace(relative=Clause(the(STUDENT), READ, "should")), "学生应该朗读的书"),
    ],
)
def test_measure_words_follow_the_noun_and_attributes_precede_it(noun_phrase, expected):
    assert grammar.chinese_noun_phrase(noun_phrase) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("present", ("老师朗读信。", "The teacher reads the letter.", "The teacher reads the letter.")),
        ("past", ("老师朗读了信。", "The teacher read the letter.", "The teacher read the letter.")),
        ("perfect", ("老师朗读过信。", "The teacher has read the letter.", "The teacher has read the letter.")),
        (
            "progressive",
            ("老师正在朗读信。", "The teacher is reading the letter.", "The teacher is reading the letter."),
        ),
        ("disposal", ("老师把信朗读了。", "The teacher read the letter.", "The teacher the letter read.")),
        ("can", ("老师可以朗读信。", "The teacher can read the letter.", "The teacher can read the letter.")),
        ("will", ("老师会朗读信。", "The teacher will read the letter.", "The teacher will read the letter.")),
    ],
)
def test_aspect_and_tense(form, expected):
    assert spelt(Sentence("statement", Clause(the(TEACHER), READ, form, the(LETTER)))) == expected


@pytest.mark.parametrize(
    ("agent", "expected"),
    [
        (None, ("信被写了。", "The letter was written.", "The letter was written.")),
        (
            the(STUDENT),
            (
                "信被学生写了。",
                "The letter was written by the student.",
                "The letter was by the student written.",
            ),
        ),
    ],
)
def test_passive(agent, expected):
    assert spelt(Sentence("statement", Clause(the(LETTER), WRITE, "past passive", agent=agent))) == expected


def test_time_and_phrase_precede_the_verb():
    phrase = PrepositionalPhrase(WITH, the(METHOD))
    clause = Clause(the(TEACHER), WRITE, "past", NounPhrase("a", LETTER), adverb=YESTERDAY, phrase=phrase)
    assert spelt(Sentence("statement", clause)) == (
        "老师昨天用方法写了一封信。",
        "The teacher wrote a letter with the method yesterday.",
        "The teacher yesterday with the method wrote a letter.",
    )


def test_a_modal_precedes_its_phrase_and_a_phrase_precedes_the_disposed_object():
    phrase = PrepositionalPhrase(IN, the(METHOD))
    clause = Clause(the(TEACHER), READ, "must", the(LETTER), phrase=phrase)
    assert grammar.chinese(Sentence("statement", clause)) == "老师必须在方法中朗读信。"
    assert grammar.chinese(Sentence("statement", clause._replace(form="disposal"))) == "老师在方法中把信朗读了。"


def test_the_progressive_says_zai_once():
    clause = Clause(the(TEACHER), READ, "progressive", the(LETTER), phrase=PrepositionalPhrase(IN, the(METHOD)))
    assert grammar.chinese(Sentence("statement", clause)) == "老师正在方法中朗读信。"


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        (YESTERDAY, ("昨天老师朗读了信。", "Yesterday the teacher read the letter.")),
        (
            PrepositionalPhrase(WITH, the(METHOD)),
            ("用方法，老师朗读了信。", "With the method the teacher read the letter."),
        ),
    ],
)
def test_what_stands_first(front, expected):
    assert spelt(Sentence("statement", Clause(the(TEACHER), READ, "past", the(LETTER), front=front)))[:2] == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("statement", "每位老师昨天都朗读了信。"),
        ("question", "每位老师昨天都朗读了信吗？"),
    ],
)
def test_every_subject_takes_dou(kind, expected):
    clause = Clause(NounPhrase("every", TEACHER), READ, "past", the(LETTER), adverb=YESTERDAY)
    assert grammar.chinese(Sentence(kind, clause)) == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("past", ("老师朗读了信吗？", "Did the teacher read the letter?", "The teacher read the letter?")),
        ("can", ("老师可以朗读信吗？", "Can the teacher read the letter?", "The teacher can read the letter?")),
    ],
)
def test_question(form, expected):
    assert spelt(Sentence("question", Clause(the(TEACHER), READ, form, the(LETTER)))) == expected


def test_the_consequence_of_a_condition_takes_jiu():
    condition = Clause(the(STUDENT), WRITE, "past", the(LETTER))
    assert spelt(Sentence("if", Clause(the(TEACHER), READ, "will", the(LETTER)), condition)) == (
        "如果学生写了信，老师就会朗读信。",
        "If the student wrote the letter, the teacher will read the letter.",
        "If the student wrote the letter, the teacher will read the letter.",
    )


def test_a_clause_as_an_object_needs_no_conjunction():
    content = Clause(the(STUDENT), WRITE, "disposal", the(LETTER))
    assert spelt(Sentence("that", Clause(the(TEACHER), KNOW), content)) == (
        "老师知道学生把信写了。",
        "The teacher knows that the student wrote the letter.",
        "The teacher knows that the student the letter wrote.",
    )


def test_a_relative_clause_follows_in_english_and_precedes_in_chinese_order():
    letter = NounPhrase("a", LETTER, relative=Clause(the(STUDENT), WRITE, "past"))
    assert spelt(Sentence("statement", Clause(the(TEACHER), READ, "past", letter))) == (
        "老师朗读了学生写的一封信。",
        "The teacher read a letter that the student wrote.",
        "The teacher read the student wrote that a letter.",
    )


# As a corpus format


@pytest.mark.parametrize("reverse", [False, True])
def test_the_formats_read_the_twin_in_either_direction(reverse):
    one = Demo(format="demo", language="zh", domain="thesis", pairs=5, seed=2, reverse=reverse)
    base = DemoPretraining(
        format="demo-pretraining", language="zh", domains=["laws", "news"], pairs=5, seed=2, reverse=reverse
    )
    expected = [(one, demo.pairs("thesis", "dev", 5, 2, "zh")), (base, demo.pretraining(["laws", "news"], 5, 2, "zh"))]
    for source, pairs in expected:
        found = [pair[1:] for pair in read(source, "dev", Path)]
        assert found == [pair[::-1] if reverse else pair for pair in pairs]


# Text

WORDS = demo.TWINS["zh"].writer.vocabulary
TEXT = [pair for domain in (*WORDS.domains, "general") for pair in demo.pairs(domain, "train", 400, language="zh")]


def test_every_measure_word_is_its_nouns():
    """Between 一, 这, 那 or 每 and a noun, apart from adjectives, is the noun's own measure word."""
    lexicons = (WORDS.general, *WORDS.lexicons.values())
    nouns = [noun for lexicon in lexicons for noun in lexicon.agents + lexicon.things] + [*WORDS.polysemous]
    measure = {noun.word: noun.measure for noun in nouns}
    adjectives = "|".join(adjective.word for lexicon in lexicons for adjective in lexicon.adjectives)
    heads = "|".join(sorted(measure, key=len, reverse=True))
    found = [m for source, _ in TEXT for m in re.finditer(rf"[一这那]([^的])(?:{adjectives})?({heads})", source)]
    assert len(found) > 2000
    assert [m[0] for m in found if m[1] != measure[m[2]]] == []


def test_marks_agree_with_the_english_tense():
    for source, target in TEXT:
        assert ("正在" in source) == bool(re.search(r"\b[Ii]s (.* )?\w+ing\b", target)), (source, target)
        assert ("被" in source) == bool(re.search(r"\b[Ww]as\b", target)), (source, target)
        assert source.endswith("吗？") == target.endswith("?"), (source, target)
        assert source.startswith("如果") == target.startswith("If "), (source, target)


def test_disposal_is_of_something_definite_and_no_agent_is_heavy():
    drawn = islice(demo.TWINS["zh"].writer("thesis", Random(0)).sentences(), 3000)
    clauses = [clause for sentence in drawn for clause in (sentence.main, sentence.subordinate) if clause]
    disposed = [clause.object.determiner for clause in clauses if clause.form == "disposal"]
    assert len(disposed) > 200 and set(disposed) == {"the", "this", "that"}
    agents = [clause.agent for clause in clauses if clause.agent]
    assert len(agents) > 100 and not any(agent.relative for agent in agents)


def test_every_construction_occurs_in_every_domain():
    for domain in WORDS.domains:
        sources = [source for source, _ in demo.pairs(domain, "train", 400, language="zh")]
        for pattern in (
            "了",
            "过",
            "正在",
            "被",
            "把",
            "如果.*就",
            "吗？$",
            "(认为|说|知道|发现)",
            "的这",
            "在.*中",
            "每.*都",
        ):
            assert any(re.search(pattern, source) for source in sources), (domain, pattern)
