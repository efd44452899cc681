"""Finds how the results of two folders differ: keys, runs, scores, and tests if both have the same test sets."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from caneft.config import Section, target_code
from caneft.config.metrics import NEURAL
from caneft.config.names import AVERAGE_SEEN, AVERAGE_UNSEEN
from caneft.corpora import store
from caneft.errors import InputError
from caneft.plan import Plan, comparison
from caneft.reporting import inputs
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.reading import missing, naming, read_json
from caneft.reporting.results import SCALE
from caneft.reporting.results import scores as read_scores
from caneft.scoring import significance, statistics, translated
from caneft.scoring.significance import Pairs, Score

BOOTSTRAP = 1000
ELSEWHERE = ("results_root", "data_root", "report")
"""Keys of the configuration that no result depends on."""


class Side(NamedTuple):
    plan: Plan
    root: Path


Outputs = Mapping[tuple[str, int | None, str], list]
"""Hypotheses, or segment scores of a neural metric, by variant, seed and domain."""


class Measure(NamedTuple):
    """A metric on one test set. statistics: from an output to an array (segments, k); score: from sums of these."""

    statistics: Callable[[list], np.ndarray]
    score: Score


class Sampled(NamedTuple):
    """One domain of one variant: score by side, and resamples of the difference b minus a."""

    scores: tuple[float, float]
    randomised: np.ndarray
    bootstrapped: np.ndarray


def between(a: Plan, b: Plan, root_a: Path, root_b: Path, resamples: int, seed: int) -> dict[str, Any]:
    """All differences, as `--json` prints them. Holm's correction covers all tests together.

    Raises InputError if a folder lacks scores of its plan, because its workflow is not finished.
    """
    sides = Side(a, root_a), Side(b, root_b)
    for side in sides:
        _check_finished(side)
    runs = [{f"{run.model}/{run.direction}/{run.name}" for run in side.plan.runs()} for side in sides]
    rows, notes = [], []
    for block in a.shown_blocks():
        if block in b.shown_blocks():
            rows += _block(sides, block, resamples, seed, notes)
    adjusted = iter(significance.holm([row["p"] for row in rows if row["p"] is not None]))
    rows = [row | {"p_holm": None if row["p"] is None else next(adjusted)} for row in rows]
    return {
        "a": str(root_a),
        "b": str(root_b),
        "configuration": list(_keys(_settings(a), _settings(b))),
        "only_a": sorted(runs[0] - runs[1]),
        "only_b": sorted(runs[1] - runs[0]),
        "notes": notes,
        "resamples": resamples,
        "scores": rows,
    }


def _check_finished(side: Side) -> None:
    paths = [file.path for file in inputs.score_files(side.plan)]
    lacking = [path for path in paths if not (side.root / path).exists()]
    if lacking:
        raise InputError(
            f"{side.root}: {len(lacking)} of {len(paths)} score files are missing, {lacking[0]} first. Its run is not"
            " finished, or is one of an older version: wait for it, or repeat the command that began it"
        )


def _settings(plan: Plan) -> dict[str, Any]:
    """The configuration with all defaults, including those that a saved one leaves out."""
    return {name: value for name, value in _values(plan.config).items() if name not in ELSEWHERE}


def _values(value: Any) -> Any:
    """A part of the configuration as JSON values."""
    if isinstance(value, Section):
        return {name: _values(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {name: _values(part) for name, part in value.items()}
    return [_values(part) for part in value] if isinstance(value, list | tuple) else value


def _keys(a: Mapping[str, Any], b: Mapping[str, Any], above: str = "") -> Iterator[dict[str, Any]]:
    """Dotted keys whose values differ. A section that only one side has is given as a whole, under its highest key."""
    for name in dict.fromkeys([*a, *b]):
        key, one, other = f"{above}{name}", a.get(name), b.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _keys(one, other, f"{key}.")
        elif one != other:
            yield {"key": key, "a": one, "b": other}


def _block(
    sides: tuple[Side, Side], block: Block, resamples: int, seed: int, notes: list[str]
) -> Iterator[dict[str, Any]]:
    """Rows of a block, by metric, variant and column: both scores, the difference, and a test if there can be one."""
    tested = [side.plan.tested(*block[1:]) for side in sides]
    domains = [domain for domain in tested[0] if domain in tested[1]]
    references = {domain: rows for domain in domains if (rows := _same_references(sides, block, domain, notes))}
    frames = [read_scores(side.plan, side.root, [block]) for side in sides]
    outputs = [_outputs(side, block, references) for side in sides]
    metrics = [metric for metric in sides[0].plan.config.scoring.all if metric in sides[1].plan.config.scoring.all]
    for metric in metrics:
        parts = [frame[(frame["metric"] == metric) & (frame["method"] != COPY)] for frame in frames]
        same = _same_signature(metric, parts, notes)
        of_metric = [_segments(side, block, metric, references) for side in sides] if metric in NEURAL else outputs
        measures = {d: _measure(metric, block, rows) for d, rows in references.items()} if same else {}
        for variant in [v for v in dict.fromkeys(parts[0]["variant"]) if v in set(parts[1]["variant"])]:
            means, found = _means_of(parts, variant), {}
            for domain, measure in measures.items():
                systems = [_by_seed(of_side, variant, domain) for of_side in of_metric]
                found[domain] = _sampled(measure, domain, systems, resamples, seed)
            for column, own in _columns(sides, block, domains).items():
                identity = dict(zip(("model", "direction", "mixture"), block, strict=True))
                identity |= {"variant": variant, "metric": metric, "column": column}
                score = [float(np.mean([mean[domain] for domain in own])) for mean in means]
                parts_of = [found[domain] for domain in own if domain in found]
                yield identity | _row(score, parts_of if len(parts_of) == len(own) else [])


def _same_signature(metric: str, parts: list[pd.DataFrame], notes: list[str]) -> bool:
    """Whether a metric has the same signatures on both sides; if not, adds a note with those of each."""
    a, b = (sorted(set(part["signature"])) for part in parts)
    if a != b:
        notes.append(f"{metric}: the folders have different signatures, {', '.join(a)} and {', '.join(b)}")
    return a == b


def _measure(metric: str, block: Block, rows: list[store.Row]) -> Measure:
    if metric in NEURAL:
        scale = SCALE.get(metric, 1)
        return Measure(statistics.segment_scores, lambda sums: scale * statistics.mean_of_segments(sums))
    surface = statistics.Surface(metric, target_code(block[1]), [row.target for row in rows])
    return Measure(surface, surface.score)


def _means_of(parts: list[pd.DataFrame], variant: str) -> list[pd.Series]:
    """A variant's mean score by domain on each side, over the seeds that both have, or over all if they share none."""
    own = [part[part["variant"] == variant] for part in parts]
    shared = set(own[0]["seed"].dropna()) & set(own[1]["seed"].dropna())
    kept = [rows[rows["seed"].isin(shared)] if shared else rows for rows in own]
    return [rows.groupby("domain")["score"].mean() for rows in kept]


