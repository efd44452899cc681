"""From the table of importance and information to a NeuronSet: every selection criterion behind one interface.

A criterion gives each neuron a score; the highest scores are selected. To add one, add an entry to CRITERIA.
A table can also be of attention heads; everything that is said here about neurons holds for them too.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from caneft.config import Half, Scope
from caneft.errors import InputError
from caneft.neurons import HEAD, NEURON, NeuronSet
from caneft.plan.settings import SelectionSettings

STREAM = 0xCA4EF7  # keeps the draws of `random` apart from other uses of the same seed

# The MI of the same counts in another order differs in the last bits (about 1e-16), and at realistic sample sizes many
# neurons have the same counts. Rounding makes their scores exact ties, which the flat index breaks. So every machine,
# and every other implementation, selects the same set.
DECIMALS = 12


@dataclass(frozen=True)
class Criterion:
    """score: (table, rng) -> one number per row. uses_task_relevant: whether the mask limits its candidates.

    unit: the only kind of unit that it selects; None for any.
    """

    score: Callable[[pd.DataFrame, np.random.Generator], np.ndarray]
    uses_task_relevant: bool
    description: str
    unit: str | None = None


@dataclass(frozen=True)
class Selection:
    """gamma: smallest consensus MI in the set, in nats. candidates_per_layer: number of candidates in each layer."""

    neurons: NeuronSet
    gamma: float
    candidates_per_layer: list[int]

    @property
    def candidates(self) -> int:
        return sum(self.candidates_per_layer)


def select(
    table: pd.DataFrame,
    criterion: str,
    neurons: int,
    relevant: np.ndarray | None = None,
    seed: int = 0,
    per_layer: int | Sequence[int] | None = None,
    unit: str = NEURON,
    among: np.ndarray | None = None,
) -> Selection:
    """The `neurons` highest scores of a criterion; equal scores go to the lower flat index.

    table: from `information.table`. relevant: bool mask of the task-relevant neurons, shape (rows,), None for all;
    criteria that do not use it ignore it. seed: used by `random` alone, as default_rng([seed, 0xCA4EF7]).
    per_layer: the most neurons per layer, one number for all layers or one for each; None for no limit. Neurons of a
    full layer are skipped. unit: the table's kind of unit. among: bool mask (rows,) that further limits the candidates,
    as from `active` or `halves`; None for all. Raises InputError if there are fewer candidates than `neurons`, a
    candidate's score is not a number, or the criterion is not for this unit.
    """
    layers, width = _grid(table)
    rule = _rule(criterion, unit)
    mask = relevant if rule.uses_task_relevant and relevant is not None else np.ones(len(table), bool)
    mask = mask if among is None else mask & among
    candidates = np.flatnonzero(mask)
    of_layers = np.bincount(candidates // width, minlength=layers)
    possible = _within_layers(of_layers, per_layer)
    if not 1 <= neurons <= possible:
        limited, masked = possible < len(candidates), rule.uses_task_relevant and len(candidates) < len(table)
        raise InputError(
            f"criterion {criterion}: {neurons} {unit}s asked for, {len(candidates)} of {len(table)} remain as"
            " candidates"
            + (f", of which {possible} fit into layers of {per_layer}" if limited else "")
            + ". Lower the budget"
            + (", raise selection.per_layer" if limited else "")
            + (", raise selection.task_relevant or switch it off with null" if masked else "")
            + (", or have fewer neurons left out (active_share, among)" if among is not None else "")
        )
    scores = score(table, criterion, seed)
    if missing := np.isnan(scores[candidates]).sum():
        raise InputError(f"criterion {criterion}: the score of {missing} {unit}s is not a number")
    chosen = best(scores.reshape(layers, width), mask, neurons, per_layer)
    gamma = float(_consensus(table)[chosen].min())
    return Selection(NeuronSet.from_flat(layers, width, chosen, unit), gamma, of_layers.tolist())


def best(
    scores: np.ndarray, mask: np.ndarray, neurons: int, per_layer: int | Sequence[int] | None = None
) -> np.ndarray:
    """Flat indices of the highest scores, the highest first; fewer than `neurons` if mask and limits leave fewer.

    scores: (layers, width). mask: bool (layers * width,), of the candidates. per_layer: as for `select`.
    """
    layers, width = scores.shape
    candidates = np.flatnonzero(mask)
    ranked = candidates[np.argsort(-scores.ravel()[candidates], kind="stable")]
    limits = np.broadcast_to(width if per_layer is None else per_layer, layers)
    return ranked[_place_in_layer(ranked // width) < limits[ranked // width]][:neurons]


def score(table: pd.DataFrame, criterion: str, seed: int = 0) -> np.ndarray:
    """Score of each row by a criterion; the highest are selected. seed: as for `select`."""
    return CRITERIA[criterion].score(table, np.random.default_rng([seed, STREAM]))


def _rule(criterion: str, unit: str) -> Criterion:
    """The entry of a criterion. Raises InputError if it is not for this unit."""
    rule = CRITERIA[criterion]
    if rule.unit not in (None, unit):
        raise InputError(f"criterion {criterion} selects {rule.unit}s, but the table of information is of {unit}s")
    return rule


def _within_layers(counts: np.ndarray, per_layer: int | Sequence[int] | None) -> int:
    """Number of neurons that can be taken from layers with these counts, at most `per_layer` from each."""
    return int(counts.sum() if per_layer is None else np.minimum(counts, per_layer).sum())


def _place_in_layer(layers: np.ndarray) -> np.ndarray:
    """For each entry, the number of earlier entries of the same layer: [1, 0, 1, 1, 0] -> [0, 0, 1, 2, 1]."""
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
    unit_parameters: int | None = None,
    per_layer: int | None = None,
) -> int:
    """Number of neurons in a budget, given by exactly one of `fraction`, `gamma` and `parameters`.

    fraction: share of all neurons, in (0, 1]; at least one neuron. gamma: every neuron of the mask `relevant` (None for
    all) whose consensus MI is at least gamma, in nats, and at most `per_layer` per layer; InputError if there is none.
    parameters: as many neurons as fit into this number of weights, unit_parameters each; InputError if none fits or
    unit_parameters is None.
    """
    if [fraction, gamma, parameters].count(None) != 2:
        raise InputError(
            "a budget is one of fraction, gamma and parameters:"
            f" fraction {fraction}, gamma {gamma}, parameters {parameters}"
        )
    if fraction is not None:
        return max(1, round(_share("fraction", fraction) * len(table)))
    if parameters is not None:
        return _affordable(parameters, unit_parameters)
    consensus = np.where(True if relevant is None else relevant, _consensus(table), -np.inf)
    reached = table["layer"].to_numpy()[consensus >= round(gamma, DECIMALS)]
    count = _within_layers(np.bincount(reached), per_layer)
    if count == 0:
        raise InputError(f"no neuron reaches gamma {gamma}: the highest consensus is {consensus.max(initial=0)} nats")
    return count


def _affordable(parameters: int, unit_parameters: int | None) -> int:
    """Number of neurons, or heads, that fit into this number of weights."""
    if unit_parameters is None:
        raise InputError(
            "a budget in parameters needs the number of weights of a neuron or head, which the importance dumps do not"
            " say. Delete them and run the workflow again, or give a fraction"
        )
    if parameters < unit_parameters:
        raise InputError(
            f"a budget of {parameters} parameters is less than one neuron or head: here one has {unit_parameters}"
        )
    return parameters // unit_parameters


def task_relevant(table: pd.DataFrame, q: float, scope: Scope = "model") -> np.ndarray:
    """Mask (rows,) of the neurons whose mean importance is in the top q share of every domain.

    q: in (0, 1], a share of all n neurons (scope `model`) or of the n of each layer (scope `layer`). The threshold of a
    domain (in a layer, with scope `layer`) is its ceil(q * n)-th largest mean importance; neurons at the threshold are
    included.
    """
    groups = _grid(table)[0] if scope == "layer" else 1
    importance = _by_domain(table, "importance")
    importance = importance.reshape(groups, len(table) // groups, -1)
    rank = math.ceil(_share("task_relevant", q) * importance.shape[1])
    thresholds = np.sort(importance, axis=1)[:, -rank]
    return (importance >= thresholds[:, None]).all(axis=-1).ravel()


def active(table: pd.DataFrame, share: float) -> np.ndarray:
    """Mask (rows,) of the neurons whose activation probability in any domain is in the top share of all probabilities.

    This is the filter of the LAPE paper (Tang et al., ACL 2024), as in its identify.py: of the n probabilities of all
    neurons and domains together, at least one of the neuron's own must exceed the round((1 - share) n)-th smallest.
    share: in (0, 1].
    """
    probability = _by_domain(table, "positive")
    rank = round((1 - _share("active_share", share)) * probability.size)
    threshold = np.sort(probability, axis=None)[rank - 1] if rank else -np.inf
    return (probability > threshold).any(axis=1)


def halves(table: pd.DataFrame, names: Sequence[Half]) -> np.ndarray:
    """Mask (rows,) of the neurons that are in every named half.

    By information or importance, the high half of a layer with n neurons is the n // 2 with the highest consensus MI or
    mean importance over the domains; ties go to the lower index. The low half is the rest. The first m // 2 of m
    layers are early.
    """
    layers, width = _grid(table)
    mask = np.ones((layers, width), bool)
    for name in names:
        side, _, of = name.partition("-")
        if of == "layers":
            upper = np.broadcast_to((np.arange(layers) < layers // 2)[:, None], mask.shape)
        else:
            values = _consensus(table) if of == "information" else _by_domain(table, "importance").mean(axis=1)
            order = np.argsort(-values.reshape(layers, width), axis=1, kind="stable")
            upper = np.zeros_like(mask)
            np.put_along_axis(upper, order[:, : width // 2], True, axis=1)
        mask &= upper if side in ("high", "early") else ~upper
    return mask.ravel()


def _share(name: str, value: float) -> Fraction:
    """The share as an exact decimal. With a float, 0.1 of 30 neurons would be slightly more than 3, rounded up to 4."""
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


def _geometric(information: np.ndarray) -> np.ndarray:
    """Geometric mean of each row, float64 (rows,); 0 if one of its values is 0."""
    return np.prod(information ** (1 / information.shape[1]), axis=1).round(DECIMALS)


def _harmonic(information: np.ndarray) -> np.ndarray:
    """Harmonic mean of each row, float64 (rows,); 0 if one of its values is 0."""
    return (1 / (1 / np.maximum(information, 1e-300)).mean(axis=1)).round(DECIMALS)


def _specificity(table: pd.DataFrame) -> np.ndarray:
    """Minus the entropy over domains of the normalised activation probabilities, in nats; at most 0.

    The score of language activation probability entropy (LAPE: Tang et al., ACL 2024); that paper's filter on rarely
    active neurons is `active`. A neuron that never activates counts as equally active in all domains.
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
    "caneft-geometric": Criterion(
        lambda table, rng: _geometric(_by_domain(table, "mi")),
        True,
        "highest geometric mean over the domains of the one-vs-rest MI",
    ),
    "caneft-harmonic": Criterion(
        lambda table, rng: _harmonic(_by_domain(table, "mi")),
        True,
        "highest harmonic mean over the domains of the one-vs-rest MI",
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
        lambda table, rng: _specificity(table),
        False,
        "lowest entropy of the activation probability over domains",
        NEURON,  # a head has no gate that is open or closed
    ),
    "random": Criterion(lambda table, rng: rng.random(len(table)), False, "a uniform draw from all neurons"),
    "caneft-attention": Criterion(
        lambda table, rng: _consensus(table),
        False,
        "attention heads of highest consensus MI, without a task-relevant mask: it would leave too few heads",
        HEAD,
    ),
}


