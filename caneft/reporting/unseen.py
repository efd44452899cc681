"""The table of unseen domains: what a method gains on them, compared with its gain on the domains it is trained on."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import SEEN, UNSEEN, methods, numbers, score_cells
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label, signed, whole
from caneft.reporting.layout import Column, Table, of_columns
from caneft.reporting.measures import headline, of_block
from caneft.reporting.results import BLOCK

ABSENT = (
    "No table of unseen domains: every domain that is tested on is trained on, or there is no base to compare with."
)
COLUMNS = ["domain", "score_mean", "score_std", "base", "difference", "gain_seen", "transfer", "n_seeds"]
PRICES = ["chosen rate", "best rate"]
LEAST_GAIN = 1.0
"""Points that a method must gain on the seen domains to have a transfer: a ratio to a smaller gain means nothing."""


def unseen_table(plan: Plan, main: pd.DataFrame) -> pd.DataFrame:
    """One row per block, variant and unseen domain, then their average, in the headline metric; none without base.

    Columns: model, direction, mixture, variant, method, metric, domain (or `average_unseen`), score_mean, score_std
    (over seeds), base (its score), difference (to base), gain_seen (difference of the average over seen domains),
    transfer (difference / gain_seen; missing below `LEAST_GAIN`), n_seeds.
    """
    rows = [row for block in plan.blocks() for row in _rows(plan, block, of_block(main, block))]
    return pd.DataFrame(rows, columns=[*BLOCK, "variant", "method", "metric", *COLUMNS])


def _rows(plan: Plan, block: Block, main: pd.DataFrame) -> Iterator[dict]:
    found = headline(plan, main).to_dict("records")
    base = next((row for row in found if row["method"] == "base"), None)
    unseen = plan.unseen(*block[1:]) if base else []
    for row in found if unseen else ():
        gain = row[f"{SEEN}_mean"] - base[f"{SEEN}_mean"]
        for domain in [*unseen, UNSEEN]:
            difference = row[f"{domain}_mean"] - base[f"{domain}_mean"]
            yield row | {
                "domain": domain,
                "score_mean": row[f"{domain}_mean"],
                "score_std": row[f"{domain}_std"],
                "base": base[f"{domain}_mean"],
                "difference": difference,
                "gain_seen": gain,
                "transfer": difference / gain if gain >= LEAST_GAIN else float("nan"),
            }


def unseen_tables(plan: Plan, table: pd.DataFrame, trials: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per shown block."""
    for block in plan.shown_blocks():
        rows = of_block(table, block)
        if len(rows):
            yield _unseen(plan, block, rows, _grids(plan, block, trials))


def _grids(plan: Plan, block: Block, trials: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """By variant, the unseen average of the trials at the chosen rate, and the highest of the grid.

    Empty for a mixture that takes its rates from another one, since those trials saw other domains.
    """
    own = of_block(trials, block)
    grids = own[own[UNSEEN].notna()].groupby("variant", sort=False)
    return {v: (part.loc[part["chosen"], UNSEEN].item(), part[UNSEEN].max()) for v, part in grids}


def _unseen(plan: Plan, block: Block, rows: pd.DataFrame, grids: dict[str, tuple[float, float]]) -> Table:
    domains = plan.unseen(*block[1:])
    names = {domain: label(plan, domain) for domain in domains} | ({UNSEEN: "average"} if len(domains) > 1 else {})
    columns = []
    for domain, name in names.items():
        part = rows[rows["domain"] == domain]
        columns += [(Column("score", name), score_cells(part, "score"))]
        columns += [numbers("difference", _to_base(part, "difference"), signed, name)]
    average, metric = rows[rows["domain"] == UNSEEN], METRICS[plan.config.scoring.metrics[0]]
    prices = pd.DataFrame([grids.get(variant, (None, None)) for variant in average["variant"]], dtype=float)
    tried = (
        f"{captions.trial_seeds(plan)} of each rate: the unseen average at the learning rate that dev of the seen"
        " domains chose, and at the best of the grid for it: the price of choosing without unseen domains."
    )
    return of_columns(
        "tab:unseen-" + "-".join(block),
        f"Unseen domains of {block[0]}, {block[1]}, mixture {block[2]}",
        captions.said(
            plan,
            f"{metric} on domains that are not trained on, and the difference to base. Gain: what the average over the"
            " seen domains gains on base. Transfer: the unseen average's difference in per cent of it, if it is at"
            f" least {LEAST_GAIN:g} point{'s' * (LEAST_GAIN != 1)}.",
            tried if grids else "",
            captions.seeds(plan) if (rows["n_seeds"] > 1).any() else "",
            captions.BEST_SCORE,
        ),
        [
            methods(plan, average["variant"]),
            *columns,
            numbers("gain", _to_base(average, "gain_seen"), signed, "seen"),
            numbers("transfer (%)", 100 * average["transfer"], whole, "seen"),
            *(numbers(name, prices[i], ".1f", "trials") for i, name in enumerate(PRICES if grids else ())),
        ],
    )


def _to_base(rows: pd.DataFrame, column: str) -> pd.Series:
    """A column of differences to base, missing for base itself."""
    return rows[column].where(rows["method"] != "base")
