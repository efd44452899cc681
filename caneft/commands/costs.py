"""Computes from its plan what a configuration will take: jobs, time, disk and memory of each stage.

Per token and weight, a forward pass takes 2 FLOPs, gradients of activations 2 more, and gradients of weights 2 more. So
importance takes 4, tuning of few weights 4, tuning of all 6, and computing activations twice adds 2. A step of
generation reads every weight once, whatever the batch, and takes 2 FLOPs for each weight and sentence.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from caneft.config import Adapters, Config, Full, Icl, Neurons, data_root, resolver, sources
from caneft.errors import InputError
from caneft.models.memory import Memory, Shape
from caneft.plan import DEV, TEST, Plan, Run
from caneft.reporting import inputs

HUB = {
    "meta-llama/Llama-2-7b-chat-hf": Shape(32_000, 4096, 32, 11008, 4096, 4096, False),
    "Qwen/Qwen2.5-7B-Instruct": Shape(152_064, 3584, 28, 18944, 3584, 512, False),
    "google/gemma-2-9b-it": Shape(256_000, 3584, 42, 14336, 4096, 2048, True),
}
"""Models of config/paper.yaml, which may be planned before they are fetched."""
BYTES_OF_TOKEN = 4
"""Bytes of UTF-8 per token: German and English have four characters to a token, Chinese three bytes to a character."""
AROUND = 10
"""Tokens of a chat template, or of the text around the source in a completion."""
LOOKED_AT = 200
"""Number of pairs of each corpus whose lengths are measured."""


@dataclass(frozen=True)
class Device:
    """Rates that one GPU, or one core of a CPU, reaches in practice.

    flops, generation: FLOPs per second in passes, and in steps of generation; float32: share of both that float32
    reaches; bandwidth: bytes per second of its memory; step: least seconds of a step of generation; load: seconds that
    a job needs to start and load its model; memory, link: bytes per second of the machine's memory, and between that
    and the device; source: where the rates come from.
    """

    flops: float
    generation: float
    float32: float
    bandwidth: float
    step: float
    load: float
    memory: float
    link: float
    source: str


DEVICES = {
    "cpu": Device(
        flops=2.0e11,
        generation=8e10,
        float32=0.5,
        bandwidth=1e10,
        step=0.02,
        load=8,
        memory=1e10,
        link=1e10,
        source="measured on one core with bfloat16 units (benchmarks/results/real-cpu.json); a core without them takes"
        " several times as long in bfloat16",
    ),
    "h100": Device(
        flops=0.15 * 989e12,
        generation=0.15 * 989e12,
        float32=0.07,
        bandwidth=1600e9,
        step=0.03,
        load=40,
        memory=100e9,
        link=20e9,
        source="assumed, not measured: passes reach 15 % of 989 TFLOPS, generation half of the memory's bandwidth",
    ),
}


@dataclass(frozen=True)
class Text:
    """Tokens of a pair: prompt and response. longest: ratio of the longest response of a batch to the mean one."""

    prompt: float = 75
    response: float = 25
    longest: float = 3.0


@dataclass(frozen=True)
class Row:
    """A stage of a model. loads: jobs that load the model; seconds: time of all jobs, one after the other; bytes: disk
    space of the files that stay; memory_mb: memory of the job that requests most."""

    model: str
    stage: str
    jobs: int
    loads: int = 0
    seconds: float = 0.0
    bytes: float = 0.0
    memory_mb: int = 2000


class Estimate:
    """Estimates seconds and bytes of each stage, for the test pairs and samples that the configuration asks for."""

    def __init__(self, config: Config, device: Device, texts: Mapping[str, Text]):
        """texts: lengths of pairs, by model."""
        self.config, self.plan, self.device, self.texts = config, Plan(config), device, texts
        self.needed = Memory(self.plan)

    def shape(self, model: str) -> Shape:
        """Sizes of a model. Raises InputError if they are not known yet."""
        found = self.needed.shape(model) or HUB.get(self.config.models[model].hub or "")
        if found is None:
            raise InputError(
                f"models.{model}: its sizes are in its config.json, which is not here yet. Fetch it first:"
                " snakemake fetch --cores 1 --configfile FILE"
            )
        return found

    def used(self, model: str) -> int:
        """Number of weights that a token is multiplied by: all except an embedding that is only looked up."""
        shape = self.shape(model)
        return shape.parameters - (0 if shape.tied else shape.vocabulary * shape.hidden)

    def passes(self, model: str, pairs: float, flops: int, prompt: float | None = None) -> float:
        """Seconds of passes over pairs. flops: FLOPs per weight and token."""
        text = self.texts[model]
        tokens = (text.prompt if prompt is None else prompt) + text.response
        return flops * self.used(model) * tokens * pairs / (self.device.flops * self._share(model))

    def importance(self, model: str) -> tuple[float, float]:
        """Seconds and bytes of one domain's dump."""
        shape, samples = self.shape(model), self.samples()
        return self.passes(model, samples, 4), 2.0 * shape.layers * shape.neurons * samples

    def samples(self) -> int:
        asked = self.config.importance.samples
        return self.config.importance.auto.largest if asked == "auto" else asked

    def tuning(self, run: Run) -> float:
        """Seconds of one run: its steps, the dev loss at the start and after each epoch, and work outside the GPU."""
        tuning, method = self.config.tuning, self.config.methods[run.variant]
        domains = len(self.plan.seen(run.direction, run.mixture))
        pairs, dev = domains * tuning.pairs_per_domain, domains * tuning.dev_pairs_per_domain
        flops = (6 if isinstance(method, Full) else 4) + (2 if tuning.gradient_checkpointing else 0)
        seconds = self.passes(run.model, pairs * tuning.epochs, flops) + self.passes(
            run.model, dev * (1 + tuning.epochs), 2
        )
        if isinstance(method, Full) and method.optimizer == "adamw-offload":
            steps = math.ceil(pairs / tuning.batch_size) * tuning.epochs
            # bytes per weight: 28 in memory (master and states read and written, gradient), 4 over the link (gradient
            # down, weight up)
            seconds += steps * self.shape(run.model).parameters * (28 / self.device.memory + 4 / self.device.link)
        return seconds

    def translation(self, run: Run) -> float:
        """Seconds of all test sets of one run."""
        return sum(self.split(run, split) for split in self.plan.splits(run))

    def split(self, run: Run, split: str) -> float:
        method, seconds = self.config.methods[run.variant], 0.0
        text = self.texts[run.model]
        prompt = text.prompt
        if isinstance(method, Icl):
            prompt += method.examples * (text.prompt + text.response)
        for domain in self.plan.domains(run, split):
            count = self.config.tuning.dev_pairs_per_domain if split == DEV else self.pairs(run.direction, domain)
            each = self.decoding(run.model, count) + self.passes(run.model, count, 2, prompt)
            seconds += each * self.translators(run, domain)
        return seconds

    def translators(self, run: Run, domain: str) -> int:
        """Number of adapters that translate a test set; 1 for every other method."""
        method = self.config.methods[run.variant]
        if not isinstance(method, Adapters):
            return 1
        seen = self.plan.seen(run.direction, run.mixture)
        return len(seen) if method.route == "source_loss" or domain not in seen else 1

    def decoding(self, model: str, count: int) -> float:
        """Seconds to translate `count` sentences in batches of equal size, each as long as its longest translation."""
        batches = math.ceil(count / self.config.decoding.batch_size)
        rows, weights = count / max(1, batches), self.used(model)
        computed = 2 * rows * weights / (self.device.generation * self._share(model))
        step = max(self.device.step, 2 * weights / self.device.bandwidth, computed)
        return batches * self.texts[model].response * self.texts[model].longest * step

    def pairs(self, direction: str, domain: str) -> int:
        """Number of pairs of a test set; 2,000 if it has neither `limit` nor `pairs`."""
        test = self.config.directions[direction].domains[domain].test
        return test.limit or getattr(test, "pairs", 2000)

    def rows(self) -> Iterator[Row]:
        for model in self.config.models:
            yield from self._rows(model)

    def _rows(self, model: str) -> Iterator[Row]:
        of_model = [run for run in self.plan.runs() if run.model == model]
        blocks = [block for block in self.plan.blocks() if block[0] == model]
        (seconds, size), load, memory = self.importance(model), self.device.load, self.needed
        yield Row(model, "weights of the base", 1, bytes=2.0 * self.shape(model).parameters)
        draws = [None, *self.plan.own_draws()]
        dumps = len(draws) * len(
            {
                (unit, direction, domain)
                for _, direction, mixture in blocks
                for unit in inputs.units(self.plan, (model, direction, mixture))
                for domain in self.plan.seen(direction, self.plan.selected_on(direction, mixture))
            }
        )
        yield Row(
            model, "importance", dumps, dumps, (seconds + load) * dumps, float(size * dumps), memory.importance(model)
        )
        sets = {self.plan.neuron_set(run) for run in of_model} - {None}
        yield Row(model, "neuron sets", len(sets))
        for label, trial in (("trials", True), ("final runs", False)):
            chosen = [run for run in of_model if (run.rate is not None) == trial]
            tuned = [run for run in chosen if self.plan.artefact(run)]
            most = max((memory.tuning(model, run.variant) for run in tuned), default=0)
            sizes = sum(self.artefact(run) for run in tuned)
            seconds = sum(self.tuning(run) + load for run in tuned)
            yield Row(model, f"tuning, {label}", len(tuned), len(tuned), seconds, sizes, most)
            jobs = sum(len(self.plan.splits(run)) for run in chosen)
            most = max((memory.translation(model, run.variant) for run in chosen), default=0)
            seconds = sum(map(self.translation, chosen)) + load * jobs
            yield Row(model, f"translation, {label}", jobs, jobs, seconds, 0.0, most)
            yield Row(model, f"scores, {label}", len({run.scores for run in chosen if TEST in self.plan.splits(run)}))

    def artefact(self, run: Run) -> float:
        """Bytes of the tuned weights that a run keeps."""
        method, shape = self.config.methods[run.variant], self.shape(run.model)
        if isinstance(method, Full):
            return 2.0 * shape.parameters if self.config.tuning.keep_full_weights and run.rate is None else 0.0
        domains = len(self.plan.seen(run.direction, run.mixture))
        if isinstance(method, Adapters):
            return 4.0 * domains * shape.layers * 2 * method.bottleneck * shape.hidden
        if isinstance(method, Neurons) or method.equal_to is not None:
            share = getattr(method, "fraction", None) or self.config.selection.fraction or 0.01
            weights = share * shape.layers * shape.neurons * 3 * shape.hidden
            return (2.0 if isinstance(method, Neurons) else 4.0) * weights
        return 4.0 * shape.layers * 3 * (method.rank or 16) * (shape.hidden + shape.neurons)

    def _share(self, model: str) -> float:
        return self.device.float32 if self.config.models[model].dtype == "float32" else 1.0


