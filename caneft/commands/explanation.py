"""Explains a cell of a table: the runs behind it with their records, files with checksums, and jobs."""

from pathlib import Path
from typing import Any

from caneft.commands import cells
from caneft.commands.cells import Cell
from caneft.commands.jobs import Jobs
from caneft.config.metrics import NEURAL, neural_scores
from caneft.errors import InputError
from caneft.plan import Plan, Run
from caneft.reporting.reading import naming, read_json
from caneft.reporting.serving import served
from caneft.storage.files import sha256


def explanation(plan: Plan, root: Path, cell: Cell, seed: int | None = None) -> dict[str, Any]:
    """The explanation of a cell, as `--json` prints it. seed: leaves out the runs of other seeds."""
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
    """Describes one run: scores with signatures, files with checksums, record, cost, state of what it was tuned on."""
    trained = [f"{run.folder}/record.json", f"{run.folder}/cost.json"] if plan.artefact(run) else []
    made_from = [path for path in (plan.artefact(run), _neurons(plan, run)) if path]
    neural = [neural_scores(f"{run.folder}/scores", metric)] if metric in NEURAL else []
    evaluated = [run.scores, *neural, run.translations()] if domains else []
    files = dict.fromkeys([*evaluated, *trained, *made_from])
    entry = {
        "run": f"{run.model}/{run.direction}/{run.name}",
        "scores": [_score(root, run, domain, metric) for domain in domains],
        "files": {path: _checksum(root / path) for path in files},
    }
    if trained:
        entry |= {"record": read_json(root / trained[0]), "cost": read_json(root / trained[1])}
        entry["data"] = _data(plan, root, run, entry["record"])
        entry["served"] = served(plan, run.model, run.variant)
    return entry


def _neurons(plan: Plan, run: Run) -> str | None:
    return plan.neuron_set(run) if run.mixture and plan.artefact(run) else None


def _score(root: Path, run: Run, domain: str, metric: str | None) -> dict[str, Any]:
    """Score and signature of a domain. A neural metric has them in its own file, with the scores of segments."""
    path = root / run.scores
    if metric in NEURAL:
        own = Path(neural_scores(str(path.parent), metric))
        measured = read_json(own, with_format=True)
        with naming(own):
            measured = {key: measured["domains"][domain][key] for key in ("score", "signature")}
    found = read_json(path, with_format=True)
    with naming(path):
        entry = (found["domains"] if run.rate is None else found["trials"][run.attempt])[domain]
        if metric not in NEURAL:
            measured = entry[metric] if metric else {}
        return {"domain": domain, "segments": entry["segments"], "health": entry["health"], **measured}


def _data(plan: Plan, root: Path, run: Run, record: dict[str, Any]) -> dict[str, str]:
    """Says of each file that a run was tuned on whether it is still the one that the record names.

    The record of an older version does not name the neuron set.
    """
    paths = {split: f"mixtures/{run.direction}/{run.mixture}/{split}.jsonl" for split in ("train", "dev")}
    paths |= {"neurons": chosen} if (chosen := _neurons(plan, run)) else {}
    said = {}
    for name, path in paths.items():
        wanted, now = (record.get("data") or {}).get(f"{name}_sha256"), _checksum(root / path)
        same = "the record does not say which" if wanted is None else "as the record says"
        said[path] = "is gone" if now is None else same if wanted in (None, now) else "changed since the run"
    return said


def _checksum(path: Path) -> str | None:
    """SHA-256 of a file; None if it is gone, such as weights that are not kept."""
    return sha256(path) if path.exists() else None
