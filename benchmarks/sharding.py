"""Measures how much faster several processes finish an importance dump, and whether it has the same bytes.

    python -m benchmarks.sharding

Runs the workflow's own step on a base of random weights, with each number of processes in turn: on the CPU with one
thread each, on GPUs with one card each. It reports the time of the whole step, and the time without what every process
does before its first batch, which is the time of a dump of two samples.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import SHAPES, build_model, finish, read_pairs
from caneft import config
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.models import manifests
from caneft.plan import settings
from caneft.storage.files import write_json
from caneft.tuning.pretraining import build_tokenizer

CONTEXT = ("shape", "samples", "processes", "rounds", "tokens_per_batch")
BYTES = (".npy", ".json", ".stats.npz")


def prepare(folder: Path, shape: str, samples: int) -> None:
    """Writes base, manifest and corpora into a folder."""
    domains = read_pairs(None, (), samples // 4 + 1)
    pairs = [pair for pairs in domains for pair in pairs][:samples]
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32
    model = build_model(SHAPES[shape], torch.device("cpu"), dtype)
    model.save_pretrained(folder / "model")
    sides = [side for pair in pairs for side in pair]
    build_tokenizer(sides, SHAPES[shape]["vocab_size"]).save_pretrained(folder / "model")
    about = manifests.describe(folder / "model", {"id": shape, "revision": None, "folder": "model"}, model.config)
    write_json(folder / "manifest.json", about)
    for name, rows in {"train": pairs, "two": pairs[:2]}.items():
        store.write(folder / f"{name}.jsonl", [Row(f"it.train.{i}", *pair) for i, pair in enumerate(rows)])


def dump(folder: Path, corpus: str, processes: int, tokens: int) -> tuple[float, list[bytes]]:
    """Makes a dump; returns its seconds and the bytes of its files. Raises InputError if it fails."""
    samples = len(store.read(folder / f"{corpus}.jsonl"))
    importance = config.Importance(samples=samples, tokens_per_batch=tokens)
    prompt = settings.PromptSettings(instruction="Translate.", source_language="German", target_language="English")
    dtype = "bfloat16" if torch.cuda.is_available() else "float32"
    given = settings.DumpSettings(importance=importance, prompt=prompt, dtype=dtype)
    scores = folder / f"{corpus}-{processes}" / "it.npy"
    scores.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "workflow.scripts.dump_importance", "--settings", given.model_dump_json()]
    command += ["--model", "base", "--domain", "it", "--manifest", folder / "manifest.json", "--gpus", processes]
    command += ["--corpus", folder / f"{corpus}.jsonl", "--scores", scores]
    on_cpu = {} if torch.cuda.is_available() else {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    began = time.perf_counter()
    done = subprocess.run(list(map(str, command)), env=os.environ | on_cpu, capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(f"the dump by {processes} processes failed:\n{done.stderr[-3000:]}")
    seconds = time.perf_counter() - began
    left = [scores.with_suffix(suffix).read_bytes() for suffix in BYTES]
    for suffix in BYTES:
        scores.with_suffix(suffix).unlink()
    return seconds, left


def measure(arguments: argparse.Namespace) -> dict:
    """Least seconds over the rounds for each number of processes; these take turns."""
    whole, start = {}, {}
    with tempfile.TemporaryDirectory(prefix="sharding-") as name:
        folder = Path(name)
        prepare(folder, arguments.shape, arguments.samples)
        first = None
        for _ in range(arguments.rounds):
            for processes in arguments.processes:
                for corpus, seconds in {"two": start, "train": whole}.items():
                    took, left = dump(folder, corpus, processes, arguments.tokens_per_batch)
                    seconds[processes] = min(took, seconds.get(processes, took))
                first = first or left
                if left != first:
                    raise InputError(f"{processes} processes leave other bytes than {arguments.processes[0]}")
    least = arguments.processes[0]
    gained = {n: (whole[least] - start[least]) / (whole[n] - start[n]) for n in arguments.processes}
    return {"seconds": whole, "start_seconds": start, "times_as_fast": gained, "same_bytes": True}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="88m-llama")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens-per-batch", type=int, default=1024)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="writes the result, with date and command")
    arguments = parser.parse_args()
    arguments.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = json.loads(json.dumps(measure(arguments)))
    finish(result, arguments, CONTEXT, "benchmarks.sharding", sys.argv[1:])


if __name__ == "__main__":
    main()
