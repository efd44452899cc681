"""Names of tables and figures: of their files, and in the report."""

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
"""Every table, in the report's order: name of its files, label in the report. `contents.every_table` makes them."""

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
"""Every figure, in the same way. `gallery.every_figure` draws them."""
