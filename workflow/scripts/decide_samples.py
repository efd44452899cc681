"""Decide how many samples per domain the importance dumps of a model and direction get."""

import argparse
from pathlib import Path

from caneft import dumping, pilot, records
from caneft.cli import step
from caneft.corpora import store
from caneft.devices import prepare
from caneft.files import write_json
from caneft.models import loading
from caneft.prompts import Prompts
from caneft.settings import PilotSettings


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=PilotSettings.model_validate_json, required=True)
    parser.add_argument("--model", required=True, help="name in the configuration, for messages")
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="train.jsonl of each domain")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device-map", default="none", help="how to spread a model that one GPU does not hold")
    parser.add_argument("--samples", type=Path, required=True, help=".json; .cost.json stands beside")
    args = parser.parse_args()
    with records.cost(args.samples.with_suffix(".cost.json"), "pilot", args.threads):
        settings = args.settings.dump
        manifest = loading.read_manifest(args.manifest)
        model = loading.load_model(manifest, settings.dtype, prepare(args.threads), args.device_map)
        prompts = Prompts(loading.load_tokenizer(manifest), settings.prompt)
        sources, dumps = {}, {}
        for domain, corpus in zip(args.domains, args.corpora, strict=True):
            samples = dumping.draw(store.read(corpus), prompts, domain, settings.importance, None)
            about = dumping.about(args.model, model, manifest, corpus, settings)
            sources[domain] = pilot.Source(model, samples, prompts, settings.importance, about)
            dumps[domain] = pilot.place(args.samples.with_name(f"{domain}.npy"))
        write_json(args.samples, pilot.decide(sources, dumps, args.settings))


if __name__ == "__main__":
    main()
