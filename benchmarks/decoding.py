"""Compares both engines of `decoding.engine` on one model, and transformers one sentence at a time: tokens and speed.

    python -m benchmarks.decoding --model FOLDER --python .venv-vllm/bin/python --corpus FILE.jsonl --dtype float32

FOLDER holds weights and tokenizer in the hub's format, as `resolve_model` leaves them. Each subject runs in its own
process, one after the other. All get the same prompts as token ids. Their time is that of generating, without loading:
on a CPU the processor time of all threads, because other programs may run there too; `wall` holds the time by the
clock.

    transformers    batches of similar length, by the Python that runs this
    batch1          the first of these sentences, one at a time; the model's head gets a single row
    vllm            by the Python of an environment with vLLM (`make .venv-vllm/.ready`)

`vllm_vs_transformers` and `transformers_vs_batch1` are ratios of sentences per second; more is better. `identical` is
the share of hypotheses for which both engines give the same tokens; `bleu_difference` is vLLM's corpus BLEU minus
transformers'. For each hypothesis that differs, `gaps` says by how many nats transformers' first different token is
likelier than vLLM's, according to transformers in the same dtype: a tie if it is about as small as rounding. Everything
is repeated for each dtype.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.common import DTYPES, ROOT, SEED, finish, measured, quotient, read_pairs, rounded
from caneft import config
from caneft.config.prompts import PromptSettings
from caneft.errors import InputError
from caneft.models.loading import load_model, load_tokenizer
from caneft.plan.settings import TranslationSettings
from caneft.prompts import Prompts
from caneft.runtime.cli import step
from caneft.runtime.devices import prepare
from caneft.storage.files import write_json
from caneft.translation import decoding, vllm_engine

MODULE = "benchmarks.decoding"
SUBJECTS = ("transformers", "batch1", "vllm")
SOURCES = "sources.json"
CONTEXT = ("threads", "batch_size", "sentences", "single")
PROMPT = PromptSettings(instruction=config.Prompt().instruction, source_language="German", target_language="English")


def parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, metavar="FOLDER", help="weights and tokenizer in the form of the hub")
    add("--python", type=Path, required=True, help="of an environment with vLLM")
    add("--dtype", nargs="+", choices=DTYPES, default=["float32"])
    add("--corpus", nargs="+", metavar="FILE", help=".jsonl or .tsv files; default: the built-in corpus")
    add("--fields", nargs=2, default=("source", "target"), help="of the JSON objects; dots descend: translation.de")
    add("--sentences", type=int, default=500, help="drawn from all files")
    add("--single", type=int, default=40, help="how many of these batch1 gets")
    add("--batch-size", type=int, default=config.Decoding().batch_size)
    add("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    add("--out", type=Path, metavar="FILE.json", help="writes the result, with date, command and versions")
    add("--only", choices=SUBJECTS, help=argparse.SUPPRESS)
    add("--place", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def manifest_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"id": arguments.model.name, "folder": str(arguments.model), "trust_remote_code": False}


def drawn(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Shuffled pairs from all files."""
    pairs = [pair for file in read_pairs(arguments.corpus, arguments.fields, arguments.sentences) for pair in file]
    random.Random(SEED).shuffle(pairs)
    if len(pairs) < arguments.sentences:
        raise InputError(f"the text gives {len(pairs)} of {arguments.sentences} sentences: ask for fewer, or give more")
    return pairs[: arguments.sentences]


def asked(arguments: argparse.Namespace, sources: list[str]) -> tuple[Prompts, decoding.Task]:
    """Prompts and length limits for the sentences."""
    prompts = Prompts.of(load_tokenizer(manifest_of(arguments)), PROMPT)
    return prompts, decoding.task(prompts, sources, config.Decoding(), sys.maxsize)


# One subject, in a process of its own


