"""The demo's corpora: what both twins promise about lexicons, splits and senses."""

import functools
import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from itertools import combinations, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft import demo
from caneft.demo.english import indefinite_article
from caneft.demo.german import grammar
from caneft.demo.german.words import Noun
from caneft.demo.trees import Clause, NounPhrase, Sentence
from tests.messages import refused, suggestion

VOCABULARIES = {language: twin.writer.vocabulary for language, twin in demo.TWINS.items()}
GERMAN = VOCABULARIES["de"]
DOMAINS = [(language, domain) for language, words in VOCABULARIES.items() for domain in words.domains]
pytestmark = pytest.mark.xdist_group("demo_corpus")  # these tests share the drawn text
ALL = [*DOMAINS, *((language, "general") for language in VOCABULARIES)]
LANGUAGES = sorted(VOCABULARIES)


def nouns_of(words):
    return [noun for lexicon in (words.general, *words.lexicons.values()) for noun in lexicon.agents + lexicon.things]


def adjectives_of(words):
    return [adjective for lexicon in (words.general, *words.lexicons.values()) for adjective in lexicon.adjectives]


# Lexicons


@pytest.mark.parametrize(("language", "count"), [("de", 20), ("zh", 23)])
def test_every_polysemous_noun_has_another_translation_in_each_domain(language, count):
    words = VOCABULARIES[language]
    assert len(words.polysemous) == len({noun.word for noun in words.polysemous}) == count
    for noun in words.polysemous:
        assert len(noun.senses) == len(words.domains) == len(set(noun.senses)), noun.word
    assert set(words.lexicons) == set(words.domains)


