"""Measures what a step of tuning costs for every way to tune, on the same batches: time, memory, optimizer state, file.

    python -m benchmarks.tuning                                                          # an 88 M llama on the CPU
    python -m benchmarks.tuning --shape qwen2.5-7b --lengths 256 1024 --checkpointing off on --out gpu.json   # a GPU

The models have random weights of real shapes; the last line printed is one JSON object. The subjects:

    slices       `NeuronRows` on some of the neurons, the same number in every layer (AdamW, like all but masked-full)
    lora-r16     PEFT's LoRA on gate, up and down, alpha twice the rank, no dropout; base frozen, adapters in float32
    lora-r32     the same with rank 32
    shira        PEFT's SHiRA on the same modules, with the rank that trains about as many weights as slices do
    full         every weight
    masked-full  as published: every weight's gradient, those of the FFNs times a dense mask of the same neurons, all
                 others times zero; Adam with state for every weight
    floor        forward and backward pass with frozen weights from the embeddings' output on; trains nothing

If the model is not in float32, full and masked-full keep float32 masters of all weights, as slices does of its own. A
step is forward pass, backward pass, optimizer and what a way does afterwards, without clipping. Times are medians; on
the CPU the subjects take turns step by step, on CUDA each has the device to itself. Memory on the CPU is the peak of a
fresh process *above* that of one that only loads the model; on CUDA it is the peak of the device's allocations,
including the model.

`step_vs_lora`, `memory_vs_lora`: slices over lora-r16; `memory_vs_masked`, `optimizer_vs_masked`: slices over
masked-full; `step_vs_floor`: slices over the floor. Less is better. If masked-full does not fit, its need is computed
without any activation, and `memory_vs_masked_is` says so. Before anything is timed, slices and masked-full must lead to
the same weights, and slices must leave every other weight unchanged, bit by bit.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.common import (
    MODEL_ONLY,
    Base,
    Spent,
    add_arguments,
    build_model,
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
from benchmarks.subjects import MB, ByTrainer, Subject
from benchmarks.ways import FRACTIONS, masks, some_neurons, way_of
from caneft.errors import InputError
from caneft.models.loading import DTYPES
from caneft.neurons import NeuronSet
from caneft.prompts import Batch, Example, collate
from caneft.runtime.cli import step

MODULE = "benchmarks.tuning"
SUBJECTS = ("slices", "lora-r16", "lora-r32", "shira", "full", "masked-full", "floor")  # the order of their turns
PROFILED = ("slices", "lora-r16")
RATIOS = ("step_vs_lora", "memory_vs_lora", "memory_vs_masked", "optimizer_vs_masked", "step_vs_floor")
CONTEXT = ("dtype", "fraction", "tokens_per_step", "steps", "warmup", "threads")  # arguments
OF_A_PAIR = 62  # tokens in a pair, about
BATCHES = 4  # different batches, used in turn
PEAK_STEPS = 2  # of a process that measures its peak: in the first step there is no optimizer state yet
EXACT_STEPS = 3
TOLERANCE = 1e-3  # of the norm of all changes, in float32
MEMORY = {"above_model_mb": "peak of the process above the loaded model", "peak_mb": "peak allocated on the device"}


# One case: a model, a length of samples, with or without checkpointing


@dataclass(frozen=True)
class Case:
    """What all subjects have in common. examples: by batch, the widest batch first. batches: on the device."""

    base: Base
    dtype: torch.dtype
    device: torch.device
    fraction: float
    examples: list[list[Example]]
    batches: list[Batch]
    pad: int
    checkpointing: bool

    @property
    def shape(self) -> dict[str, Any]:
        return self.base.shape

    @property
    def neurons(self) -> NeuronSet:
        return some_neurons(self.shape, self.fraction)

    def model(self) -> nn.Module:
        return self.base.model(self.device, self.dtype)

    def subject(self, name: str, model: nn.Module | None = None) -> Subject:
        """The subject of that name. model: one that is already loaded, to be tuned in this way."""
        model = self.model() if model is None else model
        way = way_of(name, model, some_neurons(self.shape, FRACTIONS.get(name, self.fraction)))
        optimizer = torch.optim.Adam if name == "masked-full" else torch.optim.AdamW
        subject = ByTrainer(model, way, optimizer) if name == "trainer" else Subject(model, way, optimizer)
        if self.checkpointing:  # after PEFT, which would otherwise begin the graph at the embeddings for it
            model.activation_checkpointing_enable({"use_reentrant": False})
        return subject


def case_of(base: Base, length: int, checkpointing: str, files: Sequence, arguments: argparse.Namespace) -> Case:
    """Samples of about `length` tokens (0: pairs as they are) for BATCHES steps, in batches."""
    tokenizer = base.tokenizer(files)
    count = per_step(length, arguments)
    longest = length * 5 // 4 if length else arguments.max_tokens
    examples = draw_examples(files, tokenizer, count * BATCHES, length, longest)
    parts = [examples[start : start + count] for start in range(0, len(examples), count)]
    parts.sort(key=lambda part: max(map(len, part)), reverse=True)
    return Case(
        base=base,
        dtype=DTYPES[arguments.dtype],
        device=arguments.device,
        fraction=arguments.fraction,
        examples=parts,
        batches=[collate(part, tokenizer.pad_token_id).to(arguments.device) for part in parts],
        pad=tokenizer.pad_token_id,
        checkpointing=checkpointing == "on",
    )


def per_step(length: int, arguments: argparse.Namespace) -> int:
    """Number of samples that fit into a step, at least one. length: of a sample in tokens, 0 for pairs as they are."""
    return max(1, arguments.tokens_per_step // (length or OF_A_PAIR))


# Exactness


def miniature(shape: dict[str, Any]) -> dict[str, Any]:
    """The same architecture and vocabulary, small enough for the host."""
    small = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 160, "num_attention_heads": 4}
    return {name: value for name, value in (shape | small).items() if name != "layer_types"} | {
        "num_key_value_heads": 2,
        "head_dim": 16,
    }


def exactness(shape: dict[str, Any], batch: Batch, fraction: float) -> float:
    """Difference between slices' and masked-full's weights, as a share of masked-full's change (both as norms).

    Runs three steps of Adam without weight decay on the host, in float32. Raises InputError if the share exceeds
    TOLERANCE, if nothing moved, or if an unselected weight changed. It is a norm over all weights because single ones
    may differ more: where a gradient is nearly zero, Adam makes its rounding errors as large as a step.
    """
    neurons, host = some_neurons(shape, fraction), torch.device("cpu")
    base, slices, masked = (build_model(shape, host, torch.float32) for _ in range(3))
    for name, model in (("slices", slices), ("masked-full", masked)):
        subject = Subject(model, way_of(name, model, neurons), torch.optim.Adam)
        for _ in range(EXACT_STEPS):
            subject.step(batch)
        if name == "slices":
            subject.way.detach()
    selected, differences, changes = masks(base, neurons), [], []
    for (name, before), ours, theirs in zip(
        base.named_parameters(), slices.parameters(), masked.requires_grad_(False).parameters(), strict=True
    ):
        moved = ours != before
        if (moved & ~selected[name] if name in selected else moved).any():
            raise InputError(f"exactness: slices changed weights of {name} that are not selected")
        differences.append((ours - theirs).double().norm())
        changes.append((theirs - before).double().norm())
    difference, change = (float(torch.stack(norms).norm()) for norms in (differences, changes))
    if not difference <= TOLERANCE * change or not change > 0:
        raise InputError(
            f"exactness: slices differ from masked-full by {difference:.1e}, where masked-full changed weights by"
            f" {change:.1e} (norms over all weights)"
        )
    return difference / change


# Time


def timed(
    case: Case, arguments: argparse.Namespace, names: Sequence[str] = SUBJECTS
) -> dict[str, dict[str, Any] | None]:
    """Measures every subject with `turns`: together and in turn on the CPU, one after another on CUDA."""
    groups = [names] if case.device.type == "cpu" else [(name,) for name in names]
    found = {}
    with tqdm(total=(arguments.warmup + arguments.steps) * len(names), unit="step", desc="timing") as bar:
        for group in groups:
            found |= turns(group, case, arguments, bar)
            release(case.device)
    return found


def turns(
    names: Sequence[str], case: Case, arguments: argparse.Namespace, bar: tqdm
) -> dict[str, dict[str, Any] | None]:
    """Times steps of the subjects in turn, and counts; None for one that does not fit into the device's memory."""
    subjects, spent = {}, {name: [] for name in names}
    for name in names:
        bar.set_postfix_str(f"{name}, building")
        subjects[name] = fitting(partial(case.subject, name), case.device)
    for turn in range(-arguments.warmup, arguments.steps):
        batch = case.batches[turn % BATCHES]
        for name in names:
            bar.set_postfix_str(f"{name}, {'warm-up' if turn < 0 else f'step {turn + 1}'}")
            bar.update()
            if subjects[name] is None:
                continue
            took = fitting(partial(measured, partial(subjects[name].step, batch), case.device), case.device)
            if took is None:
                subjects[name] = None
                release(case.device)
            elif turn >= 0:
                spent[name].append(took)
    return {name: counted(subject, spent[name], case) if subject else None for name, subject in subjects.items()}


