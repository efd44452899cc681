"""Names of tables and figures, in files and in the report, which shows only those that a plan has something for."""

from caneft.config import Neurons
from caneft.plan import Plan
from caneft.reporting import inputs, shown

TABLES = {
    "main": "scores",
    "significance": "tests of significance",
    "unseen": "unseen domains",
    "criteria": "selection criteria",
    "stability": "stability of the selection",
    "budget": "budgets",
    "interference": "interference",
    "cost": "cost",
    "trials": "trials of learning rates",
    "health": "decoding health",
    "overlap": "overlap of test and training data",
    "corpora": "corpora",
}
"""Label in the report by file name of each table, in the report's order. `contents.every_table` makes them."""

FIGURES = {
    "scores": "scores",
    "seen_unseen": "seen against unseen",
    "budget": "budget",
    "quality_cost": "quality against cost",
    "interference": "interference",
    "neurons_per_layer": "neurons per layer",
    "jaccard": "overlap of selected neurons",
    "importance_information": "importance and information",
    "stability": "stability of the selection",
    "training": "training",
}
"""The same for each figure. `gallery.every_figure` draws those that a plan has something for."""


def figures(plan: Plan) -> list[str]:
    """The figures that a plan has something for; the others are not made."""
    selected = bool(inputs.selections(plan))
    drawn = {
        "seen_unseen": shown.with_unseen(plan),
        "budget": shown.swept(plan),
        "quality_cost": shown.trained(plan),
        "interference": shown.interfering(plan),
        **dict.fromkeys(["neurons_per_layer", "jaccard", "importance_information", "stability"], selected),
        "training": shown.trained(plan),
    }
    return [name for name in FIGURES if drawn.get(name, True)]


def tables(plan: Plan) -> list[str]:
    """The tables that a plan has something for; the others have empty files and no place in the report."""
    blocks = plan.shown_blocks()
    printed = {
        "unseen": any(plan.unseen(*block[1:]) for block in blocks),
        "criteria": any(len(plan.variants_on(*block[1:], Neurons)) > 1 for block in blocks),
        "stability": inputs.selections(plan),
        "budget": shown.swept(plan),
        "interference": shown.interfering(plan),
        "trials": next(inputs.trial_files(plan), None),
        "overlap": any(inputs.overlap_files(plan)),
    }
    return [name for name in TABLES if printed.get(name, True)]


def overview_inputs(plan: Plan) -> list[str]:
    """Every file that the overview opens: what the tables are made from, the tables, and the figures."""
    pages = [f"tables/{name}.html" for name in tables(plan)]
    return [*inputs.table_inputs(plan), *pages, *(f"figures/{name}.png" for name in figures(plan))]