def _columns(sides: tuple[Side, Side], block: Block, domains: list[str]) -> dict[str, list[str]]:
    """The domains that both sides have, and the averages that are over the same domains on both."""
    columns = {domain: [domain] for domain in domains}
    for name, of in ((AVERAGE_SEEN, Plan.seen), (AVERAGE_UNSEEN, Plan.unseen)):
        own = [of(side.plan, *block[1:]) for side in sides]
        columns |= {name: own[0]} if own[0] == own[1] and len(own[0]) > 1 else {}
    return columns


def _row(score: list[float], found: list[Sampled]) -> dict[str, float | None]:
    row = {"a": score[0], "b": score[1], "difference": score[1] - score[0]}
    if not found:
        return row | dict.fromkeys(("low", "high", "p"))
    randomised, bootstrapped = (np.mean([getattr(s, kind) for s in found], axis=0) for kind in Sampled._fields[1:])
    observed = np.mean([part.scores[1] - part.scores[0] for part in found])
    low, high = (float(end[0]) for end in significance.interval(bootstrapped[:, None]))
    p = significance.p_values(np.array([observed]), randomised[:, None])[0]
    return row | {"low": low, "high": high, "p": float(p)}


def _same_references(sides: tuple[Side, Side], block: Block, domain: str, notes: list[str]) -> list[store.Row]:
    """Pairs of a test set if both folders have the same ids and references; else an empty list, and a note."""
    paths = [side.root / f"corpora/{block[1]}/{domain}/test.jsonl" for side in sides]
    if gone := [path for path in paths if not path.exists()]:
        notes.append(f"{domain} ({block[1]}): {gone[0]} is gone, so outputs cannot be compared segment by segment")
        return []
    rows = [list(store.read(path)) for path in paths]
    if [(row.id, row.target) for row in rows[0]] != [(row.id, row.target) for row in rows[1]]:
        notes.append(f"{domain} ({block[1]}): the folders have different test sets, so scores stand side by side only")
        return []
    return rows[0]


