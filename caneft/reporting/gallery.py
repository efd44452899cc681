"""Every figure that is reported: the one list of what draws each."""

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure

from caneft.plan import Plan
from caneft.reporting import cost_figures, figures, heat_maps, jaccard, neuron_figures, results
from caneft.reporting.inputs import drawn_blocks


def every_figure(plan: Plan, root: str | Path) -> Iterator[tuple[str, Figure]]:
    """All of `listing.FIGURES`, by name."""
    blocks = plan.shown_blocks()
    scores, tried = results.scores(plan, root, drawn_blocks(plan)), results.trials(plan, root, blocks)
    yield "scores", figures.scores(plan, scores)
    yield "seen_unseen", figures.seen_unseen(plan, scores, tried)
    yield "budget", cost_figures.budget(plan, scores, results.records(plan, root, blocks))
    yield "quality_cost", cost_figures.quality_cost(plan, scores, results.costs(plan, root, blocks, "tuning"))
    yield "interference", heat_maps.interference(plan, scores)
    yield "neurons_per_layer", neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, root))
    yield "jaccard", heat_maps.jaccard(plan, jaccard.sets(plan, root), jaccard.across(plan, root))
    yield "importance_information", neuron_figures.importance_information(plan, results.information(plan, root))
    yield "stability", neuron_figures.stability(plan, results.stability(plan, root))
    yield "training", figures.training(plan, results.losses(plan, root, blocks))