def count(
    table: pd.DataFrame, settings: SelectionSettings, null_quantile: float, hidden_size: int | None = None
) -> int:
    """Number of neurons in the budget of the settings. null_quantile: the gamma for `gamma: "null"`."""
    return _count(table, {"null": {"quantile": null_quantile}, "hidden_size": hidden_size}, settings)


def _count(table: pd.DataFrame, about: Mapping[str, Any], settings: SelectionSettings) -> int:
    """The same for neurons or heads, as `about` says. For heads, gamma has no mask: see `caneft-attention`."""
    gamma = about["null"]["quantile"] if settings.gamma == "null" else settings.gamma
    q, scope = settings.budget_task_relevant, settings.budget_task_relevant_scope
    relevant = None if about.get("unit") == HEAD else _mask(table, q, scope)
    unit_parameters, per_layer = _unit_parameters(about), settings.per_layer
    return budget(table, settings.fraction, gamma, relevant, settings.parameters, unit_parameters, per_layer)


def _unit_parameters(about: Mapping[str, Any]) -> int | None:
    """Weights of one neuron or head, None if unknown. A neuron has a row of gate, a row of up and a column of down."""
    unit_parameters, hidden_size = about.get("unit_parameters"), about.get("hidden_size")
    if unit_parameters is None and hidden_size is not None and about.get("unit", NEURON) == NEURON:
        return 3 * hidden_size
    return unit_parameters


