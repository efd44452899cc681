"""From the table of importance and information to a NeuronSet: every selection criterion behind one interface.

A criterion gives each neuron a score; the highest scores are selected. To add one, add an entry to CRITERIA.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.settings import SelectionSettings

STREAM = 0xCA4EF7  # keeps the draws of `random` apart from other uses of the same seed

# MI of the same counts in another order differs in the last bits (about 1e-16), and at realistic sample sizes many
# neurons do have the same counts. Rounded scores make these real ties, which the flat index then decides: the same set
# on every machine, and from every other implementation.
DECIMALS = 12


@dataclass(frozen=True)
class Criterion:
    """score: (table, rng) -> one number per row. uses_task_relevant: whether the mask limits its candidates."""

    score: Callable[[pd.DataFrame, np.random.Generator], np.ndarray]
    uses_task_relevant: bool
    description: str


@dataclass(frozen=True)
class Selection:
    """gamma: smallest consensus MI in the set, in nats. candidates: how many neurons could have been chosen."""

    neurons: NeuronSet
    gamma: float
    candidates: int


def select(
    table: pd.DataFrame,
    criterion: str,
    neurons: int,
    relevant: np.ndarray | None = None,
    seed: int = 0,
    per_layer: int | None = None,
) -> Selection:
    """The `neurons` highest scores of a criterion; equal scores go to the lower flat index.

    table: from `information.table`. relevant: bool mask of the task-relevant neurons, shape (rows,), None for all;
    criteria that do not use it ignore it. seed: used by `random` alone, as default_rng([seed, 0xCA4EF7]).
    per_layer: no more neurons of one layer; those of a full layer are passed over, None for no limit.
    Raises InputError if there are fewer candidates than neurons asked for.
    """
    layers, width = _grid(table)
    rule = CRITERIA[criterion]
    mask = relevant if rule.uses_task_relevant and relevant is not None else np.ones(len(table), bool)
    candidates = np.flatnonzero(mask)
    possible = _within_layers(np.bincount(candidates // width), per_layer)
    if not 1 <= neurons <= possible:
        limited, masked = possible < len(candidates), len(candidates) < len(table)
        raise InputError(
            f"criterion {criterion}: {neurons} neurons asked for, {len(candidates)} of {len(table)} remain as"
            " candidates"
            + (f", of which {possible} fit into layers of {per_layer}" if limited else "")
            + ". Lower the budget"
            + (", raise selection.per_layer" if limited else "")
            + (", raise selection.task_relevant or switch it off with null" if masked else "")
        )
    score = rule.score(table, np.random.default_rng([seed, STREAM]))[candidates]
    if np.isnan(score).any():
        raise InputError(f"criterion {criterion}: the score of {np.isnan(score).sum()} neurons is not a number")
    ranked = candidates[np.argsort(-score, kind="stable")]
    chosen = ranked[_place_in_layer(ranked // width) < (per_layer or width)][:neurons]
    gamma = float(_consensus(table)[chosen].min())
    return Selection(NeuronSet.from_flat(layers, width, chosen), gamma, len(candidates))


def _within_layers(counts: np.ndarray, per_layer: int | None) -> int:
    """How many neurons of the layers' counts can be taken, no more than `per_layer` of each."""
    return int(counts.sum() if per_layer is None else np.minimum(counts, per_layer).sum())


def _place_in_layer(layers: np.ndarray) -> np.ndarray:
    """For each entry how many before it have the same layer: [1, 0, 1, 1, 0] -> [0, 0, 1, 2, 1]."""
    order = np.argsort(layers, kind="stable")
    first = np.searchsorted(layers[order], layers[order])  # where an entry's layer begins
    places = np.empty(len(layers), np.int64)
    places[order] = np.arange(len(layers)) - first
    return places


def budget(
    table: pd.DataFrame,
    fraction: float | None = None,
    gamma: float | None = None,
    relevant: np.ndarray | None = None,
    parameters: int | None = None,
    hidden_size: int | None = None,
    per_layer: int | None = None,
) -> int:
    """How many neurons a budget stands for: exactly one of `fraction`, `gamma` and `parameters` is given.

    fraction: share of all neurons, in (0, 1]; at least one neuron. gamma: every neuron of the mask (None for all)
    whose consensus MI is at least gamma, in nats, no more than `per_layer` of a layer; InputError if there is none.
    parameters: as many neurons as have at most so many weights; InputError if that is none, or hidden_size is None.
    """
    if [fraction, gamma, parameters].count(None) != 2:
        raise InputError(
            "a budget is one of fraction, gamma and parameters:"
            f" fraction {fraction}, gamma {gamma}, parameters {parameters}"
        )
    if fraction is not None:
        return max(1, round(_share("fraction", fraction) * len(table)))
    if parameters is not None:
        return _affordable(parameters, hidden_size)
    consensus = np.where(True if relevant is None else relevant, _consensus(table), -np.inf)
    reached = table["layer"].to_numpy()[consensus >= round(gamma, DECIMALS)]
    count = _within_layers(np.bincount(reached), per_layer)
    if count == 0:
        raise InputError(f"no neuron reaches gamma {gamma}: the highest consensus is {consensus.max(initial=0)} nats")
    return count


def _affordable(parameters: int, hidden_size: int | None) -> int:
    """Neurons that have at most so many weights."""
    if hidden_size is None:
        raise InputError(
            "a budget in parameters needs the model's hidden size, which the importance dumps do not say. Delete them"
            " and run the workflow again, or give a fraction"
        )
    neurons = parameters // (3 * hidden_size)
    if neurons < 1:
        raise InputError(
            f"a budget of {parameters} parameters is less than one neuron: with hidden size {hidden_size} one has"
            f" {3 * hidden_size}"
        )
    return neurons


