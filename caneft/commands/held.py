"""Lists every file that a finished workflow leaves in its results folder. Paths are relative to `results_root`.

`tests/workflow/test_verify.py` compares the list with the outputs of Snakemake's own plan.
"""

import itertools
import re
from collections.abc import Iterator

from caneft.config import Full, Lora, Neurons, remote_sources
from caneft.plan import TEST, Plan, Run, importance_folder, information_folder
from caneft.reporting import inputs, listing, shown

SMALL = re.compile(r"\.json$|/draw\d+\.npz$|^runs/.*\.jsonl$")
REPORTS = ("summary.md", "overview.html", "examples.html", "report.html", "runs.parquet")


def files(plan: Plan) -> set[str]:
    """Every file of a finished workflow, except the logs and timings of its jobs."""
    opened = inputs.table_inputs(plan) + inputs.figure_inputs(plan) + shown.example_inputs(plan)
    kinds = _corpora, _mixtures, _models, _importance, _neuron_sets, _runs, _metrics
    made = {path for kind in kinds for path in kind(plan)}
    tables = {f"tables/{name}{suffix}" for name in listing.TABLES for suffix in (".csv", ".html", ".md", ".tex")}
    figures = {f"figures/{name}{suffix}" for name in listing.figures(plan) for suffix in (".pdf", ".png", ".svg")}
    return {*opened, *made, *tables, *figures, *REPORTS}


def small(plan: Plan) -> set[str]:
    """As `files`, without dumps, weights and corpora, which may be deleted to make room. Every job writes a small file:
    JSON, a set of neurons, or translations."""
    return {path for path in files(plan) if SMALL.search(path)}


def _corpora(plan: Plan) -> Iterator[str]:
    """Prepared corpora of the domains in use, training text of models and metrics, and notes of what was fetched."""
    used = {f"{file.direction}/{file.domain}": file for file in inputs.corpus_files(plan)}
    for corpus, file in used.items():
        trainable = plan.config.directions[file.direction].domains[file.domain].train is not None
        for name in ("train.jsonl", "dev.jsonl") if trainable else ():
            yield f"corpora/{corpus}/{name}"
        yield from (f"corpora/{corpus}/test.jsonl", f"corpora/{corpus}/report.json")
    pretrained = [f"pretraining/{name}" for name, model in plan.config.models.items() if model.pretrain]
    trained = [f"metrics/{name}" for name in _trained_metrics(plan)]
    for corpus in (*pretrained, *trained):
        yield from (f"corpora/{corpus}.jsonl", f"corpora/{corpus}.report.json")
    for corpus, _ in remote_sources(plan.config):
        if corpus in {*used, *pretrained, *trained}:
            yield f"corpora/{corpus}/fetched.json"


def _mixtures(plan: Plan) -> Iterator[str]:
    for _, direction, mixture in plan.blocks():
        folder = f"mixtures/{direction}/{mixture}"
        yield from (f"{folder}/train.jsonl", f"{folder}/dev.jsonl", f"{folder}/report.json")
        yield from (f"{folder}/overlap/{domain}.json" for domain in plan.unseen(direction, mixture))


def _models(plan: Plan) -> Iterator[str]:
    for name, model in plan.config.models.items():
        yield f"models/{name}/manifest.json"
        if model.pretrain or model.quantised:
            yield from (f"models/{name}/{file}" for file in ("model.safetensors", "config.json", "tokenizer.json"))
        if model.pretrain:
            yield f"models/{name}/cost.json"


def _importance(plan: Plan) -> Iterator[str]:
    """Dumps, the information from them, and the number of samples if a pilot decided it."""
    for block in plan.blocks():
        model, direction, mixture = block
        units, selected_on = inputs.units(plan, block), plan.selected_on(direction, mixture)
        if units and plan.config.importance.samples == "auto":
            yield f"importance/{model}/{direction}/samples.json"
            yield f"importance/{model}/{direction}/samples.cost.json"
        for unit, seed in itertools.product(units, [None, *plan.own_draws()]):
            for domain in plan.seen(direction, selected_on):
                dump = f"{importance_folder(unit, seed)}/{model}/{direction}/{domain}"
                yield from (f"{dump}{suffix}" for suffix in (".npy", ".json", ".stats.npz", ".cost.json"))
            about = f"{information_folder(unit, seed)}/{model}/{direction}/{selected_on}/information"
            yield from (f"{about}{suffix}" for suffix in (".parquet", ".json", ".cost.json"))
    for file in inputs.stability_files(plan):
        yield from (file.path, f"{file.path.removesuffix('.json')}.cost.json")


def _neuron_sets(plan: Plan) -> Iterator[str]:
    """Neuron sets of runs, including trials, and sets whose numbers per layer another set takes (`layers_of`)."""
    for run in plan.runs():
        if path := plan.neuron_set(run):
            yield path
            method = plan.config.methods[run.variant]
            chosen = run.variant if isinstance(method, Neurons) else method.equal_to
            if like := plan.config.methods[chosen].layers_of:
                draw = path.rpartition("/")[2] if plan.config.methods[like].method == "random" else "draw0.npz"
                yield f"{path.rpartition('/')[0].rpartition('/')[0]}/{like}/{draw}"


def _runs(plan: Plan) -> Iterator[str]:
    """Files that tuning, translation and scoring write for each run."""
    for run in plan.runs():
        if run.seed is not None:
            yield from _tuned(plan, run)
            if choice := plan.choice(run):
                yield choice
        for split in plan.splits(run):
            yield from (run.translations(split), run.translation_cost(split))
            if split == TEST:
                yield run.scores


def _tuned(plan: Plan, run: Run) -> Iterator[str]:
    method = plan.config.methods[run.variant]
    kept = plan.config.tuning.keep_full_weights and run.rate is None
    if kept or not isinstance(method, Full):
        yield plan.artefact(run)
    more = {Lora: ["adapter_config.json"], Full: ["config.json"]}.get(type(method), [])
    yield from (f"{run.folder}/{name}" for name in ("record.json", "cost.json", "log.jsonl", *more))


def _metrics(plan: Plan) -> Iterator[str]:
    """Files of the neural metrics that the workflow trains, except manifests, which the tables open anyway."""
    for metric in _trained_metrics(plan):
        yield from (f"metrics/{metric}/{name}" for name in ("checkpoints/model.ckpt", "encoder", "hparams.yaml"))


def _trained_metrics(plan: Plan) -> list[str]:
    return [name for name, metric in plan.config.scoring.neural.items() if getattr(metric, "train", None)]
