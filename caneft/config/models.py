"""Sections about base models."""

import operator
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from caneft.config.corpora import PretrainingSource
from caneft.config.section import File, HubName, Positive, Section, Seed, Slug

ORIGINS = ("hub", "path", "package", "pretrain")
PackageName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


class PretrainingCorpus(Section):
    """A corpus that a base model is pretrained on."""

    direction: Slug
    """Direction of its pairs."""
    corpus: PretrainingSource
    """Where the pairs come from."""


class Pretraining(Section):
    """A small base, pretrained by the workflow."""

    architecture: Literal["llama", "qwen2", "gemma2"] = "llama"
    """Its architecture."""
    corpora: Annotated[list[PretrainingCorpus], Field(min_length=1)]
    """Training text of model and tokenizer."""
    hidden_size: Positive = 96
    """Size of the decoder."""
    layers: Positive = 3
    """Size of the decoder."""
    intermediate_size: Positive = 384
    """Size of the decoder."""
    heads: Positive = 4
    """Size of the decoder."""
    vocabulary: Annotated[int, Field(ge=300)] = 1200
    """Entries of the byte-level BPE tokenizer."""
    steps: Positive = 1600
    """Optimizer steps."""
    tokens_per_step: Positive = 1000
    """Tokens of a step, padding included."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak rate of AdamW; 5 % of the steps are warm-up."""
    max_tokens: Positive = 256
    """Longer examples are left out and counted."""
    seed: Seed = 0
    """Seed of weights and data order."""


DeviceMap = Literal["none", "auto", "balanced", "sequential"]
DEVICE_MAPS: tuple[DeviceMap, ...] = get_args(DeviceMap)


def device_map(text: str) -> DeviceMap:
    """The device map of this name or, as in the resources of jobs, of this index in `DEVICE_MAPS`."""
    return DEVICE_MAPS[int(text) if text.isdigit() else DEVICE_MAPS.index(text)]  # type: ignore[arg-type]


class Resources(Section):
    """Resources that a job of a model requests from the scheduler."""

    gpu: Annotated[int, Field(ge=0)] = 0
    """GPUs of a job (docs/scaling.md). 0: the CPU, unless CUDA_VISIBLE_DEVICES or Slurm shows the job a GPU, which jobs
    then share."""
    mem_mb: Positive | None = None
    """Memory in MB; by default computed for each step (docs/scaling.md)."""
    runtime: Positive = 120
    """Time limit in minutes."""
    translation_runtime: Positive | None = None
    """Time limit of a translation job; by default `runtime`."""
    checkpoint_seconds: Positive = 300
    """Seconds between checkpoints of tuning; more if they would take over a tenth of the time."""
    device_map: DeviceMap = "none"
    """How accelerate spreads a model over several GPUs."""
    nodes: Positive = 1
    """Under Slurm, nodes of a tuning or importance job, each with this `gpu` and `mem_mb` (docs/scaling.md)."""


class Model(Section):
    """A base model: exactly one of `hub`, `path`, `package` and `pretrain`."""

    hub: HubName | None = None
    """Name on the Hugging Face hub."""
    revision: str | None = None
    """Revision on the hub."""
    path: File | None = None
    """Folder of a Hugging Face model, or a GGUF file."""
    package: PackageName | None = Field(None, exclude_if=lambda package: package is None)
    """Import name of an installed package that holds a GGUF file."""
    pretrain: Pretraining | None = None
    """A small base, pretrained by the workflow."""
    trust_remote_code: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Run the model's own Python files. Read them first, and pin `revision`."""
    allow_pickle: Annotated[bool, Field(exclude_if=operator.not_)] = False
    """Read `pytorch_model*.bin` if there is no `*.safetensors`; only tensors are loaded."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the frozen weights."""
    scale_exponent: int | None = None
    """Replaces `importance.scale_exponent`."""
    resources: Resources = Resources()
    """Resources of its jobs."""

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        given = [name for name in ORIGINS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(ORIGINS)} is needed, found {' and '.join(given) or 'none'}")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision goes with hub only")
        if (self.pretrain is not None or self.quantised) and (self.trust_remote_code or self.allow_pickle):
            raise ValueError("trust_remote_code and allow_pickle go with hub, and with path to a folder, only")
        return self

    @property
    def quantised(self) -> bool:
        """Whether its weights come in a GGUF file."""
        return self.package is not None or (self.path or "").endswith(".gguf")