def answer(arguments: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """What one subject generates, and how long it takes."""
    device = prepare(arguments.threads)
    prompts, task = asked(arguments, json.loads((arguments.place / SOURCES).read_text(encoding="utf-8")))
    run = {"vllm": by_vllm, "transformers": by_transformers, "batch1": one_by_one}[arguments.only]
    return run(arguments, dtype, device, prompts, task)


def by_transformers(arguments, dtype, device, prompts, task, size: int | None = None) -> dict[str, Any]:
    settings = config.Decoding(batch_size=size or arguments.batch_size)
    model = load_model(manifest_of(arguments), dtype, device)
    decoding.generate(model, prompts, decoding.Task(task.prompts[:2], [2, 2]), settings)  # warm-up
    spent, ids = timed(lambda: decoding.generate(model, prompts, task, settings), device)
    return spent | {"ids": tidied(prompts, task, ids)}


def one_by_one(arguments, dtype, device, prompts, task) -> dict[str, Any]:
    few = decoding.Task(task.prompts[: arguments.single], task.limits[: arguments.single])
    return by_transformers(arguments, dtype, device, prompts, few, size=1)


def by_vllm(arguments, dtype, device, prompts, task) -> dict[str, Any]:
    decode = config.Decoding(batch_size=arguments.batch_size)
    settings = TranslationSettings(decoding=decode, prompt=PROMPT, dtype=dtype)
    serves, place = vllm_engine.Served(arguments.model), vllm_engine.Place(device, threads=arguments.threads)
    model = vllm_engine.start(serves, manifest_of(arguments), settings, place, prompts, vllm_engine.longest(task))
    vllm_engine.generate(model, serves, prompts, decoding.Task(task.prompts[:2], [2, 2]))
    spent, ids = timed(lambda: vllm_engine.generate(model, serves, prompts, task), device)
    return spent | {"ids": tidied(prompts, task, ids), "version": vllm_engine.installed()[1]}


def timed(run: Callable[[], list], device: torch.device) -> tuple[dict[str, float], list]:
    """Runs it and returns its seconds, by the clock and of the processor, and its result."""
    found: list = []
    spent = measured(lambda: found.extend(run()), device)
    return {"wall": spent.wall, "cpu": spent.cpu}, found


def tidied(prompts: Prompts, task: decoding.Task, ids: list[list[int]]) -> list[list[int]]:
    """Cuts each hypothesis at its limit and after its first stop token."""
    found = []
    for tokens, limit in zip(ids, task.limits, strict=True):
        ends = [place for place, token in enumerate(tokens[:limit]) if token in prompts.form.stops]
        found.append(tokens[: ends[0] + 1 if ends else limit])
    return found


# All of them


def compared(arguments: argparse.Namespace, argv: list[str], dtype: str, pairs: list) -> dict[str, Any]:
    """Speeds of all subjects, and how their hypotheses differ."""
    sources, references = map(list, zip(*pairs, strict=True))
    with TemporaryDirectory() as folder:
        write_json(Path(folder, SOURCES), sources)
        answers = {name: _asked_of(arguments, argv, name, dtype, Path(folder)) for name in SUBJECTS}
    count = {name: arguments.single if name == "batch1" else arguments.sentences for name in SUBJECTS}
    speed, by_clock = (
        {name: count[name] / answers[name][kind] for name in SUBJECTS}
        for kind in ("wall" if torch.cuda.is_available() else "cpu", "wall")
    )
    prompts, task = asked(arguments, sources)
    ours, theirs = answers["transformers"]["ids"], answers["vllm"]["ids"]
    different = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    single = answers["batch1"]["ids"]
    found = {
        "dtype": dtype,
        "vllm_vs_transformers": quotient(speed["vllm"], speed["transformers"]),
        "transformers_vs_batch1": quotient(speed["transformers"], speed["batch1"]),
        "sentences_per_second": speed,
        "wall": by_clock,
        "identical": 1 - len(different) / len(ours),
        "batch1_identical": sum(a == b for a, b in zip(single, ours, strict=False)) / len(single),
        **bleu(prompts, references, ours, theirs),
        "gaps": gaps(arguments, dtype, task, ours, theirs, different),
        "tokens": {name: sum(map(len, answers[name]["ids"])) for name in SUBJECTS},
        "vllm": answers["vllm"]["version"],
    }
    found |= {"largest_gap": max(found["gaps"], default=0.0), "median_gap": statistics.median(found["gaps"] or [0.0])}
    return rounded(found)


def _asked_of(arguments: argparse.Namespace, argv: list[str], name: str, dtype: str, place: Path) -> dict[str, Any]:
    python = str(arguments.python.absolute()) if name == "vllm" else sys.executable
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    more = ["--only", name, "--dtype", dtype, "--place", str(place)]
    done = subprocess.run([python, "-m", MODULE, *argv, *more], env=os.environ | {"PYTHONPATH": search})
    if done.returncode != 0:
        raise InputError(f"{name} failed: see above")
    found = json.loads((place / name).read_text(encoding="utf-8"))
    print(f"{dtype}, {name}: {found['cpu']:.1f} s of the processor, {found['wall']:.1f} s by the clock")
    return found


def bleu(prompts: Prompts, references: list[str], ours: list[list[int]], theirs: list[list[int]]) -> dict[str, float]:
    """BLEU of our hypotheses, and theirs minus ours."""
    from sacrebleu.metrics import BLEU

    scores = [BLEU().corpus_score([prompts.decode(ids) for ids in side], [references]).score for side in (ours, theirs)]
    return {"bleu": scores[0], "bleu_difference": scores[1] - scores[0]}


@torch.inference_mode()
def gaps(arguments, dtype, task: decoding.Task, ours, theirs, different: list[int]) -> list[float]:
    """For each hypothesis that differs, by how many nats our first different token is likelier than theirs."""
    model = load_model(manifest_of(arguments), dtype, torch.device("cpu")) if different else None
    found = []
    for i in different:
        place = next(n for n, (a, b) in enumerate(zip(ours[i], theirs[i], strict=False)) if a != b)
        ids = torch.tensor([[*task.prompts[i].prompt, *ours[i][:place]]])
        logits = model(input_ids=ids).logits[0, -1].float()
        found.append(float(logits[ours[i][place]] - logits[theirs[i][place]]))
    return sorted(found)


@step
def main() -> None:
    argv = sys.argv[1:]
    arguments = parsed(argv)
    if arguments.only:
        write_json(arguments.place / arguments.only, answer(arguments, arguments.dtype[0]))
        return
    pairs = drawn(arguments)
    by_dtype = [compared(arguments, argv, dtype, pairs) for dtype in arguments.dtype]
    result = {"model": arguments.model.resolve().name, "dtypes": by_dtype}
    arguments.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finish(result, arguments, CONTEXT, MODULE, argv)


if __name__ == "__main__":
    main()
