"""Fine-tune a base model by one method on one mixture."""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from caneft import config, neurons, records
from caneft.cli import step
from caneft.corpora import store
from caneft.corpora.store import read_json
from caneft.devices import prepare
from caneft.errors import InputError
from caneft.files import sync, write_json
from caneft.models import loading
from caneft.plan import Run
from caneft.prompts import Prompts
from caneft.settings import TuneSettings
from caneft.tuning import launching, loop, parallel, ways
from caneft.tuning.checkpoint import Checkpoints, identity
from caneft.tuning.parallel import Team


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=TuneSettings.model_validate_json, required=True)
    parser.add_argument(
        "--run", type=Run.parse, required=True, help="model/direction/mixture/variant/seedN or .../lrRATE"
    )
    parser.add_argument("--seed", type=int, required=True, help="of the order of training and of new weights")
    parser.add_argument("--choice", type=Path, help="choice.json of the learning rate, where the method has a grid")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--neurons", type=Path, help="neuron set, for neuron methods and LoRA of their size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--gpus", type=int, default=0, help="more than one: a process each, unless --device-map")
    parser.add_argument("--checkpoint-seconds", type=float, default=300, help="time between checkpoints; 0: each step")
    parser.add_argument("--device-map", default="none", help="how to spread a model that one GPU does not hold")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    return parser.parse_args()


@step
def main() -> None:
    args = parse_arguments()
    processes = args.gpus if args.device_map == "none" else 1
    if processes > 1 and not parallel.launched():
        sys.exit(launching.launch("workflow.scripts.tune", sys.argv[1:], processes))
    team = parallel.join(processes)
    with records.cost(args.out / "cost.json", "tuning", args.threads, team):
        checkpoints = tune(args, team)
    checkpoints.discard()  # last of all: until then a killed job has something to go on with
    team.leave()


def tune(args: argparse.Namespace, team: Team) -> Checkpoints:
    """Leaves artefact, log and record in the run's folder."""
    settings, method, seed = args.settings, args.settings.method, args.seed
    choice = read_json(args.choice) if args.choice else None
    rate = choice["learning_rate"] if choice else method.learning_rate
    device = prepare(args.threads, seed)
    manifest = loading.read_manifest(args.manifest)
    dtype = "float32" if isinstance(method, config.Full) else settings.dtype  # float32 masters, never pure bf16
    model = loading.load_model(manifest, dtype, device, args.device_map)
    prompts = Prompts(loading.load_tokenizer(manifest), settings.prompt)
    train, left_out = loop.encode(store.read(args.train), prompts, settings.tuning.max_tokens)
    dev, _ = loop.encode(store.read(args.dev), prompts, settings.tuning.max_tokens)
    chosen = neurons.load(args.neurons) if args.neurons else None
    total = sum(parameter.numel() for parameter in model.parameters())
    base = {"id": manifest["id"], "revision": manifest["revision"], "weights": manifest["weights"]}
    domains = sorted({example.domain for example in train})
    way = ways.trainable(model, method, settings.dtype, chosen, base, domains)
    trainable = sum(parameter.numel() for parameter in way.parameters())
    pad = prompts.tokenizer.pad_token_id
    selection = neurons.read_description(args.neurons) if isinstance(method, config.Neurons) else None
    record = {
        **records.provenance(),
        **asdict(args.run),
        "method": method.method,
        "settings": settings.model_dump() | {"learning_rate": rate},
        "seed": seed,
        "choice": choice,
        "base": base,
        "data": {"train_sha256": records.sha256(args.train), "dev_sha256": records.sha256(args.dev)},
        "selection": selection | {"parameters": trainable} if selection else None,
        "parameters": {"trainable": trainable, "total": total},
        "sizes": way.described(),
    }
    where = {"device": device.type, "threads": args.threads, "processes": team.count, "device_map": args.device_map}
    content = record | where | {"neurons_sha256": records.sha256(args.neurons) if args.neurons else None}
    checkpoints = Checkpoints(args.out / ".checkpoint", identity(content, train, dev), args.checkpoint_seconds, team)
    log = checkpoints.folder / "log.jsonl"
    try:
        outcome = loop.train(
            model, way, train, dev, settings.tuning, rate, seed, pad, log, args.run.rate is not None, checkpoints, team
        )
    except InputError:
        checkpoints.discard()  # it would end like this again
        raise
    if team.main:
        way.save(args.out)
        sync(log)
        os.replace(log, args.out / "log.jsonl")
        record["tuning"] = loop.as_record(outcome) | {"left_out_too_long": left_out}
        write_json(args.out / "record.json", record)
    return checkpoints


if __name__ == "__main__":
    main()
