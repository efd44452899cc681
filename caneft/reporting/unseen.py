"""The table of unseen domains: what a method gains there, beside what it gains on the domains it is trained on."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.inputs import COPY, Block
from caneft.reporting.interference import difference
from caneft.reporting.labels import METRICS, label
from caneft.reporting.layout import Cell, Column, Table
from caneft.reporting.results import BLOCK, of_block
from caneft.reporting.tables import NONE, SEEN, UNSEEN, score_cells

ABSENT = (
    "No table of unseen domains: every domain that is tested on is trained on, or there is no base to compare with."
)
COLUMNS = ["domain", "score_mean", "score_std", "base", "difference", "gain_seen", "transfer", "n_seeds"]
LEAST_GAIN = 1.0
"""Points that a method must gain on the seen domains for a transfer: a ratio to less than that tells nothing."""


def unseen_table(plan: Plan, main: pd.DataFrame) -> pd.DataFrame:
    """One row per block, variant and unseen domain, then their average, in the headline metric; none without base.

    main: from `tables.main_table`. Columns: model, direction, mixture, variant, method, metric, domain (or
    `average_unseen`), score_mean, score_std (over seeds), base (its score), difference (to base), gain_seen (difference
    of the average over seen domains), transfer (difference / gain_seen; missing below `LEAST_GAIN`), n_seeds.
    """
    rows = [row for block in plan.blocks() for row in _rows(plan, block, of_block(main, block))]
    return pd.DataFrame(rows, columns=[*BLOCK, "variant", "method", "metric", *COLUMNS])


def _rows(plan: Plan, block: Block, main: pd.DataFrame) -> Iterator[dict]:
    found = main[(main["metric"] == plan.config.scoring.metrics[0]) & (main["method"] != COPY)].to_dict("records")
    base = next((row for row in found if row["method"] == "base"), None)
    unseen = plan.unseen(*block[1:]) if base else []
    for row in found if unseen else ():
        gain = row[f"{SEEN}_mean"] - base[f"{SEEN}_mean"]
        for domain in [*unseen, UNSEEN]:
            difference = row[f"{domain}_mean"] - base[f"{domain}_mean"]
            yield {name: row[name] for name in (*BLOCK, "variant", "method", "metric", "n_seeds")} | {
                "domain": domain,
                "score_mean": row[f"{domain}_mean"],
                "score_std": row[f"{domain}_std"],
                "base": base[f"{domain}_mean"],
                "difference": difference,
                "gain_seen": gain,
                "transfer": difference / gain if gain >= LEAST_GAIN else float("nan"),
            }


def unseen_tables(plan: Plan, table: pd.DataFrame, trials: pd.DataFrame) -> Iterator[Table]:
    """The table as it is printed: one per shown block. table: from `unseen_table`; trials: from `results.trials`."""
    for block in plan.shown_blocks():
        rows = of_block(table, block)
        if len(rows):
            yield _unseen(plan, block, rows, _grids(plan, block, trials))


def _grids(plan: Plan, block: Block, trials: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Unseen average of the trial at the chosen rate, and the highest of the grid, by variant.

    Of a mixture that takes its rates from another one there are none: those trials saw other domains.
    """
    own = of_block(trials, block)
    grids = own[own[UNSEEN].notna()].groupby("variant", sort=False)
    return {v: (part.loc[part["chosen"], UNSEEN].item(), part[UNSEEN].max()) for v, part in grids}


def _unseen(plan: Plan, block: Block, rows: pd.DataFrame, grids: dict[str, tuple[float, float]]) -> Table:
    domains = plan.unseen(*block[1:])
    shown = {domain: label(plan, domain) for domain in domains} | ({UNSEEN: "average"} if len(domains) > 1 else {})
    by_domain = {domain: rows[rows["domain"] == domain] for domain in shown}
    average = rows[rows["domain"] == UNSEEN].to_dict("records")
    scores = {domain: score_cells(part, "score") for domain, part in by_domain.items()}
    metric = METRICS[plan.config.scoring.metrics[0]]
    sentences = [
        f"{metric} on domains that are not trained on, and the difference to base. Gain: what the average over the seen"
        f" domains gains on base. Transfer: the unseen average's difference in per cent of it, if it is at least"
        f" {LEAST_GAIN:g} point{'s' * (LEAST_GAIN != 1)}.",
        f"{captions.trial_seeds(plan)} of each rate: the unseen average at the learning rate that dev of the seen"
        " domains chose, and at the best of the grid for it: the price of choosing without unseen domains."
        if grids
        else "",
        captions.seeds(plan) if (rows["n_seeds"] > 1).any() else "",
        "The best score of a column is bold, the second underlined.",
        plan.config.report.note.strip(),
    ]
    pairs = [column for name in shown.values() for column in (Column("score", name), Column("difference", name))]
    return Table(
        label="tab:unseen-" + "-".join(block),
        title=f"Unseen domains of {block[0]}, {block[1]}, mixture {block[2]}",
        caption=" ".join(filter(None, sentences)),
        columns=[Column("Method", numeric=False), *pairs, Column("gain", "seen"), Column("transfer (%)", "seen")]
        + ([Column("chosen rate", "trials"), Column("best rate", "trials")] if grids else []),
        rows=[
            [Cell(label(plan, row["variant"]))]
            + [cell for domain in shown for cell in (scores[domain][i], _difference(by_domain[domain].iloc[i]))]
            + [_difference(row | {"difference": row["gain_seen"]}), Cell(_per_cent(row["transfer"]))]
            + (_trials(grids.get(row["variant"])) if grids else [])
            for i, row in enumerate(average)
        ],
    )


def _difference(row) -> Cell:
    """Of base itself there is none."""
    return Cell(NONE if row["method"] == "base" else difference(row["difference"]))


def _per_cent(share: float) -> str:
    return NONE if pd.isna(share) else f"{round(100 * share) + 0:d}".replace("-", "−")


def _trials(found: tuple[float, float] | None) -> list[Cell]:
    return [Cell(NONE if value is None else f"{value:.1f}") for value in found or (None, None)]
