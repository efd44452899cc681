"""Which files tables and figures are made from. Paths are relative to `results_root` and follow from the plan alone.

Rules and reporting both read this, so the workflow makes what the tables open. Neither pandas nor numpy is needed.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from caneft.config import Neurons
from caneft.config.metrics import neural_scores
from caneft.config.names import COPY
from caneft.plan import DEV, Block, Plan, Run, comparison, importance_folder, information_folder


class ScoreFile(NamedTuple):
    """Scores of one run's (or of copy's) test set; `domains` are those that the block shows.

    neural: path by neural metric, of the scores of all test sets of a run; shown blocks alone have these.
    """

    block: Block
    variant: str
    method: str
    seed: int | None
    domains: list[str]
    path: str
    neural: dict[str, str]


class RecordFile(NamedTuple):
    """Run record of a trained run."""

    block: Block
    variant: str
    method: str
    seed: int
    path: str


class LogFile(NamedTuple):
    """Losses of a trained run, a line an optimizer step."""

    block: Block
    variant: str
    method: str
    seed: int
    path: str


class TrialFile(NamedTuple):
    """Trial of one learning rate with one seed; `block` has the mixture on which rates are chosen, `choice` is the
    choice among all.

    scores: of the test sets (path by name), not of dev: what dev said is in the choice.
    """

    block: Block
    variant: str
    method: str
    rate: float
    seed: int
    record: str
    choice: str
    scores: dict[str, str]


class OverlapFile(NamedTuple):
    """Scores of a block's runs on a domain outside of its mixture, without what stands in the training data.

    runs: names in the file, with variant, method and seed.
    """

    block: Block
    domain: str
    runs: dict[str, tuple[str, str, int | None]]
    path: str


class CorpusFile(NamedTuple):
    """What was read, dropped and why of a domain that some mixture is trained or tested on."""

    direction: str
    domain: str
    path: str


class MixtureFile(NamedTuple):
    """What was taken out of a mixture's training data and why."""

    direction: str
    mixture: str
    path: str


class CostFile(NamedTuple):
    """Time and memory of one process. `variant` and `seed` are None where all variants, or seeds, share the stage."""

    block: Block
    stage: str
    variant: str | None
    method: str | None
    seed: int | None
    path: str


class NeuronFile(NamedTuple):
    """A selected set of neurons, or of heads; `draw` is the seed where each final seed has its own, else 0."""

    block: Block
    unit: str
    variant: str
    method: str
    draw: int
    path: str


class InformationFile(NamedTuple):
    """Mutual information per neuron, or per head (.parquet), and its sidecar (.json)."""

    block: Block
    unit: str
    path: str
    sidecar: str


class StabilityFile(NamedTuple):
    """Agreement of what disjoint halves of the samples select."""

    block: Block
    path: str


def selections(plan: Plan) -> dict[Block, list[Block]]:
    """Shown blocks that select neurons, by (model, direction, mixture selected on): these share one table of MI."""
    found: dict[Block, list[Block]] = {}
    for block in plan.shown_blocks():
        if "neuron" in units(plan, block):
            found.setdefault((*block[:2], plan.selected_on(*block[1:])), []).append(block)
    return found


def matrices(plan: Plan) -> Iterator[list[Block]]:
    """Blocks of one matrix of interference: the mixtures of one domain of a model and direction, then the first mixture
    of all these domains, if there is one."""
    for pair in dict.fromkeys(block[:2] for block in plan.blocks()):
        blocks = [block for block in plan.blocks() if block[:2] == pair]
        single = [block for block in blocks if len(plan.seen(*block[1:])) == 1]
        domains = {domain for block in single for domain in plan.seen(*block[1:])}
        joint = [block for block in blocks if block not in single and domains <= set(plan.seen(*block[1:]))]
        if single:
            yield single + joint[:1]


def drawn_blocks(plan: Plan) -> list[Block]:
    """Shown blocks and those of the matrices of interference: figures open their scores, verdicts their tests."""
    return list(dict.fromkeys([*plan.shown_blocks(), *(block for blocks in matrices(plan) for block in blocks)]))


def units(plan: Plan, block: Block) -> list[str]:
    """Kinds of unit, `neuron` and `head`, that the variants of a block select."""
    found = {plan.unit(variant) for variant in plan.variants_on(*block[1:], Neurons)}
    return [unit for unit in ("neuron", "head") if unit in found]


def block_runs(plan: Plan, block: Block) -> list[Run]:
    """Runs of one block of the main table, variants in the configuration's order, then seeds; no trials."""
    order = list(plan.config.methods)
    runs = [*plan.untrained_runs(*block), *plan.trained_runs(*block)]
    return sorted(runs, key=lambda run: order.index(run.variant))


