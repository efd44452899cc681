"""How many samples are enough: whether disjoint halves of the samples select the same neurons.

Each domain's samples are put into a random order. Of its first 2n samples, one half selects on the first n, the other
on the next n, each with its own bins, information and task-relevant neurons. Agreement beyond that of shuffled labels
is due to model and domains, not to the draw of the samples. The information of a set about the domains is measured on
the half that did not select it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
import pandas as pd

from caneft.config import Scope
from caneft.errors import InputError
from caneft.importance.dumps import DumpSet
from caneft.neurons import NeuronSet
from caneft.plan.settings import SelectionSettings, StabilitySettings
from caneft.selection import counting, information
from caneft.selection import criteria as selection
from caneft.storage import integrity

STREAM = 0x57AB1E  # keeps these draws apart from other uses of the same seed
APART = 1.5  # the last two sizes differ by at least this factor
CRITERIA = "caneft", "caneft-geometric", "caneft-harmonic", "joint"
"""The criteria that are examined; all select by mutual information."""
NOISE = "noise_"
MEANING = (
    "Sets of neurons selected by `criterion` on disjoint halves of the samples, `samples` of each domain in each half,"
    " among the neurons that are task-relevant in the half, each ranked in its `scope` (off: among all neurons). One"
    " value per split in each list. jaccard: intersection over union of the two sets, each of `neurons` neurons or of"
    " all its candidates if these are fewer; phi: Nogueira's measure of the same, 0 for random sets; correlation:"
    " Spearman's, of the criterion's score of all neurons of the model; held_out: mean"
    " consensus MI of a set on the half that did not select it, less what shuffled labels give there, in nats, mean"
    " over the two sets; noise_: the same of sets selected after shuffling the labels of each half. candidates: mean"
    " number of task-relevant neurons of a half. null: undefined, as where none is."
)


@dataclass(frozen=True)
class Point:
    """Agreement of the sets that two halves of the samples select; lists have one value per split.

    criterion: one of CRITERIA. scope: that of the mask of task-relevant neurons; `off` for no mask. samples: number for
    each domain in each half. neurons: budget of a set; with fewer candidates, a set is all of them. candidates: mean
    number in a half. jaccard, phi: of the two sets. correlation: Spearman's, of the scores of all neurons. held_out:
    mean consensus MI of a set on the other half less its null, in nats, mean over the two sets. noise_: the same for
    sets selected after shuffling the labels of each half, but with its real task-relevant neurons. Undefined values are
    None: for example, all but the correlation if no neuron is task-relevant in a scope that is not the configured one.
    """

    criterion: str
    scope: str
    samples: int
    neurons: int
    candidates: float
    jaccard: list[float | None]
    phi: list[float | None]
    correlation: list[float | None]
    held_out: list[float | None]
    noise_jaccard: list[float | None]
    noise_phi: list[float | None]
    noise_correlation: list[float | None]
    noise_held_out: list[float | None]


@dataclass(frozen=True)
class Half:
    """The first (side 0) or the second (side 1) `samples` samples of every domain's order."""

    samples: int
    side: int

    @property
    def rows(self) -> slice:
        return slice(self.side * self.samples, (self.side + 1) * self.samples)


def sizes(samples: int, smallest: int = 25) -> list[int]:
    """Samples per half at which a curve is drawn: `smallest`, doubled up to half of `samples`, and that half.

    Sizes within a factor of 1.5 of the last one are left out. Raises InputError for fewer than two samples.
    """
    last = samples // 2
    if last < 1:
        raise InputError(f"{samples} samples of a domain have no two halves")
    doubled, size = [], smallest
    while size * APART <= last:
        doubled.append(size)
        size *= 2
    return [*doubled, last]


