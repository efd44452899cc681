"""Prepare one domain's corpus: read, clean, keep its own dev and test out of its train."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.corpora import fetching, store
from caneft.plan.settings import CorpusSettings
from caneft.runtime.cli import step
from caneft.storage import integrity


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=CorpusSettings.model_validate_json, required=True)
    parser.add_argument("--domain", required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--fetched", type=Path, nargs="?", help="what was downloaded of it, which it must still be")
    parser.add_argument("--out", type=Path, required=True, help="folder for {split}.jsonl and report.json")
    args = parser.parse_args()
    settings, resolve = args.settings, config.resolver(args.data_root)
    if args.fetched:
        fetching.check(dict(settings.domain), args.fetched, resolve)
    splits, report = store.prepare(settings.domain, args.domain, resolve, settings.cleaning, settings.languages)
    for split, rows in splits.items():
        store.write(args.out / f"{split}.jsonl", rows)
    written = integrity.sums(*(args.out / f"{split}.jsonl" for split in splits))
    store.write_json(args.out / "report.json", report | {"format": integrity.FORMAT, integrity.KEY: written})


if __name__ == "__main__":
    main()
