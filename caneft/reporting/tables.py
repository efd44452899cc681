"""The main table (scores) and the cost table, both as frames of numbers and as printed tables."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd

from caneft.config.metrics import MEASURES
from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import ALL, SEEN, UNSEEN, numbers, printed, score_cells, score_columns
from caneft.reporting.escaping import escape
from caneft.reporting.inputs import COPY
from caneft.reporting.labels import label, metric_label
from caneft.reporting.latex import latex
from caneft.reporting.layout import NONE, Cell, Column, Table, markdown, of_columns, words
from caneft.reporting.measures import of_block
from caneft.reporting.page import html
from caneft.reporting.results import BLOCK
from caneft.reporting.serving import TOLD, told
from caneft.reporting.significant import Signs
from caneft.storage.files import atomic_write

MAIN_COLUMNS = ["variant", "method", "metric", "trainable_parameters", "n_seeds"]
FLAGS = ["empty", "truncated", "overlong"]
COST_KEYS = ["stage", "variant", "method"]


def main_table(
    plan: Plan,
    scores: pd.DataFrame,
    records: pd.DataFrame,
    intervals: dict[tuple, tuple[float, float]] | None = None,
) -> pd.DataFrame:
    """One row per block, metric and variant, then copy.

    Columns: model, direction, mixture, variant, method, metric, trainable_parameters, n_seeds, empty, truncated,
    overlong (sums over domains and seeds), and `{column}_mean`, `{column}_std` for each domain, average_seen,
    average_unseen and average_all. Deviations are sample standard deviations over seeds, missing for one seed; for an
    average, they are over the averages of the seeds. intervals: from `significant.intervals`; they add `{column}_low`
    and `{column}_high`, which are missing for copy and for a block without intervals.
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
    training: dict[str, dict],
    tested: dict[tuple, Signs],
    decoded: pd.DataFrame,
) -> Iterator[Table]:
    """The printed main tables, one per shown block and metric.

    training: from `results.metric_training`. tested: from `significant.of_main_tables`.
    """
    for block in plan.shown_blocks():
        trained, engines = of_block(records, block), of_block(decoded, block)
        for metric in plan.config.scoring.all:
            rows, part = (of_block(frame[frame["metric"] == metric], block) for frame in (table, scores))
            about = captions.demonstration(training[metric]) if metric in training else ""
            signs = tested.get((*block, metric), Signs({}, "", ""))
            body, copy = rows[rows["method"] != COPY], rows[rows["method"] == COPY]
            errors, shown = MEASURES[metric].lower_is_better, score_columns(plan, block)
            told_of = [TOLD if told(plan, block, variant) else "" for variant in body["variant"]]
            names = [Cell(label(plan, v), signs=mark) for v, mark in zip(body["variant"], told_of, strict=True)]
            copied = [Cell(f"{copy[f'{name}_mean'].item():.{2 if errors else 1}f}") for name in shown]
            notes = [about, signs.caption, *captions.main_notes(plan, block, part, trained)]
            yield of_columns(
                "tab:main-" + "-".join([*block, metric]),
                f"{metric_label(plan, metric)} of {block[0]}, {block[1]}, mixture {block[2]}",
                captions.main_caption(plan, block, part, trained, engines),
                [
                    (Column("Method", numeric=False), names),
                    numbers("Trained parameters", body["trainable_parameters"], ","),
                    *((head, score_cells(body, name, signs.by_cell, errors)) for name, head in shown.items()),
                ],
                footer=[[Cell(COPY), Cell(NONE), *copied]],
                notes=[note for note in notes if note],
            )


def cost_table(plan: Plan, costs: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """One row per block, stage and variant.

    Columns: model, direction, mixture, stage, variant, method, wall_seconds, cpu_seconds, peak_memory_mb,
    cuda_peak_memory_mb, trainable_parameters, n_seeds (or draws), device, threads. Seconds are sums over a stage's
    processes (such as the domains of importance, or trials), then means over seeds; if each seed has its own draw of
    importance samples, means over these and the shared draw. Memory is the highest of all processes and seeds.
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
    """The printed cost tables, one per shown block."""
    for block in plan.shown_blocks():
        rows = of_block(table, block)
        gpu = [numbers("GPU memory (MB)", rows["cuda_peak_memory_mb"], ",.0f")]
        yield of_columns(
            "tab:cost-" + "-".join(block),
            f"Time and memory of {block[0]}, {block[1]}, mixture {block[2]}",
            captions.cost_caption(plan, of_block(costs, block)),
            [
                words("Stage", (captions.STAGES.get(stage, stage) for stage in rows["stage"])),
                words("Method", (printed(variant, partial(label, plan)) for variant in rows["variant"])),
                numbers("Wall time (s)", rows["wall_seconds"], ",.1f"),
                numbers("CPU time (s)", rows["cpu_seconds"], ",.1f"),
                numbers("Peak memory (MB)", rows["peak_memory_mb"], ",.0f"),
                *(gpu if rows["cuda_peak_memory_mb"].notna().any() else []),
                numbers("Trained parameters", rows["trainable_parameters"], ","),
            ],
        )


def write(stem: str | Path, frame: pd.DataFrame, tables: list[Table], absent: str = "") -> None:
    """Writes `{stem}.csv`, `.md`, `.tex` and `.html`, each whole or not at all. Equal inputs give equal bytes.

    absent: a sentence to write if there are no tables.
    """
    contents = {
        ".csv": frame.to_csv(index=False, float_format="%.4f", lineterminator="\n"),
        ".md": markdown(tables) or f"{absent}\n",
        ".tex": latex(tables) if tables else f"{escape(absent)}\n",
        ".html": html(tables, absent),
    }
    for suffix, text in contents.items():
        with atomic_write(f"{stem}{suffix}") as beside:
            beside.write_text(text, encoding="utf-8")
