"""The German twin's grammar compared with German and English sentences written by hand."""

import pytest

from caneft.demo.english import english, english_noun_phrase
from caneft.demo.german import grammar
from caneft.demo.german.words import Adjective, Adverb, Noun, Preposition, Verb
from caneft.demo.trees import Clause, NounPhrase, PrepositionalPhrase, Sentence

USER = Noun("Benutzer", "m", "user")
WITNESS = Noun("Zeuge", "m", "witness", weak="n")
FILE = Noun("Datei", "f", "file")
PROGRAM = Noun("Programm", "n", "program")
CELL = Noun("Zelle", "f", senses=("slot", "jail"))
NEW = Adjective("neu", "new")
OLD = Adjective("alt", "old")
OPEN = Verb("öffnen", "öffnet", "geöffnet", "open", "opens", "opened")
FORGET = Verb("vergessen", "vergisst", "vergessen", "forget", "forgets", "forgotten")
KNOW = Verb("wissen", "weiß", "gewusst", "know", "knows", "known")
TODAY = Adverb("heute", "today")
IN = Preposition("in", "dat", "in")
FOR = Preposition("für", "acc", "for")


def first_sense(noun: Noun) -> str:
    return noun.english or noun.senses[0]


def the(noun: Noun, adjective: Adjective | None = None) -> NounPhrase:
    return NounPhrase("the", noun, adjective)


def spelt(sentence: Sentence) -> tuple[str, str, str]:
    """German, English, and English in German order."""
    return (
        grammar.german(sentence),
        english(sentence, first_sense),
        english(sentence, first_sense, order=grammar.order),
    )


# Noun phrases


@pytest.mark.parametrize(
    ("determiner", "noun", "nominative", "accusative", "dative"),
    [
        ("the", USER, "der neue Benutzer", "den neuen Benutzer", "dem neuen Benutzer"),
        ("the", FILE, "die neue Datei", "die neue Datei", "der neuen Datei"),
        ("the", PROGRAM, "das neue Programm", "das neue Programm", "dem neuen Programm"),
        ("a", USER, "ein neuer Benutzer", "einen neuen Benutzer", "einem neuen Benutzer"),
        ("a", FILE, "eine neue Datei", "eine neue Datei", "einer neuen Datei"),
        ("a", PROGRAM, "ein neues Programm", "ein neues Programm", "einem neuen Programm"),
        ("this", USER, "dieser neue Benutzer", "diesen neuen Benutzer", "diesem neuen Benutzer"),
        ("this", FILE, "diese neue Datei", "diese neue Datei", "dieser neuen Datei"),
        ("every", PROGRAM, "jedes neue Programm", "jedes neue Programm", "jedem neuen Programm"),
        ("the", WITNESS, "der neue Zeuge", "den neuen Zeugen", "dem neuen Zeugen"),
    ],
)
def test_articles_and_adjectives_agree_with_gender_and_case(determiner, noun, nominative, accusative, dative):
    noun_phrase = NounPhrase(determiner, noun, NEW)
    assert [grammar.german_noun_phrase(noun_phrase, case) for case in ("nom", "acc", "dat")] == [
        nominative,
        accusative,
        dative,
    ]


@pytest.mark.parametrize(
    ("noun", "adjective", "expected"),
    [
        (FILE, None, "a file"),
        (FILE, OLD, "an old file"),
        (USER, None, "a user"),
        (USER, OLD, "an old user"),
        (Noun("Antwort", "f", "answer"), None, "an answer"),
        (Noun("Antwort", "f", "answer"), NEW, "a new answer"),
        (Noun("Stunde", "f", "hour"), None, "an hour"),
        (Noun("Haus", "n", "house"), None, "a house"),
        (CELL, None, "a slot"),
    ],
)
def test_a_or_an(noun, adjective, expected):
    assert english_noun_phrase(NounPhrase("a", noun, adjective), first_sense) == expected


