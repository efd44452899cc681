"""Prepare the pretraining corpus of a base model."""

import argparse
import os
from pathlib import Path

from caneft import config
from caneft.corpora import fetching, store
from caneft.plan.settings import PretrainingTextSettings
from caneft.runtime.cli import step
from caneft.storage import integrity


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=PretrainingTextSettings.model_validate_json, required=True)
    parser.add_argument("--data-root", default=os.environ.get("CANEFT_DATA"), help="default: variable CANEFT_DATA")
    parser.add_argument("--fetched", type=Path, nargs="?", help="what was downloaded of it, which it must still be")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    args = parser.parse_args()
    settings, resolve = args.settings, config.resolver(args.data_root)
    rows, report = [], {}
    if args.fetched:
        fetching.check({str(i): corpus.corpus for i, corpus in enumerate(settings.corpora)}, args.fetched, resolve)
    for index, corpus in enumerate(settings.corpora):
        name, languages = f"{corpus.direction}.{index}", settings.languages[corpus.direction]
        found, report[name] = store.prepare_pretraining(corpus.corpus, name, resolve, settings.cleaning, languages)
        rows += [row._replace(domain=corpus.direction) for row in found]
    store.write(args.corpus, rows)
    store.write_json(args.report, report | {"format": integrity.FORMAT, integrity.KEY: integrity.sums(args.corpus)})


if __name__ == "__main__":
    main()