def counted(subject: Subject, spent: Sequence[Spent], case: Case) -> dict[str, Any]:
    """A subject's row: seconds of each step, tokens/s, the device's peak in MB, and counts in bytes."""
    tokens = [sum(map(len, case.examples[turn % BATCHES])) for turn in range(len(spent))]
    seconds = {clock: [getattr(took, clock) for took in spent] for clock in ("wall", "cpu")}
    median = {clock: statistics.median(values) for clock, values in seconds.items()}
    kept = None if case.checkpointing else sum(subject.kept(case.batches[0]).values()) / MB
    return {
        "step_seconds": median["wall"],
        "step_cpu_seconds": median["cpu"],
        "tokens_per_second": statistics.mean(tokens) / median["wall"],
        "peak_mb": max(took.memory for took in spent) if case.device.type == "cuda" else None,
        "kept_mb": kept,
        "trainable_parameters": subject.trainable,
        "optimizer_bytes": subject.optimizer_bytes(),
        "saved_bytes": subject.saved_bytes(),
        "seconds": seconds,
    }


# Memory


def needed(shape: dict[str, Any], dtype: torch.dtype, masked: bool) -> dict[str, int]:
    """Bytes that training every weight takes before any activation: each part, and their total.

    Gradients count in the weights' dtype, as if at most one at a time were in float32.
    """
    weights = list(build_model(shape, torch.device("meta"), dtype).parameters())
    count = sum(weight.numel() for weight in weights)
    parts = {
        "weights": count * dtype.itemsize,
        "gradients": count * dtype.itemsize,
        "masters": 0 if dtype == torch.float32 else count * 4,
        "optimizer": adam_bytes(count, len(weights)),
        "masks": 3 * shape["hidden_size"] * shape["intermediate_size"] * shape["num_hidden_layers"] if masked else 0,
    }
    return parts | {"total": sum(parts.values())}


