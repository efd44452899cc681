"""Contingency tables of score and domain: quantile bins of each neuron's scores, counted for many neurons at once.

It is made for large models: hundreds of thousands of neurons with tens of thousands of samples each. Everything else
about mutual information is in `information`.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np

from caneft.errors import InputError

FLOAT16_INFINITY = 0x7C00  # bit pattern; those of finite non-negative numbers are below it
BLOCK = 128  # neurons counted at once, so that the data stay in the cache; the null is drawn by these blocks too
ROWS = 128  # samples transposed at once: both sides of a small square stay in the cache

PADDING = -1  # below every score, so it reaches no edge
WORD = 8  # one-byte flags that one addition of 64 bits counts
ADDITIONS = 255  # additions before a byte could overflow

_memory = threading.local()  # see `_buffer`


def quantile_bins(scores: np.ndarray, bins: int = 10) -> np.ndarray:
    """Quantile bin of each score within its sample; equal scores share a bin.

    scores: finite and non-negative, shape (..., N). Returns uint8 of the same shape: the number of edges q_1 ..
    q_(bins-1) that are <= the score, where q_j is the linearly interpolated quantile j/bins of the N scores.
    """
    values = _sortable(_checked(np.asarray(scores)))
    edges = _edges(values, bins)
    result = np.zeros(values.shape, np.uint8)
    for j in range(bins - 1):
        result += values >= edges[..., j : j + 1]
    return result


def contingency(scores: Sequence[np.ndarray], bins: int = 10, threads: int = 1) -> np.ndarray:
    """Contingency tables of quantile bin and domain.

    scores: for each domain an array (samples, neurons), finite and non-negative, preferably float16; the numbers of
    samples may differ. Bins are those of the pooled samples. Returns int64 of shape (neurons, bins, domains).
    """
    if len({part.shape[1] for part in scores}) != 1:
        raise InputError(f"domains differ in their number of neurons: {[part.shape[1] for part in scores]}")
    counts = np.empty((bins, len(scores), scores[0].shape[1]), np.int64)  # neurons last: see `count_block`

    def count(start: int) -> None:
        block = [part[:, start : start + BLOCK] for part in scores]
        counts[..., start : start + BLOCK] = np.moveaxis(count_block(block, bins), 0, -1)

    each_block(count, range(0, counts.shape[-1], BLOCK), threads)
    return np.moveaxis(counts, -1, 0)


def each_block(function: Callable[[int], Any], starts: Iterable[int], threads: int) -> list[Any]:
    """Results of a function for each block of neurons, in order. Threads help, since numpy releases the GIL."""
    if threads == 1:
        return [function(start) for start in starts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, starts))


def count_block(block: Sequence[np.ndarray], bins: int) -> np.ndarray:
    """Contingency tables (neurons, bins, domains) of a block of neurons. block: scores (samples, neurons) by domain.

    Neurons are the last axis in memory, because everything computed from the tables runs along them.
    """
    values, starts = _by_neuron(block)
    samples = [len(part) for part in block]
    edges = _edges(values, bins, padding=values.shape[1] - sum(samples))
    runs = [np.arange(start, stop, WORD * ADDITIONS) for start, stop in zip(starts, starts[1:], strict=False)]
    words, first = np.concatenate(runs) // WORD, np.cumsum([0] + [len(run) for run in runs[:-1]])
    reached = np.zeros((bins + 1, len(block), len(values)), np.int64)  # samples at or above the j-th edge
    reached[0] = np.reshape(samples, (-1, 1))
    flags = _buffer("scratch", values.shape, bool)
    for j in range(bins - 1):
        np.greater_equal(values, edges[:, j : j + 1], out=flags)
        sums = np.add.reduceat(flags.view(np.uint64), words, axis=1).view(np.uint8)  # eight in every word
        reached[j + 1] = np.add.reduceat(sums, WORD * first, axis=1, dtype=np.int64).T
    return np.moveaxis(reached[:-1] - reached[1:], -1, 0)


def _by_neuron(block: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Values that compare like the scores, (neurons, samples and padding), and the bounds of the domains among them.

    Every domain begins at a new word of flags, and has at least one word, even without samples.
    """
    dtype = np.result_type(np.float16, *block)
    starts = np.cumsum([0] + [(len(part) // WORD + 1) * WORD for part in block])
    shape = block[0].shape[1], starts[-1]
    values = _buffer("values", shape, np.int16 if dtype == np.float16 else dtype)
    for start, stop, part in zip(starts, starts[1:], block, strict=False):
        for row in range(0, len(part), ROWS):
            piece = part[row : row + ROWS].astype(dtype, copy=False)
            values[:, start + row : start + row + len(piece)] = piece.view(values.dtype).T
        values[:, start + len(part) : stop] = 0
    if values.dtype != np.int16 or values.view(np.uint16).max(initial=0) >= FLOAT16_INFINITY:
        for part in block:
            _checked(part)
        if values.dtype == np.int16:
            values &= 0x7FFF  # as in `_sortable`
    for start, stop, part in zip(starts, starts[1:], block, strict=False):
        values[:, start + len(part) : stop] = PADDING
    return values, starts


def _buffer(name: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """An array of arbitrary content, in memory that this thread reuses, because fresh memory costs much more."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if len(getattr(_memory, name, b"")) < size:
        setattr(_memory, name, np.empty(size, np.uint8))
    return getattr(_memory, name)[:size].view(dtype).reshape(shape)


def _sortable(scores: np.ndarray) -> np.ndarray:
    """A compact copy of numbers that compare like the scores; for float16 the bit patterns, which sort faster."""
    if scores.dtype == np.float16:
        return scores.view(np.int16) & 0x7FFF  # -0 counts as 0
    return np.array(scores, order="C")


def _edges(values: np.ndarray, bins: int, padding: int = 0) -> np.ndarray:
    """Values (..., bins - 1) in place of the quantiles: x >= quantile j/bins if and only if x >= the j-th value.

    A quantile equals an order statistic or lies between two neighbouring ones. So, for every x in the sample, a
    comparison with the order statistic ceil(j (N - 1) / bins), counted from 0, has the same result, without rounding.
    padding: number of values that are below every score and do not count.
    """
    samples = values.shape[-1] - padding
    if not 2 <= bins <= 256:
        raise InputError(f"{bins} bins: between 2 and 256 are possible")
    if samples == 0:
        raise InputError("no samples to take quantiles of")
    ranks = [padding - (-j * (samples - 1) // bins) for j in range(1, bins)]
    ordered = _buffer("scratch", values.shape, values.dtype)
    ordered[...] = values
    ordered.sort(axis=-1, kind=_sort_kind() if values.itemsize == 2 else None)
    return ordered[..., ranks]


@lru_cache
def _sort_kind() -> str:
    """The faster sort for 16-bit integers on this processor; both give the same result.

    `stable` is a radix sort. `quicksort` takes half as long with AVX-512, and ten times as long without.
    """
    block = np.random.default_rng(0).integers(0, FLOAT16_INFINITY, (8, 4096), np.int16)

    def seconds(kind: str) -> float:
        start = time.perf_counter()
        np.sort(block, axis=-1, kind=kind)
        return time.perf_counter() - start

    return min(("stable", "quicksort"), key=lambda kind: min(seconds(kind) for _ in range(3)))


def _checked(scores: np.ndarray) -> np.ndarray:
    """The scores. Raises InputError if one is negative, infinite or not a number."""
    invalid = first_invalid(scores)
    if invalid is not None:
        raise InputError(f"score {scores[invalid]} at {invalid}: scores are finite and not negative")
    return scores


def first_invalid(scores: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first score that is negative, infinite or not a number."""
    if scores.dtype == np.float16 and scores.view(np.uint16).max(initial=0) < FLOAT16_INFINITY:
        return None
    invalid = ~(np.isfinite(scores) & (scores >= 0))
    return tuple(map(int, np.argwhere(invalid)[0])) if invalid.any() else None
