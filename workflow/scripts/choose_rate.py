"""Choose a variant's learning rate by how the trials of its grid score on the dev pairs."""

import argparse
from pathlib import Path

from caneft.corpora import store
from caneft.plan import Run
from caneft.plan.settings import ChoiceSettings
from caneft.runtime.cli import step
from caneft.scoring import choosing, translated
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=ChoiceSettings.model_validate_json, required=True)
    parser.add_argument("--dev", type=Path, required=True, help="dev pairs of the mixture")
    parser.add_argument("--trials", nargs="+", required=True, help="name of each trial: mixture/variant/attempt")
    parser.add_argument("--translations", type=Path, nargs="+", required=True, help="of dev, in the same order")
    parser.add_argument("--records", type=Path, nargs="+", required=True, help="of each trial, in the same order")
    parser.add_argument("--choice", type=Path, required=True)
    args = parser.parse_args()
    dev = store.read_testset(args.settings.domains, [args.dev])
    outputs = {}
    for name, translations, record in zip(args.trials, args.translations, args.records, strict=True):
        trial = Run.parse(f"-/-/{name}")
        diverged = store.read_json(record)["tuning"]["diverged_at"] is not None
        outputs[trial.rate, trial.seed] = None if diverged else translated.hypotheses(translations, dev)
    write_json(args.choice, choosing.choose(args.settings, dev, outputs))


if __name__ == "__main__":
    main()
