"""Flag what a test set shares with the training data of a mixture that does not contain its domain."""

import argparse
from pathlib import Path

from caneft.corpora import overlap, store
from caneft.runtime.cli import step


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True, help="train.jsonl of the mixture")
    parser.add_argument("--test", type=Path, required=True, help="test.jsonl of the domain")
    parser.add_argument("--overlap", type=Path, required=True)
    args = parser.parse_args()
    test = store.read(args.test)
    ids = overlap.flags(test, store.read(args.train))
    store.write_json(args.overlap, {"format": 1, "ids": ids, "segments": len(test)})


if __name__ == "__main__":
    main()
