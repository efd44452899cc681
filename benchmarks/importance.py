"""Compares importance with a naive reference and with its floor, in one run: throughput, peak memory, equal numbers.

    python -m benchmarks.importance                                                  # an 88 M llama on the CPU
    python -m benchmarks.importance --shape qwen2.5-7b llama-2-7b gemma-2-9b --out benchmarks/results/gpu.json   # a GPU

The models have random weights of real shapes; the last line printed is one JSON object. The subjects:

    naive             one sample at a time, a gradient for every weight, hooks on every Linear of the FFNs
    ours              `caneft.importance.hooks` on batches of similar length, down to float16 scores on the host
    floor             the same batches and loss, nothing read: weights frozen, graph from the first layer's neurons
    floor_embeddings  the same, no hook in any FFN: the graph begins at the embeddings

`importance_vs_naive` is ours' throughput over naive's, more is better; `importance_vs_floor` is ours' time over the
floor's, 1.0 is ideal. Times are medians over rounds in which the subjects take turns, so that other load on the machine
affects all of them alike. Throughput counts tokens without padding.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.common import (
    MODEL_ONLY,
    Base,
    Spent,
    add_arguments,
    draw_examples,
    finish,
    fitting,
    forget_peak,
    measured,
    peak_of_process,
    processes_memory,
    profiled,
    quotient,
    read_pairs,
    release,
    rounded,
    settle,
    text,
)
from benchmarks.common import joined as joined
from caneft.errors import InputError
from caneft.importance.hooks import Taps, importance, stored
from caneft.models.loading import DTYPES
from caneft.models.loss import response_losses
from caneft.prompts import Batch, Example, batches, collate
from caneft.runtime.cli import step

MODULE = "benchmarks.importance"
SUBJECTS = ("naive", "ours", "floor", "floor_embeddings")  # the order within a round
RATIOS = ("importance_vs_naive", "importance_vs_floor", "importance_vs_floor_embeddings")
CONTEXT = ("dtype", "samples", "naive_samples", "tokens_per_batch", "max_tokens", "rounds", "threads")  # arguments
TOLERANCE = 1e-5  # of the layer's largest score, in float32
SCALE_EXPONENT = 20  # of the stored scores, which nobody reads here


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """`count` examples, evenly spaced over the sorted lengths: the same distribution in fewer samples."""
    count = min(count, len(examples))
    ordered = sorted(examples, key=len)
    return [ordered[int((k + 0.5) * len(ordered) / count)] for k in range(count)]


# Subjects


class Naive:
    """What a straightforward author would write: one sample at a time, every weight's gradient, hooks on the whole FFN.

    A context manager that attaches to a transformers model and returns it frozen and without gradients. It shares no
    code with the package.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self.activations: dict[tuple[int, str], torch.Tensor] = {}
        self.gradients: dict[tuple[int, str], torch.Tensor] = {}
        self._handles: list = []

    def __enter__(self) -> "Naive":
        self.model.requires_grad_(True)
        for index, layer in enumerate(self.model.model.layers):
            for name, module in layer.mlp.named_children():
                if isinstance(module, nn.Linear):
                    self._attach((index, name), module)
        return self

    def __exit__(self, *_) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.activations.clear()
        self.gradients.clear()
        self.model.zero_grad(set_to_none=True)
        self.model.requires_grad_(False)

    def _attach(self, key: tuple[int, str], module: nn.Linear) -> None:
        before = key[1] == "down_proj"  # its inputs are the neurons; of gate and up, the outputs are

        def forward(_, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            self.activations[key] = (inputs[0] if before else output).detach()

        def backward(_, to_inputs: tuple[torch.Tensor, ...], to_outputs: tuple[torch.Tensor, ...]) -> None:
            self.gradients[key] = (to_inputs if before else to_outputs)[0].detach()

        self._handles.append(module.register_forward_hook(forward))
        self._handles.append(module.register_full_backward_hook(backward))

    def scores(self, examples: Sequence[Example]) -> tuple[list[list[torch.Tensor]], list[float]]:
        """Importance, as a tensor (neurons,) on the CPU per layer and sample, and each sample's loss in nats."""
        device = next(self.model.parameters()).device
        found: list[list[torch.Tensor]] = [[] for _ in self.model.model.layers]
        losses = []
        for example in examples:
            ids = torch.tensor([example.prompt + example.response], device=device)
            labels = ids.clone()
            labels[0, : len(example.prompt)] = -100
            self.model.zero_grad()
            loss = self.model(input_ids=ids, labels=labels).loss * len(example.response)  # their mean: their sum
            loss.backward()
            losses.append(loss.item())
            response = slice(len(example.prompt) - 1, len(example) - 1)
            for layer, scores in enumerate(found):
                a, gradient = (kept[layer, "down_proj"][0, response] for kept in (self.activations, self.gradients))
                scores.append((a * gradient).abs().mean(0).cpu())
        return found, losses


def run_naive(model: nn.Module, examples: Sequence[Example]) -> None:
    with Naive(model) as naive:
        naive.scores(examples)


def run_ours(model: nn.Module, collated: Iterator[Batch]) -> None:
    """Scores samples as a dump does, but writes nothing."""
    with Taps(model) as taps:
        for _ in stored(importance(model, collated, taps), SCALE_EXPONENT):
            pass


def run_floor(model: nn.Module, collated: Iterator[Batch]) -> None:
    """Only the hook that makes the graph begin at the first layer's neurons."""

    def begin_here(_, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (inputs[0].detach().requires_grad_(),)

    _forward_and_backward(model, collated, model.model.layers[0].mlp.down_proj.register_forward_pre_hook(begin_here))


def run_floor_embeddings(model: nn.Module, collated: Iterator[Batch]) -> None:
    def begin_here(_, __, output: torch.Tensor) -> None:
        output.requires_grad_()

    _forward_and_backward(model, collated, model.get_input_embeddings().register_forward_hook(begin_here))


def _forward_and_backward(model: nn.Module, collated: Iterator[Batch], handle) -> None:
    device = next(model.parameters()).device
    try:
        for batch in collated:
            response_losses(model, batch.to(device)).sum().backward()
    finally:
        handle.remove()


ENGINES = {"ours": run_ours, "floor": run_floor, "floor_embeddings": run_floor_embeddings}


@dataclass(frozen=True)
class Subject:
    """Something to time. run: one round. warm: a part of it, run first so that no one-time cost is timed.

    tokens: in one round, without padding.
    """

    tokens: int
    run: Callable[[], None]
    warm: Callable[[], None]


class Workload:
    """One model, its samples, and the subjects on them.

    batches: indices of the samples in each. widest: the two batches with most tokens, padding included, which decide
    the memory peak.
    """

    def __init__(self, model: nn.Module, examples: list[Example], pad: int, arguments: argparse.Namespace):
        self.model, self.examples, self.pad = model, examples, pad
        self.naive_examples = spread(examples, arguments.naive_samples)
        lengths = [len(example) for example in examples]
        self.batches = batches(lengths, arguments.tokens_per_batch)
        self.widest = sorted(self.batches, key=lambda chosen: len(chosen) * max(lengths[i] for i in chosen))[-2:]

    def run(self, engine: Callable[[nn.Module, Iterator[Batch]], None], plan: Sequence[Sequence[int]]) -> None:
        """Runs an engine on the batches of a plan, each collated only when the engine asks for it."""
        engine(self.model, (collate([self.examples[i] for i in chosen], self.pad) for chosen in plan))

    def subjects(self) -> dict[str, Subject]:
        """The subjects by name, in the order of SUBJECTS."""
        few, tokens = self.naive_examples, sum(map(len, self.examples))
        naive = partial(run_naive, self.model)
        found = {"naive": Subject(sum(map(len, few)), partial(naive, few), partial(naive, few[-2:]))}
        for name, engine in ENGINES.items():
            found[name] = Subject(
                tokens, partial(self.run, engine, self.batches), partial(self.run, engine, self.widest)
            )
        return found


# Exactness


def exactness(model: nn.Module, examples: Sequence[Example], pad: int) -> dict[str, float]:
    """Largest differences between ours and naive on a few samples, which ours gets as one padded batch.

    importance: as a share of the layer's largest score. loss: as a share of the sample's loss. Raises InputError if a
    score is not finite and, in float32, if a difference exceeds TOLERANCE.
    """
    with Naive(model) as naive:
        by_layer, losses = naive.scores(examples)
    expected = torch.stack([torch.stack(scores) for scores in by_layer]).float()
    with Taps(model) as taps:
        (found,) = importance(model, [collate(examples, pad)], taps)
    scores, loss = (torch.as_tensor(values).float().cpu() for values in (found.importance, found.loss))
    if not (scores.isfinite().all() and expected.isfinite().all()):
        raise InputError("exactness: scores are not finite in this dtype")
    shares = (scores - expected).abs().amax((1, 2)) / expected.amax((1, 2))
    expected_loss = torch.tensor(losses)
    off = (loss - expected_loss).abs() / expected_loss
    differences = {"importance": float(shares.max()), "loss": float(off.max())}
    if model.dtype == torch.float32 and not max(differences.values()) <= TOLERANCE:
        raise InputError(f"exactness: ours differs from naive by {differences}, more than {TOLERANCE}")
    return differences


# Time


def rounds(subjects: dict[str, Subject], count: int, device: torch.device) -> dict[str, list[Spent]]:
    """Runs every subject in turn, this many rounds after a warm-up. If naive runs out of memory, it has no times."""
    spent: dict[str, list[Spent]] = {name: [] for name in subjects}
    left = dict(subjects)
    with tqdm(total=(count + 1) * len(subjects), unit="turn", desc="timing") as bar:
        for turn in range(count + 1):
            for name, subject in list(left.items()):
                bar.set_postfix_str(f"{name}, {f'round {turn}' if turn else 'warm-up'}")
                run = subject.run if turn else subject.warm
                if name == "naive":
                    took = fitting(lambda run=run: measured(run, device), device)
                else:
                    took = measured(run, device)
                if took is None:
                    del left[name]
                    spent[name].clear()
                elif turn:
                    spent[name].append(took)
                bar.update()
    return spent


def seconds_per_token(
    subjects: dict[str, Subject], spent: dict[str, list[Spent]], clock: str
) -> dict[str, float | None]:
    """Median over the rounds; None if there are none. clock: "wall" or "cpu"."""
    return {
        name: statistics.median(getattr(took, clock) for took in spent[name]) / subject.tokens if spent[name] else None
        for name, subject in subjects.items()
    }


def ratios(seconds: dict[str, float | None]) -> dict[str, float | None]:
    """Computes RATIOS from seconds per token."""
    ours = seconds["ours"]
    return {
        "importance_vs_naive": quotient(seconds["naive"], ours),
        "importance_vs_floor": quotient(ours, seconds["floor"]),
        "importance_vs_floor_embeddings": quotient(ours, seconds.get("floor_embeddings")),
    }


# Reports


def print_table(result: dict[str, Any]) -> None:
    """Prints the medians over the rounds, one line per subject, and the ratios."""
    print(f"{'':18}{'tokens/s':>12}{'s a round':>12}{'CPU s':>12}{'peak MB':>12}")
    for name in SUBJECTS:
        times = (result["seconds_per_round"][clock][name] for clock in ("wall", "cpu"))
        wall, cpu = (text(statistics.median(took) if took else None, ".2f") for took in times)
        speed, peak = (text(result[key].get(name), ",.0f") for key in ("tokens_per_second", "peak_mb"))
        print(f"{name:18}{speed:>12}{wall:>12}{cpu:>12}{peak:>12}")
    for name, values in (("wall time", result), ("CPU time", result["cpu_time"])):
        print(f"{name}: " + ", ".join(f"{ratio} {text(values[ratio], '.3f')}" for ratio in RATIOS))


# One model


def prepare(base: Base, files: Sequence, arguments: argparse.Namespace) -> Workload:
    """Tokenizer, samples and model."""
    tokenizer = base.tokenizer(files)
    examples = draw_examples(files, tokenizer, arguments.samples, arguments.tokens_per_sample, arguments.max_tokens)
    model = base.model(arguments.device, DTYPES[arguments.dtype])
    return Workload(model, examples, tokenizer.pad_token_id, arguments)


def peak_of_one(name: str, workload: Workload) -> float:
    """Memory peak of this process, in MB, after running one subject; needs a fresh process."""
    forget_peak()  # the peak of reading the text and loading the model
    if name != MODEL_ONLY:
        workload.subjects()[name].warm()
    return peak_of_process()


def compare(base: Base, files: Sequence, argv: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures one model: counts, equal numbers, time, memory; prints each as it becomes known."""
    device = arguments.device
    separate = device.type == "cpu" and not arguments.no_memory
    # first, before this process itself needs memory
    memory = processes_memory(MODULE, [*argv, *base.option], (MODEL_ONLY, *SUBJECTS)) if separate else {}
    workload = prepare(base, files, arguments)
    if device.type == "cuda":
        memory[MODEL_ONLY] = torch.cuda.memory_allocated() / 2**20
    about = describe(workload)
    print(f"\n{base.name}: " + ", ".join(f"{name} {value}" for name, value in about.items()))
    few = spread(workload.examples, 4)
    differences = fitting(lambda: exactness(workload.model, few, workload.pad), device)
    if differences:
        print("ours and naive differ by at most " + ", ".join(f"{v:.1e} of the {k}" for k, v in differences.items()))
    else:
        print("naive: out of memory, nothing is compared to it")
    result = timed(workload, memory, arguments) | {"differences": differences} | about
    print_table(result)
    if arguments.profile:
        two = partial(workload.run, run_ours, workload.widest)
        profiled(two, device, arguments.profile, f"{base.name}, {arguments.dtype}")
    return rounded(result)


def timed(workload: Workload, memory: dict[str, float | None], arguments: argparse.Namespace) -> dict[str, Any]:
    """Ratios, and the numbers behind them. memory: known peaks, to which the device's are added."""
    subjects = workload.subjects()
    spent = rounds(subjects, arguments.rounds, arguments.device)
    wall, cpu = (seconds_per_token(subjects, spent, clock) for clock in ("wall", "cpu"))
    if arguments.device.type == "cuda":
        memory = memory | {name: max((took.memory for took in spent[name]), default=None) for name in subjects}
    by_clock = {
        clock: {name: [getattr(took, clock) for took in spent[name]] for name in subjects} for clock in ("wall", "cpu")
    }
    return {
        **ratios(wall),
        "cpu_time": ratios(cpu),
        "tokens_per_second": {name: 1 / value if value else None for name, value in wall.items()},
        "seconds_per_round": by_clock,
        "peak_mb": memory,
    }


def describe(workload: Workload) -> dict[str, Any]:
    """Counts of tokens, samples and parameters that the numbers refer to."""
    tokens = sum(map(len, workload.examples))
    return {
        "architecture": workload.model.config.model_type,
        "parameters": sum(parameter.numel() for parameter in workload.model.parameters()),
        "tokens": tokens,
        "tokens_per_sample": round(tokens / len(workload.examples), 1),
        "response_tokens": sum(len(example.response) for example in workload.examples),
        "batches": len(workload.batches),
    }


def combined(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One model's result as it is; for several, the worst ratios, and each result under `shapes`."""
    if len(results) == 1:
        return {"shape": next(iter(results)), **next(iter(results.values()))}
    worst = {}
    for ratio, choose in zip(RATIOS, (min, max, max), strict=True):
        worst[ratio] = choose((r[ratio] for r in results.values() if r[ratio] is not None), default=None)
    return {"shape": list(results), **worst, "shapes": results}


# Command line


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments and fills in the defaults that depend on the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, SUBJECTS)
    add = parser.add_argument
    add("--samples", type=int, help="default: 64 on the CPU, 512 on CUDA")
    add("--naive-samples", type=int, help="of these, for naive; default: a quarter on the CPU, an eighth on CUDA")
    add("--tokens-per-sample", type=int, help="joins pairs up to this; 0: not; default: 140, 0 with --corpus on CUDA")
    add("--tokens-per-batch", type=int, help="with padding; default: 1024 on the CPU, 16384 on CUDA")
    add("--max-tokens", type=int, default=512, help="longer samples are left out; default: %(default)s")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    arguments = parser.parse_args(argv)
    cuda = settle(arguments)
    arguments.samples = arguments.samples or (512 if cuda else 64)
    arguments.naive_samples = arguments.naive_samples or max(1, arguments.samples // (8 if cuda else 4))
    arguments.tokens_per_batch = arguments.tokens_per_batch or (16384 if cuda else 1024)
    if arguments.tokens_per_sample is None:
        arguments.tokens_per_sample = 0 if cuda and arguments.corpus else 140
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    needed = max(500, 4 * arguments.samples)  # a sample of 140 tokens takes about ten pairs
    files = read_pairs(arguments.corpus, arguments.fields, needed)
    if arguments.only:
        workload = prepare(arguments.bases[0], files, arguments)
        print(json.dumps({"peak_mb": round(peak_of_one(arguments.only, workload), 1)}))
        return
    if arguments.profile:
        arguments.profile.unlink(missing_ok=True)
    results = {}
    for base in arguments.bases:
        results[base.name] = compare(base, files, argv, arguments)
        release(arguments.device)
    finish(combined(results), arguments, CONTEXT, MODULE, argv)


if __name__ == "__main__":
    step(main)()
