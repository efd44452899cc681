"""The command line `python -m caneft explain`: what stands behind a number of a table."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caneft.commands import cells
from caneft.commands.cells import Cell
from caneft.commands.finished import open_plan
from caneft.commands.jobs import Jobs
from caneft.config.metrics import NEURAL, neural_scores
from caneft.errors import InputError
from caneft.files import sha256
from caneft.plan import Plan, Run
from caneft.reporting.reading import naming, read_json


def add(commands) -> None:
    """Adds `explain` to a parser's commands."""
    about = "say what stands behind a number of a table: runs, files, checksums, versions and commands"
    parser = commands.add_parser("explain", help=about, description=about)
    parser.add_argument("table", type=Path, help="CSV file of a finished run, such as results/tables/main.csv")
    parser.add_argument("--row", required=True, help="variant; of costs that all variants share, the stage")
    parser.add_argument("--column", required=True, help="domain, average_seen, average_unseen, ..., or a CSV column")
    for name in cells.FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"which {name.replace('_', ' ')}, where several fit")
    parser.add_argument("--seed", type=int, help="only what stands behind this seed")
    parser.add_argument("--json", action="store_true", help="as JSON, with all jobs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    root = args.table.parent.parent
    if args.table.suffix != ".csv":
        raise InputError(f"{args.table}: name the table's CSV file, {args.table.with_suffix('.csv')}")
    plan = open_plan(root)
    wanted = {name: getattr(args, name) for name in cells.FILTERS if getattr(args, name) is not None}
    found = explanation(plan, root, cells.find(plan, args.table, args.row, args.column, wanted), args.seed)
    text = json.dumps(found, indent=1, ensure_ascii=False, default=str) if args.json else "\n".join(lines(found))
    print(text)


def explanation(plan: Plan, root: Path, cell: Cell, seed: int | None = None) -> dict[str, Any]:
    """All that is behind a cell, as it is printed with `--json`. seed: only that of the runs."""
    runs = {run: domains for run, domains in cell.runs.items() if seed is None or run.seed in (seed, None)}
    if seed is not None and cell.runs and not runs:
        raise InputError(f"no run of seed {seed} is behind it; seeds: {', '.join(map(str, plan.config.seeds))}")
    jobs = Jobs(root, plan.config.results_root)
    described = [_run(plan, root, run, domains, cell.metric) for run, domains in runs.items()]
    outputs = [path for entry in described for path in entry["files"]] + cell.files
    behind = jobs.behind(map(jobs.known_as, outputs))
    return {
        "table": cell.table,
        "row": cells.name_of(cell.row),
        "column": cell.column,
        "block": [cell.row.get(name) for name in ("model", "direction", "mixture")],
        "metric": cell.metric,
        "value": cell.value,
        "made": cell.made,
        "results": str(root),
        "runs": described,
        "files": {path: _checksum(root / path) for path in cell.files},
        "notes_of_jobs": None if jobs.folder is None else str(jobs.folder),
        "jobs": [job._asdict() for job in behind],
    }


def _run(plan: Plan, root: Path, run: Run, domains: list[str], metric: str | None) -> dict[str, Any]:
    """One run: scores with their signature, files with checksums, record, cost, state of the training data."""
    scores = {domain: cells.score_file(plan, run, domain) for domain in domains}
    translations = [
        path.replace("/scores/", "/translations/").removesuffix(".json") + ".jsonl" for path in scores.values()
    ]
    trained = [f"{run.folder}/record.json", f"{run.folder}/cost.json"] if plan.artefact(run) else []
    made_from = [path for path in (plan.artefact(run), _neurons(plan, run)) if path]
    neural = [neural_scores(f"{run.folder}/scores", metric)] if metric in NEURAL else []
    files = dict.fromkeys([*scores.values(), *neural, *translations, *trained, *made_from])
    entry = {
        "run": f"{run.model}/{run.direction}/{run.name}",
        "scores": [_score(root / path, domain, metric) for domain, path in scores.items()],
        "files": {path: _checksum(root / path) for path in files},
    }
    if trained:
        entry |= {"record": read_json(root / trained[0]), "cost": read_json(root / trained[1])}
        entry["data"] = _data(root, run, entry["record"])
    return entry


def _neurons(plan: Plan, run: Run) -> str | None:
    return plan.neuron_set(run) if run.mixture and plan.artefact(run) else None


def _score(path: Path, domain: str, metric: str | None) -> dict[str, Any]:
    """Score and signature of a domain. A neural metric's stand in a file of its own, which has the segments too."""
    if metric in NEURAL:
        own = Path(neural_scores(str(path.parent), metric))
        measured = read_json(own, with_format=True)
        with naming(own):
            measured = {key: measured["domains"][domain][key] for key in ("score", "signature")}
    found = read_json(path, with_format=True)
    with naming(path):
        entry = found["domains"][domain]
        if metric not in NEURAL:
            measured = entry[metric] if metric else {}
        return {"domain": domain, "segments": entry["segments"], "health": entry["health"], **measured}


def _data(root: Path, run: Run, record: dict[str, Any]) -> dict[str, str]:
    """Whether the training data that lie there now are those that the record names."""
    said = {}
    for split in ("train", "dev"):
        path = f"mixtures/{run.direction}/{run.mixture}/{split}.jsonl"
        wanted, now = (record.get("data") or {}).get(f"{split}_sha256"), _checksum(root / path)
        said[path] = "is gone" if now is None else "as the record says" if now == wanted else "changed since the run"
    return said


def _checksum(path: Path) -> str | None:
    """SHA-256, None where a file is gone (weights that are not kept, say)."""
    return sha256(path) if path.exists() else None


def lines(found: dict[str, Any]) -> Iterator[str]:
    """An explanation for people."""
    where = " / ".join(part for part in found["block"] if part)
    metric = f", {found['metric']}" if found["metric"] else ""
    yield f"{found['value']}  {found['row']}, {found['column']}{metric} ({where})"
    yield f"  is {found['made']}"
    for entry in found["runs"]:
        yield from ("", f"run {entry['run']}", *(f"  {line}" for line in _run_lines(entry)))
    for path, checksum in found["files"].items():
        yield from ("", f"file {path}", f"  sha256 {checksum or 'none: the file is gone'}")
    yield from _job_lines(found)


def _run_lines(entry: dict[str, Any]) -> Iterator[str]:
    for score in entry["scores"]:
        value = f"{score['score']:.4f}, {score['signature']}" if "score" in score else "counts"
        bad = ", ".join(f"{name} {count}" for name, count in score["health"].items() if count)
        yield f"{score['domain']:<12} {value}; {score['segments']} segments{f'; {bad}' if bad else ''}"
    for path, checksum in entry["files"].items():
        yield f"{(checksum or 'gone')[:12]:<12} {path}"
    if record := entry.get("record"):
        yield from _record_lines(record)
        cost = entry["cost"]
        took = f"{cost['wall_seconds']} s, {cost['peak_memory_mb']} MB, {cost['device']}"
        yield f"cost         {took}, begun {cost['started']}"
        for path, said in entry["data"].items():
            yield f"data         {path}: {said}"


def _record_lines(record: dict[str, Any]) -> Iterator[str]:
    settings, code = record["settings"], record.get("code") or {}
    yield f"base         {record['base'].get('id')}, revision {record['base'].get('revision')}"
    rate = f"rate {settings['learning_rate']:g}{', chosen on dev' if record.get('choice') else ''}"
    count, total = (record["parameters"][name] for name in ("trainable", "total"))
    yield f"tuning       {rate}; {count:,} of {total:,} parameters; seed {record.get('seed')}"
    if chosen := record.get("selection"):
        gamma = chosen.get("gamma")
        said = f"{chosen['neurons']:,} {chosen.get('unit', 'neuron')}s, share {chosen['fraction']:.4f}"
        yield f"selection    {said}{f', gamma {gamma:.4g} nats' if gamma is not None else ''}"
    yield f"code         commit {code.get('commit')}{', with changes' if code.get('dirty') else ''}"
    versions = record.get("packages") or {}
    yield "versions     " + ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _job_lines(found: dict[str, Any]) -> Iterator[str]:
    """Commands as they were run; those of trials are many and only counted."""
    if not found["jobs"]:
        yield from ("", "No commands: Snakemake's notes of these jobs (.snakemake/metadata) are not here.")
        return
    asked = tuple(f"/runs/{entry['run']}/" for entry in found["runs"])
    trials = [job for job in found["jobs"] if "/lr" in job["output"] and not any(run in job["output"] for run in asked)]
    yield from ("", "jobs, as they were run, the first at the head")
    for job in found["jobs"]:
        if job in trials:
            continue
        yield from ("", f"  {job['rule']}, begun {job['started']}", f"    {job['command']}")
        yield from (f"    log       {path}" for path in job["log"])
        yield from [f"    benchmark {job['benchmark']}"] * bool(job["benchmark"])
    if trials:
        yield from ("", f"  and {len(trials)} jobs of the trials that chose a rate: --json has them")
