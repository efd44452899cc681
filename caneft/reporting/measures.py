"""What tables, figures and claims measure alike, each in one place. Frames are those of `results`."""

import pandas as pd

from caneft.plan import Block, Plan
from caneft.reporting.inputs import COPY


def of_block(frame: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Rows of one block."""
    model, direction, mixture = block
    return frame[(frame["model"] == model) & (frame["direction"] == direction) & (frame["mixture"] == mixture)]


def headline(plan: Plan, frame: pd.DataFrame, block: Block | None = None) -> pd.DataFrame:
    """Rows of the headline metric, without copy. frame: of scores, or the main table. block: its rows alone."""
    rows = frame if block is None else of_block(frame, block)
    return rows[(rows["metric"] == plan.config.scoring.metrics[0]) & (rows["method"] != COPY)]


def by_seed(scores: pd.DataFrame) -> pd.Series:
    """Average over the seen and over the unseen domains of each run. scores: one block's in one metric.

    By variant, seed (0 where there is none) and seen.
    """
    return scores.assign(seed=scores["seed"].fillna(0)).groupby(["variant", "seed", "seen"])["score"].mean()


def to_base(plan: Plan, scores: pd.DataFrame, block: Block) -> pd.DataFrame:
    """Differences of a block's variants to base in the headline metric, a row each domain; none without base.

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
    """Expected Jaccard of two independent random sets of these sizes among `total`; 0 for empty ones.

    The intersection's expectation over the union's: short of the expectation of their ratio by less than one in total.
    """
    shared = first * second / total
    return shared / (first + second - shared) if first + second else 0.0
