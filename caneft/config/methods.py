"""The methods of the comparison. Each is a kind of entry under `methods`."""

import operator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from caneft.config.models import DeviceMap, Resources
from caneft.config.section import Positive, Scope, Section, Seed, Share, Slug, Unique

Half = Literal[
    "high-information", "low-information", "high-importance", "low-importance", "early-layers", "late-layers"
]
"""Half of all neurons: in each layer, those with higher or lower consensus MI or mean importance; or those of the first
or last layers."""
MASKED = {"caneft", "caneft-geometric", "caneft-harmonic", "joint", "bottom"}
"""Methods that select among task-relevant neurons only."""
Rate = Annotated[float, Field(gt=0)]
Rates = Annotated[
    Annotated[Rate, Tag("number")] | Annotated[Unique[Rate], Field(min_length=2), Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "number"),
]


class Base(Section):
    """The model as it is, zero-shot."""

    method: Literal["base"]


class Icl(Section):
    """The model as it is, with example pairs in the prompt."""

    method: Literal["icl"]
    examples: Positive = 4
    """Number of training pairs in the prompt: from the test domain or, if that is unseen, from the mixture."""
    retrieval: Literal["random", "bm25"] = "random"
    """How they are chosen; `bm25` takes those with the most similar sources."""
    seed: Seed = 0
    """Seed of `random`."""


class TuningResources(Section):
    """Resources of a tuning job of this variant."""

    gpu: Annotated[int, Field(ge=0)] | None = None
    """Replaces the key in `models.*.resources`."""
    mem_mb: Positive | None = None
    """Replaces the key in `models.*.resources`."""
    runtime: Positive | None = None
    """Replaces the key in `models.*.resources`."""
    checkpoint_seconds: Positive | None = None
    """Replaces the key in `models.*.resources`."""
    device_map: DeviceMap | None = None
    """Replaces the key in `models.*.resources`."""
    nodes: Positive | None = None
    """Replaces the key in `models.*.resources`."""
    threads: Positive = 1
    """CPU cores."""

    def over(self, shared: Resources) -> Resources:
        """The resources of a model, with these in place of its own."""
        return shared.model_copy(update=self.model_dump(exclude={"threads"}, exclude_none=True))


class Trained(Section):
    """Keys of every method that trains."""

    learning_rate: Rates
    """Peak rate, or a grid from which dev chooses (`trials`)."""
    resources: TuningResources | None = Field(None, exclude_if=lambda resources: resources is None)
    """Resources of its tuning jobs, in place of the model's."""

    @property
    def grid(self) -> list[float]:
        """The rates to try, ascending; empty for a fixed rate."""
        return sorted(self.learning_rate) if isinstance(self.learning_rate, list) else []


class Full(Trained):
    """Tunes all weights."""

    method: Literal["full"]
    optimizer: Literal["adamw", "adamw-offload"] = "adamw"
    """`adamw`: all on the GPU, in float32. `adamw-offload`: float32 masters and Adam's states in the machine's memory
    (docs/reproducing-the-paper.md)."""


class Lora(Trained):
    """LoRA on the FFN modules (PEFT)."""

    method: Literal["lora"]
    rank: Positive | None = None
    """Rank of every module; by default 16."""
    equal_to: Slug | None = None
    """Neuron variant to match: the rank is the one whose number of parameters is nearest."""
    alpha: Positive | None = None
    """Scaling numerator; by default twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the low-rank product."""
    merged: bool = Field(False, exclude_if=lambda merged: not merged)
    """Translate with the LoRA merged into the weights, in the model's dtype, rather than apart in float32."""

    @model_validator(mode="after")
    def _one_rank(self) -> "Lora":
        if None not in (self.rank, self.equal_to):
            raise ValueError("at most one of rank and equal_to can be given")
        return self


class Adapters(Trained):
    """One bottleneck adapter per domain, after every FFN."""

    method: Literal["adapters"]
    bottleneck: Positive = 16
    """Width of an adapter."""
    route: Literal["domain", "source_loss"] = Field("domain", exclude_if=lambda route: route == "domain")
    """Adapter for a seen domain's test set: its own or, as for unseen domains, the one with the lowest loss on the
    sources."""


class Neurons(Trained):
    """Neurons or attention heads, selected by the criterion of that name (docs/method.md)."""

    method: Literal[
        "caneft",
        "caneft-geometric",
        "caneft-harmonic",
        "joint",
        "importance",
        "activation",
        "gradient",
        "random",
        "bottom",
        "specific",
        "caneft-attention",
    ]
    fraction: Share | None = None
    """Budget, in place of the one in `selection`."""
    parameters: Positive | None = None
    """Budget, in place of the one in `selection`."""
    task_relevant: Share | None = None
    """Replaces the key in `selection`; `task_relevant: null` switches the mask off."""
    task_relevant_scope: Scope | None = Field(None, exclude_if=lambda scope: scope is None)
    """Replaces the key in `selection`; `task_relevant: null` switches the mask off."""
    active_share: Share | None = Field(None, exclude_if=lambda share: share is None)
    """For `specific`: only neurons whose probability of activation is in this top share (0.05 in LAPE)."""
    among: list[Half] = Field([], exclude_if=operator.not_)
    """For `random`: only neurons in all of these halves."""
    layers_of: Slug | None = None
    """For `random`: as many neurons in each layer as this variant has."""

    @property
    def unit(self) -> str:
        """What is selected: `neuron` or `head`."""
        return "head" if self.method == "caneft-attention" else "neuron"

    @property
    def masked(self) -> bool:
        """Whether only task-relevant neurons are its candidates."""
        return self.method in MASKED

    @model_validator(mode="after")
    def _one_budget(self) -> "Neurons":
        if None not in (self.fraction, self.parameters):
            raise ValueError("at most one of fraction and parameters can be given")
        if self.active_share is not None and self.method != "specific":
            raise ValueError("active_share goes with method: specific only")
        if self.among and self.method != "random":
            raise ValueError("among goes with method: random only")
        if len(of := [half.partition("-")[2] for half in self.among]) > len(set(of)):
            raise ValueError("among names both halves, or one twice: every neuron is in one half only")
        if self.layers_of is not None:
            if self.method != "random":
                raise ValueError("layers_of goes with method: random only")
            if self.fraction or self.parameters:
                raise ValueError("layers_of is a budget, so neither fraction nor parameters can be given")
        return self


Method = Annotated[Base | Icl | Full | Lora | Adapters | Neurons, Field(discriminator="method")]
