"""Draw the training and dev data of a mixture, without what any of its domains is tested on."""

import argparse
from pathlib import Path

from caneft.corpora import mixing, store
from caneft.plan import needs
from caneft.plan.settings import MixtureSettings
from caneft.runtime.cli import step
from caneft.storage import integrity


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=MixtureSettings.model_validate_json, required=True)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with {domain}/{split}.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="folder for train.jsonl, dev.jsonl and report.json")
    args = parser.parse_args()
    settings = args.settings
    corpora = {
        domain: {split: store.read(args.corpora / domain / f"{split}.jsonl") for split in ("train", "dev", "test")}
        for domain in settings.domains
    }
    samples = needs.samples_of("/".join(args.out.parts[-2:]))
    train, dev, report = mixing.mix(corpora, **settings.model_dump(exclude={"domains"}), samples=samples)
    store.write(args.out / "train.jsonl", train)
    store.write(args.out / "dev.jsonl", dev)
    report |= {"format": integrity.FORMAT}
    report[integrity.KEY] = integrity.sums(args.out / "train.jsonl", args.out / "dev.jsonl")
    store.write_json(args.out / "report.json", report)


if __name__ == "__main__":
    main()
