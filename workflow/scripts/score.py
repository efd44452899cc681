"""Score the test sets of a run, or the sources as their own translations (--copy)."""

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
    parser.add_argument("--about", nargs=3, metavar=("MODEL", "DIRECTION", "RUN"), required=True)
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--seen", nargs="*", default=[], help="those of the domains that the run was tuned on")
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="test.jsonl of each domain, in order")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--translations", type=Path)
    what.add_argument("--copy", action="store_true", help="score the sources themselves")
    parser.add_argument("--scores", type=Path, required=True)
    args = parser.parse_args()
    references = store.read_testset(args.domains, args.corpora)
    hypotheses = translated.copies(references) if args.copy else translated.read(args.translations, references)
    domains = surface.score_domains(hypotheses, references, args.settings)
    about = dict(zip(("model", "direction", "run"), args.about, strict=True))
    write_json(args.scores, {"format": 1, **about, "seen": args.seen, "domains": domains})


if __name__ == "__main__":
    main()
