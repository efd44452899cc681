"""The table of interference: what training on one domain does to the others, as a domain x domain matrix."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting.inputs import Block, block_runs, matrices
from caneft.reporting.labels import METRICS, label, signed
from caneft.reporting.layout import BEST, Cell, Column, Table
from caneft.reporting.results import BLOCK, of_block
from caneft.reporting.tables import NONE

ABSENT = "No table of interference: no method is trained on a single domain, or there is no base to compare with."
COLUMNS = ["trained_on", "domain", "seen", "base", "difference_mean", "difference_std", "n_seeds"]


def interference_table(plan: Plan, main: pd.DataFrame) -> pd.DataFrame:
    """One row per model, direction, variant, mixture and test domain: the difference to base in the headline metric.

    main: from `tables.main_table`. Columns: model, direction, variant, method, metric, mixture, trained_on (domains,
    with spaces between), domain (tested on), seen, base (score), difference_mean and difference_std (over seeds; base
    has none), n_seeds. Mixtures: those of one domain, then the first that has all these domains, if there is one.
    """
    rows = []
    for blocks in matrices(plan):
        single = [block for block in blocks if len(plan.seen(*block[1:])) == 1]
        for variant in dict.fromkeys(run.variant for block in single for run in block_runs(plan, block)):
            rows += [row for block in blocks for row in _rows(plan, block, variant, of_block(main, block))]
    return pd.DataFrame(rows, columns=["model", "direction", "variant", "method", "metric", "mixture", *COLUMNS])


def _rows(plan: Plan, block: Block, variant: str, main: pd.DataFrame) -> Iterator[dict]:
    """One variant's differences on one mixture; none for base itself, or without it. main: rows of the block."""
    found = main[main["metric"] == plan.config.scoring.metrics[0]]
    seen = plan.seen(*block[1:])
    for base in found[found["method"] == "base"].to_dict("records"):
        for row in found[(found["variant"] == variant) & (found["method"] != "base")].to_dict("records"):
            for domain in plan.tested(*block[1:]):
                yield {name: row[name] for name in (*BLOCK, "variant", "method", "metric", "n_seeds")} | {
                    "trained_on": " ".join(seen),
                    "domain": domain,
                    "seen": domain in seen,
                    "base": base[f"{domain}_mean"],
                    "difference_mean": row[f"{domain}_mean"] - base[f"{domain}_mean"],
                    "difference_std": row[f"{domain}_std"],
                }


def interference_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The matrices as they are printed: one per model, direction and variant. table: from `interference_table`."""
    for (model, direction, variant), rows in table.groupby(["model", "direction", "variant"], sort=False):
        yield _matrix(plan, (model, direction), variant, rows)


def _matrix(plan: Plan, pair: tuple[str, str], variant: str, rows: pd.DataFrame) -> Table:
    metric = METRICS[plan.config.scoring.metrics[0]]
    own = list(dict.fromkeys(rows.loc[rows["seen"], "domain"]))
    columns = own + [domain for domain in dict.fromkeys(rows["domain"]) if domain not in own]
    seeds = rows["n_seeds"].max()
    caption = (
        f"Difference to base in {metric}{f', mean over {seeds} seeds' if seeds > 1 else ''}. A row is what was trained"
        " on, a column what was tested on. Bold: the row's own domain; others: mean over all other domains."
    )
    return Table(
        label="tab:interference-" + "-".join([*pair, variant]),
        title=f"Interference by {label(plan, variant)}, {', '.join(pair)}",
        caption=" ".join(filter(None, [caption, plan.config.report.note.strip()])),
        columns=[Column("Trained on", numeric=False), *(Column(label(plan, d), "tested on") for d in columns)]
        + [Column("others", "mean")],
        rows=[_cells(plan, mixture, part, columns) for mixture, part in rows.groupby("mixture", sort=False)],
    )


def _cells(plan: Plan, mixture: str, rows: pd.DataFrame, columns: list[str]) -> list[Cell]:
    """One mixture's row. The mixture of several domains has no single one of its own to be bold, and no others."""
    by_domain = rows.set_index("domain")
    alone = by_domain["seen"].sum() == 1
    name = label(plan, rows["trained_on"].iloc[0]) if alone else f"mixture {mixture}"
    differences = [by_domain["difference_mean"].get(domain, float("nan")) for domain in columns]
    marks = [
        BEST if alone and domain in by_domain.index and by_domain.loc[domain, "seen"] else "" for domain in columns
    ]
    others = by_domain.loc[~by_domain["seen"], "difference_mean"].mean() if alone else float("nan")
    cells = [Cell(difference(value), mark=mark) for value, mark in zip(differences, marks, strict=True)]
    return [Cell(name), *cells, Cell(difference(others))]


def difference(value: float) -> str:
    """A difference, or a dash where there is none."""
    return NONE if pd.isna(value) else signed(value)
