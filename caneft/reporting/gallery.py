"""The one list of all figures and the functions that draw them."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from caneft.plan import Plan
from caneft.reporting import (
    cost_figures,
    figures,
    heat_maps,
    jaccard,
    listing,
    neuron_figures,
    results,
    significant,
)
from caneft.reporting.inputs import drawn_blocks


def every_figure(plan: Plan, root: str | Path) -> Iterator[tuple[str, Figure]]:
    """The figures that a plan has something for, in the order of `listing.FIGURES`."""
    blocks = plan.shown_blocks()
    scores, tried = results.scores(plan, root, drawn_blocks(plan)), results.trials(plan, root, blocks)
    intervals = significant.intervals(plan, root)
    signs = significant.of_main_tables(plan, root, significant.comparisons(plan, root))
    draw = {
        "scores": lambda: figures.scores(plan, scores, intervals, signs),
        "seen_unseen": lambda: figures.seen_unseen(plan, scores, tried, intervals),
        "budget": lambda: cost_figures.budget(plan, scores, results.records(plan, root, blocks)),
        "quality_cost": lambda: cost_figures.quality_cost(
            plan, scores, results.costs(plan, root, blocks, "tuning"), intervals
        ),
        "interference": lambda: heat_maps.interference(plan, scores),
        "neurons_per_layer": lambda: neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, root)),
        "jaccard": lambda: heat_maps.jaccard(plan, jaccard.sets(plan, root), jaccard.across(plan, root)),
        "importance_information": lambda: neuron_figures.importance_information(plan, results.information(plan, root)),
        "stability": lambda: neuron_figures.stability(plan, results.stability(plan, root)),
        "training": lambda: figures.training(plan, results.losses(plan, root, blocks)),
    }
    yield from ((name, draw[name]()) for name in listing.figures(plan))
