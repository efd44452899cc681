"""The files that tables and figures are made from. Paths are relative to `results_root` and depend only on the plan.

Rules and reporting both use this module, so the workflow makes what the tables open. It needs neither pandas nor numpy.
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
"""Columns that name a row's block."""


@dataclass(frozen=True)
class File:
    """A file and what it belongs to. variant and method are None if all variants share it, seed if all seeds do.

    seed: for a set of neurons, that of its draw, or 0 if the seeds share one. unit: `neuron` or `head`.
    """

    path: str
    block: Block
    variant: str | None = None
    method: str | None = None
    seed: int | None = None
    unit: str = "neuron"

    @property
    def row(self) -> dict[str, str | int | None]:
        """The first columns of a row in the frames of `results`."""
        about = {"variant": self.variant, "method": self.method, "seed": self.seed}
        return dict(zip(BLOCK, self.block, strict=True)) | about


@dataclass(frozen=True)
class ScoreFile(File):
    """Scores or translations of the test sets by one run, or scores of copy. domains: those that the block shows.

    neural: path by neural metric, for shown blocks only.
    """

    domains: list[str] = field(default_factory=list)
    neural: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialFile(File):
    """Record of a trial with one seed. `block` has the mixture on which rates are chosen.

    attempt: the trial's name in the scores of its grid. choice: path of the choice among the grid's rates, which holds
    the dev scores. scores: path of the grid's scores on the test sets; None if trials do not translate these.
    """

    rate: float = 0.0
    attempt: str = ""
    choice: str = ""
    scores: str | None = None


