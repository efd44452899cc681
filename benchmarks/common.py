"""What the benchmarks of models share: shapes, text, clocks, memory peaks, and the format of their output."""

import argparse
import contextlib
import gc
import json
import os
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from tqdm import tqdm

from caneft import demo
from caneft.config import Jsonl, Tsv
from caneft.corpora import cleaning, readers
from caneft.errors import InputError
from caneft.models.loading import DTYPES, load_model, load_tokenizer, prepared
from caneft.prompts import Example, Prompts
from caneft.storage import records
from caneft.storage.files import write_json
from caneft.tuning.pretraining import build_tokenizer

T = TypeVar("T")

ROOT = Path(__file__).parents[1]


def _shape(
    model_type: str, hidden: int, layers: int, neurons: int, heads: int, vocabulary: int, **more
) -> dict[str, Any]:
    """Configuration for transformers; keys that are not given keep the architecture's default."""
    return {
        "model_type": model_type,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": neurons,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": vocabulary,
        "tie_word_embeddings": False,
        **more,
    }


GEMMA_2 = {
    "head_dim": 256,
    "query_pre_attn_scalar": 256,
    "sliding_window": 4096,
    "attn_logit_softcapping": 50.0,
    "final_logit_softcapping": 30.0,
    "tie_word_embeddings": True,
}
SHAPES = {
    "tiny": _shape("llama", 32, 2, 48, 2, 400),  # for the tests
    "88m-llama": _shape("llama", 768, 8, 2048, 12, 20480),
    "qwen2.5-7b": _shape("qwen2", 3584, 28, 18944, 28, 152064, num_key_value_heads=4),
    "llama-2-7b": _shape("llama", 4096, 32, 11008, 32, 32000),
    "gemma-2-9b": _shape("gemma2", 3584, 42, 14336, 16, 256000, num_key_value_heads=8, **GEMMA_2),
}

MODEL_ONLY = "model_only"  # in memory tables, beside the subjects: the process or device with only the weights
DEMO_DOMAINS = ("it", "law", "medical", "subtitles")
INSTRUCTION = "Translate the following text."
SEED = 0


# Text


def read_pairs(corpus: Sequence[str] | None, fields: Sequence[str], needed: int) -> list[list[tuple[str, str]]]:
    """Cleaned pairs, in file order, of each corpus file; without files, `needed` of each built-in domain."""
    if not corpus:
        return [demo.pairs(domain, "train", needed) for domain in DEMO_DOMAINS]
    return [_read_file(path, fields) for path in corpus]


def _read_file(path: str, fields: Sequence[str]) -> list[tuple[str, str]]:
    if path.endswith(".jsonl"):
        source = Jsonl(format="jsonl", path=path, source=fields[0], target=fields[1])
    elif path.endswith(".tsv"):
        source = Tsv(format="tsv", path=path)
    else:
        raise InputError(f"{path}: --corpus reads .jsonl (one object a line, see --fields) and .tsv (two columns)")
    pairs, _ = cleaning.clean(readers.read(source, "train", Path))
    return [(pair.source, pair.target) for pair in pairs]


def draw_examples(
    files: Sequence[Sequence[tuple[str, str]]], tokenizer, samples: int, tokens: int, max_tokens: int
) -> list[Example]:
    """Draws `samples` examples from the pairs of all files, after joining neighbours to about `tokens` tokens (0: not).

    max_tokens: longer samples are left out.
    """
    prompts = Prompts(tokenizer, lambda domain: INSTRUCTION)
    pool = [pair for pairs in files for pair in joined(pairs, prompts, tokens)]
    random.Random(SEED).shuffle(pool)
    found: list[Example] = []
    for source, target in pool:
        if len(found) == samples:
            break
        example = prompts.encode(source, target)
        if len(example) <= max_tokens:
            found.append(example)
    if len(found) < samples:
        raise InputError(f"the text gives {len(found)} of {samples} samples: ask for fewer, or give more")
    return found


