"""Fine-tune a base model by one method on one mixture."""

import argparse
from dataclasses import asdict
from pathlib import Path

from caneft import config, neurons, records
from caneft.cli import step
from caneft.corpora import store
from caneft.devices import prepare
from caneft.files import replacing, write_json
from caneft.models import loading
from caneft.plan import Run
from caneft.prompts import Prompts
from caneft.settings import TuneSettings
from caneft.tuning import loop, ways


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=TuneSettings.model_validate_json, required=True)
    parser.add_argument("--run", type=Run.parse, required=True, help="model/direction/mixture/variant/seedN")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--neurons", type=Path, help="neuron set, for neuron methods")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device-map", default="none", help="how to spread a model that one GPU does not hold")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    args = parser.parse_args()
    settings, method, seed = args.settings, args.settings.method, args.run.seed
    with records.cost(args.out / "cost.json", "tuning", args.threads):
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
        way = ways.trainable(model, method, settings.dtype, chosen, base)
        trainable = sum(parameter.numel() for parameter in way.parameters())
        pad = prompts.tokenizer.pad_token_id
        with replacing(args.out / "log.jsonl") as log:
            outcome = loop.train(model, way, train, dev, settings.tuning, method.learning_rate, seed, pad, log)
        way.save(args.out)
        record = {
            **records.provenance(),
            **asdict(args.run),
            "method": method.method,
            "settings": settings.model_dump() | {"learning_rate": method.learning_rate},
            "base": base,
            "data": {"train_sha256": records.sha256(args.train), "dev_sha256": records.sha256(args.dev)},
            "selection": neurons.read_description(args.neurons) | {"parameters": trainable} if args.neurons else None,
            "parameters": {"trainable": trainable, "total": total},
            "tuning": loop.as_record(outcome) | {"left_out_too_long": left_out},
        }
        write_json(args.out / "record.json", record)


if __name__ == "__main__":
    main()
