"""The main table (scores) and the cost table: numbers as frames, and both as printed tables."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from caneft.config.metrics import MEASURES
from caneft.config.names import AVERAGES
from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.escaping import escape
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.labels import label, metric_label
from caneft.reporting.latex import latex
from caneft.reporting.layout import Cell, Column, Table, mark_best, markdown
from caneft.reporting.page import html
from caneft.reporting.results import BLOCK, of_block
from caneft.reporting.serving import TOLD, told
from caneft.reporting.significant import Signs
from caneft.storage.files import atomic_write

SEEN, UNSEEN, ALL = AVERAGES
MAIN_COLUMNS = ["variant", "method", "metric", "trainable_parameters", "n_seeds"]
FLAGS = ["empty", "truncated", "overlong"]
COST_KEYS = ["stage", "variant", "method"]
NONE = "–"


def main_table(
    plan: Plan,
    scores: pd.DataFrame,
    records: pd.DataFrame,
    intervals: dict[tuple, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """One row per block, metric and variant, then copy; scores, records: from `results`.

    Columns: model, direction, mixture, variant, method, metric, trainable_parameters, n_seeds, empty, truncated,
    overlong (sums over domains and seeds), and `{column}_mean`, `{column}_std` for each domain, average_seen,
    average_unseen and average_all. Deviations are sample standard deviations over seeds, missing for one seed; that of
    an average is taken over the averages of the seeds. With intervals, from `significant.intervals`, also
    `{column}_low` and `{column}_high`, missing for copy and where a block has none.
    """
    domains = dict.fromkeys(domain for block in plan.blocks() for domain in plan.tested(*block[1:]))
    kinds = ("mean", "std") if intervals is None else ("mean", "std", "low", "high")
    statistics = [f"{column}_{name}" for column in [*domains, SEEN, UNSEEN, ALL] for name in kinds]
    rows = []
    for block in plan.blocks():
        trainable = of_block(records, block).groupby("variant")["trainable"].mean().round()
        for metric in plan.config.scoring.all:
            part = of_block(scores, block).query("metric == @metric")
            for (variant, method), runs in part.groupby(["variant", "method"], sort=False):
                rows.append(
                    dict(zip(BLOCK, block, strict=True))
                    | {"variant": variant, "method": method, "metric": metric}
                    | {"trainable_parameters": pd.NA if method == COPY else int(trainable[variant])}
                    | {"n_seeds": runs["seed"].nunique(dropna=False)}
                    | runs[FLAGS].sum().to_dict()
                    | _statistics(runs)
                    | _ends(intervals or {}, (*block, metric, variant), [*domains, SEEN, UNSEEN, ALL])
                )
    frame = pd.DataFrame(rows, columns=[*BLOCK, *MAIN_COLUMNS, *FLAGS, *statistics])
    return frame.astype({"trainable_parameters": "Int64"})


def _ends(intervals: dict[tuple, tuple[float, float]], key: tuple, columns: list[str]) -> dict[str, float]:
    found = {column: intervals[*key, column] for column in columns if (*key, column) in intervals}
    return {f"{column}_{end}": ends[i] for column, ends in found.items() for i, end in enumerate(("low", "high"))}


def _statistics(part: pd.DataFrame) -> dict[str, float]:
    """Mean and deviation over seeds, per domain and per average. part: one variant's scores in one metric."""
    by_seed = part.assign(seed=part["seed"].fillna(0)).pivot(index="seed", columns="domain", values="score")
    seen = sorted(part.loc[part["seen"], "domain"].unique())
    unseen = [domain for domain in by_seed.columns if domain not in seen]
    columns = {domain: by_seed[domain] for domain in by_seed.columns}
    columns |= {SEEN: by_seed[seen].mean(axis=1), UNSEEN: by_seed[unseen].mean(axis=1), ALL: by_seed.mean(axis=1)}
    means = {f"{name}_mean": values.mean() for name, values in columns.items()}
    return means | {f"{name}_std": values.std(ddof=1) for name, values in columns.items()}


