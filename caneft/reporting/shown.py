"""Which parts of a plan are shown: the blocks of each figure, variants that represent others, and examples.

Like `inputs`, this needs neither pandas nor numpy.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caneft.config import Base, Lora, Neurons
from caneft.plan import ARTEFACTS, Plan, Run, parts
from caneft.reporting.inputs import Block, ScoreFile, matrices, method_of

BUDGET = {"fraction", "parameters", "rank", "equal_to", "bottleneck"}
"""Settings that say how much a variant trains."""
NEITHER = {"learning_rate", "resources", "task_relevant", "task_relevant_scope"}
"""Settings that do not make a variant a different kind, or whose default is in `selection` (see `families`)."""
EXAMPLES = ("base", "icl", "full", "lora", "adapters", "random", "caneft")
"""Methods whose first variant in a block is shown with examples."""


class Family(NamedTuple):
    """Variants of one method that differ only in their budget, in the configuration's order.

    budgets: the number of different budgets; a curve needs at least two.
    """

    method: str
    variants: list[str]
    budgets: int


def trained(plan: Plan) -> list[Block]:
    """Shown blocks in which something is trained."""
    return [block for block in plan.shown_blocks() if plan.variants_on(*block[1:], *ARTEFACTS)]


def with_unseen(plan: Plan) -> list[Block]:
    """Blocks with training that are also tested on a domain outside their mixture."""
    return [block for block in trained(plan) if plan.unseen(*block[1:])]


def swept(plan: Plan) -> list[Block]:
    """Blocks with training in which a method has several budgets."""
    return [block for block in trained(plan) if any(kind.budgets > 1 for kind in kinds(plan, block))]


def kinds(plan: Plan, block: Block) -> list["Family"]:
    """Families of the variants that are trained in a block."""
    return families(plan, plan.variants_on(*block[1:], *ARTEFACTS))


def interfering(plan: Plan) -> list[list[Block]]:
    """Matrices of interference that have a base and, to compare with it, runs trained on single domains."""
    base = plan.variants(Base)
    return [
        blocks
        for blocks in matrices(plan)
        if base and any(run.variant not in base for block in blocks[:-1] or blocks for run in plan.final_runs(*block))
    ]


def families(plan: Plan, variants: Iterable[str]) -> list[Family]:
    """Groups the variants into families, in order of first appearance; each variant is in one family."""
    methods, found = plan.config.methods, {}
    for variant in variants:
        kind = [json.dumps(methods[variant].model_dump(exclude=BUDGET | NEITHER), sort_keys=True)]
        if isinstance(methods[variant], Neurons):  # the mask, whether the variant or `selection` sets it
            chosen = parts.selection(plan.config, variant)
            kind += [chosen.task_relevant, chosen.task_relevant and chosen.task_relevant_scope]
        found.setdefault(tuple(kind), []).append(variant)

    def budget(name: str) -> tuple:
        return tuple(getattr(methods[name], key, None) for key in sorted(BUDGET))

    return [Family(methods[names[0]].method, names, len({*map(budget, names)})) for names in found.values()]


def main_variants(plan: Plan, variants: Iterable[str]) -> list[str]:
    """The variants without those that only add a budget to a family, which are points in the figure of budgets.

    Keeps the first variant of each family, and those that take their size from `selection` or from another variant.
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
    """Runs of a block that are shown with examples: of each method in `EXAMPLES`, the first variant's first seed."""
    first: dict[str, Run] = {}
    for run in plan.final_runs(*block):  # variants in the configuration's order, then seeds
        first.setdefault(plan.config.methods[run.variant].method, run)
    return [first[method] for method in EXAMPLES if method in first]


def example_files(plan: Plan) -> Iterator[ScoreFile]:
    """The translations of every shown block that the examples are taken from."""
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
