"""Dump per-sample neuron importance of one domain."""

import argparse
from pathlib import Path

from caneft import dumping, records
from caneft.cli import step
from caneft.corpora import store
from caneft.devices import prepare
from caneft.models import loading
from caneft.prompts import Prompts
from caneft.settings import DumpSettings


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=DumpSettings.model_validate_json, required=True)
    parser.add_argument("--model", required=True, help="name in the configuration, for messages")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device-map", default="none", help="how to spread a model that one GPU does not hold")
    parser.add_argument("--scores", type=Path, required=True, help=".npy; .json, .stats.npz, .cost.json stand beside")
    args = parser.parse_args()
    with records.cost(args.scores.with_suffix(".cost.json"), "importance", args.threads):
        device = prepare(args.threads)
        manifest = loading.read_manifest(args.manifest)
        model = loading.load_model(manifest, args.settings.dtype, device, args.device_map)
        prompts = Prompts(loading.load_tokenizer(manifest), args.settings.prompt)
        samples = dumping.draw(store.read(args.corpus), prompts, args.domain, args.settings.importance)
        about = {
            "model": {"name": args.model} | {name: manifest[name] for name in ("id", "hidden_size", "weights")},
            "corpus_sha256": records.sha256(args.corpus),
            "settings": args.settings.model_dump(),
        }
        dumping.write(args.scores, model, samples, prompts, args.settings.importance, about)


if __name__ == "__main__":
    main()