def main_tables(
    plan: Plan,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    records: pd.DataFrame,
    training: dict[str, dict] | None = None,
    tested: dict[tuple, Signs] | None = None,
    decoded: pd.DataFrame | None = None,
) -> Iterator[Table]:
    """The main table as it is printed: one per shown block and metric. table: from `main_table`.

    training: from `results.metric_training`. tested: from `significant.of_main_tables`. decoded: from
    `engines.decoded`.
    """
    for block in plan.shown_blocks():
        for metric in plan.config.scoring.all:
            rows = of_block(table, block).query("metric == @metric")
            part = of_block(scores, block).query("metric == @metric")
            about = captions.demonstration(training[metric]) if metric in (training or {}) else ""
            signs = (tested or {}).get((*block, metric), Signs({}, "", ""))
            notes = [note for note in (about, signs.caption) if note]
            by = None if decoded is None else of_block(decoded, block)
            yield _main(plan, block, metric, rows, part, of_block(records, block), notes, signs.by_cell, by)


def _main(
    plan: Plan,
    block: Block,
    metric: str,
    rows: pd.DataFrame,
    scores: pd.DataFrame,
    records: pd.DataFrame,
    notes: list[str],
    signs: dict[tuple[str, str], str],
    decoded: pd.DataFrame | None,
) -> Table:
    shown = _score_columns(plan, block)
    body, copy = rows[rows["method"] != COPY], rows[rows["method"] == COPY]
    errors = MEASURES[metric].lower_is_better
    cells = {name: score_cells(body, name, signs, errors) for name in shown}
    copied = [Cell(f"{copy[f'{name}_mean'].item():.{2 if errors else 1}f}") for name in shown]
    return Table(
        label="tab:main-" + "-".join([*block, metric]),
        title=f"{metric_label(plan, metric)} of {block[0]}, {block[1]}, mixture {block[2]}",
        caption=captions.main_caption(plan, block, scores, records, decoded),
        columns=[Column("Method", numeric=False), Column("Trained parameters"), *shown.values()],
        rows=[
            [
                _named(plan, block, row.variant),
                Cell(f"{row.trainable_parameters:,}"),
                *(cells[name][i] for name in shown),
            ]
            for i, row in enumerate(body.itertuples())
        ],
        footer=[[Cell(COPY), Cell(NONE), *copied]],
        notes=[*notes, *captions.main_notes(plan, block, scores, records)],
    )


def _named(plan: Plan, block: Block, variant: str) -> Cell:
    """The label, with a sign beside that of a variant that is told the domain of a test sentence."""
    return Cell(label(plan, variant), signs=TOLD if told(plan, block, variant) else "")


def _score_columns(plan: Plan, block: Block) -> dict[str, Column]:
    """Domains and averages that a block shows. The average of one column would only repeat it."""
    seen, unseen = plan.seen(*block[1:]), plan.unseen(*block[1:])
    columns = {domain: Column(label(plan, domain), "seen") for domain in seen}
    columns |= {SEEN: Column("average", "seen")} if len(seen) > 1 else {}
    columns |= {domain: Column(label(plan, domain), "unseen") for domain in unseen}
    columns |= {UNSEEN: Column("average", "unseen")} if len(unseen) > 1 else {}
    return columns | ({ALL: Column("average", "all")} if unseen else {})


def score_cells(
    rows: pd.DataFrame, name: str, signs: dict[tuple[str, str], str] | None = None, errors: bool = False
) -> list[Cell]:
    """Cells of one column: means (`{name}_mean`) with deviations over seeds (`{name}_std`), the best two marked.

    signs: of significance, by variant and column. errors: whether the metric counts these. Then the lowest are best,
    and differences are small: two decimals.
    """
    decimals = 2 if errors else 1
    texts = [f"{mean:.{decimals}f}" for mean in rows[f"{name}_mean"]]
    deviations = ["" if pd.isna(deviation) else f"{deviation:.{decimals}f}" for deviation in rows[f"{name}_std"]]
    beside = [(signs or {}).get((variant, name), "") for variant in rows["variant"]]
    return [Cell(*parts) for parts in zip(texts, deviations, mark_best(texts, lowest=errors), beside, strict=True)]