@dataclass(frozen=True)
class OverlapFile(File):
    """Scores of a block's runs on the domains outside its mixture, without test segments that are in the training data.

    runs: variant, method and seed by name in the file.
    """

    domains: list[str] = field(default_factory=list)
    runs: dict[str, tuple[str, str, int | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class CostFile(File):
    """Time and memory of one process."""

    stage: str = ""


@dataclass(frozen=True)
class CorpusFile:
    """Report on what was read and dropped, and why, for a domain or a mixture's draw (then `domain` is None)."""

    path: str
    direction: str
    domain: str | None = None
    mixture: str | None = None


def selections(plan: Plan) -> dict[Block, list[Block]]:
    """Shown blocks that select neurons, by (model, direction, mixture selected on); each group shares one MI table."""
    found: dict[Block, list[Block]] = {}
    for block in plan.shown_blocks():
        if "neuron" in units(plan, block):
            found.setdefault((*block[:2], plan.selected_on(*block[1:])), []).append(block)
    return found


def matrices(plan: Plan) -> Iterator[list[Block]]:
    """The blocks of each matrix of interference: a model and direction's single-domain mixtures, then the first mixture
    that has all these domains, if there is one."""
    for pair in dict.fromkeys(block[:2] for block in plan.blocks()):
        blocks = [block for block in plan.blocks() if block[:2] == pair]
        single = [block for block in blocks if len(plan.seen(*block[1:])) == 1]
        domains = {domain for block in single for domain in plan.seen(*block[1:])}
        joint = [block for block in blocks if block not in single and domains <= set(plan.seen(*block[1:]))]
        if single:
            yield single + joint[:1]


def drawn_blocks(plan: Plan) -> list[Block]:
    """Shown blocks and those of the matrices of interference. Figures open their scores, and verdicts their tests."""
    return list(dict.fromkeys([*plan.shown_blocks(), *(block for blocks in matrices(plan) for block in blocks)]))


def units(plan: Plan, block: Block) -> list[str]:
    """Kinds of unit, `neuron` and `head`, that the variants of a block select."""
    found = {plan.unit(variant) for variant in plan.variants_on(*block[1:], Neurons)}
    return [unit for unit in ("neuron", "head") if unit in found]


def score_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[ScoreFile]:
    """Score files, block by block. Base and copy belong to several blocks and appear once in each."""
    with_neural = plan.shown_blocks()
    for block in _or_all(plan, blocks):
        neural = plan.config.scoring.neural if block in with_neural else ()
        tested = plan.tested(*block[1:])
        for run in plan.final_runs(*block):
            paths = {metric: neural_scores(f"{run.folder}/scores", metric) for metric in neural}
            yield _of_run(plan, block, run, run.scores, ScoreFile, domains=tested, neural=paths)
        paths = {metric: neural_scores(copy_folder(block[1]), metric) for metric in neural}
        yield ScoreFile(copy_scores(block[1]), block, COPY, COPY, domains=tested, neural=paths)


def copy_folder(direction: str) -> str:
    """Folder of the scores of copy: the sources in place of outputs."""
    return f"scores/copy/{direction}"


def copy_scores(direction: str) -> str:
    """Path of the scores of copy, except those of neural metrics."""
    return f"{copy_folder(direction)}/{TEST}.json"


def overlap_scores(block: Block) -> str:
    """Path of a block's scores without overlap."""
    return f"scores/without-overlap/{'/'.join(block)}.json"


def metric_files(plan: Plan) -> dict[str, str]:
    """Path of each neural metric's manifest."""
    return {metric: f"metrics/{metric}/manifest.json" for metric in plan.config.scoring.neural}


def record_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Run records of the trained runs."""
    return _of_trained(plan, blocks, "record.json")


def log_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Logs of the trained runs, with the losses: a line for each optimizer step."""
    return _of_trained(plan, blocks, "log.jsonl")


def trial_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[TrialFile]:
    """Trials of learning rates, each once, by block (with the mixture that chooses rates), variant, rate and seed."""
    trials = {trial for block in plan.blocks() for trial in plan.trials(*block)}
    order = list(plan.config.methods)
    for block in _or_all(plan, blocks):
        own = [trial for trial in trials if (trial.model, trial.direction, trial.mixture) == block]
        for trial in sorted(own, key=lambda trial: (order.index(trial.variant), trial.rate, trial.seed)):
            yield TrialFile(
                f"{trial.folder}/record.json",
                *(block, trial.variant, method_of(plan, trial), trial.seed),
                rate=trial.rate,
                attempt=trial.attempt,
                choice=plan.choice(replace(trial, seed=None, rate=None)),
                scores=trial.scores if TEST in plan.splits(trial) else None,
            )


def overlap_files(plan: Plan) -> Iterator[OverlapFile]:
    """Scores without overlap, block by block; only for unseen domains, since training excludes seen domains' tests."""
    for block in plan.blocks():
        if unseen := plan.unseen(*block[1:]):
            runs = {run.name: (run.variant, method_of(plan, run), run.seed) for run in plan.final_runs(*block)}
            yield OverlapFile(overlap_scores(block), block, domains=unseen, runs=runs)


def corpus_files(plan: Plan) -> Iterator[CorpusFile]:
    """Reports of prepared corpora, in the configuration's order, without domains that no mixture uses."""
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

    Trials count with what the choice of a rate needs: their tuning and the translation of dev.
    """
    for block in _or_all(plan, blocks):
        if plan.config.models[block[0]].pretrain:
            yield CostFile(f"models/{block[0]}/cost.json", block, stage="pretraining")
        yield from _selection_costs(plan, block)
        for trial in plan.trials(*block):
            for path in (f"{trial.folder}/cost.json", trial.translation_cost(DEV)):
                yield CostFile(path, block, trial.variant, method_of(plan, trial), stage="trials")
        runs = plan.final_runs(*block)
        for run in runs:
            if run.seed is not None:
                yield _of_run(plan, block, run, f"{run.folder}/cost.json", CostFile, stage="tuning")
        for run in runs:
            yield _of_run(plan, block, run, run.translation_cost(), CostFile, stage="translation")


def _selection_costs(plan: Plan, block: Block) -> Iterator[CostFile]:
    """Costs that the block's selections share: the pilot, then importance and information by kind of unit and draw."""
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
    """Sets of neurons or heads that final runs tune, for each variant that selects them.

    `random` has one set per seed, as has every variant if importance is drawn per seed; else a variant has one set.
    """
    for block in _or_all(plan, blocks):
        for variant in plan.variants_on(*block[1:], Neurons):
            method = plan.config.methods[variant].method
            for draw in plan.config.seeds if method == "random" else plan.own_draws() or [0]:
                path = plan.neuron_set(Run(*block[:2], variant, block[2], draw))
                yield File(path, block, variant, method, draw, plan.unit(variant))


def shared_set(plan: Plan, blocks: Iterable[Block] | None = None) -> File | None:
    """The set of the first variant of method `caneft` on the shared draw of importance samples, from which the
    information tables are made too; None without such a variant."""
    chosen = next((file for file in neuron_files(plan, blocks) if file.method == "caneft"), None)
    if chosen is None:
        return None
    model, direction, mixture = chosen.block
    return replace(chosen, seed=0, path=plan.neuron_set(Run(model, direction, chosen.variant, mixture)))


def information_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Tables of mutual information (.parquet, with a .json sidecar) for the units that a block's variants select.

    Every criterion starts from one, even `random`. These are of the shared draw of importance samples: only the
    selection reads those of the seeds' draws.
    """
    for block in _or_all(plan, blocks):
        for unit in units(plan, block):
            path = f"{information_folder(unit)}/{_selected_on(plan, block)}/information.parquet"
            yield File(path, block, unit=unit)


def sidecar(file: File) -> str:
    """Path of a mutual information table's sidecar."""
    return file.path.removesuffix(".parquet") + ".json"


def stability_files(plan: Plan, blocks: Iterable[Block] | None = None) -> Iterator[File]:
    """Files with the agreement of disjoint halves of the shared draw of importance samples, for blocks with a variant
    that selects neurons."""
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
    """Every file that the figures open, each once, sorted. Figures show neurons but no heads, and not every block."""
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
    """Paths of the shown blocks' files about neurons, without those about heads."""
    return {file.path for files in kinds for file in files(plan, plan.shown_blocks()) if file.unit == "neuron"}


def _neural_paths(plan: Plan) -> set[str]:
    return {path for file in score_files(plan) for path in file.neural.values()}


def _trial_paths(plan: Plan, blocks: Iterable[Block] | None = None) -> set[str]:
    found = (path for file in trial_files(plan, blocks) for path in (file.path, file.choice, file.scores))
    return {path for path in found if path}


def _of_trained(plan: Plan, blocks: Iterable[Block] | None, name: str) -> Iterator[File]:
    """The file of this name in the folder of each trained run."""
    for block in _or_all(plan, blocks):
        for run in plan.final_runs(*block):
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
    """`{model}/{direction}/{mixture}`, with the mixture that a block selects on."""
    return "/".join((*block[:2], plan.selected_on(*block[1:])))


def method_of(plan: Plan, run: Run) -> str:
    """The method of a run's variant."""
    return plan.config.methods[run.variant].method
