"""Choose the learning rate of a variant: the one of its grid with the highest mean dev score over the domains."""

import argparse
from pathlib import Path

from caneft.bounded import read_json
from caneft.cli import step
from caneft.files import write_json
from caneft.plan import Run
from caneft.scoring import choosing


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="dev scores of each trial")
    parser.add_argument(
        "--records", type=Path, nargs="+", required=True, help="record of each trial, in the same order"
    )
    parser.add_argument("--metric", required=True, help="by which the rates are judged")
    parser.add_argument("--choice", type=Path, required=True)
    args = parser.parse_args()
    trials = {}
    for scores, record in zip(args.scores, args.records, strict=True):
        found, made = read_json(scores), read_json(record)
        rate = Run.parse("/".join((found["model"], found["direction"], found["run"]))).rate
        diverged = made["tuning"]["diverged_at"] is not None
        trials[rate] = None if diverged else choosing.mean_score(found["domains"], args.metric)
    write_json(args.choice, choosing.choose(trials, args.metric))


if __name__ == "__main__":
    main()
