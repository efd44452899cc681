"""A German-English parallel corpus that is made, not collected: the text of the demo.

Sentences are drawn from the lexicons of eight domains and a grammar that all domains share. It is hard in the way that
multi-domain translation is hard: about 40 % of the nouns are polysemous, and which English word is right depends on
the domain (Anlage: attachment, annex, predisposition, plant, garden). `koran` is the domain to test without training;
`garden`, `finance` and `sports` are spare ones; `general` is text of no domain.

Everything follows from the seed. A source belongs to one split by the hash of its text, so no split shares a sentence
with another, whatever domains, counts and seeds are asked for.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from random import Random

from caneft.corpora.demo.grammar import Sentence, Translate, english, german
from caneft.corpora.demo.lexicon import DOMAINS, Noun
from caneft.corpora.demo.sampling import sentences
from caneft.errors import InputError, did_you_mean

__all__ = ["DOMAINS", "SHARES", "SPLITS", "pairs", "pretraining", "split_of"]

Pair = tuple[str, str]

SPLITS = ("train", "dev", "test")
SHARES = {"pretrain": 50, "train": 30, "dev": 5, "test": 15}
"""Per cent of all sources that a split owns; those of `pretrain` come out of `pretraining` only."""

LENGTHS = range(4, 17)  # words of a sentence, in both languages
PATIENCE = 20_000  # draws in a row without a new source after which there are none


def pairs(domain: str, split: str, count: int, seed: int = 0) -> list[Pair]:
    """The first `count` (German, English) pairs of a domain's split; sources are distinct.

    domain: one of DOMAINS, whose sense the polysemous nouns then have, or "general", where a source's nouns have
    senses of any domain, the same ones whatever the seed. split: one of SPLITS.
    Raises InputError, a ValueError, for an unknown domain or split and for a count that cannot be drawn.
    """
    _require_known("domain", domain, (*DOMAINS, "general"))
    _require_known("split", split, SPLITS)

    def target(source: str, sentence: Sentence, _: int) -> str:
        return english(sentence, any_sense(source) if domain == "general" else sense_of(domain))

    return _first(count, _stream(domain, split, seed, target))


def pretraining(domains: Sequence[str], count: int, seed: int = 0) -> list[Pair]:
    """Text for the base model: every other pair is `general`, the rest are sentences of `domains` by turns.

    A polysemous noun has the sense of any domain, so that no domain's own sense is learnt here. Of each domain's
    sentences, every other one has its English words in German order. Neither the order of `domains` nor `count`
    changes the i-th pair.
    Raises InputError, a ValueError, for no domain, an unknown one, and a count that cannot be drawn.
    """
    if not domains:
        raise InputError(f"pretraining needs at least one domain. {did_you_mean('', DOMAINS)}")
    for domain in domains:
        _require_known("domain", domain, DOMAINS)

    def clean(source: str, sentence: Sentence, _: int) -> str:
        return english(sentence, any_sense(source))

    def half_in_german_order(source: str, sentence: Sentence, number: int) -> str:
        return english(sentence, any_sense(source), german_order=number % 2 == 1)

    general = _stream("general", "pretrain", seed, clean)
    of_domains = [_stream(domain, "pretrain", seed, half_in_german_order) for domain in sorted(set(domains))]
    return _first(count, _by_turns([general, _by_turns(of_domains)]))


def split_of(source: str) -> str:
    """The one split, a key of SHARES, that a source belongs to: by its text alone."""
    position = _hash(source) % 100
    for split, share in SHARES.items():
        if position < share:
            return split
        position -= share
    raise AssertionError("the shares do not add up to 100")


def sense_of(domain: str) -> Translate:
    """Translates nouns as this domain does."""
    column = DOMAINS.index(domain)
    return lambda noun: noun.english or noun.senses[column]


def any_sense(source: str) -> Translate:
    """Translates polysemous nouns as some domain does, which one being drawn from the source's hash."""

    def translate(noun: Noun) -> str:
        return noun.english or noun.senses[_hash(f"{source} {noun.german}") % len(noun.senses)]

    return translate


def _stream(domain: str, split: str, seed: int, target: Callable[[str, Sentence, int], str]) -> Iterator[Pair]:
    """Pairs of a split without repetition. target: the English of a source, its tree and its number in the stream."""
    seen: set[str] = set()
    misses = 0
    for sentence in sentences(domain, Random(_hash(f"{seed}/{domain}/{split}"))):
        source = german(sentence)
        if source not in seen and split_of(source) == split:
            pair = source, target(source, sentence, len(seen))
            if all(len(side.split()) in LENGTHS for side in pair):
                seen.add(source)
                misses = 0
                yield pair
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
