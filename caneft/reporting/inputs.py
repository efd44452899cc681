"""Which files tables and figures are made from. Paths are relative to `results_root` and follow from the plan alone.

Rules and reporting both read this, so the workflow makes what the tables open. Neither pandas nor numpy is needed.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from caneft.config import Neurons
from caneft.config.metrics import neural_scores
from caneft.config.names import COPY
from caneft.plan import DEV, TEST, Block, Plan, Run, comparison, importance_folder, information_folder

BLOCK = ["model", "direction", "mixture"]
"""Columns that say which block a row is of."""


@dataclass(frozen=True)
class File:
    """A file and whose it is. variant, method and seed are None where all variants, or seeds, share it.

    seed: of a set of neurons that of its draw, 0 where the seeds share one. unit: `neuron` or `head`.
    """

    path: str
    block: Block
    variant: str | None = None
    method: str | None = None
    seed: int | None = None
    unit: str = "neuron"

    @property
    def row(self) -> dict[str, str | int | None]:
        """What the frames of `results` begin with."""
        about = {"variant": self.variant, "method": self.method, "seed": self.seed}
        return dict(zip(BLOCK, self.block, strict=True)) | about


@dataclass(frozen=True)
class ScoreFile(File):
    """Scores, or translations, of one run's (or of copy's) test sets; `domains` are those that the block shows.

    neural: path by neural metric; shown blocks alone have these.
    """

    domains: list[str] = field(default_factory=list)
    neural: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialFile(File):
    """Record of a trial with one seed; `block` has the mixture on which rates are chosen, `choice` is the choice among
    all.

    attempt: its name among the trials of the grid. scores: path of those of the test sets, which hold all these trials;
    None where trials do not translate them. What dev said is in the choice.
    """

    rate: float = 0.0
    attempt: str = ""
    choice: str = ""
    scores: str | None = None


@dataclass(frozen=True)
class OverlapFile(File):
    """Scores of a block's runs on the domains outside of its mixture, without what stands in the training data.

    runs: names in the file, with variant, method and seed.
    """

    domains: list[str] = field(default_factory=list)
    runs: dict[str, tuple[str, str, int | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class CostFile(File):
    """Time and memory of one process."""

    stage: str = ""


@dataclass(frozen=True)
class CorpusFile:
    """What was read, dropped and why: of a domain, or of a mixture's draw (then `domain` is None)."""

    path: str
    direction: str
    domain: str | None = None
    mixture: str | None = None


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
        neural = plan.config.scoring.neural if block in with_neural else ()
        tested = plan.tested(*block[1:])
        for run in block_runs(plan, block):
            more = {"domains": tested, "neural": {m: neural_scores(f"{run.folder}/scores", m) for m in neural}}
            yield _of_run(plan, block, run, run.scores, ScoreFile, **more)
        paths = {metric: neural_scores(copy_folder(block[1]), metric) for metric in neural}
        yield ScoreFile(copy_scores(block[1]), block, COPY, COPY, domains=tested, neural=paths)


def copy_folder(direction: str) -> str:
    """Folder of the scores of the sources in place of outputs."""
    return f"scores/copy/{direction}"


def copy_scores(direction: str) -> str:
    """Path of these scores, those of neural metrics apart."""
    return f"{copy_folder(direction)}/{TEST}.json"


def overlap_scores(block: Block) -> str:
    """Path of a block's scores without overlap."""
    return f"scores/without-overlap/{'/'.join(block)}.json"


def metric_files(plan: Plan) -> dict[str, str]:
    """Manifests of the neural metrics."""
    return {metric: f"metrics/{metric}/manifest.json" for metric in plan.config.scoring.neural}


def record_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Run records of the trained runs."""
    return _of_trained(plan, blocks, "record.json")


def log_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Logs of the trained runs: losses, a line an optimizer step."""
    return _of_trained(plan, blocks, "log.jsonl")


def trial_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[TrialFile]:
    """Trials of learning rates, each once: by block of the mixture that rates are chosen on, variant, rate and seed."""
    choices = {
        trial: plan.choice(Run(*block[:2], trial.variant, block[2]))
        for block in plan.blocks()
        for trial in plan.trials(*block)
    }
    order = list(plan.config.methods)
    for block in _or_all(plan, blocks):
        own = [trial for trial in choices if (trial.model, trial.direction, trial.mixture) == block]
        for trial in sorted(own, key=lambda trial: (order.index(trial.variant), trial.rate, trial.seed)):
            more = {
                "rate": trial.rate,
                "attempt": trial.attempt,
                "choice": plan.choice(Run(*block[:2], trial.variant, block[2])),
                "scores": trial.scores if TEST in plan.splits(trial) else None,
            }
            yield _of_run(plan, block, trial, f"{trial.folder}/record.json", TrialFile, **more)