def flat(points: Sequence[Point], gain: float) -> int | None:
    """Samples per domain beyond which the selected set hardly changes: the rule of `importance.samples: auto`.

    points: those of one criterion and scope. The result is the smallest n among their `samples` for which the mean
    Jaccard at n exceeds that at n / 2 by less than `gain`, and that of noise at n by more than `gain`; None if there is
    none. Only points that have another one at exactly half their samples are considered. n counts the samples of one
    half: a set selected on n samples of each domain is about as stable as the curve at n.
    """
    by_samples = {point.samples: point for point in points}
    for samples, point in sorted(by_samples.items()):
        before = by_samples.get(samples / 2)
        agreement = np.mean(point.jaccard)
        if before and agreement - np.mean(before.jaccard) < gain < agreement - np.mean(point.noise_jaccard):
            return samples
    return None


def of(points: Iterable[Point], criterion: str, scope: str) -> list[Point]:
    """The curve of one criterion and scope among many."""
    return [point for point in points if (point.criterion, point.scope) == (criterion, scope)]


def measure(
    dumps: DumpSet,
    table: pd.DataFrame,
    about: Mapping[str, Any],
    settings: StabilitySettings,
    threads: int = 1,
    progress: Callable[[int], Any] = lambda neurons: None,
) -> dict[str, Any]:
    """The content of `stability.json`: the points at `sizes` of the smallest domain's samples, and how to read them.

    The other arguments are those of `agreement`.
    """
    samples = {domain: dumps.scores[domain].shape[1] for domain in sorted(dumps.scores)}
    points = agreement(dumps, table, about, sizes(min(samples.values())), settings, threads, progress)
    return {
        "format": integrity.FORMAT,
        "meaning": MEANING,
        "domains": list(samples),
        "samples": samples,
        "neurons": points[0].neurons,
        "neurons_of_the_model": len(table),
        "points": [dataclasses.asdict(point) for point in points],
        "settings": settings.model_dump(mode="json"),
    }


def agreement(
    dumps: DumpSet,
    table: pd.DataFrame,
    about: Mapping[str, Any],
    sizes: Sequence[int],
    settings: StabilitySettings,
    threads: int = 1,
    progress: Callable[[int], Any] = lambda neurons: None,
) -> list[Point]:
    """The `curves` for the number of neurons in the settings' budget.

    table, about: `information.parquet` and `.json` of all the samples, by which the budget is counted.
    """
    neurons = selection.count(table, settings.budget, about["null"]["quantile"], about.get("hidden_size"))
    return curves(dumps, sizes, neurons, settings, threads, progress)


