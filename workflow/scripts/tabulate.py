"""Write the tables (scores, cost, interference, trials, overlap, corpora), each as CSV, Markdown, LaTeX and HTML."""

import argparse
from pathlib import Path

from caneft.cli import step
from caneft.plan import Plan
from caneft.reporting import corpora, interference, overlap, results, tables, trials
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
    scores, records = results.scores(plan, args.results), results.records(plan, args.results)
    costs, tried = results.costs(plan, args.results), results.trials(plan, args.results)
    main_table = tables.main_table(plan, scores, records)
    cost_table = tables.cost_table(plan, costs, records)
    matrix = interference.interference_table(plan, main_table)
    tables.write(args.out / "main", main_table, list(tables.main_tables(plan, main_table, scores, records)))
    tables.write(args.out / "cost", cost_table, list(tables.cost_tables(plan, cost_table, costs)))
    matrices = list(interference.interference_tables(plan, matrix))
    tables.write(args.out / "interference", matrix, matrices, interference.ABSENT)
    tables.write(args.out / "trials", trials.trial_table(tried), list(trials.trial_tables(plan, tried)), trials.ABSENT)
    shared = overlap.overlap_table(scores, overlap.without(plan, args.results))
    tables.write(args.out / "overlap", shared, list(overlap.overlap_tables(plan, shared)), overlap.absent(shared))
    counts = corpora.corpus_table(plan, args.results)
    tables.write(args.out / "corpora", counts, list(corpora.corpus_tables(plan, counts)))


if __name__ == "__main__":
    main()
