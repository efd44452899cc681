"""What a configuration would cost on GPUs, from its plan by arithmetic: nothing is measured, nothing is run.

    python -m benchmarks.estimate config/paper.yaml --price 2.50

A token costs 2 FLOPs for each weight in a forward pass, as many again for the gradients of activations, and again for
those of weights. So importance takes 4, tuning of few weights 4, of all 6, and 2 more where activations are computed
twice. A step of generation reads every weight once, whatever the batch. What is assumed stands in the options.
"""

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from caneft import config
from caneft.config import Adapters, Config, Full, Icl, Neurons
from caneft.errors import InputError
from caneft.plan import DEV, Plan, Run


@dataclass(frozen=True)
class Size:
    """parameters: all; used: those a token is multiplied by, without an embedding that is only looked up."""

    parameters: int
    used: int
    layers: int
    neurons: int
    hidden: int


SIZES = {
    "meta-llama/Llama-2-7b-chat-hf": Size(6_738_415_616, 6_607_343_616, 32, 11008, 4096),
    "Qwen/Qwen2.5-7B-Instruct": Size(7_615_616_512, 7_070_619_136, 28, 18944, 3584),
    "google/gemma-2-9b-it": Size(9_241_705_984, 9_241_705_984, 42, 14336, 3584),
}


@dataclass(frozen=True)
class Machine:
    """Rates per second: FLOPs, and bytes of the GPU's memory, the machine's, and the link between them; as reached.

    step: seconds of a step of generation at least; load: of loading a model, which every job does.
    """

    flops: float
    bandwidth: float
    step: float
    load: float
    memory: float
    link: float


@dataclass(frozen=True)
class Text:
    """Tokens of a pair: prompt and response; longest: how much longer than the mean the longest of a batch is."""

    prompt: int
    response: int
    longest: float


class Estimate:
    """Seconds and bytes of each stage of a configuration; pairs of test sets and samples as it asks for them."""

    def __init__(self, configuration: Config, machine: Machine, text: Text):
        self.config, self.plan, self.machine, self.text = configuration, Plan(configuration), machine, text

    def size(self, model: str) -> Size:
        hub = self.config.models[model].hub
        if hub not in SIZES:
            raise InputError(
                f"models.{model}: no sizes are known of {hub}; add them to SIZES in benchmarks/estimate.py"
            )
        return SIZES[hub]

    def passes(self, model: str, pairs: float, flops: int, prompt: float | None = None) -> float:
        """Seconds of passes over pairs that take so many FLOPs per weight and token."""
        tokens = (self.text.prompt if prompt is None else prompt) + self.text.response
        return flops * self.size(model).used * tokens * pairs / self.machine.flops

    def importance(self, model: str) -> tuple[float, float]:
        """Seconds and bytes of one domain's dump."""
        size, samples = self.size(model), self.samples()
        return self.passes(model, samples, 4), 2 * size.layers * size.neurons * samples

    def samples(self) -> int:
        asked = self.config.importance.samples
        return self.config.importance.auto.largest if asked == "auto" else asked

    def tuning(self, run: Run) -> float:
        """Seconds of one run: its steps, the dev loss before and after each epoch, and what is done beside the GPU."""
        tuning, method = self.config.tuning, self.config.methods[run.variant]
        domains = len(self.plan.seen(run.direction, run.mixture))
        pairs, dev = domains * tuning.pairs_per_domain, domains * tuning.dev_pairs_per_domain
        flops = (6 if isinstance(method, Full) else 4) + (2 if tuning.gradient_checkpointing else 0)
        seconds = self.passes(run.model, pairs * tuning.epochs, flops) + self.passes(
            run.model, dev * (1 + tuning.epochs), 2
        )
        if isinstance(method, Full) and method.optimizer == "adamw-offload":
            steps = math.ceil(pairs / tuning.batch_size) * tuning.epochs
            # of master and states (read, written) and gradient 28 bytes; gradient down and weight up 4
            seconds += steps * self.size(run.model).parameters * (28 / self.machine.memory + 4 / self.machine.link)
        return seconds

    def translation(self, run: Run) -> float:
        """Seconds of all test sets of one run."""
        return sum(self.testset(run, name, domains) for name, domains in self.plan.testsets(run).items())

    def testset(self, run: Run, name: str, domains: list[str]) -> float:
        method, seconds = self.config.methods[run.variant], 0.0
        prompt = self.text.prompt
        if isinstance(method, Icl):
            prompt += method.examples * (self.text.prompt + self.text.response)
        for domain in domains:
            count = self.config.tuning.dev_pairs_per_domain if name == DEV else self.pairs(run.direction, domain)
            each = self.decoding(run.model, count) + self.passes(run.model, count, 2, prompt)
            seconds += each * self.translators(run, domain)
        return seconds

    def translators(self, run: Run, domain: str) -> int:
        """How many adapters translate a test set; 1 of every other method."""
        method = self.config.methods[run.variant]
        if not isinstance(method, Adapters):
            return 1
        seen = self.plan.seen(run.direction, run.mixture)
        return len(seen) if method.route == "source_loss" or domain not in seen else 1

    def decoding(self, model: str, count: int) -> float:
        batches = math.ceil(count / self.config.decoding.batch_size)
        step = max(self.machine.step, 2 * self.size(model).used / self.machine.bandwidth)
        return batches * self.text.response * self.text.longest * step

    def pairs(self, direction: str, domain: str) -> int:
        """Of a test set; one without `limit` or number is taken for 2,000 pairs."""
        test = self.config.directions[direction].domains[domain].test
        return test.limit or getattr(test, "pairs", 2000)

    def rows(self) -> Iterator[tuple[str, str, int, float, float]]:
        """(model, stage, jobs, seconds, bytes that stay)."""
        for model in self.config.models:
            of_model = [run for run in self.plan.runs() if run.model == model]
            domains = {
                (direction, domain)
                for name, direction, mixture in self.plan.blocks()
                for domain in self.plan.seen(direction, self.plan.selected_on(direction, mixture))
                if name == model
            }
            (seconds, size), load = self.importance(model), self.machine.load
            yield model, "weights of the base", 0, 0.0, 2.0 * self.size(model).parameters
            dumps = len(domains) * (1 + len(self.plan.own_draws()))
            yield model, "importance", dumps, (seconds + load) * dumps, float(size * dumps)
            for label, trial in (("trials", True), ("final runs", False)):
                chosen = [run for run in of_model if (run.rate is not None) == trial]
                tuned = [run for run in chosen if self.plan.artefact(run)]
                sizes = sum(self.artefact(run) for run in tuned)
                yield model, f"tuning, {label}", len(tuned), sum(self.tuning(run) + load for run in tuned), sizes
                jobs = sum(len(self.plan.testsets(run)) for run in chosen)
                yield model, f"translation, {label}", jobs, sum(map(self.translation, chosen)) + load * jobs, 0.0

    def artefact(self, run: Run) -> float:
        """Bytes that a run leaves for good."""
        method, size = self.config.methods[run.variant], self.size(run.model)
        if isinstance(method, Full):
            return 2.0 * size.parameters if self.config.tuning.keep_full_weights and run.rate is None else 0.0
        domains = len(self.plan.seen(run.direction, run.mixture))
        if isinstance(method, Adapters):
            return 4.0 * domains * size.layers * 2 * method.bottleneck * size.hidden
        if isinstance(method, Neurons) or method.equal_to is not None:
            share = getattr(method, "fraction", None) or self.config.selection.fraction or 0.01
            return (2.0 if isinstance(method, Neurons) else 4.0) * share * size.layers * size.neurons * 3 * size.hidden
        return 4.0 * size.layers * 3 * (method.rank or 16) * (size.hidden + size.neurons)


