"""Train a small COMET on corrupted references, and measure how well it tells them apart."""

import argparse
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from caneft.config.metrics import MetricTraining
from caneft.corpora import store
from caneft.runtime.cli import step
from caneft.scoring import corruptions, neural, training_comet
from caneft.storage.files import sha256, write_json

PACKAGES = ("unbabel-comet", "torch", "transformers", "pytorch-lightning", "sentencepiece")


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=MetricTraining.model_validate_json, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--manifest", type=Path, required=True)
    args = parser.parse_args()
    settings, folder = args.settings, args.manifest.parent
    rows = store.read(args.corpus)
    pairs = corruptions.judged(rows, settings.seed)
    trained, held_out = corruptions.split(pairs, settings.held_out)
    for left_over in (training_comet.OWN_ENCODER, "checkpoints"):
        shutil.rmtree(folder / left_over, ignore_errors=True)
    training_comet.train(settings, trained, folder, args.threads)
    manifest = neural.describe(folder, neural.TRAINED_HERE, None)
    shown = [store.Row("", pair.source, pair.reference) for pair in held_out]
    scores = neural.score(neural.load(manifest), manifest, shown, [pair.hypothesis for pair in held_out], 64, 0)
    training = {"pairs": len(trained), **training_comet.correlations(scores, held_out)}
    training |= {"corpus": sha256(args.corpus), "settings": json.loads(settings.model_dump_json())}
    versions = {name: version(name) for name in PACKAGES}
    write_json(args.manifest, manifest | {"folder": ".", "training": training, "versions": versions})


if __name__ == "__main__":
    main()
