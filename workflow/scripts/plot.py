"""Draw the figures, each as PDF, SVG and PNG."""

import argparse
from pathlib import Path

from caneft.cli import step
from caneft.plan import Plan
from caneft.reporting import figures, neuron_figures, results
from caneft.reporting.inputs import read_config, shown_blocks
from caneft.reporting.style import save


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out", required=True, type=Path, help="folder of the figures")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    plan = Plan(read_config(args.config))
    blocks = shown_blocks(plan)
    scores, trials = results.scores(plan, args.results, blocks), results.trials(plan, args.results, blocks)
    drawn = {
        "scores": figures.scores(plan, scores),
        "seen_unseen": figures.seen_unseen(plan, scores, trials),
        "training": figures.training(plan, results.losses(plan, args.results, blocks)),
        "neurons_per_layer": neuron_figures.neurons_per_layer(plan, results.neuron_counts(plan, args.results)),
        "importance_information": neuron_figures.importance_information(plan, results.information(plan, args.results)),
        "stability": neuron_figures.stability(plan, results.stability(plan, args.results)),
    }
    for name, figure in drawn.items():
        save(figure, args.out / name)


if __name__ == "__main__":
    main()
