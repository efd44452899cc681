"""Pretrain a small base model, with its tokenizer, on prompts and their responses."""

import argparse
import logging
import statistics
from pathlib import Path

from caneft.corpora import store
from caneft.models import manifests
from caneft.plan.settings import PretrainingSettings
from caneft.prompts import Prompts
from caneft.runtime.cli import step
from caneft.runtime.devices import prepare
from caneft.storage import records
from caneft.storage.files import atomic_folder, write_json
from caneft.tuning import pretraining


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=PretrainingSettings.model_validate_json, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--manifest", type=Path, required=True, help="manifest.json; the model is written beside it")
    args = parser.parse_args()
    folder, settings = args.manifest.parent, args.settings.pretraining
    with records.cost(folder / "cost.json", "pretraining", args.threads):
        device = prepare(args.threads, settings.seed)
        rows = store.read(args.corpus)
        texts = [f"{args.settings.prompts[r.domain].instruct()}\n{r.source}\n{r.target}" for r in rows]
        tokenizer = pretraining.build_tokenizer(texts, settings.vocabulary)
        model = pretraining.build_model(settings, tokenizer).to(device)
        prompts = {name: Prompts.of(tokenizer, wording) for name, wording in args.settings.prompts.items()}
        examples = pretraining.encode(rows, prompts, settings.max_tokens)
        logging.info("%d pairs, %d parameters", len(rows), sum(p.numel() for p in model.parameters()))
        losses = pretraining.pretrain(model, examples, settings, tokenizer.pad_token_id)
        with atomic_folder(folder) as beside:
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
        origin = {"id": manifests.PRETRAINED_HERE, "revision": None, "folder": "."}
        manifest = manifests.describe(folder, origin, model.config)
        manifest["parameters"] = sum(p.numel() for p in model.parameters())
        manifest["last_loss"] = statistics.fmean(losses[-50:])
        write_json(args.manifest, manifest)


if __name__ == "__main__":
    main()