def joined(pairs: Sequence[tuple[str, str]], prompts: Prompts, tokens: int) -> Iterator[tuple[str, str]]:
    """Joins consecutive pairs to samples of about `tokens` tokens, prompt included; 0 leaves them as they are.

    Pairs left over at the end make no sample.
    """
    if not tokens:
        yield from pairs
        return
    ids = prompts.tokenizer([f"{source} {target}" for source, target in pairs], add_special_tokens=False).input_ids
    around = len(prompts.encode("", ""))
    group, length = [], around
    for pair, own in zip(pairs, map(len, ids), strict=True):
        if group and length + own / 2 > tokens:  # without this pair it is nearer to the target
            yield tuple(map(" ".join, zip(*group, strict=True)))
            group, length = [], around
        group.append(pair)
        length += own


# Models


@dataclass(frozen=True)
class Base:
    """The model that is measured: random weights of a shape, or the weights and tokenizer of a folder."""

    name: str
    folder: str | None = None

    @property
    def option(self) -> list[str]:
        """Command-line option that selects this model."""
        return ["--model", self.folder] if self.folder else ["--shape", self.name]

    @cached_property
    def shape(self) -> dict[str, Any]:
        """Configuration for transformers; for a multimodal model, the configuration of its text part."""
        from transformers import AutoConfig

        if self.folder is None:
            return SHAPES[self.name]
        return AutoConfig.from_pretrained(self.folder).get_text_config().to_dict()

    def tokenizer(self, files: Sequence[Sequence[tuple[str, str]]]):
        """The folder's tokenizer; for a shape, one trained on the given text, with at most the shape's vocabulary.

        A token costs the same whatever it means, and unused rows of a large embedding do not matter.
        """
        if self.folder is None:
            sides = [side for pairs in files for pair in pairs for side in pair]
            return build_tokenizer(sides, self.shape["vocab_size"])
        return load_tokenizer(self._manifest)

    def model(self, device: torch.device, dtype: torch.dtype) -> nn.Module:
        """A causal LM in evaluation mode, frozen."""
        if self.folder is None:
            return build_model(self.shape, device, dtype)
        names = {value: name for name, value in DTYPES.items()}
        model = load_model(self._manifest, names[dtype], device)
        for weight in model.parameters():  # else they are pages of the file, which count only when first read
            weight.data = weight.data.clone()
        return model

    @property
    def _manifest(self) -> dict[str, Any]:
        return {"id": self.name, "folder": self.folder}