def texts_of(config: Config) -> dict[str, Text]:
    """Mean lengths by model, from the first pairs of readable training corpora; without any, the defaults of `Text`."""
    from caneft.corpora import readers  # late: not every command needs it

    resolve, found = resolver(data_root(config)), []
    for key, source in sources(config):
        try:
            pairs = list(islice(readers.read(source, "train", resolve), LOOKED_AT)) if key.endswith(".train") else []
        except (InputError, OSError):
            continue
        if pairs:
            sizes = [[len(side.encode()) / BYTES_OF_TOKEN for side in (p.source, p.target)] for p in pairs]
            found.append([sum(side) / len(pairs) for side in zip(*sizes, strict=True)])
    if not found:
        return dict.fromkeys(config.models, Text())
    prompt, response = (sum(side) / len(found) for side in zip(*found, strict=True))
    return {model: Text(prompt + _around(config, model), response + 1) for model in config.models}


def _around(config: Config, model: str) -> float:
    """Tokens of a prompt besides the source: few for a completion, which a model without a chat template gets."""
    form, folder = config.prompt.form, Path(config.results_root, "models", model)
    known = (folder / "config.json").exists()
    chats = any((folder / name).exists() for name in ("chat_template.jinja", "chat_template.json"))
    if form == "completion" or (form == "auto" and known and not chats):
        return AROUND
    return AROUND + len(config.prompt.instruction.encode()) / BYTES_OF_TOKEN


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, with sums in the last line."""
    lines = [
        "| model | stage | jobs | model loads | hours | disk (GB) | memory of a job (MB) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    total = Row(
        "all",
        "",
        sum(row.jobs for row in rows),
        sum(row.loads for row in rows),
        sum(row.seconds for row in rows),
        sum(row.bytes for row in rows),
        max((row.memory_mb for row in rows), default=0),
    )
    for row in [*(row for row in rows if row.jobs), total]:
        amounts = f"{row.jobs:,} | {row.loads:,} | {row.seconds / 3600:,.2f} | {row.bytes / 1e9:,.1f}"
        lines.append(f"| {row.model} | {row.stage} | {amounts} | {row.memory_mb:,} |")
    return "\n".join(lines)