def adam_bytes(parameters: int, tensors: int) -> int:
    """Adam's state in float32: two moments for each parameter and a counter for each tensor."""
    return 8 * parameters + 4 * tensors


def peak_of_one(name: str, case: Case) -> float:
    """Memory peak of this process, in MB, after loading the model and running one subject; needs a fresh process."""
    import peft  # noqa: F401 (for all subjects alike: LoRA's memory is not that of its import)

    model = case.model()
    forget_peak()  # the peak of reading the text and loading the model
    if name != MODEL_ONLY:
        subject = case.subject(name, model)
        for _ in range(PEAK_STEPS):
            subject.step(case.batches[0])
    return peak_of_process()


def loaded_mb(case: Case) -> float:
    """MB that the model alone takes on the device."""
    release(case.device)
    before = torch.cuda.memory_allocated()
    model = case.model()
    taken = (torch.cuda.memory_allocated() - before) / MB
    del model
    release(case.device)
    return taken


# Ratios and reports


def ratios(rows: dict[str, dict[str, Any] | None], masked: dict[str, int], memory: str) -> dict[str, Any]:
    """Computes RATIOS from the subjects' rows; None if a number is missing.

    masked: what `needed` returns for masked-full, used if it did not fit. memory: the key of the rows to compare.
    """

    def of(name: str, key: str) -> float | None:
        return rows[name] and rows[name][key]

    fits = rows["masked-full"] is not None
    if not fits:
        all_of_it = masked["total"] - (masked["weights"] if memory == "above_model_mb" else 0)
        rows = rows | {"masked-full": {memory: all_of_it / MB, "optimizer_bytes": masked["optimizer"]}}
    found = {
        "step_vs_lora": quotient(of("slices", "step_seconds"), of("lora-r16", "step_seconds")),
        "memory_vs_lora": quotient(of("slices", memory), of("lora-r16", memory)),
        "memory_vs_masked": quotient(of("slices", memory), of("masked-full", memory)),
        "optimizer_vs_masked": quotient(of("slices", "optimizer_bytes"), of("masked-full", "optimizer_bytes")),
        "step_vs_floor": quotient(of("slices", "step_seconds"), of("floor", "step_seconds")),
    }
    return found | {"memory_vs_masked_is": "measured" if fits else "computed"}


