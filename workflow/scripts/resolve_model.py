"""Find a base model, on the hub or in a local folder, and write its manifest."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.models import checking, manifests, resolving
from caneft.runtime.cli import step
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=config.Model.model_validate_json, required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()
    origin = resolving.find(args.settings, config.resolver(args.data_root))
    write_json(args.manifest, manifests.describe(Path(origin["folder"]), origin, checking.checked(origin)))


if __name__ == "__main__":
    main()