def score_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[ScoreFile]:
    """Score files, block by block. Base and copy belong to several blocks and come once in each."""
    with_neural = plan.shown_blocks()
    for block in _or_all(plan, blocks):
        tested, neural = plan.tested(*block[1:]), plan.config.scoring.neural if block in with_neural else ()
        for run in block_runs(plan, block):
            for testset, domains in plan.testsets(run).items():
                if shown := [domain for domain in domains if domain in tested]:
                    folder = f"{run.folder}/scores"
                    paths = {metric: neural_scores(folder, metric) for metric in neural}
                    path = f"{folder}/{testset}.json"
                    yield ScoreFile(block, run.variant, _method(plan, run), run.seed, shown, path, paths)
        folder = f"scores/copy/{block[1]}"
        paths = {metric: neural_scores(folder, metric) for metric in neural}
        for domain in tested:
            yield ScoreFile(block, COPY, COPY, None, [domain], f"{folder}/{domain}.json", paths)


def metric_files(plan: Plan) -> dict[str, str]:
    """Manifests of the neural metrics."""
    return {metric: f"metrics/{metric}/manifest.json" for metric in plan.config.scoring.neural}


def record_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[RecordFile]:
    """Run records of the trained runs."""
    for block, run in _trained(plan, blocks):
        yield RecordFile(block, run.variant, _method(plan, run), run.seed, f"{run.folder}/record.json")


def log_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[LogFile]:
    """Logs of the trained runs."""
    for block, run in _trained(plan, blocks):
        yield LogFile(block, run.variant, _method(plan, run), run.seed, f"{run.folder}/log.jsonl")


def trial_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[TrialFile]:
    """Trials of learning rates, each once: by block of the mixture that rates are chosen on, variant, rate and seed."""
    choices = {}
    for block in plan.blocks():
        for trial in plan.trials(*block):
            choices[trial] = plan.choice(Run(*block[:2], trial.variant, block[2]))
    order = list(plan.config.methods)
    for block in _or_all(plan, blocks):
        own = [trial for trial in choices if (trial.model, trial.direction, trial.mixture) == block]
        for trial in sorted(own, key=lambda trial: (order.index(trial.variant), trial.rate, trial.seed)):
            scores = {name: f"{trial.folder}/scores/{name}.json" for name in plan.testsets(trial) if name != DEV}
            record = f"{trial.folder}/record.json"
            about = block, trial.variant, _method(plan, trial), trial.rate, trial.seed
            yield TrialFile(*about, record, choices[trial], scores)


def overlap_files(plan: Plan) -> Iterator[OverlapFile]:
    """Scores without overlap, block by block; none for the domains of the mixture, which are kept out of training."""
    for block in plan.blocks():
        runs = {run.name: (run.variant, _method(plan, run), run.seed) for run in block_runs(plan, block)}
        for domain in plan.unseen(*block[1:]):
            yield OverlapFile(block, domain, runs, f"scores/without-overlap/{'/'.join(block)}/{domain}.json")


def corpus_files(plan: Plan) -> Iterator[CorpusFile]:
    """Reports of prepared corpora, in the configuration's order; none of a domain that no mixture makes use of."""
    for direction in _directions(plan):
        used = {domain for mixture in plan.mixtures(direction) for domain in plan.tested(direction, mixture)}
        for domain in plan.config.directions[direction].domains:
            if domain in used:
                yield CorpusFile(direction, domain, f"corpora/{direction}/{domain}/report.json")


def mixture_files(plan: Plan) -> Iterator[MixtureFile]:
    """Reports of the draws of all mixtures."""
    for direction in _directions(plan):
        for mixture in plan.mixtures(direction):
            yield MixtureFile(direction, mixture, f"mixtures/{direction}/{mixture}/report.json")


def cost_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[CostFile]:
    """Cost files in the order of the stages: pretraining, pilot, importance, information, trials, tuning, translation.

    Of the trials, what the choice of a rate needs: their tuning and the translation of dev.
    """
    for block in _or_all(plan, blocks):
        if plan.config.models[block[0]].pretrain:
            yield CostFile(block, "pretraining", None, None, None, f"models/{block[0]}/cost.json")
        yield from _selection_costs(plan, block)
        for trial in plan.trials(*block):
            for path in (f"{trial.folder}/cost.json", f"{trial.folder}/translations/{DEV}.cost.json"):
                yield CostFile(block, "trials", trial.variant, _method(plan, trial), None, path)
        runs = block_runs(plan, block)
        for run in runs:
            if run.seed is not None:
                yield CostFile(block, "tuning", run.variant, _method(plan, run), run.seed, f"{run.folder}/cost.json")
        for run in runs:
            for testset, domains in plan.testsets(run).items():
                if set(plan.tested(*block[1:])) & set(domains):
                    path = f"{run.folder}/translations/{testset}.cost.json"
                    yield CostFile(block, "translation", run.variant, _method(plan, run), run.seed, path)


