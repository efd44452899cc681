"""Score the test sets of every trial of a grid of learning rates."""

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
    parser.add_argument("--about", nargs=4, metavar=("MODEL", "DIRECTION", "MIXTURE", "VARIANT"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain, in order")
    parser.add_argument("--trials", nargs="+", required=True, help="names")
    parser.add_argument("--translations", type=Path, nargs="+", required=True, help="of each trial, in the same order")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    references = store.read_testset(args.domains, args.corpora)
    found = {
        trial: surface.score_domains(translated.read(path, references), references, args.settings)
        for trial, path in zip(args.trials, args.translations, strict=True)
    }
    about = dict(zip(("model", "direction", "mixture", "variant"), args.about, strict=True))
    write_json(args.scores, {"format": 1, **about, "trials": found})


if __name__ == "__main__":
    main()
