"""Write the tables, each as CSV, Markdown, LaTeX and HTML, and all scores of all runs as one Parquet file."""

import argparse
from pathlib import Path

from caneft.plan import Plan
from caneft.reporting import tables, tidy
from caneft.reporting.contents import every_table
from caneft.reporting.reading import read_config
from caneft.runtime.cli import step


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out", required=True, type=Path, help="folder of the tables")
    parser.add_argument("--runs", required=True, type=Path, help="Parquet file of all scores")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    plan = Plan(read_config(args.config))
    for name, numbers, printed, absent in every_table(plan, args.results):
        tables.write(args.out / name, numbers, printed, absent)
    tidy.write_runs(args.runs, tidy.runs(plan, args.results))


if __name__ == "__main__":
    main()