@pytest.mark.parametrize(
    ("preposition", "noun_phrase", "expected"),
    [
        (IN, the(PROGRAM, NEW), "im neuen Programm"),
        (IN, the(FILE), "in der Datei"),
        (IN, NounPhrase("a", PROGRAM), "in einem Programm"),
        (FOR, the(USER), "für den Benutzer"),
        (FOR, the(WITNESS), "für den Zeugen"),
    ],
)
def test_prepositions_govern_their_case_and_contract_with_the_article(preposition, noun_phrase, expected):
    clause = Clause(the(USER), OPEN, phrase=PrepositionalPhrase(preposition, noun_phrase))
    assert grammar.german_roles(clause)["phrase"] == expected


# Sentences: German, English, English in German order


def test_main_clause():
    clause = Clause(the(USER), OPEN, object=NounPhrase("a", PROGRAM, OLD), adverb=TODAY)
    assert spelt(Sentence("statement", clause)) == (
        "Der Benutzer öffnet heute ein altes Programm.",
        "The user opens an old program today.",
        "The user opens today an old program.",
    )


def test_modal_sends_the_infinitive_to_the_end():
    clause = Clause(the(USER), OPEN, "can", the(FILE), phrase=PrepositionalPhrase(IN, the(PROGRAM)))
    assert spelt(Sentence("statement", clause)) == (
        "Der Benutzer kann die Datei im Programm öffnen.",
        "The user can open the file in the program.",
        "The user can the file in the program open.",
    )


def test_perfect_sends_the_participle_to_the_end():
    clause = Clause(NounPhrase("every", USER), FORGET, "perfect", NounPhrase("a", USER, NEW))
    assert spelt(Sentence("statement", clause)) == (
        "Jeder Benutzer hat einen neuen Benutzer vergessen.",
        "Every user has forgotten a new user.",
        "Every user has a new user forgotten.",
    )


def test_passive_names_its_agent_in_the_dative():
    clause = Clause(the(FILE, NEW), OPEN, "passive", agent=the(WITNESS))
    assert spelt(Sentence("statement", clause)) == (
        "Die neue Datei wird vom Zeugen geöffnet.",
        "The new file is opened by the witness.",
        "The new file is by the witness opened.",
    )


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        (
            PrepositionalPhrase(IN, NounPhrase("this", PROGRAM)),
            (
                "In diesem Programm öffnet der Benutzer die Datei.",
                "In this program the user opens the file.",
                "In this program opens the user the file.",
            ),
        ),
        (
            TODAY,
            (
                "Heute öffnet der Benutzer die Datei.",
                "Today the user opens the file.",
                "Today opens the user the file.",
            ),
        ),
    ],
)
def test_german_verb_stays_second_behind_a_fronted_phrase(front, expected):
    assert spelt(Sentence("statement", Clause(the(USER), OPEN, object=the(FILE), front=front))) == expected


def test_wenn_clause_ends_with_its_verb_and_inverts_the_main_clause():
    condition = Clause(the(USER), OPEN, object=the(FILE))
    assert spelt(Sentence("when", Clause(the(PROGRAM), FORGET, object=the(CELL)), condition)) == (
        "Wenn der Benutzer die Datei öffnet, vergisst das Programm die Zelle.",
        "When the user opens the file, the program forgets the slot.",
        "When the user the file opens, forgets the program the slot.",
    )


@pytest.mark.parametrize(
    ("form", "german", "english", "german_order"),
    [
        ("must", "die Datei öffnen muss", "must open the file", "the file open must"),
        ("perfect", "die Datei geöffnet hat", "has opened the file", "the file opened has"),
    ],
)
def test_dass_clause_ends_with_its_finite_verb(form, german, english, german_order):
    content = Clause(the(USER), OPEN, form, the(FILE))
    assert spelt(Sentence("that", Clause(the(WITNESS), KNOW), content)) == (
        f"Der Zeuge weiß, dass der Benutzer {german}.",
        f"The witness knows that the user {english}.",
        f"The witness knows that the user {german_order}.",
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("present", ("Öffnet der Benutzer die Datei?", "Does the user open the file?", "Opens the user the file?")),
        (
            "may",
            ("Darf der Benutzer die Datei öffnen?", "May the user open the file?", "May the user the file open?"),
        ),
    ],
)
def test_question(form, expected):
    assert spelt(Sentence("question", Clause(the(USER), OPEN, form, the(FILE)))) == expected
