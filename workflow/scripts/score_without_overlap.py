"""Score all runs of a block on a domain without the segments that stand in the mixture's training data."""

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
    parser.add_argument("--about", nargs=4, metavar=("MODEL", "DIRECTION", "MIXTURE", "DOMAIN"), required=True)
    parser.add_argument("--overlap", type=Path, required=True, help="flags of the domain's test set")
    parser.add_argument("--corpus", type=Path, required=True, help="test.jsonl of the domain")
    parser.add_argument("--runs", nargs="+", required=True, help="names of the runs")
    parser.add_argument("--translations", type=Path, nargs="+", required=True, help="of each run, in the same order")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    about = dict(zip(("model", "direction", "mixture", "domain"), args.about, strict=True))
    flagged = store.read_json(args.overlap)["ids"]
    references = store.read_testset([about["domain"]], [args.corpus])
    translations = dict(zip(args.runs, args.translations, strict=True))
    target, metrics = args.settings.target_language, args.settings.metrics
    found = score_without(flagged, references, translations, target, metrics)
    write_json(args.scores, {"format": 1, **about, **found})


if __name__ == "__main__":
    main()
