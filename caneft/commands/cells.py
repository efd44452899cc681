"""Finds the runs and files from which a cell of a table is computed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from caneft.commands.explain import FILTERS
from caneft.config.metrics import NEURAL, neural_scores
from caneft.config.names import AVERAGE_SEEN, AVERAGE_UNSEEN, AVERAGES
from caneft.errors import InputError, did_you_mean
from caneft.plan import Plan, Run, comparison, information_folder
from caneft.reporting import inputs, listing
from caneft.reporting.inputs import COPY, Block

COLUMNS = {"domain": ("domain", "column"), "against": ("b",)}
"""Filters whose column may have another name than the filter: its possible names, of which a table has one at most."""
INTERVAL = ("_low", "_high")
VALUES = {
    "significance": "difference",
    "unseen": "score_mean",
    "interference": "difference_mean",
    "overlap": "without_mean",
}
"""For tables with a row for each domain: the column of a domain's number."""


Made = tuple[str, dict[Run, list[str]], list[str]]
"""The `made`, `runs` and `files` of a cell."""


class Cell(NamedTuple):
    """A cell of a table. value: as the CSV has it. made: how it is aggregated. row: the whole row of the table. runs:
    final runs or trials behind it, with the domains that count. files: other files behind it, below `results_root`."""

    table: str
    column: str
    value: Any
    made: str
    row: dict[str, Any]
    metric: str | None
    runs: dict[Run, list[str]]
    files: list[str]


