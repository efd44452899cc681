"""What each step's result depends on: the parts of the configuration that its job is given, and no others.

A rule puts the JSON of these into its params, the step reads the same JSON back. So a change of the configuration
reruns exactly the stages whose results it changes. Labels, resources and folders are in none of them.
"""

import operator
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from caneft import config
from caneft.config import Config, Section
from caneft.config import languages as spoken
from caneft.config.metrics import neural_scores
from caneft.config.names import SEEN
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


class Output(Section):
    """What one run made of one test set. Paths are relative to `results_root`."""

    variant: str
    seed: int | None
    domains: list[str]
    """Those that the tables show."""
    testset: str
    folder: str

    @property
    def translations(self) -> str:
        return f"{self.folder}/translations/{self.testset}.jsonl"

    def segments(self, metric: str) -> str:
        """Segment scores of a neural metric."""
        return neural_scores(f"{self.folder}/scores", metric)


class System(Section):
    """A run that is compared, and the test sets that it translated."""

    variant: str
    seed: int | None
    folder: str
    testsets: list[str]


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

    @property
    def outputs(self) -> list[Output]:
        """Of all systems, test set by test set: `seen` holds all seen domains, any other the domain of its name."""
        return [
            Output(
                variant=system.variant,
                seed=system.seed,
                domains=self.seen if testset == SEEN else [testset],
                testset=testset,
                folder=system.folder,
            )
            for system in self.systems
            for testset in system.testsets
        ]


SERVING = {"merged", "route"}
"""Keys of methods that belong to their translations, not to what is tuned; left at their defaults."""

ELSEWHERE = {"pairs_per_domain", "temperature", "pairs", "dev_pairs_per_domain", "seed", "keep_full_weights"}
"""Keys of `tuning` that belong to the draw of the mixture, or to no result at all; left at their defaults."""


def metric(configuration: Config, name: str) -> str:
    """JSON of a section `scoring` that says where this neural metric's checkpoint comes from, and no more."""
    origin = {"hub", "revision", "path", "tokenizer"}
    return configuration.scoring.model_dump_json(include={name: origin})


def metric_pairs(configuration: Config, name: str) -> PretrainingTextSettings:
    """What a metric is trained on here."""
    return _pretraining_text(configuration, configuration.scoring.neural[name].train.corpora)


def prompt(configuration: Config, model: str, direction: str) -> PromptSettings:
    """With the text to complete at its default where no model could get it; one that is pretrained here can chat."""
    own = configuration.directions[direction]
    said = own.prompt or configuration.prompt
    open_form = said.form == "auto" and configuration.models[model].pretrain is None
    completion = said.completion if open_form or said.form == "completion" else config.COMPLETION
    return PromptSettings(
        instruction=said.instruction,
        source_language=own.source_language,
        target_language=own.target_language,
        form=said.form,
        completion=completion,
    )


def corpus(configuration: Config, direction: str, domain: str) -> CorpusSettings:
    return CorpusSettings(
        domain=configuration.directions[direction].domains[domain],
        cleaning=cleaning(configuration),
        languages=languages(configuration, direction),
    )


def cleaning(configuration: Config) -> config.Cleaning:
    """The section, with `language_bytes` at its default where no language is asked for."""
    section, ignored = configuration.cleaning, {"language_bytes"}
    return section if section.wrong_language == "drop" else config.Cleaning(**section.model_dump(exclude=ignored))


def languages(configuration: Config, direction: str) -> tuple[str, str] | None:
    """Codes of the languages of a direction's two sides, where `cleaning` asks for them."""
    return None if configuration.cleaning.wrong_language == "keep" else spoken.of_direction(direction)


def fetching(sources: Mapping[str, config.Source]) -> FetchSettings:
    """Of a corpus; how many pairs are drawn from it later says nothing about what is downloaded."""
    whole = {part: source.model_copy(update={"limit": None, "seed": 0}) for part, source in sources.items()}
    return FetchSettings(sources=whole)


def pretraining_text(configuration: Config, model: str) -> PretrainingTextSettings:
    return _pretraining_text(configuration, configuration.models[model].pretrain.corpora)


def _pretraining_text(configuration: Config, corpora: list) -> PretrainingTextSettings:
    return PretrainingTextSettings(
        corpora=corpora,
        cleaning=cleaning(configuration),
        languages={corpus.direction: languages(configuration, corpus.direction) for corpus in corpora},
    )


def pretraining(configuration: Config, model: str) -> PretrainingSettings:
    settings = configuration.models[model].pretrain
    directions = sorted({corpus.direction for corpus in settings.corpora})
    return PretrainingSettings(pretraining=settings, prompts={d: prompt(configuration, model, d) for d in directions})


def dump(
    configuration: Config, model: str, direction: str, unit: str = "neuron", seed: int | None = None
) -> DumpSettings:
    """seed: the final seed whose own draw is dumped; None: the shared draw.

    An own draw's seed is `importance.seed` + 1 + seed, so no two draws share one. `draws` is left out: switching it on
    keeps the shared dumps.
    """
    shared = configuration.importance
    own = configuration.models[model].scale_exponent
    changes = {"auto": config.AutoSamples(), "draws": "shared"} | ({} if own is None else {"scale_exponent": own})
    changes |= {} if seed is None else {"seed": shared.seed + 1 + seed}
    importance = shared.model_copy(update=changes)
    return DumpSettings(
        importance=importance,
        prompt=prompt(configuration, model, direction),
        dtype=configuration.models[model].dtype,
        unit=unit,
    )