def table(rows: list[tuple[str, str, int, float, float]], price: float) -> str:
    """Markdown, with a last line of sums."""
    total = ("all", "", *(sum(row[i] for row in rows) for i in (2, 3, 4)))
    lines = ["| model | stage | jobs | GPU hours | cost | disk (GB) |", "|---|---|---:|---:|---:|---:|"]
    for model, stage, jobs, seconds, size in [*rows, total]:
        hours = seconds / 3600
        lines.append(f"| {model} | {stage} | {jobs:,} | {hours:,.1f} | {hours * price:,.0f} | {size / 1e9:,.0f} |")
    return "\n".join(lines)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("configuration", type=Path)
    add("--price", type=float, default=2.5, help="of an hour of one GPU; default 2.5")
    add("--peak-tflops", type=float, default=989, help="dense bfloat16; default 989, an H100 (SXM)")
    add("--utilisation", type=float, default=0.15, help="share of it that passes reach; default 0.15")
    add(
        "--bandwidth",
        type=float,
        default=1600,
        help="of GPU memory as reached, GB/s; default 1600, half of the same card",
    )
    add("--step-ms", type=float, default=30, help="least time of a step of generation; default 30")
    add("--load", type=float, default=40, help="seconds in which a job loads its model; default 40")
    add("--memory-bandwidth", type=float, default=100, help="of the machine's memory, GB/s; default 100")
    add("--link", type=float, default=20, help="between the two, GB/s; default 20")
    add("--prompt", type=int, default=75, help="tokens with instruction and template; default 75")
    add("--response", type=int, default=25, help="tokens; default 25")
    add("--longest", type=float, default=3.0, help="longest response of a batch over the mean; default 3")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    configuration = config.load(yaml.safe_load(args.configuration.read_text()), [args.configuration], check_files=False)
    flops = args.peak_tflops * 1e12 * args.utilisation
    machine = Machine(
        flops, args.bandwidth * 1e9, args.step_ms / 1e3, args.load, args.memory_bandwidth * 1e9, args.link * 1e9
    )
    rows = list(Estimate(configuration, machine, Text(args.prompt, args.response, args.longest)).rows())
    print(table(rows, args.price))
    print("\nEstimated by arithmetic, not measured.")


if __name__ == "__main__":
    main()
