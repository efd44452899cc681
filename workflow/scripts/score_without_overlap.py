"""Score all runs of a block on the domains outside its mixture, without what is in the training data."""

import argparse
from pathlib import Path

from caneft.corpora import store
from caneft.plan.settings import ScoreSettings
from caneft.runtime.cli import step
from caneft.scoring.without_overlap import score_without
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=ScoreSettings.model_validate_json, required=True)
    parser.add_argument("--about", nargs=3, metavar=("MODEL", "DIRECTION", "MIXTURE"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--overlaps", type=Path, nargs="+", required=True, help="flags of each domain's test set")
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain, in order")
    parser.add_argument("--runs", nargs="+", required=True, help="names of the runs")
    parser.add_argument("--translations", type=Path, nargs="+", required=True, help="of each run, in the same order")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    about = dict(zip(("model", "direction", "mixture"), args.about, strict=True))
    references = store.read_testset(args.domains, args.corpora)
    flagged = dict(zip(args.domains, (store.read_json(path)["ids"] for path in args.overlaps), strict=True))
    translations = dict(zip(args.runs, args.translations, strict=True))
    target, metrics = args.settings.target_language, args.settings.metrics
    found = {
        domain: score_without(flagged[domain], {domain: rows}, translations, target, metrics)
        for domain, rows in references.items()
    }
    write_json(args.scores, {"format": 1, **about, "domains": found})


if __name__ == "__main__":
    main()
