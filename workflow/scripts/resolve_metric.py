"""Find the checkpoint of a neural metric, on the hub or in a local folder, and write its manifest."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.cli import step
from caneft.config.metrics import NeuralMetric
from caneft.files import write_json
from caneft.scoring import neural


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=NeuralMetric.model_validate_json, required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()
    write_json(args.manifest, neural.find(args.settings, config.resolver(args.data_root)))


if __name__ == "__main__":
    main()
