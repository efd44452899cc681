"""Decide how many samples per domain the importance dumps of a model and direction get."""

import argparse
import sys
from pathlib import Path

from caneft.config import device_map
from caneft.corpora import store
from caneft.importance import dumping, growing
from caneft.models import loading, manifests
from caneft.plan.settings import PilotSettings
from caneft.prompts import Prompts
from caneft.runtime import devices, launching, parallel
from caneft.runtime.cli import step
from caneft.selection import pilot
from caneft.storage import records
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=PilotSettings.model_validate_json, required=True)
    parser.add_argument("--model", required=True, help="name in the configuration, for messages")
    parser.add_argument("--domains", nargs="+", required=True)
    parser.add_argument("--corpora", type=Path, nargs="+", required=True, help="train.jsonl of each domain")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="more than one: a process each, unless --device-map")
    parser.add_argument("--nodes", type=int, default=1, help="of the Slurm job; without GPUs, a process each")
    parser.add_argument(
        "--device-map", type=device_map, default="none", help="how to spread a model that one GPU does not hold"
    )
    parser.add_argument("--samples", type=Path, required=True, help=".json; .cost.json stands beside")
    args = parser.parse_args()
    processes = devices.processes(args.gpus, args.device_map, args.nodes)
    if processes > 1 and not parallel.launched():
        module, spread = "workflow.scripts.decide_samples", (args.nodes, args.threads)
        sys.exit(launching.launch(module, sys.argv[1:], processes, "the pilot", *spread))
    team = parallel.join(processes)
    with records.cost(args.samples.with_suffix(".cost.json"), "pilot", args.threads, team):
        settings = args.settings.dump
        manifest = manifests.read_manifest(args.manifest)
        model = loading.load_model(manifest, settings.dtype, devices.prepare(args.threads), args.device_map)
        prompts = Prompts.of(loading.load_tokenizer(manifest), settings.prompt)
        sources, dumps = {}, {}
        for domain, corpus in zip(args.domains, args.corpora, strict=True):
            samples = dumping.draw(store.read(corpus), prompts, domain, settings.importance, None)
            about = dumping.about(args.model, model, manifest, corpus, settings)
            sources[domain] = growing.Source(model, samples, prompts, settings.importance, about, team)
            dumps[domain] = growing.place(args.samples.with_name(f"{domain}.npy"))
        decided = pilot.decide(sources, dumps, args.settings, team)
        if team.main:
            write_json(args.samples, decided)
    team.leave()


if __name__ == "__main__":
    main()
