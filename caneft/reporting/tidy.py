"""All scores as one tidy table, for people who make plots of their own."""

from pathlib import Path

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import results
from caneft.reporting.results import BLOCK, FLAGS
from caneft.storage.files import atomic_write

RUN = [*BLOCK, "variant", "method", "seed"]
OF_SCORES = ["domain", "seen", "metric", "score", "signature", "segments", *FLAGS]
OF_RECORDS = ["learning_rate", "trainable", "total", "unit", "neurons", "fraction", "gamma", "pairs", "steps", "commit"]


def runs(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, run, domain and metric; base and copy are repeated in every block.

    Columns: model, direction, mixture, variant, method, seed; domain, seen, metric, score, signature, segments, empty,
    truncated, overlong, wrong_language; and from the run's record learning_rate, trainable and total (parameters),
    unit, neurons, fraction, gamma (nats), pairs, steps, commit. Base, icl and copy train nothing and lack the columns
    of a record, except that trainable is 0 for base and icl.
    """
    scores, told = results.scores(plan, root), results.records(plan, root).reindex(columns=[*RUN, *OF_RECORDS])
    kinds = {"unit": "str", "commit": "str", "signature": "str"}
    return scores[[*RUN, *OF_SCORES]].merge(told, on=RUN, how="left", validate="many_to_one").astype(kinds)


def write_runs(path: str | Path, frame: pd.DataFrame) -> None:
    """Writes the table as Parquet, whole or not at all. Equal tables give equal bytes."""
    with atomic_write(path) as beside:
        frame.to_parquet(beside, index=False)