def build_model(shape: dict[str, Any], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A frozen causal LM with random weights, made on the device in its dtype, so that the host never holds it.

    The weights have the architecture's standard deviation of 0.02, so activations stay finite in bfloat16.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    options = dict(shape)
    config = AutoConfig.for_model(options.pop("model_type"), **options)
    torch.manual_seed(SEED)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return prepared(model)


# Time and memory of the device


@dataclass(frozen=True)
class Spent:
    """One run of one subject, in seconds. memory: peak of the device's allocations in MB, None on the CPU."""

    wall: float
    cpu: float
    memory: float | None


def measured(run: Callable[[], None], device: torch.device) -> Spent:
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Spent(wall, cpu, torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None)


def fitting(run: Callable[[], T], device: torch.device) -> T | None:
    """Returns what `run` returns; None if the device has too little memory for it."""
    try:
        return run()
    except torch.OutOfMemoryError:
        pass
    release(device)  # not in the except block: there, the exception still holds the tensors
    return None


def release(device: torch.device) -> None:
    """Frees the memory of a deleted model or a failed pass."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


# Memory of processes


def peak_of_process() -> float:
    """Largest resident set of this process so far, in MB."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):  # ru_maxrss is only second choice: on Linux a new process starts with its parent's
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Makes `peak_of_process` count from here on, where the system can: on Linux."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def processes_memory(module: str, argv: Sequence[str], names: Sequence[str]) -> dict[str, float | None]:
    """Peak in MB of a fresh process `python -m module argv --only NAME` for each name; None if it was killed."""
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    found: dict[str, float | None] = {}
    for name in tqdm(names, unit="process", desc="memory"):
        command = [sys.executable, "-m", module, *argv, "--only", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": search})
        if done.returncode > 0:
            raise InputError(f"the process that measures the memory of {name} failed: see above, or use --no-memory")
        found[name] = json.loads(done.stdout.splitlines()[-1])["peak_mb"] if done.returncode == 0 else None
    return found


# Reports


def profiled(run: Callable[[], None], device: torch.device, path: Path, heading: str, memory: bool = False) -> None:
    """Appends the 25 slowest operations of a run to `path` and prints the top 10. memory: also records allocations."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=activities, profile_memory=memory) as profiler:
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
    averages = profiler.key_averages()
    by = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{heading}\n{averages.table(sort_by=by, row_limit=25, max_name_column_width=80)}\n")
    print(averages.table(sort_by=by, row_limit=10, max_name_column_width=50))


def quotient(ours: float | None, other: float | None) -> float | None:
    """The quotient; None if a number is missing."""
    return ours / other if ours is not None and other else None


def text(value: float | None, digits: str) -> str:
    """A number for a table; a dash for None."""
    return "–" if value is None else format(value, digits)


def rounded(value: Any) -> Any:
    """Rounds floats in a nested result to five significant digits."""
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


# Command line


def add_arguments(parser: argparse.ArgumentParser, subjects: Sequence[str], required: bool = False) -> None:
    """Adds the options that all programs share; `settle` completes them. required: whether a model must be named."""
    which = parser.add_mutually_exclusive_group(required=required)
    default = "" if required else "; default: 88m-llama on the CPU, qwen2.5-7b on CUDA"
    which.add_argument("--shape", nargs="+", choices=SHAPES, help=f"random weights of this shape{default}")
    which.add_argument("--model", nargs="+", metavar="FOLDER", help="weights and tokenizer in the form of the hub")
    add = parser.add_argument
    add("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    add("--dtype", choices=DTYPES, help="default: float32 on the CPU, bfloat16 on CUDA")
    add("--corpus", nargs="+", metavar="FILE", help=".jsonl or .tsv files; default: the built-in corpus")
    add("--fields", nargs=2, default=("source", "target"), help="of the JSON objects; dots descend: translation.de")
    add("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    add("--no-memory", action="store_true", help="on the CPU: do not start a process per subject for its peak")
    add("--profile", type=Path, metavar="FILE", help="writes what ours spends its time on")
    add("--out", type=Path, metavar="FILE.json", help="writes the result, with date, command and versions")
    add("--only", choices=(MODEL_ONLY, *subjects), help=argparse.SUPPRESS)


def settle(arguments: argparse.Namespace) -> bool:
    """Fills in the shared defaults that depend on the device; returns whether it is CUDA."""
    cuda = arguments.device == "cuda"
    arguments.device = torch.device(arguments.device)
    shapes = arguments.shape or ["qwen2.5-7b" if cuda else "88m-llama"]
    folders = [Path(folder) for folder in arguments.model or ()]
    for folder in folders:
        if not (folder / "config.json").is_file():
            raise InputError(f"--model: {folder} is not a folder with a model: it has no config.json")
    arguments.bases = [Base(f.resolve().name, str(f)) for f in folders] or [Base(shape) for shape in shapes]
    arguments.dtype = arguments.dtype or ("bfloat16" if cuda else "float32")
    return cuda


def finish(
    result: dict[str, Any], arguments: argparse.Namespace, context: Sequence[str], module: str, argv: Sequence[str]
) -> None:
    """Prints the result as the last line, with the device and the arguments named in `context`; writes --out."""
    result = result | {
        "device": torch.cuda.get_device_name() if arguments.device.type == "cuda" else "cpu",
        **{name: getattr(arguments, name) for name in context},
    }
    if arguments.out:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", module, *argv]),
            "code": records.code(),
            "packages": records.packages(),
        }
        write_json(arguments.out, result | about)
    print(json.dumps(result))
