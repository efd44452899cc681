"""The evidence for and against a claim: which variants are compared, and with what numbers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from caneft.config.names import AVERAGE_SEEN, AVERAGE_UNSEEN
from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.plan import Plan, comparison
from caneft.reporting import roles, shown
from caneft.reporting.inputs import Block
from caneft.reporting.labels import label, p_text, signed
from caneft.reporting.measures import headline, jaccard_by_chance
from caneft.scoring.significance import LEAST_RUNS, Difference, Errors, holm, pooled_deviation

DRAWS = 2000


class Quoted:
    """Differences that a block's verdicts quote, by what is compared and with which variant; Holm adjusts p over all.

    enough: whether there are enough runs for a statement about methods; else all p are nan.
    """

    def __init__(self, differences: Mapping[tuple[str, str], Difference], enough: bool):
        self.found = dict(differences)
        p = holm([found.p for found in self.found.values()]) if enough else [math.nan] * len(self.found)
        self.adjusted = dict(zip(self.found, p, strict=True))

    def sign(self, what: str, other: str, alpha: float) -> int | None:
        """1 if the difference is significantly above 0, -1 if below, else 0; None if the two are not compared."""
        key = what, other
        if key not in self.found:
            return None
        return int(np.sign(self.found[key].value)) if self.adjusted[key] < alpha else 0

    def say(self, what: str, other: str, unit: str) -> str:
        """The difference in words, with its interval, both parts of its standard error, and its adjusted p."""
        found, p = self.found[what, other], self.adjusted[what, other]
        if math.isnan(p):
            return f"{signed(found.value)} {unit} (standard error {found.segments:.2f} of segments, unknown of runs)"
        low, high = found.interval
        parts = f"standard error {found.segments:.2f} of segments, {found.runs:.2f} of runs"
        parts += f"; a bend between rates may hide {found.bias:.2f}" if found.bias else ""
        return f"{signed(found.value)} {unit} (95 % {signed(low)} to {signed(high)}; {parts}; {p_text(p)})"


def errors(content: Mapping[str, Any], metric: str) -> dict[str, Errors]:
    """Scores and errors of a block's variants by column, in one metric. content: that of its file of significance.

    Raises InputError if the file has no tests in this metric.
    """
    if metric not in content["metrics"]:
        raise InputError(f"the file of significance has no tests in {metric}; run the workflow again")
    found = content["metrics"][metric]
    return {
        column: Errors.from_json({v: s[column]["score"] for v, s in found["scores"].items()}, found["runs"], entry)
        for column, entry in found["errors"].items()
    }


def columns(plan: Plan, block: Block) -> tuple[str, str | None]:
    """The columns for the seen and the unseen domains: their average, or the only domain; None if none is unseen."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    of_unseen = AVERAGE_UNSEEN if len(unseen) > 1 else unseen[0] if unseen else None
    return AVERAGE_SEEN if len(seen) > 1 else seen[0], of_unseen


def unfair(plan: Plan, variants: Sequence[str]) -> str:
    """Why a comparison of these variants says nothing about the methods; empty if it does."""
    if fixed := [label(plan, v) for v in variants if not getattr(plan.config.methods[v], "grid", ())]:
        return f"No grid of learning rates for {', '.join(fixed)}: at one fixed rate a comparison shows the rate."
    if len(plan.config.seeds) < LEAST_RUNS:
        return f"Fewer than {LEAST_RUNS} seeds: how far runs of one method differ is not known."
    return ""


def best_on_dev(records: pd.DataFrame, variants: Sequence[str]) -> str | None:
    """The variant whose chosen rate reached the highest dev score; the first one on a tie, or if no rate was chosen."""
    reached = {}
    for variant in variants:
        choices = [choice for choice in records.loc[records["variant"] == variant, "choice"] if choice is not None]
        if choices:
            reached[variant] = comparison.reached(choices[0])
    return max(reached, key=reached.__getitem__, default=variants[0] if variants else None)


def common_mixtures(plan: Plan, block: Block, *variants: str) -> list[str]:
    """Mixtures of one of the block's domains on which all of these variants are trained."""
    trained = {
        mixture: {run.variant for run in plan.trained_runs(*block[:2], mixture)}
        for mixture in roles.single_domains(plan, block)
    }
    return [mixture for mixture, found in trained.items() if {*variants} <= found]


def on_single_domains(
    plan: Plan, block: Block, scores: pd.DataFrame, mixtures: Sequence[str], own_domain: bool = False
) -> dict[str, list[float]]:
    """By variant, for each seed, the mean difference to base of runs trained on these single-domain mixtures, over the
    block's other domains, in the headline metric. own_domain: over the trained domain itself instead."""
    own = headline(plan, _on(block, scores, mixtures))
    own = own[own["domain"].isin(plan.seen(*block[1:])) & (own["seen"] == own_domain)]
    base = own[own["method"] == "base"].groupby("domain")["score"].first()
    trained = own[own["seed"].notna()]
    if base.empty or trained.empty:
        return {}
    trained = trained.assign(difference=trained["score"] - trained["domain"].map(base))
    by_run = trained.groupby(["variant", "seed"], sort=False)["difference"].mean().dropna()
    return {variant: part.tolist() for variant, part in by_run.groupby("variant", sort=False)}


