"""Corpus formats: one module per format, with a function `read`. A new format needs a configuration class and a module.

Readers report what they find, unchanged; `cleaning` decides what is normalised or dropped. Equal content gives equal
pairs with equal numbers in every format, so a corpus may change its format without any effect on later steps.
"""

from collections.abc import Callable, Iterator

from caneft.config import (
    Alternating,
    Demo,
    DemoDates,
    DemoDatesPretraining,
    DemoPretraining,
    Hub,
    Instruct,
    Jsonl,
    Moses,
    SacreBleu,
    Source,
    Tmx,
    Tsv,
)
from caneft.corpora.readers import alternating, builtin, hub, instruct, jsonl, moses, testsets, tmx, tsv
from caneft.corpora.readers.pair import Pair, Resolve

__all__ = ["READERS", "Pair", "Resolve", "read"]


def read(source: Source, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of a corpus source, in file order. Sides are swapped if it says `reverse`; `limit` is not applied.

    split: train, dev or test, for the built-in corpus. resolve: maps a configured path to the file.
    Raises InputError, while iterating, with file, line and remedy.
    """
    pairs = READERS[type(source)](source, split, resolve)
    return (Pair(line, target, text) for line, text, target in pairs) if source.reverse else pairs


READERS: dict[type[Source], Callable[..., Iterator[Pair]]] = {
    Jsonl: jsonl.read,
    Instruct: instruct.read,
    Moses: moses.read,
    Tsv: tsv.read,
    Alternating: alternating.read,
    Tmx: tmx.read,
    Hub: hub.read,
    SacreBleu: testsets.read,
    Demo: builtin.read,
    DemoPretraining: builtin.read_pretraining,
    DemoDates: builtin.read_dates,
    DemoDatesPretraining: builtin.read_dates_pretraining,
}