def information(configuration: Config) -> InformationSettings:
    selection = configuration.selection
    return InformationSettings(**{name: getattr(selection, name) for name in InformationSettings.model_fields})


def selection(configuration: Config, variant: str) -> SelectionSettings:
    own, shared = configuration.methods[variant], configuration.selection
    budget = own if own.fraction or own.parameters else shared
    task_relevant = own.task_relevant if "task_relevant" in own.model_fields_set else shared.task_relevant
    scope = (own.task_relevant_scope or shared.task_relevant_scope) if own.masked else "model"
    found = _selection(own.method, budget, shared, task_relevant, scope)
    return found.model_copy(update={"active_share": own.active_share, "among": own.among})


def _selection(
    criterion: str,
    budget: config.Selection | config.Neurons,
    shared: config.Selection,
    task_relevant: float | None,
    scope: config.Scope,
) -> SelectionSettings:
    gamma = budget.gamma if budget is shared else None  # which no entry of `methods` has
    return SelectionSettings(
        criterion=criterion,
        fraction=budget.fraction,
        gamma=gamma,
        parameters=budget.parameters,
        per_layer=shared.per_layer,
        task_relevant=task_relevant,
        task_relevant_scope=scope,
        budget_task_relevant=None if gamma is None else shared.task_relevant,
        budget_task_relevant_scope="model" if gamma is None else shared.task_relevant_scope,
    )


def stability(configuration: Config) -> StabilitySettings:
    shared = configuration.selection
    budget = _selection("caneft", shared, shared, shared.task_relevant, shared.task_relevant_scope)
    return StabilitySettings(
        bins=shared.bins,
        length_strata=shared.length_strata,
        splits=shared.stability_splits,
        seed=shared.seed,
        budget=budget,
    )


def pilot(configuration: Config, model: str, direction: str) -> PilotSettings:
    return PilotSettings(
        auto=configuration.importance.auto,
        dump=dump(configuration, model, direction),
        information=information(configuration),
        stability=stability(configuration),
    )


def mixture(configuration: Config, direction: str, name: str) -> MixtureSettings:
    tuning, domains = configuration.tuning, sorted(configuration.mixtures[name][direction].domains)
    return MixtureSettings(
        domains=domains,
        pairs_per_domain=tuning.pairs_per_domain,
        temperature=tuning.temperature,
        pairs={domain: tuning.pairs[domain] for domain in domains if domain in tuning.pairs},
        dev_pairs_per_domain=tuning.dev_pairs_per_domain,
        seed=tuning.seed,
    )


def tune(configuration: Config, model: str, direction: str, variant: str, rate: float | None = None) -> TuneSettings:
    """rate: of a trial."""
    method = configuration.methods[variant]
    fields = type(method).model_fields
    defaults = {name: fields[name].default for name in SERVING & set(fields)}
    method = method.model_copy(update=defaults | {"resources": None})
    if rate is not None:
        method = method.model_copy(update={"learning_rate": rate})
    return TuneSettings(
        method=method,
        tuning=config.Tuning(**configuration.tuning.model_dump(exclude=ELSEWHERE)),
        prompt=prompt(configuration, model, direction),
        dtype=configuration.models[model].dtype,
    )


def translation(configuration: Config, model: str, direction: str, variant: str) -> TranslationSettings:
    method = configuration.methods[variant]
    return TranslationSettings(
        decoding=configuration.decoding,
        prompt=prompt(configuration, model, direction),
        dtype=configuration.models[model].dtype,
        icl=method if isinstance(method, config.Icl) else None,
        lora=("merged" if method.merged else "unmerged") if isinstance(method, config.Lora) else None,
        route=method.route if isinstance(method, config.Adapters) else "domain",
    )


def score(configuration: Config, direction: str) -> ScoreSettings:
    return ScoreSettings(metrics=configuration.scoring.metrics, target_language=config.target_code(direction))


def choice(configuration: Config, direction: str, mixture: str) -> ChoiceSettings:
    """By the judging metric and no other: tables with more metrics choose no rate again."""
    domains = sorted(configuration.mixtures[mixture][direction].domains)
    target = config.target_code(direction)
    return ChoiceSettings(metric=configuration.scoring.judge, target_language=target, domains=domains)


def reporting(configuration: Config) -> str:
    """JSON of the configuration without folders and resources, for tables and figures.

    What is set is in it, at its default too: `task_relevant: null` says something that its absence does not.
    """
    resources = {"__all__": {"resources"}}
    hidden: Mapping = {
        "results_root": True,
        "data_root": True,
        "verify_up_to_gb": True,
        "models": resources,
        "methods": resources,
    }
    return configuration.model_dump_json(exclude=hidden, exclude_unset=True)