def dev_losses(block: Block, records: pd.DataFrame, mixtures: Sequence[str]) -> dict[str, float]:
    """By variant, the mean dev loss of its runs on these mixtures, each on its own domain. records: of all blocks."""
    own = _on(block, records, mixtures)
    return own[own["seed"].notna()].groupby("variant", sort=False)["dev_loss"].mean().astype(float).to_dict()


def _on(block: Block, frame: pd.DataFrame, mixtures: Sequence[str]) -> pd.DataFrame:
    """The rows of these mixtures, of the block's model and direction."""
    return frame[(frame["model"] == block[0]) & (frame["direction"] == block[1]) & frame["mixture"].isin(mixtures)]


def interference(
    plan: Plan, block: Block, scores: pd.DataFrame, tests: Mapping[str, Mapping[str, Errors]], a: str, b: str
) -> Difference | None:
    """How much less a harms other domains than b, both trained on the same single domains; None if there are none.

    tests: by single-domain mixture, the errors of its columns. All mixtures share the test segments of a domain, so the
    mean of their errors stands for the error of their mean, which cannot exceed it.
    """
    mixtures = common_mixtures(plan, block, a, b)
    by_seed = on_single_domains(plan, block, scores, mixtures)
    if a not in by_seed or b not in by_seed:
        return None
    segments = []
    for mixture, columns in ((mixture, tests[mixture]) for mixture in mixtures):
        others = [d for d in plan.seen(*block[1:]) if d in columns and d not in plan.seen(block[1], mixture)]
        pairs = [columns[domain].contrast({a: 1, b: -1}).segments for domain in others]
        segments += [math.hypot(*pairs) / len(pairs)] if pairs else []
    deviation, df = pooled_deviation(by_seed.values())
    runs = deviation * math.sqrt(1 / len(by_seed[a]) + 1 / len(by_seed[b]))
    return Difference(float(np.mean(by_seed[a]) - np.mean(by_seed[b])), float(np.mean(segments)), runs, df)


def sweep(plan: Plan, block: Block, method: str, records: pd.DataFrame) -> dict[int, list[str]]:
    """By number of neurons, ascending: the variant that differs from the method only in its budget, followed by random
    neurons of the same budget if there are any. records: rows of the block."""
    counts = records[records["unit"] == "neuron"].groupby("variant", sort=False)["neurons"].mean().to_dict()
    own = next((family.variants for family in shown.families(plan, counts) if method in family.variants), [])
    methods = plan.config.methods
    drawn = {
        v: n
        for v, n in counts.items()
        if methods[v].method == "random" and not (methods[v].layers_of or methods[v].among)
    }
    found = {}
    for variant in sorted(own, key=lambda variant: counts[variant]):
        same = [other for other, count in drawn.items() if count == counts[variant]]
        found.setdefault(round(counts[variant]), [variant, *same[:1]])
    return found


def per_layer_by_chance(candidates: Sequence[int], neurons: int) -> np.ndarray:
    """Neurons in each layer of random sets of this many, drawn among all layers' candidates: shape (DRAWS, layers)."""
    return np.random.default_rng(0).multivariate_hypergeometric(list(candidates), neurons, size=DRAWS)


LEAST_EXPECTED = 1
"""Neurons: layers that expect fewer count as one layer, since they would outweigh the others."""


def unevenness(counts: np.ndarray, candidates: Sequence[int]) -> np.ndarray:
    """Pearson's chi-squared of the neurons in each layer against the layers' shares of the candidates.

    counts: (..., layers), one set or several; returns (...). Layers that expect less than one neuron count as one.
    """
    expected = counts.sum(axis=-1, keepdims=True) * (np.array(candidates) / sum(candidates))
    small = expected.reshape(-1, len(candidates))[0] < LEAST_EXPECTED
    grouped = [
        np.concatenate([part[..., ~small], part[..., small].sum(axis=-1, keepdims=True)], axis=-1)
        for part in (counts, expected)
    ]
    there = grouped[1].reshape(-1, grouped[1].shape[-1])[0] > 0
    return ((grouped[0] - grouped[1]) ** 2 / np.where(there, grouped[1], 1)).sum(axis=-1, where=there)


def overlaps(
    plan: Plan, method: str, sets: Mapping[str, NeuronSet], candidates: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """A line for each other variant: Jaccard of its set with the method's, and of random sets of their candidates."""
    own = sets[method]
    for variant, other in sets.items():
        if variant != method and len(other):
            among = max(sum(candidates.get(name, [own.layers * own.width])) for name in (method, variant))
            by_chance = jaccard_by_chance(len(own), len(other), among)
            yield f"Jaccard with {label(plan, variant)} {own.jaccard(other):.2f}, by chance {by_chance:.2f}"
