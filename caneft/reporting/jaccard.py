"""How far selected sets of neurons overlap: Jaccard between criteria, domains, draws, models and directions."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from caneft.neurons import NeuronSet, read_description
from caneft.plan import Plan
from caneft.reporting import inputs, results
from caneft.reporting.inputs import Block
from caneft.reporting.measures import jaccard_by_chance, of_block
from caneft.reporting.numeric import read_neurons, read_parquet
from caneft.reporting.reading import opened
from caneft.reporting.shown import main_variants


@dataclass(frozen=True)
class Sets:
    """Overlaps within one selection (model, direction, mixture that neurons are selected on).

    criteria: Jaccard of the variants with `neurons` neurons each, of several draws the first. domains: of the neurons
    with the highest MI of each domain against the rest, as many, and chance what random sets of that size share.
    by_chance: what random sets of the candidates of two criteria share. draws: one row per variant: kind (`seeds`,
    pairs of draws; `halves`, disjoint halves of the samples), samples (of a domain in a half), jaccard (mean), and
    chance: of random sets of the candidates, of halves with shuffled labels.
    """

    neurons: int
    total: int
    chance: float
    criteria: pd.DataFrame
    by_chance: pd.DataFrame
    domains: pd.DataFrame
    draws: pd.DataFrame


def sets(plan: Plan, root: str | Path) -> dict[Block, Sets]:
    """Overlaps by (model, direction, mixture selected on). Variants of other budgets are left out."""
    curves = results.stability(plan, root)
    return {
        selection: _sets(plan, Path(root), blocks, of_block(curves, selection))
        for selection, blocks in inputs.selections(plan).items()
    }


def _sets(plan: Plan, root: Path, blocks: list[Block], curves: pd.DataFrame) -> Sets:
    chosen, candidates = _chosen(plan, root, blocks)
    first = {variant: draws[min(draws)] for variant, draws in chosen.items()}
    sizes = [len(found) for found in first.values()]
    neurons = max(sizes, key=lambda size: (sizes.count(size), size))  # the budget that most variants have
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
    """Neuron sets by variant and draw, without further budgets of the same; and how many each was selected among.

    The candidates of one criterion are taken to be among those of any other that has more.
    """
    files = {file.path: file for file in inputs.neuron_files(plan, blocks) if file.unit == "neuron"}.values()
    kept = main_variants(plan, dict.fromkeys(file.variant for file in files))
    found: dict[str, dict[int, NeuronSet]] = {variant: {} for variant in kept}
    candidates = {}
    for file in files:
        if file.variant in found:
            chosen = found[file.variant][file.seed] = read_neurons(root / file.path)
            among = read_description(root / file.path).get("candidates", chosen.layers * chosen.width)
            candidates[file.variant] = among
    return found, candidates


def _of_domains(plan: Plan, root: Path, blocks: list[Block], one: NeuronSet, count: int) -> dict[str, NeuronSet]:
    """The neurons with the highest MI of each domain against the rest; among equals, the first."""
    file = next(file for file in inputs.information_files(plan, blocks) if file.unit == "neuron")
    with opened(root / inputs.sidecar(file)) as sidecar:
        domains = list(sidecar["domains"])
    table = read_parquet(root / file.path, ["layer", "neuron", *(f"mi_{domain}" for domain in domains)])
    flat = (table["layer"] * one.width + table["neuron"]).to_numpy()
    found = {}
    for domain in domains:
        top = np.lexsort((flat, -table[f"mi_{domain}"].to_numpy()))[:count]
        found[domain] = NeuronSet.from_flat(one.layers, one.width, flat[top])
    return found


def _seeds(chosen: Mapping[str, dict[int, NeuronSet]], candidates: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Variants with a set for each seed (`random`, or all where importance is drawn per seed): means over pairs."""
    for variant, draws in chosen.items():
        if len(draws) > 1:
            pairs = list(combinations(draws.values(), 2))
            by_chance = [jaccard_by_chance(len(a), len(b), candidates[variant]) for a, b in pairs]
            means = {"jaccard": np.mean([a.jaccard(b) for a, b in pairs]), "chance": np.mean(by_chance)}
            yield {"variant": variant, "kind": "seeds"} | means


def _halves(plan: Plan, blocks: list[Block], curves: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What two disjoint halves of the samples select, at the largest size: the seed means nothing to `caneft`.

    curves: rows of `results.stability`. Chance is the grey line of the figure of stability.
    """
    caneft = next((file for file in inputs.neuron_files(plan, blocks) if file.method == "caneft"), None)
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

    Of the first variant of method `caneft`, its first draw. Neurons of independently trained bases have nothing but
    their number in common, so that chance is what to expect of these; two directions of one base may share more.
    """
    found = {}
    for selection, blocks in inputs.selections(plan).items():
        caneft = next((file for file in inputs.neuron_files(plan, blocks) if file.method == "caneft"), None)
        if caneft is not None:
            found[selection] = read_neurons(Path(root) / caneft.path)
    rows = [
        {"a": a, "b": b, "jaccard": first.jaccard(second)}
        | {"chance": jaccard_by_chance(len(first), len(second), first.layers * first.width)}
        for (a, first), (b, second) in combinations(found.items(), 2)
        if (first.layers, first.width) == (second.layers, second.width)
    ]
    return pd.DataFrame(rows, columns=["a", "b", "jaccard", "chance"])
