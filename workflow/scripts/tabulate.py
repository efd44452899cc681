"""Write the main table (scores) and the cost table, each as CSV, Markdown and LaTeX."""

import argparse

from caneft.cli import step
from caneft.plan import Plan
from caneft.reporting import results, tables
from caneft.reporting.inputs import read_config


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="resolved configuration: JSON, or @FILE")
    parser.add_argument("--results", required=True, help="folder of the results (results_root)")
    parser.add_argument("--out-main", required=True, help="path of the main table without suffix")
    parser.add_argument("--out-cost", required=True, help="path of the cost table without suffix")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    plan = Plan(read_config(args.config))
    scores, records = results.scores(plan, args.results), results.records(plan, args.results)
    costs = results.costs(plan, args.results)
    main_table = tables.main_table(plan, scores, records)
    cost_table = tables.cost_table(plan, costs, records)
    tables.write(args.out_main, main_table, list(tables.main_tables(plan, main_table, scores, records)))
    tables.write(args.out_cost, cost_table, list(tables.cost_tables(plan, cost_table, costs)))


if __name__ == "__main__":
    main()
