"""How far selected sets of neurons overlap: Jaccard between criteria, domains, draws, models and directions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import inputs, results
from caneft.reporting.inputs import Block
from caneft.reporting.measures import jaccard_by_chance, of_block
from caneft.reporting.shown import main_variants


@dataclass(frozen=True)
class Sets:
    """Overlaps within one selection (model, direction, mixture that neurons are selected on).

    criteria: Jaccard between the variants that select `neurons` neurons each, by their first draw. by_chance: the
    same for random sets of the candidates of two criteria. domains: Jaccard between the domains' sets of `neurons`
    neurons with the highest MI of that domain against the rest. chance: Jaccard of random sets of that size. draws: one
    row per variant: kind (`seeds`, pairs of draws; `halves`, disjoint halves of the samples), samples (of a domain in a
    half), jaccard (mean), and chance (of random sets of the candidates; for halves, of shuffled labels).
    """

    neurons: int
    total: int
    chance: float
    criteria: pd.DataFrame
    by_chance: pd.DataFrame
    domains: pd.DataFrame
    draws: pd.DataFrame


def sets(plan: Plan, root: str | Path) -> dict[Block, Sets]:
    """Overlaps by (model, direction, mixture selected on), for the variants of the most common budget only."""
    curves = results.stability(plan, root)
    return {
        selection: _sets(plan, Path(root), blocks, of_block(curves, selection))
        for selection, blocks in inputs.selections(plan).items()
    }


def _sets(plan: Plan, root: Path, blocks: list[Block], curves: pd.DataFrame) -> Sets:
    chosen, candidates = _chosen(plan, root, blocks)
    first = {variant: draws[min(draws)] for variant, draws in chosen.items()}
    sizes = [len(found) for found in first.values()]
    neurons = max(sizes, key=lambda size: (sizes.count(size), size))  # the most common budget
    equal = {variant: found for variant, found in first.items() if len(found) == neurons}
    one = next(iter(equal.values()))
    total = one.layers * one.width
    return Sets(
        neurons=neurons,
        total=total,
        chance=jaccard_by_chance(neurons, neurons, total),
        criteria=_jaccards(equal),
        by_chance=_matrix(equal, lambda a, b: jaccard_by_chance(neurons, neurons, max(candidates[a], candidates[b]))),
        domains=_jaccards(_of_domains(plan, root, blocks, one, neurons)),
        draws=pd.DataFrame(
            [*_seeds(chosen, candidates), *_halves(plan, blocks, curves)],
            columns=["variant", "kind", "samples", "jaccard", "chance"],
        ),
    )


def _chosen(plan: Plan, root: Path, blocks: list[Block]) -> tuple[dict[str, dict[int, NeuronSet]], dict[str, int]]:
    """Neuron sets by variant and draw, without a method's further budgets; and by variant the number of candidates.

    The candidates of a criterion are assumed to be among those of any criterion that has more.
    """
    found: dict[str, dict[int, NeuronSet]] = {}
    candidates = {}
    for file, chosen, about in results.neuron_sets(plan, root, blocks):
        found.setdefault(file.variant, {})[file.seed] = chosen
        candidates[file.variant] = about.get("candidates", chosen.layers * chosen.width)
    return {variant: found[variant] for variant in main_variants(plan, found)}, candidates


def _of_domains(plan: Plan, root: Path, blocks: list[Block], one: NeuronSet, count: int) -> dict[str, NeuronSet]:
    """For each domain, the neurons with the highest MI of that domain against the rest; ties go to the first."""
    table, sidecar = results.information_table(plan, root, blocks, "mi")
    flat = (table["layer"] * one.width + table["neuron"]).to_numpy()
    found = {}
    for domain in sidecar["domains"]:
        top = np.lexsort((flat, -table[f"mi_{domain}"].to_numpy()))[:count]
        found[domain] = NeuronSet.from_flat(one.layers, one.width, flat[top])
    return found


def _seeds(chosen: Mapping[str, dict[int, NeuronSet]], candidates: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Means over pairs of draws, for variants with several (`random`, or all if importance is drawn per seed)."""
    for variant, draws in chosen.items():
        if len(draws) > 1:
            pairs = list(combinations(draws.values(), 2))
            by_chance = [jaccard_by_chance(len(a), len(b), candidates[variant]) for a, b in pairs]
            means = {"jaccard": np.mean([a.jaccard(b) for a, b in pairs]), "chance": np.mean(by_chance)}
            yield {"variant": variant, "kind": "seeds"} | means


def _halves(plan: Plan, blocks: list[Block], curves: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Agreement of two disjoint halves of the samples, at the largest size, for the first variant of method `caneft`.

    Complements `_seeds`, since by default `caneft` does not depend on the seed. curves: rows of `results.stability`.
    Chance is the grey line of the figure of stability.
    """
    caneft = inputs.shared_set(plan, blocks)
    curve = results.own_curve(plan, curves, caneft.variant if caneft else None)
    if len(curve):
        largest = curve["samples"].max()
        last, same = (rows[rows["samples"] == largest] for rows in (curve, curves))
        noise = same.loc[same["scope"] == curve["scope"].iloc[0], "noise_jaccard"].mean()
        agreement = {"samples": largest, "jaccard": last["jaccard"].mean(), "chance": noise}
        yield {"variant": caneft.variant, "kind": "halves"} | agreement


def _jaccards(found: Mapping[str, NeuronSet]) -> pd.DataFrame:
    return _matrix(found, lambda a, b: found[a].jaccard(found[b]))


def _matrix(names: Iterable[str], value: Callable[[str, str], float]) -> pd.DataFrame:
    return pd.DataFrame([[value(a, b) for b in names] for a in names], index=list(names), columns=list(names))


def across(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per pair of selections of models of equal shape: a, b (model, direction, mixture), jaccard, chance.

    Compares the first draw of the first variant of method `caneft`. Neurons of independently trained bases share only
    their numbers, so expect chance between these; two directions of one base may share more.
    """
    found = {}
    for selection, blocks in inputs.selections(plan).items():
        caneft = next((file for file in inputs.neuron_files(plan, blocks) if file.method == "caneft"), None)
        if caneft is not None:
            found[selection] = results.read_neurons(Path(root) / caneft.path)
    rows = [
        {"a": a, "b": b, "jaccard": first.jaccard(second)}
        | {"chance": jaccard_by_chance(len(first), len(second), first.layers * first.width)}
        for (a, first), (b, second) in combinations(found.items(), 2)
        if (first.layers, first.width) == (second.layers, second.width)
    ]
    return pd.DataFrame(rows, columns=["a", "b", "jaccard", "chance"])
