"""The command line `python -m caneft explain`: says how a number in a table came about."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from caneft.commands.options import number
from caneft.errors import InputError

FILTERS = (
    *("metric", "model", "direction", "mixture", "stage", "learning_rate", "domain", "split", "against"),
    *("scope", "samples"),
)
"""Filters for the rows of a table, each with an option."""


def add(commands) -> None:
    """Adds `explain` to a parser's commands."""
    about = "say what stands behind a number of a table: runs, files, checksums, versions and commands"
    parser = commands.add_parser("explain", help=about, description=about)
    parser.add_argument("table", type=Path, help="CSV file of a finished run, such as results/tables/main.csv")
    parser.add_argument(
        "--row", required=True, help="variant; of costs that all variants share, the stage; of stability, the criterion"
    )
    parser.add_argument("--column", required=True, help="domain, average_seen, average_unseen, ..., or a CSV column")
    for name in FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"which {name.replace('_', ' ')}, where several fit")
    parser.add_argument("--seed", type=number(int, 0), help="only runs of this seed")
    parser.add_argument("--json", action="store_true", help="as JSON, with all jobs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from caneft.commands import cells, explanation  # late: they import pandas
    from caneft.commands.finished import open_plan

    root = args.table.parent.parent
    if args.table.suffix != ".csv":
        raise InputError(f"{args.table}: name the table's CSV file, {args.table.with_suffix('.csv')}")
    plan = open_plan(root)
    wanted = {name: getattr(args, name) for name in FILTERS if getattr(args, name) is not None}
    cell = cells.find(plan, args.table, args.row, args.column, wanted)
    found = explanation.explanation(plan, root, cell, args.seed)
    text = json.dumps(found, indent=1, ensure_ascii=False, default=str) if args.json else "\n".join(lines(found))
    print(text)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """An explanation as lines to read."""
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
        yield f"served       {entry['served']}"
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
    """Commands as they were run. Trials that are not explained themselves are many, so they are only counted."""
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
