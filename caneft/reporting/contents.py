"""The one list of all reported tables and the functions that make them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import (
    budget,
    corpora,
    criteria,
    health,
    interference,
    overlap,
    results,
    significant,
    stability,
    tables,
    trials,
    unseen,
)
from caneft.reporting.layout import Table


class Reported(NamedTuple):
    """A table: its numbers, the printed tables, and a sentence to show if there are none."""

    name: str
    numbers: pd.DataFrame
    printed: list[Table]
    absent: str = ""


def every_table(plan: Plan, root: str | Path) -> Iterator[Reported]:
    """All of `listing.TABLES`, from the results in `root`."""
    scores, records = results.scores(plan, root), results.records(plan, root)
    main = tables.main_table(plan, scores, records, significant.intervals(plan, root))
    compared, training = significant.comparisons(plan, root), results.metric_training(plan, root)
    tested = significant.of_main_tables(plan, root, compared)
    decoded = results.decoded(plan, root)
    yield Reported("main", main, list(tables.main_tables(plan, main, scores, records, training, tested, decoded)))
    differences = significant.significance_table(plan, compared)
    printed = list(significant.significance_tables(plan, differences))
    yield Reported("significance", significant.stored(differences), printed, significant.ABSENT)
    tried = results.trials(plan, root)
    apart = unseen.unseen_table(plan, main)
    yield Reported("unseen", apart, list(unseen.unseen_tables(plan, apart, tried)), unseen.ABSENT)
    equal = criteria.criteria_table(plan, root, main)
    yield Reported("criteria", equal, list(criteria.criteria_tables(plan, equal)), criteria.ABSENT)
    halves = stability.stability_table(results.stability(plan, root))
    yield Reported("stability", halves, list(stability.stability_tables(plan, halves)), stability.ABSENT)
    sweep = budget.budget_table(plan, main, records)
    yield Reported("budget", budget.stored(sweep), list(budget.budget_tables(plan, sweep)), budget.ABSENT)
    matrix = interference.interference_table(plan, scores)
    yield Reported("interference", matrix, list(interference.interference_tables(plan, matrix)), interference.ABSENT)
    costs = results.costs(plan, root)
    cost = tables.cost_table(plan, costs, records)
    yield Reported("cost", cost, list(tables.cost_tables(plan, cost, costs)))
    yield Reported("trials", trials.trial_table(tried), list(trials.trial_tables(plan, tried)), trials.ABSENT)
    outputs = health.health_table(scores)
    yield Reported("health", outputs, list(health.health_tables(plan, outputs)), health.ABSENT)
    shared = overlap.overlap_table(scores, overlap.without(plan, root))
    yield Reported("overlap", shared, list(overlap.overlap_tables(plan, shared)), overlap.absent(shared))
    counts = corpora.corpus_table(plan, root)
    yield Reported("corpora", counts, list(corpora.corpus_tables(plan, counts)))