def task_relevant(table: pd.DataFrame, q: float) -> np.ndarray:
    """Mask (rows,) of the neurons whose mean importance is in the top q share of every domain, over all layers.

    q: in (0, 1]. A domain's threshold is its ceil(q * rows)-th largest mean importance; neurons at it are included.
    """
    rank = math.ceil(_share("task_relevant", q) * len(table))
    importance = _by_domain(table, "importance")
    thresholds = np.sort(importance, axis=0)[-rank]
    return (importance >= thresholds).all(axis=1)


def _share(name: str, value: float) -> Fraction:
    """The share as it is written: as a float, 0.1 of 30 neurons would be a little more than 3, and 4 rounded up."""
    share = Fraction(str(value))
    if not 0 < share <= 1:
        raise InputError(f"{name} is {value}: a share lies above 0 and is at most 1")
    return share


def _grid(table: pd.DataFrame) -> tuple[int, int]:
    """(layers, width) of the table. Raises InputError unless it holds every neuron once, layer by layer."""
    layers, width = (int(table[name].max()) + 1 if len(table) else 0 for name in ("layer", "neuron"))
    flat = table["layer"].to_numpy(np.int64) * width + table["neuron"].to_numpy(np.int64)
    if len(table) == 0 or not np.array_equal(flat, np.arange(layers * width)):
        raise InputError(f"a table of {len(table)} rows is not the grid of {layers} layers x {width} neurons in order")
    return layers, width


def _by_domain(table: pd.DataFrame, name: str) -> np.ndarray:
    """The columns {name}_{domain}, as (rows, domains)."""
    columns = [column for column in table.columns if column.startswith(f"{name}_")]
    return table[columns].to_numpy(np.float64)


def _consensus(table: pd.DataFrame) -> np.ndarray:
    return table["consensus"].to_numpy(np.float64).round(DECIMALS)


def _specificity(table: pd.DataFrame) -> np.ndarray:
    """Minus the entropy over domains of the normalised activation probabilities, in nats; at most 0.

    The score of language activation probability entropy (LAPE: Tang et al., ACL 2024), without that paper's filter
    on rarely active neurons. A neuron that never activates counts as active everywhere alike.
    """
    probability = _by_domain(table, "positive")
    total = probability.sum(axis=1, keepdims=True)
    uniform = np.full_like(probability, 1 / probability.shape[1])
    share = np.divide(probability, total, out=uniform, where=total > 0)
    return (share * np.log(np.where(share > 0, share, 1))).sum(axis=1).round(DECIMALS)


CRITERIA: dict[str, Criterion] = {
    "caneft": Criterion(
        lambda table, rng: _consensus(table), True, "highest consensus MI: the least one-vs-rest MI over the domains"
    ),
    "joint": Criterion(
        lambda table, rng: table["joint"].to_numpy(np.float64).round(DECIMALS), True, "highest joint MI with the domain"
    ),
    "bottom": Criterion(lambda table, rng: -_consensus(table), True, "lowest consensus MI, a control"),
    "importance": Criterion(
        lambda table, rng: _by_domain(table, "importance").mean(axis=1), False, "highest mean importance |a g|"
    ),
    "activation": Criterion(
        lambda table, rng: _by_domain(table, "activation").mean(axis=1), False, "highest mean activation |a|"
    ),
    "gradient": Criterion(
        lambda table, rng: _by_domain(table, "gradient").mean(axis=1), False, "highest mean activation gradient |g|"
    ),
    "specific": Criterion(
        lambda table, rng: _specificity(table), False, "lowest entropy of the activation probability over domains"
    ),
    "random": Criterion(lambda table, rng: rng.random(len(table)), False, "a uniform draw from all neurons"),
}


def count(
    table: pd.DataFrame, settings: SelectionSettings, null_quantile: float, hidden_size: int | None = None
) -> int:
    """How many neurons the budget of settings stands for. null_quantile: gamma of `gamma: "null"`."""
    gamma = null_quantile if settings.gamma == "null" else settings.gamma
    relevant = _mask(table, settings.budget_task_relevant)
    return budget(table, settings.fraction, gamma, relevant, settings.parameters, hidden_size, settings.per_layer)


def _mask(table: pd.DataFrame, q: float | None) -> np.ndarray | None:
    return None if q is None else task_relevant(table, q)


def choose(
    table: pd.DataFrame, settings: SelectionSettings, null_quantile: float, draw: int, hidden_size: int | None = None
) -> tuple[Selection, dict[str, Any]]:
    """The selection that settings ask for, and its description for the run record.

    The budget is the same for every criterion. null_quantile: gamma of `gamma: "null"`. draw: seed of `random`.
    hidden_size: of the model, None if unknown; then neither is the number of parameters.
    """
    neurons = count(table, settings, null_quantile, hidden_size)
    relevant = _mask(table, settings.task_relevant)
    chosen = select(table, settings.criterion, neurons, relevant, draw, settings.per_layer)
    return chosen, {
        "criterion": settings.criterion,
        "draw": draw,
        "neurons": len(chosen.neurons),
        "fraction": chosen.neurons.fraction,
        "parameters": None if hidden_size is None else chosen.neurons.parameters(3 * hidden_size),
        "gamma": chosen.gamma,
        "candidates": chosen.candidates,
        "per_layer": chosen.neurons.per_layer().tolist(),
        "settings": settings.model_dump(),
    }