def _selection_costs(plan: Plan, block: Block) -> Iterator[CostFile]:
    """What the block's selections share: the pilot, then importance and information of each kind of unit and draw."""
    model, direction, mixture = block
    selected_on, found = plan.selected_on(direction, mixture), units(plan, block)
    if found and plan.config.importance.samples == "auto":
        yield CostFile(block, "pilot", None, None, None, f"importance/{model}/{direction}/samples.cost.json")
    for unit, seed in itertools.product(found, [None, *plan.own_draws()]):
        of_heads = " of heads" if unit == "head" else ""
        for domain in plan.seen(direction, selected_on):
            path = f"{importance_folder(unit, seed)}/{model}/{direction}/{domain}.cost.json"
            yield CostFile(block, f"importance{of_heads}", None, None, seed, path)
        path = f"{information_folder(unit, seed)}/{model}/{direction}/{selected_on}/information.cost.json"
        yield CostFile(block, f"information{of_heads}", None, None, seed, path)


def neuron_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[NeuronFile]:
    """Sets of neurons or heads that final runs tune, of every variant that selects them: once, or once per seed.

    `random` has one per seed; where importance is drawn per seed, every variant has.
    """
    for block in _or_all(plan, blocks):
        for variant in plan.variants_on(*block[1:], Neurons):
            method = plan.config.methods[variant].method
            for draw in plan.config.seeds if method == "random" else plan.own_draws() or [0]:
                path = plan.neuron_set(Run(*block[:2], variant, block[2], draw))
                yield NeuronFile(block, plan.unit(variant), variant, method, draw, path)


def shared_set(plan: Plan, blocks: Iterable[Block] | None = None) -> NeuronFile | None:
    """What the first variant of method `caneft` selects on the shared draw of importance samples, as the information
    tables are; None without such a variant."""
    chosen = next((file for file in neuron_files(plan, blocks) if file.method == "caneft"), None)
    if chosen is None:
        return None
    model, direction, mixture = chosen.block
    return chosen._replace(draw=0, path=plan.neuron_set(Run(model, direction, chosen.variant, mixture)))


def information_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[InformationFile]:
    """Tables of mutual information, where a variant needs them: every criterion, `random` too, starts from one.

    Of the shared draw of importance samples alone: nothing but the selection reads those of the seeds' draws.
    """
    for block in _or_all(plan, blocks):
        for unit in units(plan, block):
            stem = f"{information_folder(unit)}/{_selected_on(plan, block)}/information"
            yield InformationFile(block, unit, f"{stem}.parquet", f"{stem}.json")


def stability_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[StabilityFile]:
    """Stability curves, where a variant selects neurons; of the shared draw of importance samples."""
    for block in _or_all(plan, blocks):
        if "neuron" in units(plan, block):
            folder = information_folder("neuron")
            yield StabilityFile(block, f"{folder}/{_selected_on(plan, block)}/stability.json")


def table_inputs(plan: Plan) -> list[str]:
    """Every file that the tables open, each once, sorted."""
    kinds = score_files, record_files, cost_files, overlap_files, corpus_files, mixture_files
    paths = {file.path for files in kinds for file in files(plan)}
    paths |= _neural_paths(plan) | set(metric_files(plan).values())
    paths |= {comparison.path(block) for block in drawn_blocks(plan)}
    paths |= {file.path for file in neuron_files(plan, plan.shown_blocks()) if file.unit == "neuron"}
    paths |= {file.path for file in stability_files(plan, plan.shown_blocks())}
    return sorted(paths | set(_trial_paths(plan)))


def figure_inputs(plan: Plan) -> list[str]:
    """Every file that the figures open, each once, sorted. They show neurons, no heads, and not every block."""
    blocks = plan.shown_blocks()
    kinds = record_files, log_files, stability_files
    paths = {file.path for files in kinds for file in files(plan, blocks)}
    paths |= {file.path for file in score_files(plan, drawn_blocks(plan))}
    paths |= {comparison.path(block) for block in blocks}
    paths |= {file.path for file in cost_files(plan, blocks) if file.stage == "tuning"}
    paths |= {file.path for file in neuron_files(plan, blocks) if file.unit == "neuron"}
    paths |= _neural_paths(plan)
    paths |= {file.path for found in selections(plan).values() if (file := shared_set(plan, found))}
    tables = [file for file in information_files(plan, blocks) if file.unit == "neuron"]
    return sorted(paths | {path for file in tables for path in file[-2:]} | set(_trial_paths(plan, blocks)))


def _neural_paths(plan: Plan) -> set[str]:
    return {path for file in score_files(plan) for path in file.neural.values()}


def _trial_paths(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[str]:
    for file in trial_files(plan, blocks):
        yield from (file.record, file.choice, *file.scores.values())


def _trained(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[tuple[Block, Run]]:
    for block in _or_all(plan, blocks):
        yield from ((block, run) for run in block_runs(plan, block) if run.seed is not None)


def _or_all(plan: Plan, blocks: Iterable[Block] | None) -> list[Block]:
    return list(plan.blocks() if blocks is None else blocks)


def _directions(plan: Plan) -> list[str]:
    """Directions that some model is run on."""
    return list(dict.fromkeys(direction for _, direction, _ in plan.blocks()))


def _selected_on(plan: Plan, block: Block) -> str:
    """`{model}/{direction}/{mixture}` of what a block selects on."""
    return "/".join((*block[:2], plan.selected_on(*block[1:])))


def _method(plan: Plan, run: Run) -> str:
    return plan.config.methods[run.variant].method
