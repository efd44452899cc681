"""The built-in corpora, parallel text and dates, and pretraining text like them."""

from collections.abc import Callable, Iterable, Iterator

from caneft import demo
from caneft.config import Demo, DemoDates, DemoDatesPretraining, DemoPretraining
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.demo import dates
from caneft.errors import InputError


def read(source: Demo, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of parallel text, in the order in which they are made."""
    return _numbered(lambda: demo.pairs(source.domain, split, source.pairs, source.seed, source.language))


def read_pretraining(source: DemoPretraining, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of pretraining text, in the order in which they are made."""
    return _numbered(lambda: demo.pretraining(source.domains, source.pairs, source.seed, source.language))


def read_dates(source: DemoDates, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of a line with a date and its day in ISO form."""
    return _numbered(lambda: dates.pairs(source.domain, split, source.pairs, source.seed))


def read_dates_pretraining(source: DemoDatesPretraining, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of such lines and days for pretraining."""
    return _numbered(lambda: dates.pretraining(source.domains, source.pairs, source.seed))


def _numbered(texts: Callable[[], Iterable[tuple[str, str]]]) -> Iterator[Pair]:
    try:
        for number, (source_text, target_text) in enumerate(texts(), start=1):
            yield Pair(number, source_text, target_text)
    except ValueError as error:
        raise InputError(f"built-in corpus: {error}") from None
