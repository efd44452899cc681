"""Test the variants of a block against the baseline, and the method against all others; find its best rival on dev."""

import argparse
from pathlib import Path

from caneft.plan.settings import SignificanceSettings
from caneft.runtime.cli import step
from caneft.scoring import comparing, rival
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=SignificanceSettings.model_validate_json, required=True)
    parser.add_argument("--about", nargs=3, metavar=("MODEL", "DIRECTION", "MIXTURE"), required=True)
    parser.add_argument("--results", type=Path, required=True, help="folder of the results (results_root)")
    parser.add_argument("--significance", type=Path, required=True)
    args = parser.parse_args()
    settings = args.settings
    files = {variant: [args.results / path for path in paths] for variant, paths in settings.rivals.items()}
    best = rival.best_rival(rival.dev_results(files, settings.rival_by), settings.rival_by)
    compared = {name: getattr(settings, name) for name in ("baseline", "method", "rival_by", "resamples", "seed")}
    metrics = comparing.test_block(settings, args.results, args.about[1])
    about = dict(zip(("model", "direction", "mixture"), args.about, strict=True))
    write_json(args.significance, {"format": 1, **about, **compared, "rival": best, "metrics": metrics})


if __name__ == "__main__":
    main()
