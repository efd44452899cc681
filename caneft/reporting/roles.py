"""Roles of variants in the verdicts on a block: rivals, controls, other criteria. They depend only on the plan."""

import json
from collections.abc import Container

from caneft.config import Full, Lora, Neurons
from caneft.plan import Block, Plan


def rivals(plan: Plan, block: Block, method: str | None, among: Container[str] | None = None) -> list[str]:
    """The block's first `full`, and its first LoRA, preferably one of the method's size; never the method itself.

    among: only these variants; None for all.
    """
    of_size = sorted(loras(plan, block), key=lambda variant: plan.config.methods[variant].equal_to != method)
    kinds = plan.variants_on(*block[1:], Full), of_size
    return [v for kind in kinds for v in [v for v in kind if v != method and (among is None or v in among)][:1]]


def loras(plan: Plan, block: Block) -> list[str]:
    """LoRA variants that are not merged into the weights."""
    return [v for v in plan.variants_on(*block[1:], Lora) if not plan.config.methods[v].merged]


def controls(plan: Plan, block: Block, method: str) -> list[str]:
    """The first LoRA that does not take its size from another variant, and random neurons of the method's budget."""
    own = [v for v in loras(plan, block) if v != method and plan.config.methods[v].equal_to is None]
    return own[:1] + chance(plan, block, method)


def chance(plan: Plan, block: Block, method: str) -> list[str]:
    """Random variants of the method's budget, drawn from all neurons: overall, or as many in each layer as it has."""
    own = _budget_of(plan, method)
    return [
        v
        for v in plan.variants_on(*block[1:], Neurons)
        if v != method
        and plan.config.methods[v].method == "random"
        and not plan.config.methods[v].among
        and (plan.config.methods[v].layers_of in (None, method))
        and (plan.config.methods[v].layers_of == method or _budget_of(plan, v) == own)
    ]


def criteria(plan: Plan, block: Block, method: str) -> list[str]:
    """Variants with other criteria of the same unit and budget, without controls."""
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
    """A variant's budget in the configuration, as text that is equal for equal budgets."""
    method = plan.config.methods[variant]
    keys = ("fraction", "parameters", "gamma")
    own = {key: getattr(method, key, None) for key in keys}
    shared = {key: getattr(plan.config.selection, key, None) for key in keys}
    return json.dumps(own if any(value is not None for value in own.values()) else shared)


def single_domains(plan: Plan, block: Block) -> list[str]:
    """Mixtures of the block's direction that consist of a single one of the block's seen domains."""
    seen = {mixture: plan.seen(block[1], mixture) for mixture in plan.mixtures(block[1])}
    return [mixture for mixture, domains in seen.items() if len(domains) == 1 and domains[0] in plan.seen(*block[1:])]
