"""Download a corpus into the caches that later jobs read, and record what it was."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.corpora import fetching
from caneft.plan.settings import FetchSettings
from caneft.runtime.cli import step
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=FetchSettings.model_validate_json, required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--fetched", type=Path, required=True, help=".json: revision, pairs and checksum by split")
    args = parser.parse_args()
    resolve = config.resolver(args.data_root)
    write_json(args.fetched, {part: fetching.fetch(source, resolve) for part, source in args.settings.sources.items()})


if __name__ == "__main__":
    main()