def overlap_files(plan: Plan) -> Iterator[OverlapFile]:
    """Scores without overlap, block by block; none for the domains of the mixture, which are kept out of training."""
    for block in plan.blocks():
        runs = {run.name: (run.variant, method_of(plan, run), run.seed) for run in block_runs(plan, block)}
        if unseen := plan.unseen(*block[1:]):
            yield OverlapFile(overlap_scores(block), block, domains=unseen, runs=runs)


def corpus_files(plan: Plan) -> Iterator[CorpusFile]:
    """Reports of prepared corpora, in the configuration's order; none of a domain that no mixture makes use of."""
    for direction in _directions(plan):
        used = plan.all_tested(direction)
        for domain in plan.config.directions[direction].domains:
            if domain in used:
                yield CorpusFile(f"corpora/{direction}/{domain}/report.json", direction, domain=domain)


def mixture_files(plan: Plan) -> Iterator[CorpusFile]:
    """Reports of the draws of all mixtures."""
    for direction in _directions(plan):
        for mixture in plan.mixtures(direction):
            yield CorpusFile(f"mixtures/{direction}/{mixture}/report.json", direction, mixture=mixture)


def cost_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[CostFile]:
    """Cost files in the order of the stages: pretraining, pilot, importance, information, trials, tuning, translation.

    Of the trials, what the choice of a rate needs: their tuning and the translation of dev.
    """
    for block in _or_all(plan, blocks):
        if plan.config.models[block[0]].pretrain:
            yield CostFile(f"models/{block[0]}/cost.json", block, stage="pretraining")
        yield from _selection_costs(plan, block)
        for trial in plan.trials(*block):
            for path in (f"{trial.folder}/cost.json", trial.translation_cost(DEV)):
                yield CostFile(path, block, trial.variant, method_of(plan, trial), stage="trials")
        runs = block_runs(plan, block)
        for run in runs:
            if run.seed is not None:
                yield _of_run(plan, block, run, f"{run.folder}/cost.json", CostFile, stage="tuning")
        for run in runs:
            yield _of_run(plan, block, run, run.translation_cost(), CostFile, stage="translation")


def _selection_costs(plan: Plan, block: Block) -> Iterator[CostFile]:
    """What the block's selections share: the pilot, then importance and information of each kind of unit and draw."""
    model, direction, mixture = block
    selected_on, found = plan.selected_on(direction, mixture), units(plan, block)
    if found and plan.config.importance.samples == "auto":
        yield CostFile(f"importance/{model}/{direction}/samples.cost.json", block, stage="pilot")
    for unit, seed in itertools.product(found, [None, *plan.own_draws()]):
        of_heads = " of heads" if unit == "head" else ""
        folder = f"{importance_folder(unit, seed)}/{model}/{direction}"
        for domain in plan.seen(direction, selected_on):
            yield CostFile(f"{folder}/{domain}.cost.json", block, seed=seed, stage=f"importance{of_heads}")
        path = f"{information_folder(unit, seed)}/{model}/{direction}/{selected_on}/information.cost.json"
        yield CostFile(path, block, seed=seed, stage=f"information{of_heads}")


def neuron_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Sets of neurons or heads that final runs tune, of every variant that selects them: once, or once per seed.

    `random` has one per seed; where importance is drawn per seed, every variant has.
    """
    for block in _or_all(plan, blocks):
        for variant in plan.variants_on(*block[1:], Neurons):
            method = plan.config.methods[variant].method
            for draw in plan.config.seeds if method == "random" else plan.own_draws() or [0]:
                path = plan.neuron_set(Run(*block[:2], variant, block[2], draw))
                yield File(path, block, variant, method, draw, plan.unit(variant))


def shared_set(plan: Plan, blocks: Iterable[Block] | None = None) -> File | None:
    """What the first variant of method `caneft` selects on the shared draw of importance samples, as the information
    tables are; None without such a variant."""
    chosen = next((file for file in neuron_files(plan, blocks) if file.method == "caneft"), None)
    if chosen is None:
        return None
    model, direction, mixture = chosen.block
    return replace(chosen, seed=0, path=plan.neuron_set(Run(model, direction, chosen.variant, mixture)))


def information_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Tables of mutual information (.parquet), each with its sidecar (.json), where a variant needs them: every
    criterion, `random` too, starts from one.

    Of the shared draw of importance samples alone: nothing but the selection reads those of the seeds' draws.
    """
    for block in _or_all(plan, blocks):
        for unit in units(plan, block):
            path = f"{information_folder(unit)}/{_selected_on(plan, block)}/information.parquet"
            yield File(path, block, unit=unit)


