"""Sections about metrics."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from caneft.config.corpora import CorpusSource
from caneft.config.section import File, HubName, Positive, Section, Seed, Slug, Unique

NEURAL = ("comet", "kiwi", "xcomet", "metricx")
"""Names of the neural metrics."""


class Measure(NamedTuple):
    """The properties of a metric that are needed to compare and print its scores.

    lower_is_better: it counts errors. of_words: it depends on where words end.
    """

    label: str
    lower_is_better: bool = False
    of_words: bool = False


MEASURES = {
    "bleu": Measure("BLEU", of_words=True),
    "chrf": Measure("chrF2"),
    "ter": Measure("TER", lower_is_better=True, of_words=True),
    "exact": Measure("exact match (%)"),
    "comet": Measure("COMET"),
    "kiwi": Measure("COMETKiwi"),
    "xcomet": Measure("XCOMET"),
    "metricx": Measure("MetricX", lower_is_better=True),
}
"""All metrics, including neural ones."""
LABELS = {name: measure.label for name, measure in MEASURES.items()}


def is_better(metric: str, a: float, b: float) -> bool:
    """Whether a score is better than another one."""
    return a < b if MEASURES[metric].lower_is_better else a > b


def best(metric: str, scores: Mapping[str, float]) -> str:
    """Name of the best of several scores; the first among equals."""
    sign = -1 if MEASURES[metric].lower_is_better else 1
    return max(scores, key=lambda name: sign * scores[name])


class MetricResources(Section):
    """Resources that a scoring job requests from the scheduler."""

    gpu: Annotated[int, Field(ge=0, le=1)] = 0
    """As in `models.*.resources`."""
    mem_mb: Positive = 4000
    """As in `models.*.resources`."""
    runtime: Positive = 60
    """As in `models.*.resources`."""
    batch_size: Positive = 16
    """Segments per forward pass."""


class MetricCorpus(Section):
    """A corpus that a metric is trained on."""

    direction: Slug
    """Direction of its pairs."""
    corpus: CorpusSource
    """Where the pairs come from."""


class MetricTraining(Section):
    """A small metric for demonstrations, trained on corrupted targets. It cannot judge real translations."""

    corpora: Annotated[list[MetricCorpus], Field(min_length=1)]
    """Pairs whose targets are corrupted."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the pairs held out to compare its scores with the level of corruption."""
    epochs: Positive = 4
    """Settings of its training by AdamW."""
    batch_size: Positive = 32
    """Settings of its training by AdamW."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Settings of its training by AdamW."""
    hidden_size: Annotated[int, Field(gt=0, multiple_of=4)] = 64
    """Size of its encoder, which has two layers and four heads, and of its tokenizer."""
    vocabulary: Annotated[int, Field(ge=100)] = 2000
    """Size of its encoder, which has two layers and four heads, and of its tokenizer."""
    seed: Seed = 0
    """Seed of corruptions, weights and order."""


class NeuralMetric(Section):
    """A metric that is a model."""

    hub: HubName | None = None
    """Checkpoint on the Hugging Face hub."""
    revision: str | None = None
    """Revision on the hub."""
    path: File | None = None
    """Folder of a local checkpoint, with `hparams.yaml` and `checkpoints/`."""
    resources: MetricResources = MetricResources()
    """Resources of a scoring job."""

    @model_validator(mode="after")
    def _one_origin(self) -> "NeuralMetric":
        origins = [name for name in ("hub", "path", "train") if name in type(self).model_fields]
        given = [name for name in origins if getattr(self, name) is not None]
        if len(given) != 1:
            listed = f"{', '.join(origins[:-1])} and {origins[-1]}"
            raise ValueError(f"exactly one of {listed} is needed, found {' and '.join(given) or 'none'}")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision goes with hub only")
        return self


class Comet(NeuralMetric):
    """COMET: `hub: Unbabel/wmt22-comet-da`."""

    train: MetricTraining | None = None
    """Train a small one."""


class MetricX(NeuralMetric):
    """MetricX, from 0 to 25 errors: `hub: google/metricx-24-hybrid-large-v2p6`."""

    path: File | None = None
    """Folder of a local checkpoint, with `config.json` and weights."""
    tokenizer: HubName = "google/mt5-xl"
    """Tokenizer on the hub; published checkpoints have none."""


class Scoring(Section):
    """Metrics of the tables."""

    metrics: Unique[Literal["bleu", "chrf", "ter", "exact"]] = ["bleu", "chrf"]
    """The first is the headline. `exact`: percentage of outputs equal to the reference. `ter` counts edits: **lower is
    better**, so it cannot be the headline."""
    comet: Comet | None = None
    """COMET. Neural metrics need a second environment (docs/environments.md)."""
    kiwi: NeuralMetric | None = None
    """COMETKiwi, which needs no reference: `hub: Unbabel/wmt22-cometkiwi-da` (gated)."""
    xcomet: NeuralMetric | None = None
    """XCOMET: `hub: Unbabel/XCOMET-XL` (gated)."""

    metricx: MetricX | None = None
    """MetricX; lower is better."""

    @model_validator(mode="after")
    def _headline(self) -> "Scoring":
        if MEASURES[self.metrics[0]].lower_is_better:
            raise ValueError(
                f"metrics begins with {self.metrics[0]}, which counts errors; the first one is the headline, of which"
                " the verdicts take more to be better. Put another one before it, such as chrf"
            )
        return self

    @property
    def neural(self) -> dict[str, NeuralMetric]:
        """The configured neural metrics, by name."""
        return {name: found for name in NEURAL if (found := getattr(self, name)) is not None}

    @property
    def all(self) -> list[str]:
        """Names of all metrics, in the order of the tables."""
        return [*self.metrics, *self.neural]

    @property
    def of_words(self) -> list[str]:
        """Names of the metrics that depend on where words end."""
        return [name for name in self.all if MEASURES[name].of_words]

    @property
    def judge(self) -> str:
        """The metric that chooses learning rates: `exact` if it is the headline, else `chrf`."""
        return "exact" if self.metrics[0] == "exact" else "chrf"


def neural_scores(folder: str, metric: str) -> str:
    """Path of a neural metric's segment scores. folder: that of the other scores of a run, or of copied sources."""
    return f"{folder}/neural/{metric}.json"