def print_table(rows: dict[str, dict[str, Any] | None], needs: dict[str, dict[str, int]]) -> None:
    """Prints one line per subject: medians, memory in MB and counts."""
    heads = ("step s", "tokens/s", "peak MB", "above model", "kept MB", "trainable", "optimizer MB", "saved MB")
    print(f"{'':12}" + "".join(f"{head:>14}" for head in heads))
    for name, row in rows.items():
        if row is None:
            needs_mb = f", needs {needs[name]['total'] / MB:,.0f} MB without activations" if name in needs else ""
            print(f"{name:12}  out of memory{needs_mb}")
            continue
        optimizer, saved = (row[key] / MB for key in ("optimizer_bytes", "saved_bytes"))
        cells = (
            text(row["step_seconds"], ".3f"),
            *(text(row[key], ",.0f") for key in ("tokens_per_second", "peak_mb", "above_model_mb", "kept_mb")),
            *(text(row["trainable_parameters"], ","), text(optimizer, ",.1f"), text(saved, ",.1f")),
        )
        print(f"{name:12}" + "".join(f"{cell:>14}" for cell in cells))


def profile(case: Case, path: Path, heading: str, names: Sequence[str] = PROFILED) -> None:
    """Appends to `path`, for each subject, what two steps spend their time on and what a forward pass keeps."""
    for name in names:
        subject = case.subject(name)
        subject.step(case.batches[0])

        def two_steps(subject: Subject = subject) -> None:
            for batch in case.batches[:2]:
                subject.step(batch)

        print(f"\n{name}")
        profiled(two_steps, case.device, path, f"{heading}, {name}: two steps", memory=True)
        with open(path, "a", encoding="utf-8") as file:
            if not case.checkpointing:
                file.write("kept for the backward pass, MB of a shape over all layers\n")
                for shape, size in subject.kept(case.batches[0]).most_common(15):
                    file.write(f"{size / MB:12,.1f}  {shape}\n")
            if case.device.type == "cuda":
                file.write(torch.cuda.memory_summary())
            file.write("\n")
        del subject, two_steps
        release(case.device)