def curves(
    dumps: DumpSet,
    sizes: Sequence[int],
    neurons: int,
    settings: StabilitySettings,
    threads: int = 1,
    progress: Callable[[int], Any] = lambda neurons: None,
) -> list[Point]:
    """Agreement of the sets that disjoint halves of the samples select: points by criterion, scope and ascending size.

    dumps: read in tiles, once per split. sizes: samples per domain in each half. neurons: budget of a set. settings:
    each half has its own bins, length strata and task-relevant neurons. The scopes are `model` and `layer`, or `off` if
    there is no mask. progress: called with the number of neurons of each tile, in total splits x layers x neurons.
    The result depends neither on threads nor on tiles. Raises InputError if a domain has fewer samples than two halves
    need, if the dumps do not belong together, or if a half has no task-relevant neuron in the configured scope.
    """
    sizes = sorted(set(sizes))
    _check(dumps.scores, sizes, settings.splits, neurons)
    halves = [Half(size, side) for size in reversed(sizes) for side in (0, 1)]  # the longest jobs first
    found: dict[tuple[str, str, int], list[dict]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for split in range(settings.splits):
            stream = [settings.seed, STREAM, split]
            orders = _orders(dumps.scores, 2 * sizes[-1], stream)
            strata = {half: _rows_of_strata(half, orders, settings.length_strata, dumps) for half in halves}
            tables = _tables(dumps, orders, strata, settings.bins, stream, pool, progress)
            for size in sizes:
                pair = tables[Half(size, 0)], tables[Half(size, 1)]
                for (criterion, scope), agreement in _agreements(*pair, neurons, settings.budget).items():
                    found.setdefault((criterion, scope, size), []).append(agreement)
    return [_point(*key, neurons, found[key]) for key in sorted(found, key=_place)]


def _place(key: tuple[str, str, int]) -> tuple[int, int, int]:
    criterion, scope, size = key
    return CRITERIA.index(criterion), ("off", "model", "layer").index(scope), size


def _check(dumps: Mapping[str, Any], sizes: Sequence[int], splits: int, neurons: int) -> None:
    if len(dumps) < 2:
        raise InputError(f"dumps of {sorted(dumps)}: two domains are needed at least")
    shapes = {domain: (dump.shape[0], dump.shape[2]) for domain, dump in dumps.items()}
    if len(set(shapes.values())) != 1:
        raise InputError(f"(layers, neurons) of the dumps differ: {shapes}")
    if not sizes or min(*sizes, splits, neurons) < 1:
        raise InputError(f"sizes {sizes}, splits {splits}, neurons {neurons}: at least one of each is needed")
    for domain, dump in dumps.items():
        if dump.shape[1] < 2 * sizes[-1]:
            raise InputError(f"{domain} has {dump.shape[1]} samples, two halves of {sizes[-1]} need {2 * sizes[-1]}")


def _orders(dumps, samples: int, stream: list[int]) -> dict[str, np.ndarray]:
    """The first `samples` samples of each domain in the order of one split; domains are sorted."""
    return {
        domain: np.random.default_rng([*stream, index]).permutation(dumps[domain].shape[1])[:samples]
        for index, domain in enumerate(sorted(dumps))
    }


def _rows_of_strata(half: Half, orders, length_strata: int, dumps: DumpSet) -> list[dict[str, Any]]:
    """For each stratum of a half and each domain, the positions of its samples in the domain's order."""
    if length_strata == 1:
        return [dict.fromkeys(orders, half.rows)]
    own = {domain: dumps.lengths[domain][order[half.rows]] for domain, order in orders.items()}
    strata = information.rows_of_strata(information.length_strata(own, length_strata))
    return [{domain: half.rows.start + rows for domain, rows in by_domain.items()} for by_domain in strata]


def _tables(
    dumps: DumpSet, orders, strata: Mapping[Half, list], bins: int, stream: list[int], pool: Executor, progress
) -> dict[Half, pd.DataFrame]:
    """For each half of one split, a table of all neurons: layer, neuron, importance_{domain}, and the columns of
    `_measured`, the latter also for shuffled labels, under names that begin with NOISE."""
    halves, scores = list(strata), dumps.scores
    layers, _, width = next(iter(scores.values())).shape
    tile = information.tile_width(scores)
    frames: dict[Half, list[pd.DataFrame]] = {half: [] for half in halves}
    for layer in range(layers):
        counted: dict[Half, list] = {half: [] for half in halves}
        for start in range(0, width, tile):
            ordered = {domain: scores[domain][layer, :, start : start + tile][rows] for domain, rows in orders.items()}
            counts = pool.map(partial(_count, ordered, bins), halves, strata.values())
            for half, result in zip(halves, counts, strict=True):
                counted[half].append(result)
            progress(min(tile, width - start))
        columns = pool.map(partial(_frame, layer, dumps.scales, stream), halves, counted.values())
        for half, frame in zip(halves, columns, strict=True):
            frames[half].append(frame)
    return {half: pd.concat(parts, ignore_index=True) for half, parts in frames.items()}


def _count(
    ordered: Mapping[str, np.ndarray], bins: int, half: Half, strata: list[dict[str, Any]]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Contingency tables (neurons, bins, domains) of a half's strata, and each domain's mean scores."""
    means = {domain: scores[half.rows].mean(axis=0, dtype=np.float64) for domain, scores in ordered.items()}
    return [counting.contingency([ordered[d][rows[d]] for d in ordered], bins) for rows in strata], means


def _frame(layer: int, scales: Mapping[str, float], stream: list[int], half: Half, counted: list) -> pd.DataFrame:
    """Rows of one layer. Labels are shuffled for the whole layer, so that the noise does not depend on the tiles."""
    tables = [np.concatenate(tiles) for tiles in zip(*(tables for tables, _ in counted), strict=True)]
    columns: dict[str, Any] = {"layer": np.int32(layer), "neuron": np.arange(len(tables[0]), dtype=np.int32)}
    for domain in counted[0][1]:
        columns[f"importance_{domain}"] = np.concatenate([means[domain] for _, means in counted]) / scales[domain]
    rng = np.random.default_rng([*stream, half.samples, half.side, layer])
    noise = _measured([information.shuffled(counts, rng) for counts in tables], list(counted[0][1]))
    columns |= _measured(tables, list(counted[0][1])) | {f"{NOISE}{name}": values for name, values in noise.items()}
    return pd.DataFrame(columns)


def _measured(tables: Sequence[np.ndarray], domains: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns of `information.table` that CRITERIA use, from the counts of the strata."""
    by_domain = information.conditional_on_strata(information.one_vs_rest, tables)
    columns = {f"mi_{domain}": mi for domain, mi in zip(domains, by_domain.T, strict=True)}
    joint = information.conditional_on_strata(information.joint, tables)
    return columns | {"consensus": by_domain.min(axis=-1), "joint": joint}


def _agreements(
    first: pd.DataFrame, second: pd.DataFrame, neurons: int, budget: SelectionSettings
) -> dict[tuple[str, str], dict[str, Any]]:
    """The entries of a Point for one split, by criterion and scope. first, second: tables of the two halves."""
    halves, found = (first, second), {}
    shuffled = [_with_noise(half) for half in halves]
    held_out = [(half["consensus"] - half[f"{NOISE}consensus"]).to_numpy() for half in halves]
    shape = -1, int(first["neuron"].iloc[-1]) + 1
    for criterion in CRITERIA:
        of_halves = {
            name: [selection.score(table, criterion).reshape(shape) for table in tables]
            for name, tables in (("", halves), (NOISE, shuffled))
        }
        correlations = {f"{name}correlation": _rank_correlation(*scores) for name, scores in of_halves.items()}
        for scope in ("off",) if budget.mask == "off" else get_args(Scope):
            masks = [_mask(half, budget.task_relevant, scope) for half in halves]
            if scope == budget.mask and not all(mask.any() for mask in masks):
                raise InputError(f"selection.task_relevant: no neuron is in the top {budget.task_relevant}; raise it")
            found[criterion, scope] = {"candidates": np.mean([mask.sum() for mask in masks])} | correlations
            for name, scores in of_halves.items():
                sets = [
                    NeuronSet.from_flat(*own.shape, selection.best(own, mask, neurons, budget.per_layer))
                    for own, mask in zip(scores, masks, strict=True)
                ]
                found[criterion, scope] |= {f"{name}{key}": value for key, value in _compare(sets, held_out).items()}
    return found


def _with_noise(half: pd.DataFrame) -> pd.DataFrame:
    """The columns for shuffled labels, under the names of those for real labels."""
    names = [name for name in half.columns if name.startswith(NOISE)]
    return half[names].rename(columns=lambda name: name.removeprefix(NOISE))


def _mask(half: pd.DataFrame, q: float | None, scope: str) -> np.ndarray:
    return np.ones(len(half), bool) if scope == "off" else selection.task_relevant(half, q, scope)


def _compare(sets: Sequence[NeuronSet], held_out: Sequence[np.ndarray]) -> dict[str, float | None]:
    """Agreement of two sets, None if one is empty. held_out: by half, consensus of all neurons less its null."""
    if not min(map(len, sets)):
        return dict.fromkeys(("jaccard", "phi", "held_out"))
    apart = [other[own.flat()].mean() for own, other in zip(sets, held_out[::-1], strict=True)]
    return {"jaccard": sets[0].jaccard(sets[1]), "phi": sets[0].phi(sets[1]), "held_out": float(np.mean(apart))}


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's correlation, with average ranks for ties; None if either side is constant."""
    x, y = (pd.Series(values.ravel()).rank().to_numpy() for values in (first, second))
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt((x * x).sum() * (y * y).sum())
    return float((x * y).sum() / spread) if spread else None


def _point(criterion: str, scope: str, samples: int, neurons: int, found: list[dict[str, Any]]) -> Point:
    lists = {name: [of_split[name] for of_split in found] for name in found[0]}
    candidates = float(np.mean(lists.pop("candidates")))
    return Point(criterion, scope, samples, neurons, candidates, **lists)
