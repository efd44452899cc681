"""From a cell of a table to the files that its number is made of."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from caneft.errors import InputError, did_you_mean
from caneft.plan import Plan, Run
from caneft.reporting import inputs
from caneft.reporting.inputs import COPY, Block, block_runs, shown_blocks

FILTERS = ("metric", "model", "direction", "mixture", "stage", "learning_rate")
AVERAGES = ("average_seen", "average_unseen", "average_all")
INTERVAL = ("_low", "_high")
VALUES = {"interference": "difference_mean", "overlap": "without_mean"}
"""Of tables with a row for each domain: what a domain's number is."""


class Cell(NamedTuple):
    """value: as the CSV has it. made: how it is aggregated. row: all of the table's row. runs: final runs or trials
    behind it, with the domains that count. files: others that it is made of, below `results_root`."""

    table: str
    column: str
    value: Any
    made: str
    row: dict[str, Any]
    metric: str | None
    runs: dict[Run, list[str]]
    files: list[str]


def find(plan: Plan, path: Path, row: str, column: str, wanted: dict[str, str]) -> Cell:
    """The one cell of a CSV of `tables/`. wanted: by FILTERS. Raises InputError where none or several fit."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such table. {did_you_mean(path.stem, inputs.TABLES)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from None
    table = path.stem
    if "domain" in frame and column in set(frame["domain"]) and table in VALUES:
        frame, column = frame[frame["domain"] == column], VALUES[table]
    column = _column(path, frame, column)
    found = _filtered(path, _rows(path, frame, row), {"metric": plan.config.scoring.metrics[0]}, wanted)
    found = _first_shown(plan, path, found, wanted)
    values = {name: None if pd.isna(value) else value for name, value in found.iloc[0].to_dict().items()}
    return _cell(plan, table, column, values)


def _column(path: Path, frame: pd.DataFrame, column: str) -> str:
    for name in (column, f"{column}_mean"):
        if name in frame:
            return name
    known = [name.removesuffix("_mean") for name in frame]
    raise InputError(f"{path}: has no column '{column}'. {did_you_mean(column, known)}")


def _rows(path: Path, frame: pd.DataFrame, row: str) -> pd.DataFrame:
    """Rows by variant; of what all variants share by stage, and of tables without variants by domain or mixture."""
    if "stage" in frame:
        frame = frame.assign(_name=frame["variant"].fillna(frame["stage"]))
    name = next(name for name in ("_name", "variant", "domain", "mixture", frame.columns[0]) if name in frame)
    if len(found := frame[frame[name] == row]):
        return found.drop(columns="_name", errors="ignore")
    known = set(frame[name].dropna().map(str))
    raise InputError(f"{path}: has no row '{row}'. {did_you_mean(row, known)}")


def _filtered(path: Path, frame: pd.DataFrame, defaults: dict[str, str], wanted: dict[str, str]) -> pd.DataFrame:
    for name, value in (defaults | wanted).items():
        if name not in frame:
            if name in wanted:
                raise InputError(f"{path}: its rows have no {name}; leave --{name.replace('_', '-')} out")
            continue
        texts = frame[name].map(_text)
        if not (texts == value).any():
            raise InputError(f"{path}: no such row has {name} '{value}'. {did_you_mean(value, set(texts))}")
        frame = frame[texts == value]
    return frame


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_shown(plan: Plan, path: Path, found: pd.DataFrame, wanted: dict[str, str]) -> pd.DataFrame:
    """One row of several: that of the mixture that printed tables show, if this settles it."""
    if len(found) > 1 and "mixture" in found and "mixture" not in wanted:
        shown = {block[2] for block in shown_blocks(plan)}
        found = found[found["mixture"].isin(shown)] if found["mixture"].isin(shown).any() else found
    if len(found) > 1:
        differing = [name for name in (*FILTERS, "domain") if name in found and found[name].nunique(dropna=False) > 1]
        choices = "; ".join(
            f"--{name.replace('_', '-')} {', '.join(map(_text, found[name].unique()))}" for name in differing
        )
        raise InputError(f"{path}: {len(found)} rows fit. Say which: {choices}")
    return found


def _cell(plan: Plan, table: str, column: str, row: dict[str, Any]) -> Cell:
    block = row["model"], row["direction"], row.get("mixture")
    runs, files, made = {}, [], ""
    if table == "cost":
        files = [file.path for file in inputs.cost_files(plan) if _is_cost(file, block, row)]
        made = "the highest of" if "memory" in column else "a sum over processes, and a mean over the seeds, of"
        made = f"{made} what {len(files)} processes took"
    elif table == "trials":
        run = Run(*block[:2], row["variant"], block[2], rate=row["learning_rate"])
        runs = {run: _domains(plan, block, column)}
        files = [plan.choice(Run(*block[:2], row["variant"], block[2], plan.config.seeds[0]))]
        made = "the trial of one rate, judged on dev by the file of the choice"
    elif table == "overlap":
        folder = f"scores/without-overlap/{'/'.join(block)}"
        runs = {run: [row["domain"]] for run in _runs(plan, block, row["variant"])}
        files = [f"{folder}/{row['domain']}.json"] if column.startswith("without") else []
        made = f"mean over {len(runs)} seeds of the scores with or without the segments that are flagged"
    elif table == "interference":
        runs = {run: [row["domain"]] for run in _runs(plan, block, row["variant"])}
        made = f"mean over {len(runs)} seeds of the score, minus that of base"
        if base := plan.base_run(*block[:2]):
            runs[base] = [row["domain"]]
    elif row.get("variant") == COPY:
        files = [f"scores/copy/{block[1]}/{domain}.json" for domain in _domains(plan, block, column)]
        made = "the score of the sources in place of outputs"
    elif "variant" in row and None not in block:
        runs = {run: _domains(plan, block, column) for run in _runs(plan, block, row["variant"])}
        made = _aggregated(plan, table, column, runs)
    else:
        made = f"what the reports of {block[1]} count" if table == "corpora" else "see the table's caption"
        files = list(_reports(plan, row)) if table == "corpora" else []
    return Cell(table, column, row[column], made, row, row.get("metric"), runs, files)


def _is_cost(file: inputs.CostFile, block: Block, row: dict[str, Any]) -> bool:
    return (file.block, file.stage, file.variant) == (block, row["stage"], row["variant"])


def _reports(plan: Plan, row: dict[str, Any]) -> Iterator[str]:
    for file in inputs.corpus_files(plan):
        if file.direction == row["direction"] and row.get("domain") in (file.domain, None):
            yield file.path
    for file in inputs.mixture_files(plan):
        if file.direction == row["direction"] and row.get("mixture") in (file.mixture, None):
            yield file.path


def _runs(plan: Plan, block: Block, variant: str) -> list[Run]:
    return [run for run in block_runs(plan, block) if run.variant == variant]


def _domains(plan: Plan, block: Block, column: str) -> list[str]:
    """Domains whose scores a column is made of."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    name = _plain(column)
    return {"average_seen": seen, "average_unseen": unseen}.get(
        name, [name] if name in seen + unseen else seen + unseen
    )


