"""Draw the figures, each as PDF, SVG and PNG."""

import argparse
from pathlib import Path

from caneft.cli import step
from caneft.plan import Plan
from caneft.reporting import figures, results
from caneft.reporting.inputs import read_config
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
    scores = results.scores(plan, args.results)
    neurons = results.neuron_counts(plan, args.results)
    stability = results.stability(plan, args.results)
    information = {block: results.information(plan, args.results, block) for block in plan.blocks()}
    save(figures.scores(plan, scores), args.out / "scores")
    save(figures.seen_unseen(plan, scores), args.out / "seen_unseen")
    save(figures.neurons_per_layer(plan, neurons), args.out / "neurons_per_layer")
    save(figures.importance_information(plan, information), args.out / "importance_information")
    save(figures.stability(plan, stability), args.out / "stability")


if __name__ == "__main__":
    main()
