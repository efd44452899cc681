"""Score the translations of one test set of a run, or the sources as their own translations (--copy)."""

import argparse
from pathlib import Path

from caneft.corpora import store
from caneft.plan.settings import ScoreSettings
from caneft.runtime.cli import step
from caneft.scoring import surface, translated
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=ScoreSettings.model_validate_json, required=True)
    parser.add_argument("--about", nargs=4, metavar=("MODEL", "DIRECTION", "RUN", "TESTSET"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument(
        "--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain; or one file for all"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--translations", type=Path)
    what.add_argument("--copy", action="store_true", help="score the sources themselves")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    references = store.read_testset(args.domains, args.corpora)
    hypotheses = translated.copies(references) if args.copy else translated.read(args.translations, references)
    target, metrics = args.settings.target_language, args.settings.metrics
    domains = {d: surface.score(hypotheses[d], references[d], target, metrics) for d in args.domains}
    about = dict(zip(("model", "direction", "run", "testset"), args.about, strict=True))
    write_json(args.scores, {"format": 1, **about, "domains": domains})


if __name__ == "__main__":
    main()