def _plain(column: str) -> str:
    """A column's name without what it says of the scores."""
    return next((column.removesuffix(end) for end in ("_mean", "_std", *INTERVAL) if column.endswith(end)), column)


def _aggregated(plan: Plan, table: str, column: str, runs: dict[Run, list[str]]) -> str:
    name, count = _plain(column), len(runs)
    over = f" over {count} seeds" if count > 1 else " (one run)"
    kind = "sample standard deviation" if column.endswith("_std") else "mean"
    if column.endswith(INTERVAL):
        return "end of the 95 % bootstrap interval over segments of what `significance/` holds for the block"
    if name == "trainable_parameters":
        return f"mean{over} of what the runs' records count"
    if name in AVERAGES:
        domains = next(iter(runs.values()), [])
        each = "each seed's" if count > 1 else "its"
        return f"{kind}{over} of {each} mean over the domains {', '.join(domains)}"
    if column.endswith(("_mean", "_std")):
        return f"{kind}{over} of the scores on {name}"
    return f"sum over the domains{' and seeds' if count > 1 else ''} of what the score files say"


def score_file(plan: Plan, run: Run, domain: str) -> str:
    """Path of a run's scores on a domain."""
    testset = next(name for name, domains in plan.testsets(run).items() if domain in domains and name != "dev")
    return f"{run.folder}/scores/{testset}.json"
