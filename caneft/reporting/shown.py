"""What is shown of a plan: blocks that a figure has something for, variants that stand for many, and examples.

As `inputs`, it needs neither pandas nor numpy.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caneft.config import Base, Lora, Neurons
from caneft.plan import ARTEFACTS, Plan, Run, parts
from caneft.reporting.inputs import Block, ScoreFile, block_runs, matrices, method_of

BUDGET = {"fraction", "parameters", "rank", "equal_to", "bottleneck"}
"""Settings that say how much a variant trains."""
NEITHER = {"learning_rate", "resources", "task_relevant", "task_relevant_scope"}
"""Those that make no other kind of it, or that `selection` has a say in."""
EXAMPLES = ("base", "icl", "full", "lora", "adapters", "random", "caneft")
"""Methods of which the first variant of a block is shown with examples."""


class Family(NamedTuple):
    """Variants of one method and the same settings but their budget, in the configuration's order.

    budgets: how many of these there are; a curve takes two.
    """

    method: str
    variants: list[str]
    budgets: int


def trained(plan: Plan) -> list[Block]:
    """Shown blocks in which something is trained."""
    return [block for block in plan.shown_blocks() if plan.variants_on(*block[1:], *ARTEFACTS)]


def with_unseen(plan: Plan) -> list[Block]:
    """Those that are tested on a domain that they are not trained on."""
    return [block for block in trained(plan) if plan.unseen(*block[1:])]


def swept(plan: Plan) -> list[Block]:
    """Those of which a method has several budgets."""
    return [block for block in trained(plan) if any(kind.budgets > 1 for kind in kinds(plan, block))]


def kinds(plan: Plan, block: Block) -> list["Family"]:
    """Families of what is trained in a block."""
    return families(plan, plan.variants_on(*block[1:], *ARTEFACTS))


def interfering(plan: Plan) -> list[list[Block]]:
    """Matrices of interference that have a base, and runs on single domains to compare with it."""
    base = plan.variants(Base)
    return [
        blocks
        for blocks in matrices(plan)
        if base and any(run.variant not in base for block in blocks[:-1] or blocks for run in block_runs(plan, block))
    ]


def families(plan: Plan, variants: Iterable[str]) -> list[Family]:
    """The variants by families, each in one; in order of first appearance."""
    methods, found = plan.config.methods, {}
    for variant in variants:
        kind = [json.dumps(methods[variant].model_dump(exclude=BUDGET | NEITHER), sort_keys=True)]
        if isinstance(methods[variant], Neurons):  # what limits the candidates, wherever it is said
            chosen = parts.selection(plan.config, variant)
            kind += [chosen.task_relevant, chosen.task_relevant and chosen.task_relevant_scope]
        found.setdefault(tuple(kind), []).append(variant)

    def budget(name: str) -> tuple:
        return tuple(getattr(methods[name], key, None) for key in sorted(BUDGET))

    return [Family(methods[names[0]].method, names, len({*map(budget, names)})) for names in found.values()]


def main_variants(plan: Plan, variants: Iterable[str]) -> list[str]:
    """The variants without further budgets of the same: these are points of the figure of budgets.

    Of a family of several budgets, the first variant stays, and those that take their size from `selection` or from
    another variant.
    """
    kept = list(variants)
    further = {name for family in families(plan, kept) for name in family.variants[1:] if _own_budget(plan, name)}
    return [name for name in kept if name not in further]


def _own_budget(plan: Plan, variant: str) -> bool:
    method = plan.config.methods[variant]
    if isinstance(method, Lora):
        return method.rank is not None
    return isinstance(method, Neurons) and (method.fraction or method.parameters) is not None


def example_runs(plan: Plan, block: Block) -> list[Run]:
    """Runs of a block that are shown with examples: the first variant of each of `EXAMPLES`, the first seed."""
    first: dict[str, Run] = {}
    for run in block_runs(plan, block):  # variants in the configuration's order, then seeds
        first.setdefault(plan.config.methods[run.variant].method, run)
    return [first[method] for method in EXAMPLES if method in first]


def example_files(plan: Plan) -> Iterator[ScoreFile]:
    """Translations that the examples are taken from, of every shown block."""
    for block in plan.shown_blocks():
        for run in example_runs(plan, block):
            shown = plan.tested(*block[1:])
            yield ScoreFile(run.translations(), block, run.variant, method_of(plan, run), run.seed, domains=shown)


def example_inputs(plan: Plan) -> list[str]:
    """Every file that the examples are made from, each once, sorted."""
    blocks = plan.shown_blocks()
    corpora = {
        f"corpora/{direction}/{domain}/test.jsonl"
        for _, direction, mixture in blocks
        for domain in plan.tested(direction, mixture)
    }
    return sorted(corpora | {file.path for file in example_files(plan)})