def cost_table(plan: Plan, costs: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row per block, stage and variant: seconds (mean over seeds, or over draws of importance samples where each
    seed has its own, the shared draw too; sum over trials), peak memory, parameters.

    Columns: model, direction, mixture, stage, variant, method, wall_seconds, cpu_seconds, peak_memory_mb,
    cuda_peak_memory_mb, trainable_parameters, n_seeds (or draws), device, threads. A stage's processes (domains of
    importance, test sets of translation) are added up; memory is the highest of all processes and seeds.
    """
    trainable = records.groupby([*BLOCK, "variant"])["trainable"].mean().round()
    rows = []
    for key, part in costs.groupby([*BLOCK, *COST_KEYS], sort=False, dropna=False):
        names = dict(zip([*BLOCK, *COST_KEYS], key, strict=True))
        tuned = names["stage"] == "tuning"
        per_seed = part.groupby("seed", dropna=False)[["wall_seconds", "cpu_seconds"]].sum()
        rows.append(
            names
            | per_seed.mean().to_dict()
            | part[["peak_memory_mb", "cuda_peak_memory_mb"]].max().to_dict()
            | {"trainable_parameters": int(trainable[key[:3] + (names["variant"],)]) if tuned else pd.NA}
            | {"n_seeds": len(per_seed) if part["seed"].notna().any() else pd.NA}
            | {"device": "; ".join(sorted(set(part["device"]))), "threads": part["threads"].max()}
        )
    return pd.DataFrame(rows).astype({"trainable_parameters": "Int64", "n_seeds": "Int64"})


def cost_tables(plan: Plan, table: pd.DataFrame, costs: pd.DataFrame) -> Iterator[Table]:
    """The cost table as it is printed: one per shown block. table: from `cost_table`."""
    for block in plan.shown_blocks():
        rows = of_block(table, block)
        on_gpu = rows["cuda_peak_memory_mb"].notna().any()
        names = ["Wall time (s)", "CPU time (s)", "Peak memory (MB)", *(["GPU memory (MB)"] if on_gpu else [])]
        yield Table(
            label="tab:cost-" + "-".join(block),
            title=f"Time and memory of {block[0]}, {block[1]}, mixture {block[2]}",
            caption=captions.cost_caption(plan, of_block(costs, block)),
            columns=[Column("Stage", numeric=False), Column("Method", numeric=False)]
            + [Column(name) for name in [*names, "Trained parameters"]],
            rows=[_cost_cells(plan, row, on_gpu) for row in rows.itertuples()],
        )


def _cost_cells(plan: Plan, row, on_gpu: bool) -> list[Cell]:
    variant = NONE if pd.isna(row.variant) else label(plan, row.variant)
    memory = [row.peak_memory_mb, *([row.cuda_peak_memory_mb] if on_gpu else [])]
    numbers = [f"{row.wall_seconds:,.1f}", f"{row.cpu_seconds:,.1f}"]
    numbers += [NONE if pd.isna(value) else f"{value:,.0f}" for value in memory]
    numbers += [NONE if pd.isna(row.trainable_parameters) else f"{row.trainable_parameters:,}"]
    return [Cell(captions.STAGES.get(row.stage, row.stage)), Cell(variant), *map(Cell, numbers)]


def write(stem: str | Path, frame: pd.DataFrame, printed: list[Table], absent: str = "") -> None:
    """Writes `{stem}.csv`, `.md`, `.tex` and `.html`, each whole or not at all. Equal inputs give equal bytes.

    absent: a sentence that stands in place of tables where there are none.
    """
    contents = {
        ".csv": frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
        ".md": markdown(printed) or f"{absent}\n",
        ".tex": latex(printed) if printed else f"{escape(absent)}\n",
        ".html": html(printed, absent),
    }
    for suffix, text in contents.items():
        with atomic_write(f"{stem}{suffix}") as beside:
            beside.write_text(text, encoding="utf-8")