# One case


def compare(
    base: Base, length: int, checkpointing: str, files: Sequence, argv: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measures one case: equal weights, memory, time; prints each as it becomes known."""
    case = case_of(base, length, checkpointing, files, arguments)
    which = {"shape": base.name, "length": length, "checkpointing": checkpointing}
    heading = f"{base.name}, {arguments.dtype}, samples of {length} tokens, checkpointing {checkpointing}"
    print(f"\n{heading}")
    exact = exactness_of(case)
    print("slices and masked-full differ by {difference:.1e} of the change, in {in_model}".format(**exact))
    chosen = [*base.option, "--lengths", str(length), "--checkpointing", checkpointing]
    memory = memory_of(case, MODULE, SUBJECTS, [*argv, *chosen], arguments)
    rows = with_memory(timed(case, arguments), memory)
    needs = {name: needed(case.shape, case.dtype, name == "masked-full") for name in ("full", "masked-full")}
    print_table(rows, needs)
    found = summary(rows, needs["masked-full"], case.device)
    print(", ".join(f"{ratio} {text(found[ratio], '.3f')}" for ratio in RATIOS))
    if arguments.profile:
        profile(case, arguments.profile, heading)
    details = {"exactness": exact, "model_mb": memory.get(MODEL_ONLY), "subjects": rows}
    totals = {name: parts["total"] / MB for name, parts in needs.items()}
    return rounded(which | counts(case) | found | details | {"needed_mb": totals, "needed_bytes": needs})


def exactness_of(case: Case) -> dict[str, Any]:
    """Exactness on the case's own shape on the CPU in float32, else on a small one of its architecture."""
    own = case.device.type == "cpu" and case.dtype == torch.float32
    few = sorted((example for part in case.examples for example in part), key=len)[:2]
    difference = exactness(case.shape if own else miniature(case.shape), collate(few, case.pad), case.fraction)
    return {"difference": difference, "in_model": "this model" if own else "a small one of its architecture, float32"}


def memory_of(
    case: Case, module: str, names: Sequence[str], argv: Sequence[str], arguments: argparse.Namespace
) -> dict[str, float | None]:
    """Memory in MB by name: on the CPU, of one process per subject and one for the model; on CUDA, of the model alone.

    module: the program that is started with argv, which names this one case.
    """
    if case.device.type == "cuda":
        return {MODEL_ONLY: loaded_mb(case)}
    if arguments.no_memory:
        return {}
    return processes_memory(module, argv, (MODEL_ONLY, *names))


def with_memory(rows: dict[str, dict[str, Any] | None], memory: dict[str, float | None]) -> dict[str, Any]:
    """The rows with the known peaks of processes, and with each peak minus the model's."""
    found, model = {}, memory.get(MODEL_ONLY)
    for name, row in rows.items():
        peak = row and (memory.get(name) or row["peak_mb"])
        above = None if peak is None or model is None else peak - model
        found[name] = row and row | {"peak_mb": peak, "above_model_mb": above}
    return found


def summary(rows: dict[str, dict[str, Any] | None], masked: dict[str, int], device: torch.device) -> dict[str, Any]:
    """The ratios, also by CPU time, and the memory ratios that count the model.

    On CUDA the latter equal the former.
    """
    key = "above_model_mb" if device.type == "cpu" else "peak_mb"
    found = ratios(rows, masked, key) | {"memory_is": MEMORY[key]}
    with_model = ratios(rows, masked, "peak_mb")
    by_cpu = {name: row and row | {"step_seconds": row["step_cpu_seconds"]} for name, row in rows.items()}
    of_cpu = ratios(by_cpu, masked, key)
    return found | {
        "with_model": {name: with_model[name] for name in RATIOS if name.startswith("memory")},
        "cpu_time": {name: of_cpu[name] for name in RATIOS if name.startswith("step")},
        "out_of_memory": [name for name, row in rows.items() if row is None],
    }


def counts(case: Case) -> dict[str, Any]:
    """Counts that the numbers refer to."""
    model = build_model(case.shape, torch.device("meta"), case.dtype)
    tokens = [len(example) for part in case.examples for example in part]
    return {
        "architecture": model.config.model_type,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "neurons": len(case.neurons),
        "samples_per_step": len(case.examples[0]),
        "tokens_of_a_step": sum(tokens) / len(case.examples),
    }


def combined(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One case as it is; for several, the worst ratios and the cases they come from, and each case under `cases`."""
    if len(cases) == 1:
        return cases[0]
    worst: dict[str, Any] = {}
    for ratio in RATIOS:
        with_one = [case for case in cases if case[ratio] is not None]
        case = max(with_one, key=lambda case: case[ratio], default=None)
        worst[ratio] = case and case[ratio]
        if ratio == "memory_vs_masked":
            worst["memory_vs_masked_is"] = case and case["memory_vs_masked_is"]
    return worst | {"memory_is": cases[0]["memory_is"], "cases": list(cases)}


# Command line


def positive(value: str) -> int:
    if int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return int(value)


def share(value: str) -> float:
    if not 0 < float(value) <= 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0 and at most 1")
    return float(value)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments and fills in the defaults that depend on the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, SUBJECTS)
    add = parser.add_argument
    add("--lengths", nargs="+", type=positive, help="tokens of a sample, about; default: 140 on the CPU, 256 on CUDA")
    add("--tokens-per-step", type=positive, help="about; default: 840 on the CPU, 4096 on CUDA")
    add("--checkpointing", "--gradient-checkpointing", nargs="+", choices=("off", "on"), default=["off"])
    add("--fraction", type=share, default=0.01, help="of the neurons, that slices train; default: %(default)s")
    add("--steps", type=positive, default=30, help="timed; default: %(default)s")
    add("--warmup", type=positive, default=2, help="steps before; default: %(default)s")
    arguments = parser.parse_args(argv)
    if arguments.threads < 1:
        parser.error(f"argument --threads: {arguments.threads} is not positive")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("argument --device: there is no CUDA device")
    cuda = settle(arguments)
    arguments.lengths = arguments.lengths or [256 if cuda else 140]
    arguments.tokens_per_step = arguments.tokens_per_step or (4096 if cuda else 840)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    most = max(length * per_step(length, arguments) * BATCHES for length in arguments.lengths)
    files = read_pairs(arguments.corpus, arguments.fields, max(500, most // 32))  # a pair has more than 8 tokens
    if arguments.only:
        print_peak(arguments, files, peak_of_one)
        return
    finish(combined(each_case(arguments, files, argv, compare)), arguments, CONTEXT, MODULE, argv)


def chosen(arguments: argparse.Namespace) -> list[tuple]:
    """Each case's base, length and checkpointing."""
    return list(product(arguments.bases, arguments.lengths, arguments.checkpointing))


def print_peak(arguments: argparse.Namespace, files: Sequence, peak: Callable[[str, Case], float]) -> None:
    """Prints the output of a process for one subject: its peak, as one JSON line."""
    case = case_of(*chosen(arguments)[0], files, arguments)
    print(json.dumps({"peak_mb": round(peak(arguments.only, case), 1)}))


def each_case(
    arguments: argparse.Namespace, files: Sequence, argv: Sequence[str], compare: Callable[..., Any]
) -> list[Any]:
    """Runs `compare` on one case after the other."""
    if arguments.profile:
        arguments.profile.unlink(missing_ok=True)
    found = []
    for which in chosen(arguments):
        found.append(compare(*which, files, argv, arguments))
        release(arguments.device)
    return found


if __name__ == "__main__":
    step(main)()
