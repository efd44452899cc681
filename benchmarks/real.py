"""Compares importance and tuning of a real model, on real text, with what people use today.

    python -m benchmarks.real --model FOLDER --corpus FILE.jsonl --fields translation.de translation.en --dtype bfloat16
    python -m benchmarks.real --shape qwen2.5-7b --lengths 256 1024 --checkpointing off on --out gpu.json   # a GPU

FOLDER holds weights and tokenizer in the hub's format, as `resolve_model` leaves them. All subjects get the same
batches, padding included; the last line printed is one JSON object. The subjects:

    naive, ours, floor   importance, as in `benchmarks.importance`
    slices-5%            neuron tuning of 5 % of the neurons, the same number in every layer
    slices-1%            the same with 1 %
    lora-r16             LoRA as this package trains it: the LM head at response positions only, its loss in chunks
    trainer              LoRA as its users train it: the same modules and rank by PEFT, and the forward pass, loss,
                         backward pass and AdamW of `transformers.Trainer`; the prompt's labels are -100
    full                 every weight, with float32 masters if the model is not in float32

`importance_vs_naive` is ours' throughput over naive's, more is better. All other ratios are time or memory of ours over
another's, less is better: `step_vs_lora`, `memory_vs_lora`, `step_vs_trainer` and `memory_vs_trainer` are for
slices-5%; the same keys under `one_percent` are for slices-1%. Memory is what a subject takes above the loaded model;
the ratios under `with_model` count the model too. Times are medians. On the CPU, subjects take turns step by step, and
the memory of each is that of a fresh process. Before anything is timed, the trainer's loss must equal ours.

On the CPU, the models of all ways to tune are in memory together; `--subjects` names fewer.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks import importance, tuning
from benchmarks.common import (
    MODEL_ONLY,
    Base,
    add_arguments,
    finish,
    fitting,
    quotient,
    read_pairs,
    release,
    rounded,
    settle,
    text,
)
from benchmarks.tuning import Case, case_of, each_case, per_step, positive, print_peak
from caneft.errors import InputError
from caneft.runtime.cli import step

MODULE = "benchmarks.real"
IMPORTANCE = ("naive", "ours", "floor")
TUNING = ("slices-5%", "slices-1%", "lora-r16", "trainer", "full")
SUBJECTS = (*IMPORTANCE, *TUNING)
PROFILED = ("slices-5%", "lora-r16", "trainer")
GOALS = {
    "importance_vs_naive": 2.0,
    "importance_vs_floor": 1.10,
    "step_vs_lora": 0.95,
    "memory_vs_lora": 0.45,
    "step_vs_trainer": 0.90,
    "memory_vs_trainer": 0.20,
}
"""At most; for `importance_vs_naive`, at least."""
AT_LEAST = ("importance_vs_naive",)
CONTEXT = ("dtype", "threads", "tokens_per_step", "tokens_per_batch", "max_tokens", "steps", "warmup", "rounds")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 1e-3}  # of the loss


# One case


def workload_of(case: Case, arguments: argparse.Namespace) -> importance.Workload:
    """Importance of the samples in the steps; naive gets a quarter of them."""
    examples = [example for part in case.examples for example in part]
    options = {"naive_samples": max(1, len(examples) // 4), "tokens_per_batch": arguments.tokens_per_batch}
    return importance.Workload(case.model(), examples, case.pad, argparse.Namespace(**options))


def compare(
    base: Base, length: int, checkpointing: str, files: Sequence, argv: Sequence[str], arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measures one case: equal losses, memory, time; prints each as it becomes known."""
    case = case_of(base, length, checkpointing, files, arguments)
    heading = f"{base.name}, {arguments.dtype}, samples of {length or 'their'} tokens, checkpointing {checkpointing}"
    print(f"\n{heading}")
    chosen = [*base.option, "--lengths", str(length), "--checkpointing", checkpointing]
    memory = tuning.memory_of(case, MODULE, arguments.subjects, [*argv, *chosen], arguments)
    difference = loss_difference(case) if "trainer" in arguments.subjects else None
    of_importance = importance_rows(case, memory, arguments)
    names = [name for name in TUNING if name in arguments.subjects]
    rows = tuning.with_memory(tuning.timed(case, arguments, names), memory)
    tuning.print_table(rows, {})
    found = ratios(of_importance | rows)
    for name, goal in GOALS.items():
        print(f"{name:20}{text(found[name], '.3f'):>8}   goal: at {'least' if name in AT_LEAST else 'most'} {goal}")
    if arguments.profile:
        tuning.profile(case, arguments.profile, heading, [name for name in PROFILED if name in names])
    which = {"model": base.name, "length": length, "checkpointing": checkpointing}
    subjects = {"importance": of_importance, "tuning": rows}
    about = tuning.counts(case)
    del about["neurons"]  # of one share, but here there are two
    about["positions_of_a_step"] = sum(batch.input_ids.numel() for batch in case.batches) / len(case.batches)
    details = {"loss_difference": difference, "model_mb": memory.get(MODEL_ONLY), "subjects": subjects}
    return rounded(which | about | found | details)


def loss_difference(case: Case) -> float | None:
    """Difference of the trainer's loss of the first batch from ours, as a share; None if memory is too small.

    Raises InputError if the two are not the same loss.
    """

    def both() -> tuple[float, float]:
        subject = case.subject("trainer")  # an adapter changes nothing before its first step
        with torch.no_grad():
            theirs = float(subject.loss(case.batches[0]))
            return theirs, float(tuning.Subject.loss(subject, case.batches[0]))

    losses = fitting(both, case.device)
    release(case.device)
    if losses is None:
        return None
    theirs, ours = losses
    difference = abs(theirs - ours) / ours
    if not difference <= TOLERANCE[case.dtype]:
        raise InputError(f"the trainer's loss is {theirs:.6f}, ours is {ours:.6f}: they are not the same")
    return difference


