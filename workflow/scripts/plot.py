"""Draw the figures, each as PDF, SVG and PNG, and remove those of an earlier configuration."""

import argparse
from pathlib import Path

from caneft.plan import Plan
from caneft.reporting.gallery import every_figure
from caneft.reporting.listing import FIGURES, figures
from caneft.reporting.reading import read_config
from caneft.reporting.style import METADATA, save
from caneft.runtime.cli import step


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
    for name, figure in every_figure(plan, args.results):
        save(figure, args.out / name)
    for name in set(FIGURES) - set(figures(plan)):  # of an earlier configuration
        for suffix in METADATA:
            (args.out / f"{name}.{suffix}").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