def _mask(table: pd.DataFrame, q: float | None, scope: Scope) -> np.ndarray | None:
    return None if q is None else task_relevant(table, q, scope)


def choose(
    table: pd.DataFrame,
    about: Mapping[str, Any],
    settings: SelectionSettings,
    draw: int,
    like: NeuronSet | None = None,
) -> tuple[Selection, dict[str, Any]]:
    """The selection that the settings define, and its description for the run record.

    The budget is the same for every criterion. draw: seed of `random`.
    about: content of `information.json`. Its null quantile is the gamma for `gamma: "null"`; without `unit`, the table
    is of neurons. The weights of a unit come from `unit_parameters` or else, for neurons, from `hidden_size`.
    like: a set whose number of neurons in each layer is the budget, instead of that in `settings`.
    """
    unit, unit_parameters = about.get("unit", NEURON), _unit_parameters(about)
    neurons, per_layer = (_count(table, about, settings), settings.per_layer) if like is None else _numbers(like)
    relevant = _mask(table, settings.task_relevant, settings.task_relevant_scope)
    among = None if settings.active_share is None else active(table, settings.active_share)
    among = halves(table, settings.among) if settings.among else among
    chosen = select(table, settings.criterion, neurons, relevant, draw, per_layer, unit, among)
    return chosen, {
        "criterion": settings.criterion,
        "unit": unit,
        "draw": draw,
        "neurons": len(chosen.neurons),
        "fraction": chosen.neurons.fraction,
        "parameters": None if unit_parameters is None else chosen.neurons.parameters(unit_parameters),
        "gamma": chosen.gamma,
        "candidates": chosen.candidates,
        "candidates_per_layer": chosen.candidates_per_layer,
        "per_layer": chosen.neurons.per_layer().tolist(),
        "layer_matched": like is not None,
        "settings": settings.model_dump(),
    }


def _numbers(like: NeuronSet) -> tuple[int, list[int]]:
    """Number of neurons in a set, and in each of its layers."""
    return len(like), like.per_layer().tolist()
