"""Dump the per-sample importance of neurons, or of attention heads, for one domain."""

import argparse
import sys
from pathlib import Path

from caneft.config import device_map
from caneft.corpora import store
from caneft.importance import dumping, growing
from caneft.models import loading, manifests
from caneft.plan.settings import DumpSettings
from caneft.prompts import Prompts
from caneft.runtime import devices, launching, parallel
from caneft.runtime.cli import step
from caneft.storage import records


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=DumpSettings.model_validate_json, required=True)
    parser.add_argument("--model", required=True, help="name in the configuration, for messages")
    parser.add_argument("--domain", required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--decided", type=Path, help="samples.json, for `samples: auto`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="more than one: a process each, unless --device-map")
    parser.add_argument("--nodes", type=int, default=1, help="of the Slurm job; without GPUs, a process each")
    parser.add_argument(
        "--device-map", type=device_map, default="none", help="how to spread a model that one GPU does not hold"
    )
    parser.add_argument("--scores", type=Path, required=True, help=".npy; .json, .stats.npz, .cost.json stand beside")
    args = parser.parse_args()
    processes = devices.processes(args.gpus, args.device_map, args.nodes)
    if processes > 1 and not parallel.launched():
        module = "workflow.scripts.dump_importance"
        spread = args.nodes, args.threads
        sys.exit(launching.launch(module, sys.argv[1:], processes, "an importance dump", *spread))
    team = parallel.join(processes)
    with records.cost(args.scores.with_suffix(".cost.json"), "importance", args.threads, team):
        settings = args.settings.importance
        manifest = manifests.read_manifest(args.manifest)
        model = loading.load_model(manifest, args.settings.dtype, devices.prepare(args.threads), args.device_map)
        prompts = Prompts.of(loading.load_tokenizer(manifest), args.settings.prompt)
        count = store.read_json(args.decided)["samples"] if args.decided else settings.samples
        samples = dumping.draw(store.read(args.corpus), prompts, args.domain, settings, count)
        about = dumping.about(args.model, model, manifest, args.corpus, args.settings)
        source = growing.Source(model, samples, prompts, settings, about, team)
        if args.decided:
            growing.take_over(args.scores, source, count)
        else:
            source.write(args.scores, samples)
    team.leave()


if __name__ == "__main__":
    main()
