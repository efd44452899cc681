"""The demo's corpus: what its lexicons, splits and senses promise."""

import os
import re
import subprocess
import sys
from collections import Counter
from itertools import combinations, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft.corpora import demo
from caneft.corpora.demo import grammar
from caneft.corpora.demo.grammar import Clause, NounPhrase, Sentence
from caneft.corpora.demo.lexicon import (
    DOMAINS,
    GENERAL,
    LEXICONS,
    POLYSEMOUS,
    PREPOSITIONS,
    REPORTING,
    Noun,
)

ALL = (*DOMAINS, "general")

# Lexicons


def test_every_polysemous_noun_has_another_translation_in_each_domain():
    assert len(POLYSEMOUS) == 20
    for noun in POLYSEMOUS:
        assert len(noun.senses) == len(DOMAINS) == len(set(noun.senses)), noun.german


@pytest.mark.parametrize("domain", DOMAINS)
def test_within_a_domain_no_two_nouns_share_a_translation(domain):
    words = (*GENERAL.agents, *GENERAL.things, *LEXICONS[domain].agents, *LEXICONS[domain].things, *POLYSEMOUS)
    counts = Counter(demo.sense_of(domain)(noun) for noun in words)
    assert [word for word, count in counts.items() if count > 1] == []


def test_a_german_word_stands_in_one_lexicon_only():
    def words(lexicon):
        nouns = {noun.german for noun in lexicon.agents + lexicon.things}
        return (
            nouns | {verb.infinitive for verb in lexicon.verbs} | {adjective.stem for adjective in lexicon.adjectives}
        )

    shared = {noun.german for noun in POLYSEMOUS} | {verb.infinitive for verb in REPORTING}
    for one, other in combinations([shared, words(GENERAL), *map(words, LEXICONS.values())], 2):
        assert one & other == set()


def test_tables_hold_only_genders_and_cases_that_the_grammar_knows():
    nouns = [noun for words in (GENERAL, *LEXICONS.values()) for noun in words.agents + words.things]
    assert {noun.gender for noun in (*nouns, *POLYSEMOUS)} == {"m", "f", "n"}
    assert {noun.gender for noun in nouns if noun.weak} == {"m"}
    assert {preposition.case for preposition in PREPOSITIONS} == {"acc", "dat"}
    assert set(LEXICONS) == set(DOMAINS)


def test_no_unforeseen_word_follows_an_indefinite_article():
    """Vowel letters and vowel sounds part ways in few words; the lexicons hold only those listed here."""
    nouns = [noun for words in (GENERAL, *LEXICONS.values()) for noun in words.agents + words.things]
    words = {noun.english for noun in nouns} | {sense for noun in POLYSEMOUS for sense in noun.senses}
    words |= {adjective.english for words_ in (GENERAL, *LEXICONS.values()) for adjective in words_.adjectives}
    assert {word for word in words if re.match("u|eu|o[nu]|ho[nu]|hei", word)} == {"unbeaten", "user", "house"}
    assert grammar.indefinite_article("unbeaten team") == "an"


# Text


def sources(text: list[tuple[str, str]]) -> set[str]:
    return {source for source, _ in text}


@pytest.mark.parametrize("domain", ALL)
def test_domains_deliver_enough_distinct_and_well_formed_pairs(domain):
    for split, count in (("train", 3000), ("dev", 300), ("test", 1000)):
        text = demo.pairs(domain, split, count)
        assert len(sources(text)) == count
        for pair in text:
            for sentence in pair:
                assert re.fullmatch(r"[A-ZÄÖÜ][^.?]*[.?]", sentence)
                assert "  " not in sentence
                assert 4 <= len(sentence.split()) <= 16


