"""Plans the significance tests of a block: outputs, baseline, method, and the candidates for its best rival.

Paths are relative to `results_root` and follow from the plan alone.
"""

from collections.abc import Mapping
from typing import Any

from caneft import config
from caneft.plan import ARTEFACTS, Block, Plan, Run
from caneft.plan.settings import SignificanceSettings, System


def path(block: Block) -> str:
    """Path of the test results of a block."""
    return f"significance/{'/'.join(block)}.json"


def systems(plan: Plan, block: Block) -> list[System]:
    """Final runs of a block, in the configuration's order, then by seed."""
    return [System(variant=run.variant, seed=run.seed, folder=run.folder) for run in plan.final_runs(*block)]


def baseline(plan: Plan, block: Block) -> str | None:
    """The variant that all others are compared with; None if the block has none."""
    return _first(plan, block, plan.config.significance.baseline, "base")


def method(plan: Plan, block: Block) -> str | None:
    """The variant that is compared with all others; None if the block has none."""
    return _first(plan, block, plan.config.significance.method, "caneft")


def _first(plan: Plan, block: Block, named: str | None, kind: str) -> str | None:
    on_block = plan.variants_on(*block[1:], *ARTEFACTS, config.Icl) + plan.variants(config.Base)
    if named is None:
        named = next((v for v, method in plan.config.methods.items() if v in on_block and method.method == kind), None)
    return named if named in on_block else None


def rivals(plan: Plan, block: Block) -> list[str]:
    """Trained variants that may be the best rival of `method`: all except merged LoRA and variants of the same method,
    whatever their budget."""
    own, methods = method(plan, block), plan.config.methods
    trained = [v for v in plan.variants_on(*block[1:], *ARTEFACTS) if not getattr(methods[v], "merged", False)]
    return [variant for variant in trained if own is not None and methods[variant].method != methods[own].method]


def rival_by(plan: Plan, block: Block) -> str | None:
    """The measure that ranks rivals: the dev score that chose their rates, if every rate was chosen on this mixture;
    else the dev loss of their final parameters. None without rivals."""
    found = rivals(plan, block)
    chosen = plan.rates_on(*block[1:]) == block[2] and all(plan.config.methods[variant].grid for variant in found)
    return (plan.config.scoring.judge if chosen else "dev_loss") if found else None


def reached(choice: Mapping[str, Any]) -> float:
    """Dev score of the chosen rate. choice: content of `choice.json`; raises KeyError or TypeError if it is not."""
    return float(choice["grid"][f"{choice['learning_rate']:g}"])


def dev_files(plan: Plan, block: Block) -> dict[str, list[str]]:
    """Files with the dev results of each rival: the choice of its rate, or the records of its seeds."""
    by, found = rival_by(plan, block), {}
    for variant in rivals(plan, block):
        runs = [Run(*block[:2], variant, block[2], seed) for seed in plan.config.seeds]
        found[variant] = [f"{run.folder}/record.json" for run in runs] if by == "dev_loss" else [plan.choice(runs[0])]
    return found


def neural(plan: Plan, block: Block) -> list[str]:
    """Metrics whose segment scores are in files, which only shown blocks have."""
    return list(plan.config.scoring.neural) if block in plan.shown_blocks() else []


def settings(plan: Plan, block: Block) -> SignificanceSettings:
    """Settings of the job that tests a block. They leave out `alpha`, which only the marks in tables depend on."""
    section = plan.config.significance
    return SignificanceSettings(
        systems=systems(plan, block),
        metrics=plan.config.scoring.metrics,
        neural=neural(plan, block),
        target_language=config.target_code(block[1]),
        seen=plan.seen(*block[1:]),
        unseen=plan.unseen(*block[1:]),
        baseline=baseline(plan, block),
        method=method(plan, block),
        rivals=dev_files(plan, block),
        rival_by=rival_by(plan, block),
        resamples=section.resamples,
        bootstrap=section.bootstrap,
        seed=section.seed,
    )


def inputs(plan: Plan, block: Block) -> list[str]:
    """Every file that the job of a block opens, each once."""
    found = settings(plan, block)
    paths = [system.translations for system in found.systems]
    paths += [system.segments(metric) for system in found.systems for metric in found.neural]
    paths += [path for files in found.rivals.values() for path in files]
    corpora = [f"corpora/{block[1]}/{domain}/test.jsonl" for domain in plan.tested(*block[1:])]
    return list(dict.fromkeys(paths + corpora))