def sidecar(file: File) -> str:
    """Path of the description beside a table of mutual information."""
    return file.path.removesuffix(".parquet") + ".json"


def stability_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Agreement of what disjoint halves of the samples select, where a variant selects neurons; of the shared draw of
    importance samples."""
    for block in _or_all(plan, blocks):
        if "neuron" in units(plan, block):
            yield File(f"{information_folder('neuron')}/{_selected_on(plan, block)}/stability.json", block)


def table_inputs(plan: Plan) -> list[str]:
    """Every file that the tables open, each once, sorted."""
    kinds = score_files, record_files, cost_files, overlap_files, corpus_files, mixture_files
    paths = {file.path for files in kinds for file in files(plan)}
    paths |= _neural_paths(plan) | set(metric_files(plan).values()) | _trial_paths(plan)
    paths |= {comparison.path(block) for block in drawn_blocks(plan)}
    return sorted(paths | _of_neurons(plan, neuron_files, stability_files))


def figure_inputs(plan: Plan) -> list[str]:
    """Every file that the figures open, each once, sorted. They show neurons, no heads, and not every block."""
    blocks = plan.shown_blocks()
    paths = {file.path for files in (record_files, log_files) for file in files(plan, blocks)}
    paths |= {file.path for file in score_files(plan, drawn_blocks(plan))}
    paths |= {comparison.path(block) for block in blocks}
    paths |= {file.path for file in cost_files(plan, blocks) if file.stage == "tuning"}
    paths |= _neural_paths(plan) | _trial_paths(plan, blocks)
    paths |= _of_neurons(plan, neuron_files, stability_files, information_files)
    paths |= {sidecar(file) for file in information_files(plan, blocks) if file.unit == "neuron"}
    return sorted(paths | {file.path for found in selections(plan).values() if (file := shared_set(plan, found))})


def _of_neurons(plan: Plan, *kinds: Callable[..., Iterator[File]]) -> set[str]:
    """Paths of what shown blocks say of neurons; heads are not shown."""
    return {file.path for files in kinds for file in files(plan, plan.shown_blocks()) if file.unit == "neuron"}


def _neural_paths(plan: Plan) -> set[str]:
    return {path for file in score_files(plan) for path in file.neural.values()}


def _trial_paths(plan: Plan, blocks: Iterable[Block] | None = None) -> set[str]:
    found = (path for file in trial_files(plan, blocks) for path in (file.path, file.choice, file.scores))
    return {path for path in found if path}


def _of_trained(plan: Plan, blocks: Iterable[Block] | None, name: str) -> Iterator[File]:
    """A file of every trained run, by its name in the run's folder."""
    for block in _or_all(plan, blocks):
        for run in block_runs(plan, block):
            if run.seed is not None:
                yield _of_run(plan, block, run, f"{run.folder}/{name}")


def _of_run(plan: Plan, block: Block, run: Run, path: str, kind: type[File] = File, **more: Any) -> Any:
    return kind(path, block, run.variant, method_of(plan, run), run.seed, **more)


def _or_all(plan: Plan, blocks: Iterable[Block] | None) -> list[Block]:
    return list(plan.blocks() if blocks is None else blocks)


def _directions(plan: Plan) -> list[str]:
    """Directions that some model is run on."""
    return list(dict.fromkeys(direction for _, direction, _ in plan.blocks()))


def _selected_on(plan: Plan, block: Block) -> str:
    """`{model}/{direction}/{mixture}` of what a block selects on."""
    return "/".join((*block[:2], plan.selected_on(*block[1:])))


def method_of(plan: Plan, run: Run) -> str:
    """The method of a run's variant."""
    return plan.config.methods[run.variant].method
