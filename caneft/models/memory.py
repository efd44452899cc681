"""Estimates how much of the machine's memory a model's job needs, from the model's sizes and the batch.

The estimate is made before anything is loaded, so that a scheduler starts no more jobs than fit. It errs on the high
side: the jobs that set its constants (benchmarks/README.md) took between 67 and 89 % of it, and two others 84 and 96 %.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caneft.config import Full, Icl, Model, Pretraining, Resources, data_root, resolver
from caneft.errors import InputError
from caneft.plan import ARTEFACTS, Plan
from caneft.runtime.devices import processes
from caneft.storage.bounded import read_json

UNKNOWN = 4000
"""MB for a job of a model whose sizes are still unknown, as it has not been resolved."""
LIBRARIES = 550e6
"""Bytes for Python and the libraries of a step."""
SNAKEMAKES = 300
"""MB for the Snakemake processes inside a cluster job, which the cluster counts as part of the job."""
WITH_CUDA = 3000e6
"""LIBRARIES on a GPU, with CUDA's libraries and the memory that the driver pins."""
VLLM = 200e6
"""Further bytes for vLLM's libraries, on a CPU."""
GROWTH = 2.5
"""What training keeps, as a multiple of one pass's activations: the allocator keeps memory for each batch shape."""
CHUNK = 2**24
"""Logits in memory at once, on a CPU (`caneft.models.head`)."""
COPIES = 12
"""Bytes per logit: three copies in float32."""
MARGIN = 1.1
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder. queries, keys: widths of these projections."""

    vocabulary: int
    hidden: int
    layers: int
    neurons: int
    queries: int
    keys: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Number of weights, without norms and biases."""
        attention = 2 * self.hidden * (self.queries + self.keys)
        layer = attention + 3 * self.hidden * self.neurons
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.layers * layer

    def activations(self, tokens: int, size: int, again: bool = False) -> float:
        """Bytes that a forward pass keeps for the backward pass. again: whether the latter recomputes activations."""
        layer = 7 * self.hidden + 4 * self.neurons
        return size * tokens * (self.layers * self.hidden + layer if again else self.layers * layer)

    def logits(self, positions: int) -> float:
        """Bytes of the head's logits in training."""
        return COPIES * min(positions * self.vocabulary, max(CHUNK, self.vocabulary))

    def cache(self, tokens: int, size: int) -> float:
        """Bytes of keys and values in decoding."""
        return 2.0 * size * tokens * self.layers * self.keys


