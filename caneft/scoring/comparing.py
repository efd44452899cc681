"""Significance tests of one block: every variant against the baseline, the method against every other variant."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caneft.config.names import AVERAGE_ALL, AVERAGE_SEEN, AVERAGE_UNSEEN
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.plan.settings import SignificanceSettings, System
from caneft.scoring import significance, statistics, translated
from caneft.scoring.significance import Difference, Errors, Pairs, Score

DECIMALS = 6
"""Decimals of scores and differences in files."""
Systems = Mapping[tuple[str, int | None], Any]
"""Something by variant and seed; the seed is None for a variant without seeds."""


class Sample(NamedTuple):
    """One test set in one metric: statistics of the systems, (systems, segments, k), and the `Score` for their sums."""

    systems: np.ndarray
    score: Score


class Resampled(NamedTuple):
    """One test set, or an average of several: its scores and their resamples.

    of_runs: (systems,). score: (variants,), means over the seeds. bootstrapped: (resamples, variants). randomised:
    (resamples, comparisons).
    """

    of_runs: np.ndarray
    score: np.ndarray
    bootstrapped: np.ndarray
    randomised: np.ndarray


def comparisons(variants: Sequence[str], baseline: str | None, method: str | None) -> list[tuple[str, str]]:
    """Pairs of variants to compare, each once: all with the baseline, then the method with all others."""
    first = [(variant, baseline) for variant in variants if baseline is not None and variant != baseline]
    second = [(method, variant) for variant in variants if method is not None and variant not in (method, baseline)]
    return first + second


def pairs(systems: Sequence[tuple[str, int | None]], a: str, b: str) -> Pairs:
    """Numbers of the systems to compare: seed by seed; one without seeds with every seed of the other variant."""
    numbered = list(enumerate(systems))
    return [
        (i, j)
        for i, (variant, seed) in numbered
        for j, (other, other_seed) in numbered
        if variant == a and other == b and (seed == other_seed or None in (seed, other_seed))
    ]


def surface_samples(
    metric: str, target_language: str | None, references: Mapping[str, Sequence[str]], outputs: Systems
) -> Iterator[tuple[str, Sample]]:
    """Each domain with its sample in a metric of `metrics.METRICS`. outputs: hypotheses by domain, for every system."""
    for domain, targets in references.items():
        measure = statistics.Surface(metric, target_language, targets)
        yield domain, Sample(np.stack([measure(found[domain]) for found in outputs.values()]), measure.score)


def neural_samples(domains: Sequence[str], outputs: Systems) -> Iterator[tuple[str, Sample]]:
    """Each domain with its sample in a metric that is a mean. outputs: segment scores by domain, for every system."""
    for domain in domains:
        systems = np.stack([statistics.segment_scores(found[domain]) for found in outputs.values()])
        yield domain, Sample(systems, statistics.mean_of_segments)


def test_block(settings: SignificanceSettings, root: Path, direction: str) -> dict[str, Any]:
    """Tests of every metric, from the files of a block. root: the results folder.

    Raises InputError if a file does not fit its test set.
    """
    domains = settings.seen + settings.unseen
    corpora = [root / f"corpora/{direction}/{domain}/test.jsonl" for domain in domains]
    references = store.read_testset(domains, corpora)
    systems = [(system.variant, system.seed) for system in settings.systems]
    targets = {domain: [row.target for row in rows] for domain, rows in references.items()}
    texts = _by_system(settings, lambda system: translated.hypotheses(root / system.translations, references))
    found = {}
    for metric in settings.metrics:
        samples = surface_samples(metric, settings.target_language, targets, texts)
        found[metric] = test_metric(settings, systems, samples)
    for metric in settings.neural:
        segments = _by_system(settings, lambda system, metric=metric: _segments(root, system, metric, references))
        found[metric] = test_metric(settings, systems, neural_samples(domains, segments))
    return found


def _by_system(settings: SignificanceSettings, read: Callable[[System], dict[str, Any]]) -> Systems:
    """The result of `read` for each system, by variant and seed."""
    return {(system.variant, system.seed): read(system) for system in settings.systems}


def _segments(root: Path, system: System, metric: str, references: Mapping[str, Sequence[Row]]) -> dict[str, list]:
    path = root / system.segments(metric)
    found = store.read_json(path)
    try:
        scores = {domain: list(map(float, found["domains"][domain]["segments"])) for domain in references}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: no scores of segments ({error!r}); delete it and run the workflow again") from None
    for domain, values in scores.items():
        if len(values) != len(references[domain]):
            raise InputError(
                f"{path}: {len(values)} segments of {domain}, its test set has {len(references[domain])}; delete it"
                " and run the workflow again"
            )
    return scores


def test_metric(
    settings: SignificanceSettings,
    systems: Sequence[tuple[str, int | None]],
    samples: Iterator[tuple[str, Sample]],
) -> dict[str, Any]:
    """Scores with intervals, and comparisons, of one metric, as a block's file holds them.

    systems: variants and seeds, in the order of the samples. samples: one for each domain.
    """
    variants = list(dict.fromkeys(variant for variant, _ in systems))
    compared = comparisons(variants, settings.baseline, settings.method)
    by_domain = {domain: _resampled(settings, systems, compared, domain, sample) for domain, sample in samples}
    columns = by_domain | {name: _average([by_domain[d] for d in own]) for name, own in averages(settings).items()}
    scores: dict[str, dict] = {variant: {} for variant in variants}
    tested: dict[tuple[str, str], list] = {pair: [] for pair in compared}
    of_columns = {c: errors(systems, found.of_runs, found.bootstrapped) for c, found in columns.items()}
    for column, found in columns.items():
        low, high = significance.interval(found.bootstrapped)
        for number, variant in enumerate(variants):
            scores[variant][column] = _rounded(score=found.score[number], low=low[number], high=high[number])
        for pair, entry in zip(compared, _comparisons(found, variants, compared, of_columns[column]), strict=True):
            tested[pair].append({"a": pair[0], "b": pair[1], "column": column} | entry)
    return {
        "scores": scores,
        "runs": _runs(systems),
        "errors": {column: found.as_json() for column, found in of_columns.items()},
        "comparisons": [entry for entries in tested.values() for entry in entries],
    }


def _runs(systems: Sequence[tuple[str, int | None]]) -> dict[str, int]:
    """Number of seeds of each variant; 0 for a variant without seeds."""
    return {v: len([seed for name, seed in systems if name == v and seed is not None]) for v, _ in systems}


def errors(systems: Sequence[tuple[str, int | None]], of_runs: np.ndarray, bootstrapped: np.ndarray) -> Errors:
    """Errors of the variants' scores. of_runs: scores (systems,); bootstrapped: (resamples, variants)."""
    by_variant: dict[str, list[float]] = {}
    for (variant, _), score in zip(systems, of_runs, strict=True):
        by_variant.setdefault(variant, []).append(float(score))
    means = {variant: float(np.mean(scores)) for variant, scores in by_variant.items()}
    covariance = np.atleast_2d(np.cov(bootstrapped, rowvar=False))
    return Errors(means, covariance, _runs(systems), *significance.pooled_deviation(by_variant.values()))


