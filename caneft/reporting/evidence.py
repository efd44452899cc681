"""What speaks for a claim or against it: who is compared with whom, and the numbers of that."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from caneft.config import Full, Lora, Neurons
from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import METRICS, label
from caneft.significance import holm

CLEARLY = "Clearly: by more than both deviations over seeds together, a rule of thumb and no test."
DRAWS = 2000
Measured = tuple[float, float, int]
"""Mean and deviation over seeds, and their number."""


class Tests:
    """Tests of the method against others in one metric, p adjusted by Holm over all of these together."""

    def __init__(self, content: Mapping[str, Any], metric: str, family: Sequence[tuple[str, str]]):
        """content: of a block's file of significance. family: column and other variant, of each comparison quoted."""
        if metric not in content["metrics"]:
            raise InputError(f"the file of significance has no tests in {metric}; run the workflow again")
        self.metric, own = metric, content["method"]
        both = {(entry["column"], entry["a"], entry["b"]): entry for entry in content["metrics"][metric]["comparisons"]}
        wanted = dict.fromkeys((column, other) for column, other in family if (column, own, other) in both)
        self.found = {key: both[key[0], own, key[1]] for key in wanted}
        self.adjusted = dict(zip(self.found, holm([entry["p"] for entry in self.found.values()]), strict=True))

    def sign(self, column: str, other: str, alpha: float) -> int:
        """1 if the method is significantly better, -1 if worse, else 0; 0 too where there is no test."""
        key = column, other
        if key not in self.found or self.adjusted[key] >= alpha:
            return 0
        return int(np.sign(self.found[key]["difference"]))

    def say(self, plan: Plan, column: str, other: str) -> str:
        """Difference, interval and adjusted p in words."""
        if (column, other) not in self.found:
            return f"against {label(plan, other)}: no test"
        entry, p = self.found[column, other], self.adjusted[column, other]
        difference, low, high = (f"{entry[key] + 0:+.1f}".replace("-", "−") for key in ("difference", "low", "high"))
        shown = f"p {p:.3f}" if p >= 0.001 else "p < 0.001"
        return f"against {label(plan, other)}: {difference} {METRICS[self.metric]} (95 % {low} to {high}; {shown})"


def columns(plan: Plan, block: Block) -> tuple[str, str | None]:
    """Columns of the seen and of the unseen domains: their average, or the one domain; None where none is unseen."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    of_unseen = "average_unseen" if len(unseen) > 1 else unseen[0] if unseen else None
    return "average_seen" if len(seen) > 1 else seen[0], of_unseen


def rivals(plan: Plan, block: Block) -> list[str]:
    """The block's first `full`, and its first `lora` with a rank of its own, or else of another's size."""
    loras = plan.variants_on(*block[1:], Lora)
    loras.sort(key=lambda variant: plan.config.methods[variant].equal_to is not None)
    return plan.variants_on(*block[1:], Full)[:1] + loras[:1]


def controls(plan: Plan, block: Block, method: str) -> list[str]:
    """LoRA of the method's size, and random neurons of its budget."""
    equal = [v for v in plan.variants_on(*block[1:], Lora) if plan.config.methods[v].equal_to == method]
    return equal + chance(plan, block, method)


def chance(plan: Plan, block: Block, method: str) -> list[str]:
    """Random neurons of the method's budget: overall, and with as many in each layer."""
    own = _budget_of(plan, method)
    return [
        v
        for v in plan.variants_on(*block[1:], Neurons)
        if plan.config.methods[v].method == "random"
        and (plan.config.methods[v].layers_of in (None, method))
        and (plan.config.methods[v].layers_of == method or _budget_of(plan, v) == own)
    ]


def criteria(plan: Plan, block: Block, method: str) -> list[str]:
    """Other criteria, of the same unit and budget; no controls."""
    own = plan.config.methods[method]
    if not isinstance(own, Neurons):
        return []
    return [
        v
        for v in plan.variants_on(*block[1:], Neurons)
        if plan.config.methods[v].method not in (own.method, "random", "bottom")
        and plan.unit(v) == plan.unit(method)
        and _budget_of(plan, v) == _budget_of(plan, method)
    ]


def _budget_of(plan: Plan, variant: str) -> str:
    """What the configuration says of a variant's budget; variants of one budget say the same."""
    method = plan.config.methods[variant]
    keys = ("fraction", "parameters", "gamma")
    own = {key: getattr(method, key, None) for key in keys}
    shared = {key: getattr(plan.config.selection, key, None) for key in keys}
    return json.dumps(own if any(value is not None for value in own.values()) else shared)


def unfair(plan: Plan, variants: Sequence[str]) -> str:
    """Why a comparison of these variants says nothing of the methods; empty if it may."""
    if fixed := [label(plan, v) for v in variants if not getattr(plan.config.methods[v], "grid", ())]:
        return f"No grid of learning rates for {', '.join(fixed)}: at one fixed rate a comparison shows the rate."
    return "One seed says nothing of the runs between which chance decides." if len(plan.config.seeds) < 2 else ""