def of_config(config: Mapping[str, Any]) -> Shape | None:
    """Shape of a Hugging Face configuration; None if it does not say enough."""
    text = config.get("text_config", config)  # the language part of a multimodal model
    try:
        hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
        width = int(text.get("head_dim") or hidden // heads)
        return Shape(
            vocabulary=int(text["vocab_size"]),
            hidden=hidden,
            layers=int(text["num_hidden_layers"]),
            neurons=int(text["intermediate_size"]),
            queries=heads * width,
            keys=int(text.get("num_key_value_heads") or heads) * width,
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError):
        return None


def of_pretraining(settings: Pretraining) -> Shape:
    width = settings.hidden_size
    return Shape(settings.vocabulary, width, settings.layers, settings.intermediate_size, width, width, True)


def find(model: Model, folder: Path | None, resolved: Path) -> Shape | None:
    """Shape of a model, from the configuration or the config.json of its folder; None while it is unknown.

    folder: the user's own folder of a local model; resolved: the folder of its manifest.
    """
    if model.pretrain:
        return of_pretraining(model.pretrain)
    for place in filter(None, (folder, resolved, _named_by(resolved / "manifest.json"))):
        if (shape := _read(place / "config.json")) is not None:
            return shape
    return None


def _named_by(manifest: Path) -> Path | None:
    """The folder that a manifest names; None if the manifest cannot be read."""
    try:
        return manifest.parent / read_json(manifest)["folder"]
    except (InputError, KeyError, TypeError):  # the step that needs the model reports what is wrong
        return None


def _read(path: Path) -> Shape | None:
    try:
        return of_config(read_json(path))
    except InputError:
        return None


class Memory:
    """MB for the jobs of a configuration: its `resources.mem_mb` if set, else the estimate.

    beside: MB of other programs that run as part of each job.
    """

    def __init__(self, plan: Plan, beside: int = 0):
        self.plan, self.config, self.beside = plan, plan.config, beside
        self._known: dict[str, Shape] = {}  # a plan of thousands of jobs asks for each job

    def tuning(self, model: str, variant: str) -> int:
        resources, tuning = self.plan.tuning_resources(model, variant), self.config.tuning
        method, size = self.config.methods[variant], self._size(model)
        full, tokens = isinstance(method, Full), tuning.tokens_per_batch
        whole = full and method.optimizer == "adamw"  # in float32
        on_gpu = (12 if whole else 16) * full  # bytes per weight: a checkpoint passes through memory

        def needed(shape: Shape) -> float:
            count = shape.parameters
            if resources.gpu:
                return on_gpu * count
            kept = shape.activations(tokens, 4 if whole else size, tuning.gradient_checkpointing)
            return (16 * full) * count + GROWTH * kept + shape.logits(tokens // 2)

        return self._given(model, resources, needed)

    def translation(self, model: str, variant: str) -> int:
        method, resources, size = self.config.methods[variant], self.config.models[model].resources, self._size(model)
        decoding, by_vllm = self.config.decoding, self.config.decoding.engine == "vllm"
        examples = method.examples if by_vllm and isinstance(method, Icl) else 0  # it has as many sentences in a batch

        def needed(shape: Shape) -> float:
            if resources.gpu:
                return 0
            tokens = decoding.batch_tokens * (1 + examples)
            one_layer = size * tokens * (7 * shape.hidden + 4 * shape.neurons)
            logits = (size + 8) * decoding.batch_size * shape.vocabulary
            return VLLM * by_vllm + shape.cache(tokens, size) + one_layer + logits

        return self._given(model, resources.model_copy(update={"gpu": gpus_of_one(resources)}), needed)

    def importance(self, model: str) -> int:
        resources, tokens = self.config.models[model].resources, self.config.importance.tokens_per_batch

        def needed(shape: Shape) -> float:
            if resources.gpu:
                return 0
            return shape.activations(tokens, self._size(model)) + shape.logits(tokens // 2)

        return self._given(model, resources, needed)

    def pretraining(self, model: str) -> int:
        resources, tokens = self.config.models[model].resources, self.config.models[model].pretrain.tokens_per_step

        def needed(shape: Shape) -> float:
            return 16 * shape.parameters + GROWTH * shape.activations(tokens, 4) + shape.logits(tokens)

        return self._given(model, resources.model_copy(update={"gpu": min(1, resources.gpu)}), needed)

    def dequantising(self, model: str) -> int:
        """MB for the weights three times: in the file, in float32, and in the dtype in which they are written."""
        resources = self.config.models[model].resources.model_copy(update={"gpu": 0})
        return self._given(model, resources, lambda shape: (5 - self._size(model)) * shape.parameters)

    def beyond(self, limit: int) -> str:
        """Warning about the job that needs most, if any job needs more than `limit` MB; else empty."""
        asked = {f"importance of {model}": self.importance(model) for model in self.config.models}
        for model, variant in itertools.product(self.config.models, self.plan.variants(*ARTEFACTS)):
            asked[f"tuning {model} by {variant}"] = self.tuning(model, variant)
        beyond = {what: needed for what, needed in asked.items() if needed > limit}
        if not beyond:
            return ""
        most = max(beyond, key=beyond.__getitem__)
        more = f" (and {len(beyond) - 1} more)" if len(beyond) > 1 else ""
        return (
            f"{most}{more} asks for {beyond[most]} MB of memory, but jobs of this machine may use {limit}. It will run"
            " alone, and may be killed. Lower tokens_per_batch, or set tuning.gradient_checkpointing: true; if you know"
            " that it takes less, set models.*.resources.mem_mb."
        )

    def shape(self, model: str) -> Shape | None:
        """The model's sizes, once they are known: see `find`."""
        if model in self._known:
            return self._known[model]
        entry, root = self.config.models[model], data_root(self.config)
        known = entry.path and (root or Path(entry.path).is_absolute())
        folder = resolver(root)(entry.path) if known else None
        found = find(entry, folder, Path(self.config.results_root, "models", model))
        if found is not None:
            self._known[model] = found
        return found

    def _size(self, model: str) -> int:
        """Bytes per weight, as loaded."""
        return BYTES[self.config.models[model].dtype]

    def _given(self, model: str, resources: Resources, needed: Callable[[Shape], float]) -> int:
        """MB for a job. needed: bytes besides libraries and weights. Weights count twice: loading holds them twice."""
        if resources.mem_mb is not None:
            return resources.mem_mb
        shape = self.shape(model)
        if shape is None:
            return UNKNOWN
        weights = 2 * self._size(model) * shape.parameters
        libraries = WITH_CUDA if resources.gpu else LIBRARIES
        team = processes(resources.gpu, resources.device_map)
        return math.ceil(MARGIN * team * (libraries + weights + needed(shape)) / 1e6) + self.beside


def gpus_of_one(resources: Resources) -> int:
    """GPUs for a job of one process; more than one only if the model is spread over them."""
    return min(1, resources.gpu) if resources.device_map == "none" else resources.gpu