@pytest.mark.parametrize(("language", "domain"), DOMAINS)
def test_within_a_domain_no_two_nouns_share_a_translation(language, domain):
    words = VOCABULARIES[language]
    lexicons = (words.general, words.lexicons[domain])
    nouns = [noun for lexicon in lexicons for noun in lexicon.agents + lexicon.things] + [*words.polysemous]
    counts = Counter(demo.sense_of(domain, language)(noun) for noun in nouns)
    assert [word for word, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_stands_in_one_lexicon_only(language):
    def words(lexicon):
        return {entry[0] for entry in lexicon.agents + lexicon.things + lexicon.verbs + lexicon.adjectives}

    vocabulary = VOCABULARIES[language]
    shared = {entry[0] for entry in (*vocabulary.polysemous, *vocabulary.reporting)}
    parts = [shared, words(vocabulary.general), *map(words, vocabulary.lexicons.values())]
    for one, other in combinations(parts, 2):
        assert one & other == set()


def test_tables_hold_only_genders_and_cases_that_the_german_grammar_knows():
    nouns = nouns_of(GERMAN)
    assert {noun.gender for noun in (*nouns, *GERMAN.polysemous)} == {"m", "f", "n"}
    assert {noun.gender for noun in nouns if noun.weak} == {"m"}
    assert {preposition.case for preposition in GERMAN.prepositions} == {"acc", "dat"}


@pytest.mark.parametrize(
    ("language", "a", "an"),
    [
        ("de", {"user", "house"}, {"unbeaten"}),
        ("zh", {"house", "union", "unique", "unit", "use", "user"}, {"outcome", "umbrella", "update"}),
    ],
)
def test_no_unforeseen_word_follows_an_indefinite_article(language, a, an):
    """Vowel letters and vowel sounds differ in few words; the lexicons contain only those listed here."""
    words = VOCABULARIES[language]
    heads = {entry.english for entry in nouns_of(words) + adjectives_of(words)}
    heads |= {sense for noun in words.polysemous for sense in noun.senses}
    assert {word for word in heads if re.match("u|eu|o[nu]|ho[nu]|hei", word)} == a | an
    assert {word for word in a | an if indefinite_article(f"{word} team") == "an"} == an


# Text


@functools.cache
def drawn(language, domain, split):
    """The first pairs of a domain's split, drawn once for all tests."""
    return demo.pairs(domain, split, {"train": 800, "dev": 200, "test": 300}[split], language=language)


def sources(text: list[tuple[str, str]]) -> set[str]:
    return {source for source, _ in text}


SOURCE = {"de": r"[A-ZÄÖÜ][^.?]*[.?]", "zh": r"[\u4e00-\u9fff，]{6,34}[。？]"}  # Chinese: no blanks, no Latin letters


def check_distinct_and_well_formed(text, language, count):
    assert len(sources(text)) == count
    for source, target in text:
        assert re.fullmatch(SOURCE[language], source)
        assert re.fullmatch(r"[A-Z][a-z ,]*[.?]", target)
        for sentence in (target, source) if language == "de" else (target,):
            assert "  " not in sentence
            assert 4 <= len(sentence.split()) <= 16


@pytest.mark.parametrize(("language", "domain"), ALL)
def test_domains_deliver_distinct_and_well_formed_pairs(language, domain):
    for split, count in (("train", 800), ("dev", 200), ("test", 300)):
        check_distinct_and_well_formed(drawn(language, domain, split), language, count)


@pytest.mark.slow
@pytest.mark.parametrize(("language", "domain"), ALL)
def test_domains_deliver_enough_of_them(language, domain):
    for split, count in (("train", 3000), ("dev", 300), ("test", 1000)):
        check_distinct_and_well_formed(demo.pairs(domain, split, count, language=language), language, count)


@settings(max_examples=20, deadline=None)
@given(
    of=st.sampled_from(ALL),
    split=st.sampled_from(demo.SPLITS),
    seed=st.integers(),
    counts=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_pairs_depend_on_domain_split_and_seed_but_not_on_count(of, split, seed, counts):
    language, domain = of
    fewer, more = sorted(counts)
    text = demo.pairs(domain, split, more, seed, language)
    assert demo.pairs(domain, split, fewer, seed, language) == text[:fewer]
    twenty = demo.pairs(domain, split, 20, seed, language)
    assert twenty != demo.pairs(domain, split, 20, seed + 1, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_pretraining_depends_on_neither_count_nor_the_order_of_domains(language):
    one, other, *_ = VOCABULARIES[language].domains
    text = demo.pretraining([other, one], 200, language=language)
    assert demo.pretraining([one, other, one], 77, language=language) == text[:77]
    assert demo.pretraining([one, other], 200, 1, language) != text


def test_text_is_the_same_in_another_process():
    """Python's own hash of a text differs between processes; ours must not."""
    program = (
        "from caneft import demo; "
        "print(demo.pairs('general', 'test', 50), demo.pretraining(['laws'], 50, language='zh'))"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": "12345",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, encoding="utf-8"
    ).stdout
    assert output.strip() == f"{demo.pairs('general', 'test', 50)} {demo.pretraining(['laws'], 50, language='zh')}"


def test_text_is_what_it_was():
    """Results on the corpus are valid as long as these sentences stay; change them only on purpose."""
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
    assert demo.pairs("thesis", "test", 2, 3, "zh") == [
        ("围绕结论，那家企业把内容总结了。", "Around the conclusion that enterprise summarized the section."),
        ("在一种水平之后，客观的汽车被比较了。", "After a standard the objective car was compared."),
    ]
    assert demo.pretraining(["spoken", "thesis"], 8, 0, "zh")[-1] == (
        "如果这家企业构建那种作用，一位传统的导师就必须引用一个指标。",
        "If this enterprise constructs that effect, a traditional supervisor must cite an indicator.",
    )


PINNED = {
    "de": "121b13d28a8ef938",
    "zh": "82dfbb01e03d44cd",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_of_the_text_is_what_it_was(language):
    """A hash checks the same for every domain and split."""
    domains = VOCABULARIES[language].domains
    text = [demo.pairs(d, split, 50, 7, language) for d in (*domains, "general") for split in demo.SPLITS]
    text.append(demo.pretraining(domains, 2000, 7, language))
    assert hashlib.sha256(repr(text).encode()).hexdigest()[:16] == PINNED[language]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_source_is_in_two_splits(language):
    domains = VOCABULARIES[language].domains
    parts = {
        split: {
            source
            for domain in (*domains, "general")
            for seed in range(2)
            for source in sources(demo.pairs(domain, split, 50, seed, language))
        }
        for split in demo.SPLITS
    }
    parts["pretrain"] = sources(demo.pretraining(domains, 800, 0, language))
    parts["pretrain"] |= sources(demo.pretraining(domains[:1], 200, 1, language))
    for one, other in combinations(parts.values(), 2):
        assert one & other == set()
    assert all(demo.split_of(source) == split for split, part in parts.items() for source in part)


def test_splits_own_their_shares():
    counts = Counter(demo.split_of(f"sentence {i}") for i in range(20_000))
    assert sum(demo.SHARES.values()) == 100
    for split, share in demo.SHARES.items():
        assert counts[split] / 200 == pytest.approx(share, abs=1.5)


def few_words(vocabulary):
    """A vocabulary so small that sentences repeat, but with enough nouns, as a sentence uses each noun only once."""

    def cut(lexicon):
        return type(lexicon)(lexicon.agents[:6], lexicon.things[:6], lexicon.verbs[:1], lexicon.adjectives[:1])

    return vocabulary._replace(
        polysemous_agents=vocabulary.polysemous_agents[:6],
        polysemous_things=vocabulary.polysemous_things[:6],
        general=cut(vocabulary.general),
        lexicons={domain: cut(lexicon) for domain, lexicon in vocabulary.lexicons.items()},
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_source_has_one_translation_in_a_domain(language, monkeypatch):
    """This holds across seeds."""
    monkeypatch.setattr(demo.TWINS[language].writer, "vocabulary", few_words(VOCABULARIES[language]))
    for domain in (VOCABULARIES[language].domains[0], "general"):
        translations = dict(demo.pairs(domain, "train", 1500, 0, language))
        again = demo.pairs(domain, "train", 1500, 1, language)
        assert sum(source in translations for source, _ in again) > 5  # more than in five times 1,000 with all words
        assert [pair for pair in again if translations.get(pair[0], pair[1]) != pair[1]] == []


@pytest.mark.slow
@pytest.mark.parametrize(("language", "domain"), ALL)
def test_a_source_has_one_translation_whatever_the_words(language, domain):
    """With all words, only few sentences are drawn twice."""
    translations = {}
    for seed in range(5):
        for source, target in demo.pairs(domain, "train", 1000, seed, language):
            assert translations.setdefault(source, target) == target


def words_in(text: str, words: Iterable[str], language: str) -> list[str]:
    """The listed words in a source, with repetitions; Chinese ones by the longest match from the left."""
    if language == "de":
        return [word for word in re.findall(r"\w+", text) if word in words]
    return longest_first(frozenset(words)).findall(text)


@functools.cache
def longest_first(words: frozenset[str]) -> re.Pattern:
    return re.compile("|".join(sorted(words, key=len, reverse=True)))


def polysemous_in(source: str, language: str) -> list:
    by_word = polysemous_by_word(language)
    return [by_word[word] for word in words_in(source, all_nouns(language), language) if word in by_word]


@functools.cache
def polysemous_by_word(language: str) -> dict:
    return {noun.word: noun for noun in VOCABULARIES[language].polysemous}


@functools.cache
def all_nouns(language: str) -> frozenset[str]:
    """Every noun form that can occur in a source."""
    words = VOCABULARIES[language]
    nouns = (*nouns_of(words), *words.polysemous)
    return frozenset(form for noun in nouns for form in (noun.word, noun.word + getattr(noun, "weak", "")))


@pytest.mark.parametrize(("language", "domain"), DOMAINS)
def test_polysemous_nouns_have_the_sense_of_the_domain(language, domain):
    column = VOCABULARIES[language].domains.index(domain)
    found = 0
    for source, target in drawn(language, domain, "test"):
        for noun in polysemous_in(source, language):
            found += 1
            assert noun.senses[column] in re.findall(r"\w+", target), (source, target)
    assert found > 200


@pytest.mark.parametrize(("count", "least"), [(6000, 0.2), pytest.param(16_000, 0.4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("language", LANGUAGES)
def test_pretraining_has_every_sense(language, count, least):
    """In general text as in one domain's, the rarest sense of a noun has at least this part of an equal share."""
    polysemous, (domain, *_) = VOCABULARIES[language].polysemous, VOCABULARIES[language].domains
    text = demo.pretraining([domain], count, language=language)
    for part in (text[0::2], text[1::2]):
        counts = {(noun.word, sense): 0 for noun in polysemous for sense in noun.senses}
        for source, target in part:
            words = set(re.findall(r"\w+", target))
            for noun in polysemous_in(source, language):
                found = words.intersection(noun.senses)
                if len(found) == 1:  # it finds more if a sense of another noun is spelt alike
                    counts[noun.word, found.pop()] += 1
        for noun in polysemous:
            shares = [counts[noun.word, sense] for sense in noun.senses]
            assert min(shares) > least * sum(shares) / len(shares), (noun.word, shares)


@pytest.mark.parametrize(("language", "domain"), ALL)
def test_two_fifths_of_the_nouns_are_polysemous(language, domain):
    text = drawn(language, domain, "train")
    found = [word for source, _ in text for word in words_in(source, all_nouns(language), language)]
    polysemous = {noun.word for noun in VOCABULARIES[language].polysemous}
    assert 0.36 < sum(word in polysemous for word in found) / len(found) < 0.46


def verb_forms(language: str, verbs: Iterable) -> list[str]:
    return [form for verb in verbs for form in (verb[:3] if language == "de" else verb[:1])]


@pytest.mark.parametrize(("language", "domain"), DOMAINS)
def test_domain_text_has_a_verb_of_its_domain(language, domain):
    forms = verb_forms(language, VOCABULARIES[language].lexicons[domain].verbs)
    for source in sources(drawn(language, domain, "dev")):
        assert words_in(source.lower(), forms, language), source


@pytest.mark.parametrize(
    ("language", "domains"), [("de", ["it", "koran", "law"]), ("zh", ["education", "science", "spoken"])]
)
def test_half_of_pretraining_is_general_and_domains_have_equal_shares(language, domains):
    lexicons = VOCABULARIES[language].lexicons
    owner = {form: domain for domain in lexicons for form in verb_forms(language, lexicons[domain].verbs)}
    counts = Counter(
        next((owner[word] for word in words_in(source.lower(), owner, language)), "general")
        for source, _ in demo.pretraining(domains, 600, language=language)
    )
    assert counts == {"general": 300, **dict.fromkeys(domains, 100)}


def test_half_of_the_domain_sentences_are_in_german_order():
    """A modal and its verb are apart only in German order, which general text never has."""

    def shares(text):
        modal = [target for _, target in text if re.search(r"\b(can|must|should)\b", target) and "?" not in target]
        together = [t for t in modal if re.search(rf"\b(can|must|should) ({infinitives})\b", t)]
        return len(together) / len(modal)

    verbs = [verb for words in (GERMAN.general, *GERMAN.lexicons.values()) for verb in words.verbs]
    infinitives = "|".join(verb.english for verb in verbs)
    text = demo.pretraining(GERMAN.domains, 5000)
    assert shares(text[0::2]) == 1
    assert shares(text[1::2]) == pytest.approx(0.5, abs=0.06)


def test_half_of_the_domain_sentences_are_in_chinese_order():
    """An adverb of time is last in English and before the verb in Chinese order, which general text never has."""
    times = "|".join(adverb.english for adverb in VOCABULARIES["zh"].adverbs)

    def shares(text):
        within = [(source, target) for source, target in text if re.search(rf"\w ({times})\b", target)]
        plain = [target for source, target in within if source[0] != "如" and re.match(r"[^认说知发]*$", source)]
        return sum(bool(re.search(rf" ({times})[.?]$", target)) for target in plain) / len(plain)

    text = demo.pretraining(VOCABULARIES["zh"].domains, 8000, language="zh")
    assert shares(text[0::2]) == 1
    assert shares(text[1::2]) == pytest.approx(0.5, abs=0.06)


# Errors


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: demo.pairs("medcial", "train", 1), ["medcial", *GERMAN.domains, suggestion("medcial", "medical")]),
        (lambda: demo.pairs("it", "tset", 1), ["tset", "dev", "train", suggestion("tset", "test")]),
        (lambda: demo.pairs("it", "pretrain", 1), ["pretrain", "dev", "test", "train"]),
        (lambda: demo.pairs("it", "dev", -1), [-1]),
        (lambda: demo.pairs("it", "dev", 1, language="zh"), ["'it'", *VOCABULARIES["zh"].domains]),
        (lambda: demo.pretraining(["thesis", "law"], 1, language="zh"), ["'law'", suggestion("law", "laws")]),
        (lambda: demo.pretraining(["it", "general"], 1), ["general", *GERMAN.domains]),
        (lambda: demo.pretraining(["it", "gardn"], 1), ["gardn", suggestion("gardn", "garden")]),
        (lambda: demo.pretraining([], 1), GERMAN.domains),
    ],
)
def test_wrong_requests_are_refused(call, facts):
    with refused(*facts, by=ValueError):
        call()


def test_a_count_that_cannot_be_drawn_is_refused(monkeypatch):
    verb = GERMAN.lexicons["it"].verbs[0]
    nouns = [NounPhrase("the", Noun(f"Ding{i}", "n", "thing")) for i in range(60)]
    few = [Sentence("statement", Clause(noun, verb, object=noun)) for noun in nouns]
    monkeypatch.setattr(demo.TWINS["de"].writer, "sentences", lambda writer: cycle(few))
    monkeypatch.setattr(demo, "PATIENCE", 200)
    available = sum(demo.split_of(grammar.german(sentence)) == "train" for sentence in few)
    assert len(demo.pairs("it", "train", available)) == available
    with refused("it", "train", 0, available):
        demo.pairs("it", "train", available + 1)
