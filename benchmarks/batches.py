"""Compares the batches of `caneft.translation.decoding` with one plain `generate` per batch.

    python -m benchmarks.batches --model FOLDER --dtype float32 --threads 1 --corpus FILE.jsonl ...

    ours     longest sentences first, with a limit of tokens per batch; finished rows leave the batch
    plain    shortest first, --batch-size rows per batch, each row as long as the batch's longest hypothesis

Both translate the same sentences in turn, in one process. `ours_vs_plain` is the ratio of sentences per second; more is
better. On a CPU it uses processor time, because other programs may run there too. `positions` counts what the model
computed, padding and finished rows included: in reading prompts, and in the steps after that. `identical` and `gaps`
are as in benchmarks.decoding: the share of hypotheses with the same tokens, and how much likelier plain's first
different token is.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import DTYPES, finish, quotient, rounded
from benchmarks.decoding import asked, drawn, gaps, manifest_of, tidied, timed
from caneft import config
from caneft.models.loading import load_model
from caneft.prompts import Prompts, collate
from caneft.runtime.cli import step
from caneft.runtime.devices import prepare
from caneft.translation import decoding

MODULE = "benchmarks.batches"
CONTEXT = ("threads", "batch_size", "sentences", "rounds")


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="FOLDER", help="weights and tokenizer in the form of the hub")
    add("--dtype", choices=DTYPES, default="float32")
    add("--corpus", nargs="+", metavar="FILE", help=".jsonl or .tsv files; default: the built-in corpus")
    add("--fields", nargs=2, default=("source", "target"), help="of the JSON objects; dots descend: translation.de")
    add("--sentences", type=int, default=96, help="drawn from all files")
    add("--batch-size", type=int, default=config.Decoding().batch_size)
    add("--rounds", type=int, default=2)
    add("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    add("--out", type=Path, metavar="FILE.json", help="writes the result, with date, command and versions")
    return parser.parse_args(argv)


@torch.inference_mode()
def plain(model, prompts: Prompts, task: decoding.Task, settings: config.Decoding) -> list[list[int]]:
    """Like `decoding.generate`, but calls the model's own `generate` once per batch."""
    from transformers import GenerationConfig

    order = sorted(range(len(task.prompts)), key=lambda i: (len(task.prompts[i]), i))
    found: dict[int, list[int]] = {}
    for start in range(0, len(order), settings.batch_size):
        chosen = order[start : start + settings.batch_size]
        batch = collate([task.prompts[i] for i in chosen], prompts.tokenizer.pad_token_id, side="left").to(model.device)
        model.generation_config = GenerationConfig(
            max_new_tokens=max(task.limits[i] for i in chosen),
            eos_token_id=sorted(prompts.form.stops),
            begin_suppress_tokens=sorted(prompts.form.never_first) or None,
            pad_token_id=prompts.tokenizer.pad_token_id,
        )
        ids = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        found |= zip(chosen, ids[:, batch.input_ids.shape[1] :].tolist(), strict=True)
    return [found[i] for i in range(len(order))]


WAYS = {"plain": plain, "ours": decoding.generate}


def compared(arguments: argparse.Namespace) -> dict[str, Any]:
    device, settings = prepare(arguments.threads), config.Decoding(batch_size=arguments.batch_size)
    prompts, task = asked(arguments, [source for source, _ in drawn(arguments)])
    model = load_model(manifest_of(arguments), arguments.dtype, device)
    seen: list[torch.Size] = []
    model.register_forward_pre_hook(lambda _, __, given: seen.append(given["input_ids"].shape), with_kwargs=True)
    few = decoding.Task(task.prompts[:2], [2, 2])
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    ids: dict[str, list[list[int]]] = {}
    positions: dict[str, dict[str, int]] = {}
    for way in WAYS.values():
        way(model, prompts, few, settings)  # warm-up: lazy initialisation happens here
    for _ in range(arguments.rounds):
        for name, way in WAYS.items():
            seen.clear()
            spent, generated = timed(lambda way=way: way(model, prompts, task, settings), device)
            seconds[name].append(spent["cpu" if device.type == "cpu" else "wall"])
            ids[name] = tidied(prompts, task, generated)
            read, steps = (sum(r * w for r, w in seen if (w > 1) is first) for first in (True, False))
            positions[name] = {"prompts": read, "steps": steps}
            print(f"{name}: {seconds[name][-1]:.1f} s")
    different = [i for i, (a, b) in enumerate(zip(ids["plain"], ids["ours"], strict=True)) if a != b]
    positions["needed"] = {"prompts": sum(map(len, task.prompts)), "steps": sum(map(len, ids["ours"]))}
    median = {name: statistics.median(own) for name, own in seconds.items()}
    return {
        "dtype": arguments.dtype,
        "ours_vs_plain": quotient(median["plain"], median["ours"]),
        "sentences_per_second": {name: len(task.prompts) / own for name, own in median.items()},
        "seconds": seconds,
        "positions": positions
        | {"needed": {"prompts": sum(map(len, task.prompts)), "steps": sum(map(len, ids["ours"]))}},
        "identical": 1 - len(different) / len(task.prompts),
        "gaps": gaps(arguments, arguments.dtype, task, ids["plain"], ids["ours"], different),
        "model": arguments.model.resolve().name,
    }


@step
def main() -> None:
    argv = sys.argv[1:]
    arguments = parsed(argv)
    arguments.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finish(rounded(compared(arguments)), arguments, CONTEXT, MODULE, argv)


if __name__ == "__main__":
    main()