def _outputs(side: Side, block: Block, references: Mapping[str, list[store.Row]]) -> Outputs:
    """Hypotheses, in the order of the test sets."""
    found = {}
    for system in comparison.systems(side.plan, block):
        path = side.root / system.translations
        if not path.exists():
            raise missing(path)
        for domain, texts in translated.hypotheses(path, references).items():
            found[system.variant, system.seed, domain] = texts
    return found


def _segments(side: Side, block: Block, metric: str, references: Mapping[str, list[store.Row]]) -> Outputs:
    """Segment scores of a neural metric, in the order of the test sets."""
    found = {}
    for system in comparison.systems(side.plan, block):
        path = side.root / system.segments(metric)
        content = read_json(path, with_format=True)
        with naming(path):
            for domain in references:
                scores = [float(score) for score in content["domains"][domain]["segments"]]
                if len(scores) != len(references[domain]):
                    raise InputError(f"{path}: has {len(scores)} segments of {domain}, not {len(references[domain])}")
                found[system.variant, system.seed, domain] = scores
    return found


def _by_seed(outputs: Outputs, variant: str, domain: str) -> dict[int | None, list]:
    """A variant's outputs on a domain, by seed."""
    return {seed: own for (name, seed, of), own in outputs.items() if (name, of) == (variant, domain)}


def _sampled(
    measure: Measure, domain: str, systems: list[dict[int | None, list]], resamples: int, seed: int
) -> Sampled:
    """Resamples of one variant's difference on one domain, between equal seeds, or between all if no seed is shared."""
    pairs = _pairs(*(list(of_side) for of_side in systems))
    outputs = [own for of_side in systems for own in of_side.values()]
    if all(outputs[j] == outputs[i] for j, i in pairs):  # nothing can be swapped: p is 1
        return Sampled((0.0, 0.0), np.zeros(resamples), np.zeros(BOOTSTRAP))
    stacked = np.stack([measure.statistics(own) for own in outputs])
    coins, draws = (np.random.default_rng([seed, zlib.crc32(domain.encode()), kind]) for kind in (0, 1))
    randomised = significance.randomised(stacked, [pairs], measure.score, resamples, coins)[:, 0]
    drawn = significance.bootstrapped(stacked, measure.score, BOOTSTRAP, draws)
    return Sampled(_means(measure.score, stacked, pairs), randomised, _difference(drawn, pairs))


def _pairs(a: list[int | None], b: list[int | None]) -> Pairs:
    """Index pairs of the systems to compare, b first. Indices of b follow those of a."""
    same = [(len(a) + b.index(seed), a.index(seed)) for seed in a if seed in b]
    return same or [(len(a) + j, i) for i in range(len(a)) for j in range(len(b))]


def _means(score: Score, systems: np.ndarray, pairs: Pairs) -> tuple[float, float]:
    values = score(systems.sum(axis=1))
    return float(np.mean([values[i] for _, i in pairs])), float(np.mean([values[j] for j, _ in pairs]))


def _difference(scores: np.ndarray, pairs: Pairs) -> np.ndarray:
    return np.mean([scores[:, j] - scores[:, i] for j, i in pairs], axis=0)
