"""What each step's result depends on, as its job is given it. `caneft.plan.parts` takes these from a configuration.

A rule puts the JSON of these into its params, the step reads the same JSON back. So a change of the configuration
reruns exactly the stages whose results it changes. Labels, resources and folders are in none of them.
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
    """Codes of source and target language, where `cleaning` asks which language a text is in."""


class FetchSettings(Section):
    sources: dict[str, config.CorpusSource]
    """Remote ones, by split, or by number in pretraining text."""


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
    """What is scored. Not written for neurons: their dumps stand beside those of heads, and stay."""


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
    """One of these three is the budget."""
    per_layer: int | None = None
    task_relevant: float | None
    """Of this variant's own candidates."""
    task_relevant_scope: config.Scope = Field("model", exclude_if=lambda scope: scope == "model")
    """Not written where it is the model, nor is the one below: finished selections stay."""
    budget_task_relevant: float | None
    """Of the candidates among which a gamma is counted: shared, so that every variant gets as many neurons."""
    budget_task_relevant_scope: config.Scope = Field("model", exclude_if=lambda scope: scope == "model")
    active_share: float | None = Field(None, exclude_if=lambda share: share is None)
    """Of `specific`; not written without one."""
    among: list[config.Half] = Field([], exclude_if=operator.not_)
    """Of `random`; not written without any."""

    @property
    def mask(self) -> Literal["model", "layer", "off"]:
        """What `task_relevant` ranks a neuron among; `off` where there is no mask."""
        return "off" if self.task_relevant is None else self.task_relevant_scope


class StabilitySettings(Section):
    bins: int
    length_strata: int = 1
    splits: int
    seed: int
    budget: SelectionSettings
    """The shared one of `caneft`: how many neurons, and which of them are task-relevant."""


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
    """Of its own domains."""
    dev_pairs_per_domain: int
    seed: int


class TuneSettings(Section):
    method: config.Method
    """With one learning rate, or the grid of which the best is taken."""
    tuning: config.Tuning
    prompt: PromptSettings
    dtype: str


class TranslationSettings(Section):
    decoding: config.Decoding
    prompt: PromptSettings
    dtype: str
    icl: config.Icl | None = None
    """How the prompt gets examples, if it does."""
    lora: Literal["unmerged", "merged"] | None = Field(None, exclude_if=lambda lora: lora is None)
    """How a LoRA is served. Not written for other methods."""
    route: Literal["domain", "source_loss"] = Field("domain", exclude_if=lambda route: route == "domain")
    """Which of several adapters translates a test set of a seen domain."""


class ScoreSettings(Section):
    metrics: list[str]
    target_language: str | None
    """Code, such as `en`; None where the direction is not named by codes, so that no metric needs one."""


class ChoiceSettings(Section):
    metric: str
    """By which rates are judged."""
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
        """Segment scores of a neural metric."""
        return neural_scores(f"{self.folder}/scores", metric)


class SignificanceSettings(Section):
    """These go to the step as one word of a command, which Linux limits to 128 kB: nothing stands in it twice."""

    systems: list[System]
    metrics: list[str]
    neural: list[str]
    """Metrics whose segment scores stand in files."""
    target_language: str | None
    seen: list[str]
    unseen: list[str]
    baseline: str | None
    method: str | None
    rivals: dict[str, list[str]]
    """Candidates for the best rival of `method`, and the files that say how they do on dev."""
    rival_by: str | None
    """What they are ranked by on dev: `chrf`, `exact` or `dev_loss`."""
    resamples: int
    bootstrap: int
    seed: int
