"""Write the tables, each as CSV, Markdown, LaTeX and HTML."""

import argparse
from pathlib import Path

from caneft.cli import step
from caneft.plan import Plan
from caneft.reporting import tables
from caneft.reporting.contents import every_table
from caneft.reporting.inputs import read_config


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out", required=True, type=Path, help="folder of the tables")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    plan = Plan(read_config(args.config))
    for name, numbers, printed, absent in every_table(plan, args.results):
        tables.write(args.out / name, numbers, printed, absent)


if __name__ == "__main__":
    main()
