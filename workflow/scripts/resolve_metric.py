"""Find the checkpoint of a neural metric, on the hub or in a local folder, and write its manifest."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.config.metrics import Scoring
from caneft.runtime.cli import step
from caneft.scoring import neural
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Scoring.model_validate_json, required=True, help="of one metric")
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()
    (metric,) = args.settings.neural.values()
    write_json(args.manifest, neural.find(metric, config.resolver(args.data_root)))


if __name__ == "__main__":
    main()
