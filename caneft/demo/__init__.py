"""Parallel corpora that are made, not collected: the text of the demo, German-English and Chinese-English.

The two are twins. Sentences are drawn from the lexicons of several domains and a grammar that all domains share. They
are hard in the same way as multi-domain translation: about 40 % of the nouns are polysemous, and the right English word
depends on the domain (Anlage: attachment, annex, predisposition, plant, garden). `general` is text of no domain. This
module, `sampling` and `english` hold what both languages have in common; `german` and `chinese` hold words and grammar.

Everything follows from the seed. The hash of a source's text decides its split, so no two splits share a sentence,
whatever domains, counts and seeds are requested.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from random import Random

from caneft.demo import chinese, german
from caneft.demo.english import english
from caneft.demo.trees import Noun, Sentence, Translate
from caneft.demo.twin import Twin
from caneft.errors import InputError, did_you_mean

__all__ = ["SHARES", "SPLITS", "TWINS", "pairs", "pretraining", "sense_of", "split_of"]

Pair = tuple[str, str]

TWINS = {"de": german.TWIN, "zh": chinese.TWIN}
"""The twins, by code of the source language."""

SPLITS = ("train", "dev", "test")
SHARES = {"pretrain": 50, "train": 30, "dev": 5, "test": 15}
"""Percentage of all sources that a split owns; only `pretraining` returns those of `pretrain`."""

LENGTHS = range(4, 17)  # words of an English sentence
PATIENCE = 20_000  # draws in a row without a new source before giving up


def pairs(domain: str, split: str, count: int, seed: int = 0, language: str = "de") -> list[Pair]:
    """The first `count` (source, English) pairs of a domain's split; sources are distinct.

    domain: one of the twin's, which decides the senses of polysemous nouns, or "general", where the source, not the
    seed, decides which domain's sense each noun has. split: one of SPLITS. language: a key of TWINS.
    Raises InputError, a ValueError, for an unknown domain or split and for a count that cannot be drawn.
    """
    twin = TWINS[language]
    _require_known("domain", domain, (*twin.domains, "general"))
    _require_known("split", split, SPLITS)

    def target(source: str, sentence: Sentence, _: int) -> str:
        return english(sentence, any_sense(source) if domain == "general" else sense_of(domain, language))

    return _first(count, _stream(twin, domain, split, seed, target))


def pretraining(domains: Sequence[str], count: int, seed: int = 0, language: str = "de") -> list[Pair]:
    """Text for the base model: every other pair is `general`, the rest are sentences of `domains` in turn.

    A polysemous noun has the sense of any domain, so that the model does not learn a domain's own senses here. Every
    other sentence of each domain has its English words in the source's order. Neither the order of `domains` nor
    `count` changes the i-th pair.
    Raises InputError, a ValueError, for no domain, an unknown domain, or a count that cannot be drawn.
    """
    twin = TWINS[language]
    if not domains:
        raise InputError(f"pretraining needs at least one domain. {did_you_mean('', twin.domains)}")
    for domain in domains:
        _require_known("domain", domain, twin.domains)

    def clean(source: str, sentence: Sentence, _: int) -> str:
        return english(sentence, any_sense(source))

    def half_in_source_order(source: str, sentence: Sentence, number: int) -> str:
        return english(sentence, any_sense(source), order=twin.order if number % 2 == 1 else None)

    general = _stream(twin, "general", "pretrain", seed, clean)
    of_domains = [_stream(twin, domain, "pretrain", seed, half_in_source_order) for domain in sorted(set(domains))]
    return _first(count, _by_turns([general, _by_turns(of_domains)]))


def split_of(source: str) -> str:
    """The only split, a key of SHARES, that a source belongs to; it depends on the source's text alone."""
    position = _hash(source) % 100
    for split, share in SHARES.items():
        if position < share:
            return split
        position -= share
    raise AssertionError("the shares do not add up to 100")


def sense_of(domain: str, language: str = "de") -> Translate:
    """A function that translates nouns as this domain of a twin does."""
    column = TWINS[language].domains.index(domain)
    return lambda noun: noun.english or noun.senses[column]


def any_sense(source: str) -> Translate:
    """A function that translates polysemous nouns as any domain does, chosen by the hash of source and noun."""

    def translate(noun: Noun) -> str:
        return noun.english or noun.senses[_hash(f"{source} {noun.word}") % len(noun.senses)]

    return translate


def _stream(
    twin: Twin, domain: str, split: str, seed: int, target: Callable[[str, Sentence, int], str]
) -> Iterator[Pair]:
    """Pairs of a split without repetition. target: the English for a source, its tree and its number in the stream."""
    seen: set[str] = set()
    misses = 0
    for sentence in twin.writer(domain, Random(_hash(f"{seed}/{domain}/{split}"))).sentences():
        source = twin.spelt(sentence)
        if source not in seen and split_of(source) == split:
            words = target(source, sentence, len(seen))
            if twin.length(source) in twin.lengths and len(words.split()) in LENGTHS:
                seen.add(source)
                misses = 0
                yield source, words
                continue
        misses += 1
        if misses >= PATIENCE:
            raise InputError(
                f"{domain}, {split}, seed {seed}: only {len(seen)} distinct sources could be drawn. "
                "Ask for fewer pairs."
            )


def _by_turns(streams: Sequence[Iterator[Pair]]) -> Iterator[Pair]:
    while True:
        for stream in streams:
            yield next(stream)


def _first(count: int, stream: Iterator[Pair]) -> list[Pair]:
    if count < 0:
        raise InputError(f"cannot draw {count} pairs: the count must not be negative.")
    return list(islice(stream, count))


def _hash(text: str) -> int:
    """64 bits that depend on the text alone, unlike `hash`."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _require_known(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise InputError(f"unknown {what} '{name}'. {did_you_mean(name, known)}")