@settings(max_examples=20, deadline=None)
@given(
    domain=st.sampled_from(ALL),
    split=st.sampled_from(demo.SPLITS),
    seed=st.integers(),
    counts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_pairs_depend_on_domain_split_and_seed_but_not_on_count(domain, split, seed, counts):
    fewer, more = sorted(counts)
    assert demo.pairs(domain, split, fewer, seed) == demo.pairs(domain, split, more, seed)[:fewer]
    assert demo.pairs(domain, split, 20, seed) != demo.pairs(domain, split, 20, seed + 1)


def test_pretraining_depends_on_neither_count_nor_the_order_of_domains():
    text = demo.pretraining(["law", "it"], 200)
    assert demo.pretraining(["it", "law", "it"], 77) == text[:77]
    assert demo.pretraining(["it", "law"], 200, seed=1) != text


def test_text_is_the_same_in_another_process():
    """Python's own hash of a text differs from process to process; ours must not."""
    program = "from caneft.corpora import demo; print(demo.pairs('general', 'test', 50), demo.pretraining(['it'], 50))"
    environment = os.environ | {
        "PYTHONHASHSEED": "12345",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, encoding="utf-8"
    ).stdout
    assert output.strip() == f"{demo.pairs('general', 'test', 50)} {demo.pretraining(['it'], 50)}"


def test_text_is_what_it_was():
    """Results that rest on the corpus stand as long as these sentences do; change them knowingly."""
    assert demo.pairs("law", "test", 2, seed=3) == [
        (
            "Nach dem Spiegel wird der Satz von jedem rechtlichen Anwalt verboten.",
            "After the scale the clause is forbidden by every legal lawyer.",
        ),
        ("Das Gericht prüft einen großen Beschluss.", "The court reviews a large decision."),
    ]
    assert demo.pretraining(["subtitles", "it"], 8)[-1] == (
        "Der Gast glaubt, dass der nette Kumpel diesen Fall liebt.",
        "The guest believes that the nice buddy this instance loves.",
    )


def test_no_source_is_in_two_splits():
    parts = {
        split: {
            source for domain in ALL for seed in range(3) for source in sources(demo.pairs(domain, split, 200, seed))
        }
        for split in demo.SPLITS
    }
    parts["pretrain"] = sources(demo.pretraining(DOMAINS, 4000)) | sources(demo.pretraining(["it"], 1000, seed=1))
    for one, other in combinations(parts.values(), 2):
        assert one & other == set()
    assert all(demo.split_of(source) == split for split, part in parts.items() for source in part)


def test_splits_own_their_shares():
    counts = Counter(demo.split_of(f"sentence {i}") for i in range(20_000))
    assert sum(demo.SHARES.values()) == 100
    for split, share in demo.SHARES.items():
        assert counts[split] / 200 == pytest.approx(share, abs=1.5)


@pytest.mark.parametrize("domain", ALL)
def test_a_source_has_one_translation_in_a_domain(domain):
    translations = {}
    for seed in range(5):
        for source, target in demo.pairs(domain, "train", 1000, seed):
            assert translations.setdefault(source, target) == target


def polysemous_in(source: str) -> list[Noun]:
    words = set(re.findall(r"\w+", source))
    return [noun for noun in POLYSEMOUS if noun.german in words]


@pytest.mark.parametrize("domain", DOMAINS)
def test_polysemous_nouns_have_the_sense_of_the_domain(domain):
    column = DOMAINS.index(domain)
    for source, target in demo.pairs(domain, "test", 300):
        for noun in polysemous_in(source):
            assert noun.senses[column] in re.findall(r"\w+", target), (source, target)


@pytest.mark.parametrize("part", [0, 1], ids=["general", "it"])
def test_pretraining_has_every_sense(part):
    text = demo.pretraining(["it"], 16_000)[part::2]
    counts = {(noun.german, sense): 0 for noun in POLYSEMOUS for sense in noun.senses}
    for source, target in text:
        for noun in polysemous_in(source):
            drawn = set(noun.senses) & set(re.findall(r"\w+", target))
            if len(drawn) == 1:  # more when another noun's sense has the same spelling
                counts[noun.german, drawn.pop()] += 1
    for noun in POLYSEMOUS:
        shares = [counts[noun.german, sense] for sense in noun.senses]
        assert min(shares) > 0.4 * sum(shares) / len(shares), (noun.german, shares)


@pytest.mark.parametrize("domain", ALL)
def test_two_fifths_of_the_nouns_are_polysemous(domain):
    own = {form for form in all_forms() if form not in {noun.german for noun in POLYSEMOUS}}
    words = Counter(word for source, _ in demo.pairs(domain, "train", 2000) for word in re.findall(r"\w+", source))
    polysemous = sum(words[noun.german] for noun in POLYSEMOUS)
    assert 0.36 < polysemous / (polysemous + sum(words[form] for form in own)) < 0.44


def all_forms() -> set[str]:
    """Every noun form that a source can hold."""
    nouns = [noun for words in (GENERAL, *LEXICONS.values()) for noun in words.agents + words.things]
    return {form for noun in (*nouns, *POLYSEMOUS) for form in (noun.german, noun.german + noun.weak)}


def test_domain_text_has_a_verb_of_its_domain():
    for domain in DOMAINS:
        forms = {form for verb in LEXICONS[domain].verbs for form in verb[:3]}
        for source in sources(demo.pairs(domain, "dev", 200)):
            assert forms & set(re.findall(r"\w+", source.lower())), source


def test_half_of_pretraining_is_general_and_domains_have_equal_shares():
    owner = {form: domain for domain, lexicon in LEXICONS.items() for verb in lexicon.verbs for form in verb[:3]}
    text = demo.pretraining(["it", "koran", "law"], 600)
    counts = Counter(
        next((owner[word] for word in re.findall(r"\w+", source.lower()) if word in owner), "general")
        for source, _ in text
    )
    assert counts == {"general": 300, "it": 100, "koran": 100, "law": 100}


def test_half_of_the_domain_sentences_are_in_german_order():
    """A modal and its verb part in German order only; general text never has it."""

    def shares(text):
        modal = [target for _, target in text if re.search(r"\b(can|must|should)\b", target) and "?" not in target]
        together = [t for t in modal if re.search(rf"\b(can|must|should) ({infinitives})\b", t)]
        return len(together) / len(modal)

    verbs = [verb for words in (GENERAL, *LEXICONS.values()) for verb in words.verbs]
    infinitives = "|".join(verb.english for verb in verbs)
    text = demo.pretraining(DOMAINS, 8000)
    assert shares(text[0::2]) == 1
    assert shares(text[1::2]) == pytest.approx(0.5, abs=0.06)


# Errors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: demo.pairs("medcial", "train", 1), "medcial.*it, .*koran.*Did you mean 'medical'"),
        (lambda: demo.pairs("it", "tset", 1), "tset.*dev, test, train.*Did you mean 'test'"),
        (lambda: demo.pairs("it", "pretrain", 1), "unknown split 'pretrain'"),
        (lambda: demo.pairs("it", "dev", -1), "-1"),
        (lambda: demo.pretraining(["it", "general"], 1), "unknown domain 'general'"),
        (lambda: demo.pretraining(["it", "gardn"], 1), "Did you mean 'garden'"),
        (lambda: demo.pretraining([], 1), "at least one domain"),
    ],
)
def test_wrong_requests_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_count_that_cannot_be_drawn_is_refused(monkeypatch):
    verb = LEXICONS["it"].verbs[0]
    nouns = [NounPhrase("der", Noun(f"Ding{i}", "n", "thing")) for i in range(60)]
    few = [Sentence("statement", Clause(noun, verb, object=noun)) for noun in nouns]
    monkeypatch.setattr(demo, "sentences", lambda domain, random: cycle(few))
    monkeypatch.setattr(demo, "PATIENCE", 200)
    available = sum(demo.split_of(grammar.german(sentence)) == "train" for sentence in few)
    assert len(demo.pairs("it", "train", available)) == available
    with pytest.raises(ValueError, match=f"it, train, seed 0: only {available} distinct"):
        demo.pairs("it", "train", available + 1)
