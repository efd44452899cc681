"""The settings of each step, which hold all that its result depends on. `caneft.plan.parts` makes them.

A rule puts their JSON into its params, and the step reads it back. So a change of the configuration reruns exactly the
stages whose results it changes. No settings contain labels, resources or folders.
"""

import operator
from typing import Literal

from pydantic import Field

from caneft import config
from caneft.config import Section
from caneft.config.metrics import neural_scores
from caneft.config.names import TEST
from caneft.config.prompts import PromptSettings


class CorpusSettings(Section):
    domain: config.Domain
    cleaning: config.Cleaning
    languages: tuple[str, str] | None
    """Codes of source and target language if `cleaning` checks languages, else None."""


class FetchSettings(Section):
    sources: dict[str, config.CorpusSource]
    """Remote sources, by split, or by index in the training text of a model or metric."""


class PretrainingTextSettings(Section):
    corpora: list[config.PretrainingCorpus | config.MetricCorpus]
    cleaning: config.Cleaning
    languages: dict[str, tuple[str, str] | None]
    """As in `CorpusSettings`, by direction."""


class PretrainingSettings(Section):
    pretraining: config.Pretraining
    prompts: dict[str, PromptSettings]
    """By direction."""


class DumpSettings(Section):
    importance: config.Importance
    prompt: PromptSettings
    dtype: str
    unit: Literal["neuron", "head"] = Field("neuron", exclude_if=lambda unit: unit == "neuron")
    """The unit that is scored. Not written for neurons, so that their finished dumps stay valid."""


class InformationSettings(Section):
    bins: int
    length_strata: int = 1
    null_permutations: int
    error_rate: float
    seed: int


class SelectionSettings(Section):
    criterion: str
    fraction: float | None
    gamma: float | str | None
    parameters: int | None = None
    """One of these three sets the budget."""
    per_layer: int | None = None
    task_relevant: float | None
    """The mask of this variant's own candidates."""
    task_relevant_scope: config.Scope = Field("model", exclude_if=lambda scope: scope == "model")
    """Not written if it is `model`, and neither is the budget's scope, so that finished selections stay valid."""
    budget_task_relevant: float | None
    """The mask of the candidates that a gamma counts: shared, so that every variant gets the same number of neurons."""
    budget_task_relevant_scope: config.Scope = Field("model", exclude_if=lambda scope: scope == "model")
    active_share: float | None = Field(None, exclude_if=lambda share: share is None)
    """For `specific`; not written if None."""
    among: list[config.Half] = Field([], exclude_if=operator.not_)
    """For `random`; not written if empty."""

    @property
    def mask(self) -> Literal["model", "layer", "off"]:
        """The scope in which `task_relevant` ranks a neuron; `off` without a mask."""
        return "off" if self.task_relevant is None else self.task_relevant_scope


class StabilitySettings(Section):
    bins: int
    length_strata: int = 1
    splits: int
    seed: int
    budget: SelectionSettings
    """The shared budget of `caneft`: the number of neurons, and the mask of task-relevant ones."""


class PilotSettings(Section):
    auto: config.AutoSamples
    dump: DumpSettings
    information: InformationSettings
    stability: StabilitySettings


class MixtureSettings(Section):
    domains: list[str]
    pairs_per_domain: int
    temperature: float | None
    pairs: dict[str, int]
    """Pairs of individual domains of this mixture."""
    dev_pairs_per_domain: int
    seed: int


class TuneSettings(Section):
    method: config.Method
    """With one learning rate, or the grid from which the best is taken."""
    tuning: config.Tuning
    prompt: PromptSettings
    dtype: str


class TranslationSettings(Section):
    decoding: config.Decoding
    prompt: PromptSettings
    dtype: str
    icl: config.Icl | None = None
    """How the prompt gets examples; None if it has none."""
    lora: Literal["unmerged", "merged"] | None = Field(None, exclude_if=lambda lora: lora is None)
    """How a LoRA is applied in translation. Not written for other methods."""
    route: Literal["domain", "source_loss"] = Field("domain", exclude_if=lambda route: route == "domain")
    """How the adapter that translates a seen domain's test set is chosen."""


class ScoreSettings(Section):
    metrics: list[str]
    target_language: str | None
    """Code, such as `en`; None if the direction is not named by codes. Then no metric needs one."""


class ChoiceSettings(Section):
    metric: str
    """The metric that judges rates."""
    target_language: str | None
    domains: list[str]


class System(Section):
    """A run that is compared. Paths are relative to `results_root`."""

    variant: str
    seed: int | None
    folder: str

    @property
    def translations(self) -> str:
        return f"{self.folder}/translations/{TEST}.jsonl"

    def segments(self, metric: str) -> str:
        """Path of the segment scores of a neural metric."""
        return neural_scores(f"{self.folder}/scores", metric)


class SignificanceSettings(Section):
    """Settings of the significance tests. They repeat nothing, as they are one word of a command, which Linux limits to
    128 kB."""

    systems: list[System]
    metrics: list[str]
    neural: list[str]
    """Metrics whose segment scores are in files."""
    target_language: str | None
    seen: list[str]
    unseen: list[str]
    baseline: str | None
    method: str | None
    rivals: dict[str, list[str]]
    """Candidates for the best rival of `method`, and the files with their dev results."""
    rival_by: str | None
    """The dev measure that ranks them: `chrf`, `exact` or `dev_loss`."""
    resamples: int
    bootstrap: int
    seed: int
