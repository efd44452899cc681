"""Which files tables and figures are made from. Paths are relative to `results_root` and follow from the plan alone.

Rules and reporting both read this, so the workflow makes what the tables open. Neither pandas nor numpy is needed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from caneft import config
from caneft.config import Config, Neurons
from caneft.errors import InputError
from caneft.plan import Plan, Run

COPY = "copy"
"""Row under the main table: the source as its own translation."""

Block = tuple[str, str, str]
"""(model, direction, mixture)."""


class ScoreFile(NamedTuple):
    """Scores of one run's (or of copy's) test set; `domains` are those that the block shows."""

    block: Block
    variant: str
    method: str
    seed: int | None
    domains: list[str]
    path: str


class RecordFile(NamedTuple):
    """Run record of a trained run."""

    block: Block
    variant: str
    method: str
    seed: int
    path: str


class CostFile(NamedTuple):
    """Time and memory of one process. `variant` and `seed` are None where all variants share the stage."""

    block: Block
    stage: str
    variant: str | None
    method: str | None
    seed: int | None
    path: str


class NeuronFile(NamedTuple):
    """A selected set of neurons; `draw` is the seed for `random`, else 0."""

    block: Block
    variant: str
    method: str
    draw: int
    path: str


class InformationFile(NamedTuple):
    """Mutual information per neuron (.parquet) and its sidecar (.json)."""

    block: Block
    path: str
    sidecar: str


class StabilityFile(NamedTuple):
    """Agreement of what disjoint halves of the samples select."""

    block: Block
    path: str


def block_runs(plan: Plan, block: Block) -> list[Run]:
    """Runs of one block of the main table, variants in the configuration's order, then seeds."""
    base = plan.base_run(*block[:2])
    runs = ([base] if base else []) + list(plan.trained_runs(*block))
    order = list(plan.config.methods)
    return sorted(runs, key=lambda run: order.index(run.variant))


def score_files(plan: Plan) -> Iterator[ScoreFile]:
    """Score files, block by block. Base and copy belong to several blocks and come once in each."""
    for block in plan.blocks():
        tested = plan.tested(*block[1:])
        for run in block_runs(plan, block):
            for testset, domains in plan.testsets(run).items():
                if shown := [domain for domain in domains if domain in tested]:
                    method = plan.config.methods[run.variant].method
                    yield ScoreFile(block, run.variant, method, run.seed, shown, f"{run.folder}/scores/{testset}.json")
        for domain in tested:
            yield ScoreFile(block, COPY, COPY, None, [domain], f"scores/copy/{block[1]}/{domain}.json")


def record_files(plan: Plan) -> Iterator[RecordFile]:
    """Run records of all trained runs."""
    for block in plan.blocks():
        for run in block_runs(plan, block):
            if run.mixture is not None:
                method = plan.config.methods[run.variant].method
                yield RecordFile(block, run.variant, method, run.seed, f"{run.folder}/record.json")


def cost_files(plan: Plan) -> Iterator[CostFile]:
    """Cost files in the order of the stages: pretraining, pilot, importance, information, tuning, translation."""
    for block in plan.blocks():
        model, direction, mixture = block
        runs = [(run, plan.config.methods[run.variant].method) for run in block_runs(plan, block)]
        tested = set(plan.tested(direction, mixture))
        if plan.config.models[model].pretrain:
            yield CostFile(block, "pretraining", None, None, None, f"models/{model}/cost.json")
        if uses_information(plan):
            selected_on = plan.selected_on(direction, mixture)
            if plan.config.importance.samples == "auto":
                path = f"importance/{model}/{direction}/samples.cost.json"
                yield CostFile(block, "pilot", None, None, None, path)
            for domain in plan.seen(direction, selected_on):
                path = f"importance/{model}/{direction}/{domain}.cost.json"
                yield CostFile(block, "importance", None, None, None, path)
            path = f"neurons/{model}/{direction}/{selected_on}/information.cost.json"
            yield CostFile(block, "information", None, None, None, path)
        for run, method in runs:
            if run.mixture is not None:
                yield CostFile(block, "tuning", run.variant, method, run.seed, f"{run.folder}/cost.json")
        for run, method in runs:
            for testset, domains in plan.testsets(run).items():
                if tested & set(domains):
                    path = f"{run.folder}/translations/{testset}.cost.json"
                    yield CostFile(block, "translation", run.variant, method, run.seed, path)


def neuron_files(plan: Plan) -> Iterator[NeuronFile]:
    """Neuron sets of every neuron variant, `random` once per seed."""
    for block in plan.blocks():
        model, direction, mixture = block
        for variant in plan.variants(Neurons):
            method = plan.config.methods[variant].method
            for draw in plan.config.seeds if method == "random" else [0]:
                path = plan.neuron_set(Run(model, direction, variant, mixture, draw))
                yield NeuronFile(block, variant, method, draw, path)


def information_files(plan: Plan) -> Iterator[InformationFile]:
    """Tables of mutual information, where a variant needs them."""
    for block in plan.blocks() if uses_information(plan) else ():
        model, direction, mixture = block
        stem = f"neurons/{model}/{direction}/{plan.selected_on(direction, mixture)}/information"
        yield InformationFile(block, f"{stem}.parquet", f"{stem}.json")


def stability_files(plan: Plan) -> Iterator[StabilityFile]:
    """Stability curves, where a variant selects neurons."""
    for block in plan.blocks() if uses_information(plan) else ():
        model, direction, mixture = block
        yield StabilityFile(block, f"neurons/{model}/{direction}/{plan.selected_on(direction, mixture)}/stability.json")


def uses_information(plan: Plan) -> bool:
    """Whether any variant selects neurons: every criterion, `random` too, starts from the table of information."""
    return bool(plan.variants(Neurons))


def table_inputs(plan: Plan) -> list[str]:
    """Every file that the tables open, each once, sorted."""
    return sorted({file.path for files in (score_files, record_files, cost_files) for file in files(plan)})


def figure_inputs(plan: Plan) -> list[str]:
    """Every file that the figures open, each once, sorted."""
    paths = {file.path for files in (score_files, neuron_files, stability_files) for file in files(plan)}
    return sorted(paths | {path for file in information_files(plan) for path in (file.path, file.sidecar)})


def read_config(argument: str) -> Config:
    """Configuration from a command line: JSON, or `@FILE` with JSON in it. Corpus files need not exist any more."""
    path = Path(argument[1:]) if argument.startswith("@") else None
    try:
        raw = json.loads(path.read_text(encoding="utf-8") if path else argument)
    except (OSError, ValueError) as error:
        raise InputError(f"--config{f' {path}' if path else ''}: cannot be read as JSON: {error}.") from None
    return config.load(raw, files=[path] if path else [], check_files=False)