def importance_rows(
    case: Case, memory: dict[str, float | None], arguments: argparse.Namespace
) -> dict[str, dict[str, Any] | None]:
    """Rows for the subjects of importance; None for one that does not fit into the device's memory."""
    if not set(IMPORTANCE) & set(arguments.subjects):
        return {}
    workload = workload_of(case, arguments)
    subjects = {name: subject for name, subject in workload.subjects().items() if name in arguments.subjects}
    spent = importance.rounds(subjects, arguments.rounds, case.device)
    rows: dict[str, dict[str, Any] | None] = {}
    for clock in ("wall", "cpu"):
        for name, seconds in importance.seconds_per_token(subjects, spent, clock).items():
            rows[name] = seconds and (rows.get(name) or {}) | {f"seconds_per_token_{clock}": seconds}
    for name, row in rows.items():
        if row:
            row["tokens_per_second"] = 1 / row["seconds_per_token_wall"]
            row["peak_mb"] = max(took.memory for took in spent[name]) if case.device.type == "cuda" else None
    rows = tuning.with_memory(rows, memory)
    for name, row in rows.items():
        numbers = (text(row and row[key], ",.0f") for key in ("tokens_per_second", "above_model_mb"))
        print("{:12}{:>10} tokens/s{:>10} MB above the model".format(name, *numbers))
    del workload, subjects
    release(case.device)
    return rows


def ratios(rows: dict[str, dict[str, Any] | None]) -> dict[str, Any]:
    """The ratios in GOALS, then those of 1 %, by CPU time and with the model; None if a number is missing."""

    def of(name: str, key: str) -> float | None:
        return (rows.get(name) or {}).get(key)

    def over(name: str, other: str, key: str) -> float | None:
        return quotient(of(name, key), of(other, key))

    def steps(name: str, key: str) -> dict[str, float | None]:
        return {"step_vs_lora": over(name, "lora-r16", key), "step_vs_trainer": over(name, "trainer", key)}

    def memory(name: str, key: str) -> dict[str, float | None]:
        return {"memory_vs_lora": over(name, "lora-r16", key), "memory_vs_trainer": over(name, "trainer", key)}

    def of_importance(key: str) -> dict[str, float | None]:
        return {"importance_vs_naive": over("naive", "ours", key), "importance_vs_floor": over("ours", "floor", key)}

    five, one = "slices-5%", "slices-1%"
    return {
        **of_importance("seconds_per_token_wall"),
        **steps(five, "step_seconds"),
        **memory(five, "above_model_mb"),
        "one_percent": steps(one, "step_seconds") | memory(one, "above_model_mb"),
        "cpu_time": of_importance("seconds_per_token_cpu") | steps(five, "step_cpu_seconds"),
        "with_model": memory(five, "peak_mb"),
    }


def combined(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One case as it is; for several, the worst ratios, and each case under `cases`."""
    if len(cases) == 1:
        return cases[0]
    worst = {}
    for name in GOALS:
        choose = min if name in AT_LEAST else max
        worst[name] = choose((case[name] for case in cases if case[name] is not None), default=None)
    return worst | {"cases": list(cases)}


# Command line


def peak_of_one(name: str, case: Case, arguments: argparse.Namespace) -> float:
    """Memory peak of this process, in MB, after loading the model and running one subject; needs a fresh process."""
    from transformers import Trainer  # noqa: F401 (for all alike: the trainer's memory is not that of its import)

    if name in IMPORTANCE:
        return importance.peak_of_one(name, workload_of(case, arguments))
    return tuning.peak_of_one(name, case)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments and fills in the defaults that depend on the device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, SUBJECTS, required=True)
    add = parser.add_argument
    add("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS, help="default: all")
    usual = [tuning.OF_A_PAIR]
    add("--lengths", nargs="+", type=int, default=usual, help="tokens of a sample, about; 0: as it is; default: 62")
    add("--max-tokens", type=positive, default=512, help="longer pairs are left out; default: %(default)s")
    add("--tokens-per-step", type=positive, default=32 * tuning.OF_A_PAIR, help="about; default: %(default)s")
    add("--tokens-per-batch", type=positive, default=4096, help="of importance, with padding; default: %(default)s")
    add("--checkpointing", nargs="+", choices=("off", "on"), default=["off"])
    add("--steps", type=positive, default=8, help="timed; default: %(default)s")
    add("--warmup", type=positive, default=1, help="steps before; default: %(default)s")
    add("--rounds", type=positive, default=3, help="of importance; default: %(default)s")
    arguments = parser.parse_args(argv)
    settle(arguments)
    arguments.fraction = 0.05  # a case's share of neurons, which no subject here uses
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else list(argv)
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    most = max((length or tuning.OF_A_PAIR) * per_step(length, arguments) for length in arguments.lengths)
    needed = max(500, most * tuning.BATCHES // 32)  # a pair has more than 8 tokens
    files = [pairs[:needed] for pairs in read_pairs(arguments.corpus, arguments.fields, needed)]
    if arguments.only:
        print_peak(arguments, files, partial(peak_of_one, arguments=arguments))
        return
    finish(combined(each_case(arguments, files, argv, compare)), arguments, CONTEXT, MODULE, argv)


if __name__ == "__main__":
    step(main)()
