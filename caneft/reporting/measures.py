"""Measures that tables, figures and claims share. Frames are those of `results`."""

import pandas as pd

from caneft.plan import Block, Plan
from caneft.reporting.inputs import COPY


def of_block(frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    """The rows of one block."""
    model, direction, mixture = block
    return frame[(frame["model"] == model) & (frame["direction"] == direction) & (frame["mixture"] == mixture)]


def headline(plan: Plan, frame: pd.DataFrame, block: Block | None = None) -> pd.DataFrame:
    """The rows of the headline metric, without copy. frame: scores, or the main table. block: keep only its rows."""
    rows = frame if block is None else of_block(frame, block)
    return rows[(rows["metric"] == plan.config.scoring.metrics[0]) & (rows["method"] != COPY)]


def by_seed(scores: pd.DataFrame) -> pd.Series:
    """Each run's average over its seen and over its unseen domains, by variant, seed (0 if there is none) and seen.

    scores: of one block in one metric.
    """
    return scores.assign(seed=scores["seed"].fillna(0)).groupby(["variant", "seed", "seen"])["score"].mean()


def to_base(plan: Plan, scores: pd.DataFrame, block: Block) -> pd.DataFrame:
    """The difference of each variant of a block to base in the headline metric, one row per domain; empty without base.

    Columns: variant, method, metric, domain, seen, base (its score), difference_mean and difference_std (over seeds),
    n_seeds.
    """
    rows = headline(plan, scores, block)
    found = rows.groupby(["variant", "method", "metric", "domain", "seen"], sort=False)["score"]
    found = found.agg(difference_mean="mean", difference_std="std", n_seeds="size").reset_index()
    base = found[found["method"] == "base"].set_index("domain")["difference_mean"]
    found = found[(found["method"] != "base") & found["domain"].isin(base.index)]
    found["base"] = found["domain"].map(base).astype(float)
    return found.assign(difference_mean=found["difference_mean"] - found["base"])


def jaccard_by_chance(first: int, second: int, total: int) -> float:
    """Expected Jaccard of two independent random sets of these sizes among `total`; 0 if both are empty.

    This is the expected intersection over the expected union, which is below the expected ratio by less than 1 / total.
    """
    shared = first * second / total
    return shared / (first + second - shared) if first + second else 0.0