def best_on_dev(records: pd.DataFrame, variants: Sequence[str]) -> str | None:
    """The variant whose chosen rate reached the highest dev score; the first of equals, or where none was chosen."""
    reached = {}
    for variant in variants:
        choices = [choice for choice in records.loc[records["variant"] == variant, "choice"] if choice is not None]
        if choices:
            reached[variant] = max(score for score in choices[0]["grid"].values() if score is not None)
    return max(reached, key=reached.__getitem__, default=variants[0] if variants else None)


def off_diagonal(plan: Plan, block: Block, scores: pd.DataFrame, own_domain: bool = False) -> dict[str, Measured]:
    """By variant: mean difference to base, in the headline metric, of runs trained on one domain of the block's model
    and direction, on all of the block's other domains; or on that domain itself."""
    own = scores[(scores["model"] == block[0]) & (scores["direction"] == block[1])]
    own = own[(own["metric"] == plan.config.scoring.metrics[0]) & (own["method"] != COPY)]
    single = [mixture for mixture in plan.mixtures(block[1]) if len(plan.seen(block[1], mixture)) == 1]
    own = own[own["mixture"].isin(single) & own["domain"].isin(plan.seen(*block[1:])) & (own["seen"] == own_domain)]
    base = own[own["method"] == "base"].groupby("domain")["score"].first()
    trained = own[own["seed"].notna()]
    if base.empty or trained.empty:
        return {}
    trained = trained.assign(difference=trained["score"] - trained["domain"].map(base))
    found = {variant: _over_seeds(rows, "difference") for variant, rows in trained.groupby("variant", sort=False)}
    return {variant: measured for variant, measured in found.items() if not math.isnan(measured[0])}


def gains(plan: Plan, scores: pd.DataFrame) -> dict[str, Measured]:
    """By variant: gain over the base in the headline metric on the seen domains. scores: rows of the block."""
    own = scores[(scores["metric"] == plan.config.scoring.metrics[0]) & scores["seen"]]
    base = own.loc[own["method"] == "base", "score"].mean()
    trained = own[own["seed"].notna()]
    found = {v: _over_seeds(rows, "score") for v, rows in trained.groupby("variant", sort=False)}
    return {} if math.isnan(base) else {v: (mean - base, deviation, n) for v, (mean, deviation, n) in found.items()}


def _over_seeds(rows: pd.DataFrame, value: str) -> Measured:
    by_seed = rows.groupby("seed")[value].mean()
    return float(by_seed.mean()), float(by_seed.std(ddof=1)), len(by_seed)


def beyond(a: Measured, b: Measured) -> int:
    """1 if a is above b by more than both deviations together, -1 if below, else 0; 0 too where they are unknown."""
    difference, margin = a[0] - b[0], a[1] + b[1]
    return 0 if math.isnan(margin) or abs(difference) <= margin else int(np.sign(difference))


def sweep(plan: Plan, block: Block, method: str, records: pd.DataFrame) -> dict[int, list[str]]:
    """By number of neurons, ascending: the variant that differs from the method in its budget alone, and random neurons
    of the same budget if there are any. records: rows of the block."""
    counts = records[records["unit"] == "neuron"].groupby("variant", sort=False)["neurons"].mean().to_dict()
    own = [v for v in counts if _but_for_budget(plan, v) == _but_for_budget(plan, method)]
    methods = plan.config.methods
    drawn = {v: n for v, n in counts.items() if methods[v].method == "random" and methods[v].layers_of is None}
    found = {}
    for variant in sorted(own, key=lambda variant: counts[variant]):
        same = [other for other, count in drawn.items() if count == counts[variant]]
        found.setdefault(round(counts[variant]), [variant, *same[:1]])
    return found


def _but_for_budget(plan: Plan, variant: str) -> dict[str, Any]:
    """What the configuration says of a variant beside its budget and what does not define it: a null that overrides
    the shared setting counts, so only what was set is looked at."""
    elsewhere = {"fraction", "parameters", "learning_rate", "resources"}
    return plan.config.methods[variant].model_dump(exclude=elsewhere, exclude_unset=True)


def fullest_by_chance(chosen: NeuronSet) -> np.ndarray:
    """Neurons in the fullest layer of sets of as many, drawn at random: shape (DRAWS,)."""
    rng = np.random.default_rng(0)
    sizes = [chosen.width] * chosen.layers
    return rng.multivariate_hypergeometric(sizes, len(chosen), size=DRAWS).max(axis=1)


def overlaps(plan: Plan, method: str, sets: Mapping[str, NeuronSet]) -> Iterator[str]:
    """Jaccard of the method's set with those of other variants, and what it would be of random sets of these sizes."""
    own = sets[method]
    for variant, other in sets.items():
        if variant != method and len(other):
            shared = len(own) * len(other) / (own.layers * own.width)
            expected = shared / (len(own) + len(other) - shared)
            yield f"Jaccard with {label(plan, variant)} {own.jaccard(other):.2f}, by chance {expected:.2f}"