def find(plan: Plan, path: Path, row: str, column: str, wanted: dict[str, str]) -> Cell:
    """Finds a cell in a CSV of `tables/`. wanted: values of FILTERS. Raises InputError if no cell or several fit."""
    try:
        frame = pd.read_csv(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such table. {did_you_mean(path.stem, listing.TABLES)}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a table: {error}") from None
    table = path.stem
    where = _called(frame, "domain")
    if where in frame and column in set(frame[where]) and table in VALUES:
        frame, column = frame[frame[where] == column], VALUES[table]
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
    """Rows of a variant; of a stage, for costs that all variants share; or of a subject, in tables without variants."""
    if "stage" in frame:
        frame = frame.assign(_name=frame["variant"].fillna(frame["stage"]))
    names = ("_name", "variant", "a", "criterion", "domain", "mixture", frame.columns[0])
    name = next(name for name in names if name in frame)
    if len(found := frame[frame[name] == row]):
        return found.drop(columns="_name", errors="ignore")
    known = set(frame[name].dropna().map(str))
    raise InputError(f"{path}: has no row '{row}'. {did_you_mean(row, known)}")


def _filtered(path: Path, frame: pd.DataFrame, defaults: dict[str, str], wanted: dict[str, str]) -> pd.DataFrame:
    for name, value in (defaults | wanted).items():
        column = _called(frame, name)
        if column not in frame:
            if name in wanted:
                raise InputError(f"{path}: its rows have no {name}; leave --{name.replace('_', '-')} out")
            continue
        texts = frame[column].map(_text)
        if not (texts == value).any():
            raise InputError(f"{path}: no such row has {name} '{value}'. {did_you_mean(value, set(texts))}")
        frame = frame[texts == value]
    return frame


def _called(frame: pd.DataFrame, name: str) -> str:
    """The column that a filter applies to."""
    return next((column for column in COLUMNS.get(name, ()) if column in frame), name)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_shown(plan: Plan, path: Path, found: pd.DataFrame, wanted: dict[str, str]) -> pd.DataFrame:
    """Picks one of several rows: the one without a mixture, else the one whose mixture printed tables show. Raises
    InputError if several are left."""
    if len(found) > 1 and "mixture" in found and "mixture" not in wanted:
        shown = {block[2] for block in plan.shown_blocks()}
        own = found["mixture"].isna() if found["mixture"].isna().any() else found["mixture"].isin(shown)
        found = found[own] if own.any() else found
    if len(found) > 1:
        columns = {name: _called(found, name) for name in FILTERS}
        choices = "; ".join(
            f"--{name.replace('_', '-')} {', '.join(map(_text, found[column].unique()))}"
            for name, column in columns.items()
            if column in found and found[column].nunique(dropna=False) > 1
        )
        raise InputError(f"{path}: {len(found)} rows fit. Say which: {choices}")
    return found


def _cell(plan: Plan, table: str, column: str, row: dict[str, Any]) -> Cell:
    block = row.get("model"), row["direction"], row.get("mixture")
    made, runs, files = MADE.get(table, _of_scores)(plan, block, row, column)
    if column in ABOUT:
        made = "what the row is about, by the configuration; no number is computed"
    elif column == "n_seeds":
        made = "the number of runs behind the row, a seed each"
    return Cell(table, column, row[column], made, row, row.get("metric"), runs, files)


def _of_scores(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    """Cells of the main table, and of others with the averages of the main table."""
    if row["variant"] == COPY:
        neural = row["metric"] in NEURAL
        file = neural_scores(inputs.copy_folder(block[1]), row["metric"]) if neural else inputs.copy_scores(block[1])
        return "the score of the sources in place of outputs", {}, [file]
    runs = {run: _domains(plan, block, column) for run in _runs(plan, block, row["variant"])}
    if column.endswith(INTERVAL):
        made = "end of the 95 % bootstrap interval over segments that the block's file of significance holds"
        return made, runs, [comparison.path(block)]
    if column in OF_SETS:
        variants = {row["variant"], comparison.method(plan, block)}
        files = [file.path for file in inputs.neuron_files(plan, [block]) if file.variant in variants]
        return "counted in the selected sets, of several draws their mean", runs, files
    return _aggregated(column, runs), runs, []


def _of_costs(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    key = block, row["stage"], row["variant"]
    files = [file.path for file in inputs.cost_files(plan) if (file.block, file.stage, file.variant) == key]
    if not column.endswith(("_seconds", "_mb")):
        return f"what {len(files)} processes say of themselves", {}, files
    made = "the highest of" if "memory" in column else "a sum over processes, and a mean over the seeds, of"
    return f"{made} what {len(files)} processes took", {}, files


def _of_trials(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    trials = plan.trials_of(*block[:2], row["variant"], block[2])
    domains = _domains(plan, block, column) if column in AVERAGES and plan.config.trials.test_sets else []
    runs = {run: domains for run in trials if run.rate == row["learning_rate"]}
    choice = plan.choice(Run(*block[:2], row["variant"], block[2], plan.config.seeds[0]))
    if column in AVERAGES and not domains:
        return "empty, since trials did not translate the test sets (trials.test_sets)", runs, [choice]
    return "of the trials of one rate, judged on dev by the file of the choice", runs, [choice]


def _of_overlap(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    runs = {run: [row["domain"]] for run in _runs(plan, block, row["variant"])}
    files = [] if column.startswith("with_") else [inputs.overlap_scores(block)]
    made = f"mean over {len(runs)} seeds of the scores with or without the segments that are flagged"
    return made if "mean" in column else "of the segments that are flagged, or of the scores without them", runs, files


def _of_differences(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    """Cells with a score or its difference to the base, on a domain or an average."""
    domains = _domains(plan, block, row["domain"])
    runs = {run: domains for run in _runs(plan, block, row["variant"])}
    if column.startswith("score"):
        return _aggregated(f"{row['domain']}{column.removeprefix('score')}", runs), runs, []
    if base := plan.base_run(*block[:2]):
        runs[base] = domains
    if column in ("gain_seen", "transfer"):
        every = plan.tested(*block[1:])
        return "made of differences to base, as the table's caption says", dict.fromkeys(runs, every), []
    return f"the mean over {len(runs) - 1} runs of the score, and that of base, or the one less the other", runs, []


def _of_tests(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    """Cells of a comparison of two variants."""
    domains = _domains(plan, block, row["column"])
    runs = {run: domains for variant in (row["a"], row["b"]) for run in _runs(plan, block, variant)}
    made = f"a test of {row['a']} less {row['b']} on {row['column']}, from the block's file of significance"
    if column == "p_holm":
        made += f": of {row['test']}, adjusted by Holm over the family of the table"
    made += f"; standard error {row['se_segments']:.4f} of segments"
    if not pd.isna(row["se_runs"]):
        made += f" and {row['se_runs']:.4f} of runs ({row['df']:.0f} degrees of freedom)"
    return made, runs, [comparison.path(block)]


def _of_health(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    if row["variant"] == COPY:
        return "what the score file says", {}, [inputs.copy_scores(block[1])]
    runs = {run: [row["domain"]] for run in _runs(plan, block, row["variant"])}
    return "a sum over the seeds of what the score files count", runs, []


def _of_corpora(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    return "what the report of a corpus, or of a mixture, counts", {}, list(_reports(plan, row))


def _of_stability(plan: Plan, block: Block, row: dict[str, Any], column: str) -> Made:
    path = f"{information_folder('neuron')}/{'/'.join(block)}/stability.json"
    made = f"mean or standard error over {row['splits']} splits of the samples into halves, one value each in the file"
    return made, {}, [path]


ABOUT = {
    *("model", "direction", "mixture", "series", "variant", "method", "metric", "stage", "criterion", "scope"),
    *("domain", "split", "seen", "trained_on", "a", "b", "column", "family", "test"),
}
"""Columns that say what a row is about."""
COUNTS = ("empty", "truncated", "overlong", "wrong_language")
"""Columns about failures of decoding."""
OF_SETS = ("neurons", "fraction", "gamma", "jaccard", "chance_jaccard", "top_layer", "top_layer_share")
"""Columns about selected neurons."""
MADE = {
    "significance": _of_tests,
    "unseen": _of_differences,
    "interference": _of_differences,
    "cost": _of_costs,
    "trials": _of_trials,
    "overlap": _of_overlap,
    "health": _of_health,
    "corpora": _of_corpora,
    "stability": _of_stability,
}
"""The functions that explain cells, by table; `_of_scores` explains those of other tables."""


def _reports(plan: Plan, row: dict[str, Any]) -> Iterator[str]:
    for file in inputs.corpus_files(plan):
        if file.direction == row["direction"] and row.get("domain") in (file.domain, None):
            yield file.path
    for file in inputs.mixture_files(plan):
        if file.direction == row["direction"] and row.get("mixture") in (file.mixture, None):
            yield file.path


def _runs(plan: Plan, block: Block, variant: str) -> list[Run]:
    return [run for run in plan.final_runs(*block) if run.variant == variant]


def _domains(plan: Plan, block: Block, column: str) -> list[str]:
    """The domains whose scores go into a column."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    name = _plain(column)
    return {AVERAGE_SEEN: seen, AVERAGE_UNSEEN: unseen}.get(name, [name] if name in seen + unseen else seen + unseen)


def _plain(column: str) -> str:
    """A column's name without the suffix for the statistic, such as `_mean`."""
    return next((column.removesuffix(end) for end in ("_mean", "_std", *INTERVAL) if column.endswith(end)), column)


def _aggregated(column: str, runs: dict[Run, list[str]]) -> str:
    name, count = _plain(column), len(runs)
    over = f" over {count} seeds" if count > 1 else " (one run)"
    kind = "sample standard deviation" if column.endswith("_std") else "mean"
    if name == "trainable_parameters":
        return f"mean{over} of what the runs' records count"
    if name in AVERAGES:
        domains = next(iter(runs.values()), [])
        each = "each seed's" if count > 1 else "its"
        return f"{kind}{over} of {each} mean over the domains {', '.join(domains)}"
    if column.endswith(("_mean", "_std")):
        return f"{kind}{over} of the scores on {name}"
    if column in COUNTS:
        return f"sum over the domains{' and seeds' if count > 1 else ''} of what the score files say"
    return f"unknown: this command has no account of how the column '{column}' is made; these are the row's runs"


def name_of(row: dict[str, Any]) -> str:
    """The name of a row: its variant, the two variants that it compares, or its subject in a table without variants."""
    if "a" in row and "b" in row:
        return f"{row['a']} less {row['b']}"
    keys = "variant", "stage", "criterion", "domain", "mixture"
    return next(str(row[key]) for key in keys if row.get(key) is not None)
