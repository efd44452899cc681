"""What a neuron's importance tells about the domain: quantile bins, contingency tables, mutual information.

Definitions: section 3 of the method's description. Information is in nats. Nothing here knows of models.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from caneft.errors import InputError

STATISTICS = ("activation", "gradient", "positive")
NULL_ERROR_RATES = np.logspace(0, -5, 1001)  # from the minimum of the null up to its one-in-100,000 tail

FLOAT16_INFINITY = 0x7C00  # bit pattern; those of finite non-negative numbers are below it
BLOCK = 64  # neurons counted at once: 8,000 samples of 64 neurons stay in the processor's cache
TILE = 2048  # neurons read at once: 4 KiB per sample, so that a dump's pages are read about once


def quantile_bins(scores: np.ndarray, bins: int = 10) -> np.ndarray:
    """Quantile bin of each score within its sample; equal scores share a bin.

    scores: finite and non-negative, shape (..., N). Returns uint8 of the same shape: the number of edges q_1 ..
    q_(bins-1) that are <= the score, where q_j is the linearly interpolated quantile j/bins of the N scores.
    """
    scores = _sortable(scores)
    edges = _edges(scores, bins)
    result = np.zeros(scores.shape, np.uint8)
    for j in range(bins - 1):
        result += scores >= edges[..., j : j + 1]
    return result


def contingency(scores: Sequence[np.ndarray], bins: int = 10) -> np.ndarray:
    """Count tables of quantile bin against domain.

    scores: per domain an array (samples, neurons), finite and non-negative, best as float16; the numbers of samples
    may differ. Bins are those of the pooled samples. Returns int64 of shape (neurons, bins, domains).
    """
    if len({part.shape[1] for part in scores}) != 1:
        raise InputError(f"domains differ in their number of neurons: {[part.shape[1] for part in scores]}")
    neurons = scores[0].shape[1]
    bounds = np.cumsum([0] + [len(part) for part in scores])
    counts = np.empty((neurons, bins, len(scores)), np.int64)
    for start in range(0, neurons, BLOCK):
        block = np.concatenate([part[:, start : start + BLOCK].T for part in scores], axis=1)
        counts[start : start + BLOCK] = _count(_sortable(block), bounds, bins)
    return counts


def _count(values: np.ndarray, bounds: np.ndarray, bins: int) -> np.ndarray:
    """Counts (neurons, bins, domains) of values (neurons, samples), whose domains are the segments between bounds."""
    edges = _edges(values, bins)
    reached = np.zeros((len(values), bins + 1, len(bounds) - 1), np.int64)  # samples at or above the j-th edge
    reached[:, 0] = np.diff(bounds)
    for j in range(bins - 1):
        above = values >= edges[:, j : j + 1]
        for domain in range(len(bounds) - 1):
            bits = np.packbits(above[:, bounds[domain] : bounds[domain + 1]], axis=1)
            reached[:, j + 1, domain] = np.bitwise_count(bits).sum(axis=1)
    return -np.diff(reached, axis=1)


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Values (..., bins - 1) that stand for the quantiles: x >= quantile j/bins exactly when x >= the j-th of them.

    The quantile lies between two neighbouring order statistics, above the lower one unless it equals it: so the
    order statistic ceil(j (N - 1) / bins), counted from 0, asks the same of every x in the sample, without rounding.
    """
    if not 2 <= bins <= 256:
        raise InputError(f"{bins} bins: between 2 and 256 are possible")
    if values.shape[-1] == 0:
        raise InputError("no samples to take quantiles of")
    ranks = [-(-j * (values.shape[-1] - 1) // bins) for j in range(1, bins)]
    return np.sort(values, axis=-1, kind="stable")[..., ranks]  # stable on uint16 is a radix sort


def _sortable(scores: np.ndarray) -> np.ndarray:
    """Numbers that compare as the scores do: for float16 the bit patterns, which sort several times faster."""
    scores = np.ascontiguousarray(scores)
    invalid = _first_invalid(scores)
    if invalid is not None:
        raise InputError(f"score {scores[invalid]} at {invalid}: scores are finite and not negative")
    return np.abs(scores).view(np.uint16) if scores.dtype == np.float16 else scores  # abs: -0 counts as 0


def _first_invalid(scores: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first score that is negative, infinite or not a number."""
    if scores.dtype == np.float16 and (scores.view(np.uint16) < FLOAT16_INFINITY).all():
        return None
    invalid = ~(np.isfinite(scores) & (scores >= 0))
    return tuple(map(int, np.argwhere(invalid)[0])) if invalid.any() else None


def mutual_information(counts: np.ndarray) -> np.ndarray:
    """Mutual information of the two axes of contingency tables, in nats.

    counts: integers, shape (..., bins, classes); axes before the last two are batch axes.
    Returns float64 of shape (...,). A table whose rows or columns hold a single nonzero line gives 0.
    Raises InputError if a table is empty or has negative counts.
    Plug-in estimate; its bias under independence is about (bins - 1)(classes - 1) / 2N.
    """
    counts = np.ascontiguousarray(counts)
    totals = counts.sum(axis=(-2, -1))
    if (counts < 0).any() or (totals == 0).any():
        raise InputError("a contingency table is empty or has negative counts")
    # N MI = sum f(cells) - sum f(rows) - sum f(columns) + f(N) with f(n) = n log n. Summed in this order, a table of
    # a single line cancels to 0 exactly.
    cells = _n_log_n(counts).sum(axis=-1).sum(axis=-1)
    rows = _n_log_n(counts.sum(axis=-1)).sum(axis=-1)
    columns = _n_log_n(counts.sum(axis=-2)).sum(axis=-1)
    return np.maximum((cells - rows) - (columns - _n_log_n(totals)), 0) / totals


def _n_log_n(counts: np.ndarray) -> np.ndarray:
    return counts * np.log(np.maximum(counts, 1))


def one_vs_rest(counts: np.ndarray) -> np.ndarray:
    """MI(bin ; 1[D = d]) for each domain d: counts (..., bins, domains) -> float64 (..., domains)."""
    inside = np.moveaxis(counts, -1, -2)  # (..., domains, bins)
    outside = counts.sum(axis=-1)[..., None, :] - inside
    return mutual_information(np.stack([inside, outside], axis=-1))


def consensus(counts: np.ndarray) -> np.ndarray:
    """Smallest one-vs-rest MI over the domains: counts (..., bins, domains) -> float64 (...,)."""
    return one_vs_rest(counts).min(axis=-1)


def joint(counts: np.ndarray) -> np.ndarray:
    """MI(bin ; D) over all domain labels at once: counts (..., bins, domains) -> float64 (...,)."""
    return mutual_information(counts)


def permutation_null(counts: np.ndarray, permutations: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Consensus and joint MI after shuffling the domain labels, two float64 arrays of shape (permutations, neurons).

    counts: (neurons, bins, domains). Of a shuffle only the table is needed, and given the sizes of its bins and
    domains the table after a uniform shuffle is multivariate hypergeometric: it is drawn as such, cell by cell, with
    a shuffle of its own for each neuron. The minimum over the domains is taken after the shuffle, as for `consensus`.
    """
    shuffled = _shuffled(np.broadcast_to(counts, (permutations, *counts.shape)), rng)
    return consensus(shuffled), joint(shuffled)


def _shuffled(counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tables (..., bins, domains) of the same margins as `counts`, drawn as if by shuffling the labels."""
    left = counts.sum(axis=-1)  # samples of each bin that no domain has taken yet
    result = np.empty(counts.shape, np.int64)
    for domain in range(counts.shape[-1] - 1):
        wanted = counts[..., domain].sum(axis=-1)  # samples that this domain still has to take
        others = left.sum(axis=-1)
        for b in range(counts.shape[-2]):
            others = others - left[..., b]
            result[..., b, domain] = rng.hypergeometric(left[..., b], others, wanted)
            wanted = wanted - result[..., b, domain]
        left = left - result[..., domain]
    result[..., -1] = left
    return result


def null_quantile(null_quantiles: np.ndarray, error_rate: float) -> float:
    """Consensus MI that a neuron without information exceeds with probability `error_rate`, in nats.

    null_quantiles: what `table` returns beside its table. error_rate: from 1e-5 to 1.
    """
    if not NULL_ERROR_RATES[-1] <= error_rate <= 1:
        raise InputError(f"error rate {error_rate} is not between {NULL_ERROR_RATES[-1]:g} and 1")
    return float(np.interp(1 - error_rate, 1 - NULL_ERROR_RATES, null_quantiles))


def table(
    dumps: Mapping[str, np.ndarray],
    stats: Mapping[str, Mapping[str, np.ndarray]],
    bins: int,
    null_permutations: int,
    seed: int,
    scales: Mapping[str, float],
) -> tuple[pd.DataFrame, np.ndarray]:
    """Everything the selection criteria need to know, one row per neuron.

    dumps: per domain the importance dump, float16 (layers, samples, neurons), may be a memmap; it is read in tiles.
    stats: per domain `activation`, `gradient` and `positive`, each (layers, neurons).
    scales: per domain the factor its dump was multiplied by.
    Returns the table and the quantiles of the null. The table has the columns layer, neuron; per domain, sorted,
    importance_, activation_, gradient_, positive_ and mi_{domain} (one-vs-rest); consensus, joint; null_consensus and
    null_joint (means over this neuron's shuffles). The second is float64 (1001,): the quantiles 1 - NULL_ERROR_RATES
    of the null consensus pooled over neurons and shuffles, for `null_quantile`.
    """
    layers, width = _common_shape(dumps, stats, scales)
    if null_permutations < 1:
        raise InputError("null_permutations: MI is reported beside its null, which needs at least one shuffle")
    frames, draws = [], []
    for layer in range(layers):
        rng = np.random.default_rng([seed, layer])
        for start in range(0, width, TILE):
            tile = {domain: _read(domain, dumps[domain], layer, start) for domain in sorted(dumps)}
            columns = _means(tile, stats, scales, layer, start)
            counts = contingency(list(tile.values()), bins)
            columns |= {f"mi_{domain}": mi for domain, mi in zip(tile, one_vs_rest(counts).T, strict=True)}
            null_consensus, null_joint = permutation_null(counts, null_permutations, rng)
            columns |= {"consensus": consensus(counts), "joint": joint(counts)}
            columns |= {"null_consensus": null_consensus.mean(axis=0), "null_joint": null_joint.mean(axis=0)}
            frames.append(pd.DataFrame(columns))
            draws.append(null_consensus.ravel())
    return pd.concat(frames, ignore_index=True), np.quantile(np.concatenate(draws), 1 - NULL_ERROR_RATES)


def _read(domain: str, dump: np.ndarray, layer: int, start: int) -> np.ndarray:
    """One tile of a dump, (samples, neurons), checked."""
    tile = np.ascontiguousarray(dump[layer, :, start : start + TILE])
    invalid = _first_invalid(tile)
    if invalid is not None:
        where = f"layer {layer}, sample {invalid[0]}, neuron {start + invalid[1]}"
        raise InputError(
            f"importance dump of {domain}, {where}: the score is {tile[invalid]}, but scores are finite and not"
            " negative. Make the dump again, with a smaller scale if it is infinite"
        )
    return tile


def _means(tile: Mapping[str, np.ndarray], stats, scales, layer: int, start: int) -> dict[str, np.ndarray]:
    """Columns that need no counting. The float64 sum of float16 scores is exact below 2**29, in whatever order."""
    neuron = np.arange(start, start + next(iter(tile.values())).shape[1], dtype=np.int32)
    columns = {"layer": np.full(len(neuron), layer, np.int32), "neuron": neuron}
    for domain, scores in tile.items():
        columns[f"importance_{domain}"] = scores.mean(axis=0, dtype=np.float64) / scales[domain]
    for name in STATISTICS:
        columns |= {f"{name}_{domain}": np.float64(stats[domain][name][layer, neuron]) for domain in tile}
    return columns


def _common_shape(dumps, stats, scales) -> tuple[int, int]:
    """(layers, neurons) of all dumps and statistics. Raises InputError if they do not belong together."""
    if len(dumps) < 2:
        raise InputError(f"MI with the domain needs at least two domains, not {sorted(dumps)}")
    if not set(dumps) == set(stats) == set(scales):
        raise InputError(f"dumps of {sorted(dumps)}, statistics of {sorted(stats)}, scales of {sorted(scales)}")
    shapes = {f"importance of {domain}": (dump.shape[0], dump.shape[2]) for domain, dump in dumps.items()}
    for domain in stats:
        shapes |= {f"{name} of {domain}": np.shape(stats[domain][name]) for name in STATISTICS}
    if len(set(shapes.values())) != 1:
        raise InputError(f"(layers, neurons) differ: {shapes}")
    return next(iter(shapes.values()))


def length_information(lengths: Mapping[str, Sequence[int]], bins: int) -> dict:
    """What the response length alone tells about the domain, in nats, with the same bins as the neurons' MI.

    lengths: per domain the numbers of response tokens. Returns {"joint": MI, "consensus": MI, "domains": {domain: MI}},
    the last one-vs-rest.
    """
    domains = sorted(lengths)
    counts = contingency([np.asarray(lengths[domain], dtype=np.float64)[:, None] for domain in domains], bins)[0]
    by_domain = dict(zip(domains, one_vs_rest(counts).tolist(), strict=True))
    return {"joint": float(joint(counts)), "consensus": float(consensus(counts)), "domains": by_domain}