def averages(settings: SignificanceSettings) -> dict[str, list[str]]:
    """Domains of each average that the tables show; an average over one domain would only repeat it."""
    groups = {AVERAGE_SEEN: settings.seen, AVERAGE_UNSEEN: settings.unseen}
    shown = {name: domains for name, domains in groups.items() if len(domains) > 1}
    return shown | ({AVERAGE_ALL: settings.seen + settings.unseen} if settings.unseen else {})


def _resampled(
    settings: SignificanceSettings,
    systems: Sequence[tuple[str, int | None]],
    compared: Sequence[tuple[str, str]],
    domain: str,
    sample: Sample,
) -> Resampled:
    """Resamples a domain.

    Random numbers follow from its name and the seed: those of other domains are independent, and this domain's tests
    stay the same when a domain or a variant is added.
    """
    coins, draws = (np.random.default_rng([settings.seed, zlib.crc32(domain.encode()), kind]) for kind in (0, 1))
    places = [pairs(systems, a, b) for a, b in compared]
    drawn = significance.bootstrapped(sample.systems, sample.score, settings.bootstrap, draws)
    of_runs = sample.score(sample.systems.sum(axis=1))
    return Resampled(
        of_runs,
        over_seeds(systems, of_runs),
        over_seeds(systems, drawn),
        significance.randomised(sample.systems, places, sample.score, settings.resamples, coins),
    )


def over_seeds(systems: Sequence[tuple[str, int | None]], scores: np.ndarray) -> np.ndarray:
    """Means over the seeds of each variant. scores: (..., systems); returns (..., variants)."""
    names = [variant for variant, _ in systems]
    numbers = {variant: [i for i, name in enumerate(names) if name == variant] for variant in dict.fromkeys(names)}
    return np.stack([scores[..., own].mean(axis=-1) for own in numbers.values()], axis=-1)


def _average(domains: Sequence[Resampled]) -> Resampled:
    return Resampled(*(np.mean(parts, axis=0) for parts in zip(*domains, strict=True)))


def _comparisons(
    found: Resampled, variants: Sequence[str], compared: Sequence[tuple[str, str]], errors: Errors
) -> Iterator[dict[str, float | None]]:
    """For each comparison the difference, its interval and p over segments; then both errors, and p over runs."""
    a, b = ([variants.index(pair[side]) for pair in compared] for side in (0, 1))
    observed = found.score[a] - found.score[b]
    low, high = significance.interval(found.bootstrapped[:, a] - found.bootstrapped[:, b])
    p = significance.p_values(observed, found.randomised)
    for pair, difference, *ends, chance in zip(compared, observed, low, high, p, strict=True):
        segments = _rounded(difference=difference, low=ends[0], high=ends[1]) | {"p": float(chance)}
        found = errors.contrast({pair[0]: 1, pair[1]: -1})
        yield segments | _rounded(se_segments=found.segments) | (_of_runs(found) if errors.enough(pair) else UNKNOWN)


UNKNOWN = dict.fromkeys(("se_runs", "df", "p_runs"))
"""Entries for a difference between methods that have too few runs."""


def _of_runs(found: Difference) -> dict[str, float | None]:
    return _rounded(se_runs=found.runs) | {"df": found.df, "p_runs": found.p}


def _rounded(**values: float) -> dict[str, float]:
    """Values as plain numbers, rounded to a millionth; never minus zero."""
    return {name: round(float(value), DECIMALS) + 0.0 for name, value in values.items()}
