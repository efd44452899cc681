"""What was run, with what, and its results: gathered once for the report's first page and for the terminal."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from caneft.config import Direction, Neurons
from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import (
    captions,
    claims,
    evidence,
    inputs,
    listing,
    measures,
    overlap,
    page,
    power,
    results,
    roles,
    significant,
    tables,
)
from caneft.reporting.claims import Verdict
from caneft.reporting.columns import ALL, averages, methods, numbers, score_cells
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label, metric_label
from caneft.reporting.layout import Column, Table, of_columns
from caneft.reporting.measures import of_block
from caneft.reporting.reading import opened, read_bytes, text


class Overview(NamedTuple):
    """what: facts of the run, by name. made_by: code, versions and machines, by name. By shown block: main, named
    (labels that claims name, the method's first), verdicts and warnings. tables, figures: HTML and PNG, by name."""

    title: str
    note: str
    what: dict[str, str]
    made_by: dict[str, str]
    main: dict[Block, Table]
    named: dict[Block, list[str]]
    verdicts: dict[Block, list[Verdict]]
    warnings: dict[Block, list[str]]
    tables: dict[str, str]
    figures: dict[str, bytes]


def gather(plan: Plan, root: str | Path) -> Overview:
    """Gathers the overview from the results in `root`."""
    root, blocks = Path(root), plan.shown_blocks()
    scores, records = results.scores(plan, root), results.records(plan, root)
    main = tables.main_table(plan, scores, records)
    curves, costs = results.stability(plan, root), results.costs(plan, root)
    shared, tried = overlap.overlap_table(scores, overlap.without(plan, root)), results.trials(plan, root)
    found = {}
    for block in blocks:
        selection = (*block[:2], plan.selected_on(*block[1:]))
        single = {m: tests(root, (*block[:2], m)) for m in roles.single_domains(plan, block)}
        neurons, candidates = selected(plan, root, block)
        tested = tests(root, block)
        stability = results.own_curve(plan, of_block(curves, selection), tested["method"])
        found[block] = claims.Found(scores, records, tried, stability, tested, single, neurons, candidates)
    return Overview(
        title=plan.config.report.title,
        note=plan.config.report.note.strip(),
        what=dict(what_was_run(plan, records)),
        made_by=made_by(plan, root, costs),
        main={block: headline(plan, block, of_block(main, block)) for block in blocks},
        named={block: list(named(plan, block, found[block].tests)) for block in blocks},
        verdicts={block: claims.verdicts(plan, block, found[block]) for block in blocks},
        warnings={
            b: list(warnings(plan, of_block(scores, b), of_block(records, b), of_block(shared, b))) for b in blocks
        },
        tables={n: page.body_of(read_bytes(root / f"tables/{n}.html").decode()) for n in listing.tables(plan)},
        figures={name: read_bytes(root / f"figures/{name}.png") for name in listing.figures(plan)},
    )


def tests(root: Path, block: Block) -> Mapping[str, Any]:
    """Content of a block's file of significance, checked as far as verdicts need it."""
    with significant.tests(root, block) as content:
        for name in ("method", "baseline"):
            content[name]
        for metric in dict(content["metrics"]):
            evidence.errors(content, metric)
        return content


def named(plan: Plan, block: Block, tests: Mapping[str, Any]) -> Iterator[str]:
    """Labels of the method, the baseline, the rivals and the controls, in this order."""
    own = tests["method"]
    others = roles.rivals(plan, block, own) + (roles.controls(plan, block, own) if own else [])
    yield from (label(plan, variant) for variant in (own, tests["baseline"], *others) if variant)


def selected(plan: Plan, root: Path, block: Block) -> tuple[dict[str, NeuronSet], dict[str, list[int]]]:
    """For each variant of a block that selects neurons, its first set, and the number of candidates in each layer."""
    found, candidates = {}, {}
    for file, chosen, about in results.neuron_sets(plan, root, [block]):
        if file.variant not in found:
            found[file.variant] = chosen
            if (of_layers := about.get("candidates_per_layer")) is not None:
                candidates[file.variant] = list(map(int, of_layers))
    return found, candidates


def _languages(direction: Direction) -> str:
    """A direction's languages in brackets; empty if it names none, as tasks of another kind may do."""
    named = [language for language in (direction.source_language, direction.target_language) if language]
    return f" ({' to '.join(named)})" if named else ""


def what_was_run(plan: Plan, records: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """Facts of the configuration and its runs, as pairs of name and text."""
    config = plan.config
    yield "Models", ", ".join(f"{name} ({_source(model)})" for name, model in config.models.items())
    yield (
        "Directions",
        ", ".join(f"{name}{_languages(direction)}" for name, direction in config.directions.items()),
    )
    for direction in config.directions:
        for mixture in plan.mixtures(direction):
            unseen = ", ".join(label(plan, domain) for domain in plan.unseen(direction, mixture))
            seen = ", ".join(label(plan, domain) for domain in plan.seen(direction, mixture))
            yield f"Mixture {mixture}, {direction}", f"{seen}{f'; unseen: {unseen}' if unseen else ''}"
    yield "Methods", ", ".join(label(plan, variant) for variant in config.methods)
    trained = records[records["seed"].notna()]
    grids = {len(method.grid) for method in config.methods.values() if getattr(method, "grid", ())}
    tried = f", trials at {', '.join(map(str, config.trials.seeds))} of {' or '.join(map(str, sorted(grids)))} rates"
    tried = tried if grids else ""
    yield "Seeds", f"{', '.join(map(str, config.seeds))}{tried}"
    runs = plan.runs()
    trials = sum(run.rate is not None for run in runs)
    yield (
        "Runs",
        f"{len(trained):,} trained, {trials:,} trials, {len(runs) - len(trained) - trials:,} that train nothing",
    )
    epochs = config.tuning.epochs
    yield "Training", f"{config.tuning.pairs_per_domain:,} pairs a domain, {epochs} epoch{'s' * (epochs > 1)}"
    if plan.variants(Neurons):
        samples = config.importance.samples
        drawn = ", drawn again for each seed" if plan.own_draws() else ""
        yield "Importance", f"{samples if isinstance(samples, str) else f'{samples:,}'} samples a domain{drawn}"
        budget = {k: getattr(config.selection, k) for k in ("fraction", "gamma", "parameters")}
        yield "Budget", ", ".join(f"{name} {value}" for name, value in budget.items() if value is not None)
    for block in plan.shown_blocks():
        if said := power.sentence(plan, block):
            yield f"Detectable difference, {', '.join(block)}", said
    yield "Metrics", ", ".join(metric_label(plan, metric) for metric in config.scoring.all)


def _source(model) -> str:
    if model.pretrain:
        return "pretrained here"
    return model.hub or ("GGUF file, dequantised" if model.quantised else "local folder")


def made_by(plan: Plan, root: Path, costs: pd.DataFrame) -> dict[str, str]:
    """Commits and versions in the runs' records, devices, hours of computing, and when the first process began."""
    commits, versions, started = set(), {}, []
    for file in inputs.record_files(plan):
        with opened(root / file.path, with_format=True) as record:
            code = record.get("code") or {}
            if code.get("commit"):
                commits.add(text(code["commit"])[:12] + (" with changes" if code.get("dirty") else ""))
            for name, version in (record.get("packages") or {}).items():
                versions.setdefault(name, set()).add(text(version))
    paths, hours = dict.fromkeys(file.path for file in inputs.cost_files(plan)), 0.0
    for path in paths:
        with opened(root / path) as cost:
            started.append(text(cost["started"]))
            hours += float(cost["wall_seconds"]) / 3600
    said = {
        "Code": ", ".join(sorted(commits)),
        "Packages": ", ".join(f"{name} {' or '.join(sorted(found))}" for name, found in sorted(versions.items())),
        "Devices": captions.devices(costs),
        "Computing": f"{hours:,.1f} hours in {len(paths):,} processes, the first begun {min(started)}"
        if started
        else "",
    }
    return {name: words for name, words in said.items() if words}


def headline(plan: Plan, block: Block, rows: pd.DataFrame) -> Table:
    """Table of a block's averages in the headline metric. rows: those of the main table."""
    metric = plan.config.scoring.metrics[0]
    body, seeds = measures.headline(plan, rows), len(plan.config.seeds)
    shown = averages(plan, block) | ({ALL: "all"} if plan.unseen(*block[1:]) else {})
    return of_columns(
        "overview",
        f"{METRICS[metric]} of {', '.join(block[:2])}, mixture {block[2]}",
        f"Averages over domains{f', mean ± deviation over {seeds} seeds' if seeds > 1 else ''}.",
        [
            methods(plan, body["variant"]),
            numbers("Trained parameters", body["trainable_parameters"], ","),
            *((Column(name, "average"), score_cells(body, average)) for average, name in shown.items()),
        ],
    )


def warnings(plan: Plan, scores: pd.DataFrame, records: pd.DataFrame, shared: pd.DataFrame) -> Iterator[str]:
    """What to know before trusting the numbers of a block. All frames hold only the block's rows."""
    trained = records[records["seed"].notna()]
    chosen = captions.chosen_rates(trained)
    if fixed := [label(plan, variant) for variant in trained["variant"].unique() if variant not in chosen]:
        names = ", ".join(fixed)
        yield f"Rates that were fixed and not tuned: {names}. Differences between them may be those of the rates."
    yield from captions.edges(plan, chosen) + captions.divergences(plan, chosen)
    if len(trained) and len(plan.config.seeds) == 1:
        yield captions.seeds(plan)
    health = captions.health(plan, scores[scores["metric"] == plan.config.scoring.metrics[0]])
    if not health.startswith("No "):
        yield health
    flagged = shared.drop_duplicates("domain") if len(shared) else shared
    for row in flagged.itertuples():
        if count := int(row.pairs) + int(row.sources):
            where = label(plan, row.domain)
            yield f"{count:,} of {row.segments:,} test segments of {where} are in the training data."
