"""Takes from a configuration only the parts that a step's result depends on: its settings (`caneft.plan.settings`)."""

from collections.abc import Mapping

from caneft import config
from caneft.config import Config
from caneft.config import languages as spoken
from caneft.config.prompts import PromptSettings
from caneft.plan.settings import (
    ChoiceSettings,
    CorpusSettings,
    DumpSettings,
    FetchSettings,
    InformationSettings,
    MixtureSettings,
    PilotSettings,
    PretrainingSettings,
    PretrainingTextSettings,
    ScoreSettings,
    SelectionSettings,
    StabilitySettings,
    TranslationSettings,
    TuneSettings,
)

SERVING = {"merged", "route"}
"""Keys of methods that affect translation, not tuning; settings of tuning leave them at their defaults."""

ELSEWHERE = {"pairs_per_domain", "temperature", "pairs", "dev_pairs_per_domain", "seed", "keep_full_weights"}
"""Keys of `tuning` that affect the draw of the mixture, or no result at all; likewise left at their defaults."""


def metric(configuration: Config, name: str) -> str:
    """JSON of a section `scoring` with only the origin of this neural metric's checkpoint."""
    origin = {"hub", "revision", "path", "tokenizer"}
    return configuration.scoring.model_dump_json(include={name: origin})


def metric_pairs(configuration: Config, name: str) -> PretrainingTextSettings:
    """Settings of the text on which the workflow trains a metric."""
    return _pretraining_text(configuration, configuration.scoring.neural[name].train.corpora)


def prompt(configuration: Config, model: str, direction: str) -> PromptSettings:
    """The prompt, with the text to complete at its default if the model cannot get it. A model that the workflow
    pretrains has a chat template."""
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
    """The section, with `language_bytes` at its default if languages are not checked."""
    section, ignored = configuration.cleaning, {"language_bytes"}
    return section if section.wrong_language == "drop" else config.Cleaning(**section.model_dump(exclude=ignored))


def languages(configuration: Config, direction: str) -> tuple[str, str] | None:
    """Codes of a direction's source and target language if `cleaning` checks languages, else None."""
    return None if configuration.cleaning.wrong_language == "keep" else spoken.of_direction(direction)


def fetching(sources: Mapping[str, config.Source]) -> FetchSettings:
    """Settings of downloads, without the later draw (`limit`, `seed`), which does not change what is downloaded."""
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
    """Settings of a dump. seed: the final seed whose own draw is dumped; None for the shared draw.

    A final seed's own draw has the seed `importance.seed` + 1 + seed, so no two draws share one. `draws` is left out,
    so that `per_seed` keeps the shared dumps.
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
    gamma = budget.gamma if budget is shared else None  # no entry of `methods` has a gamma
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
    """Settings of tuning. rate: the one that a trial tries."""
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
    """Settings for choosing a rate. They hold only the judging metric, so a new metric in tables repeats no choice."""
    domains = sorted(configuration.mixtures[mixture][direction].domains)
    target = config.target_code(direction)
    return ChoiceSettings(metric=configuration.scoring.judge, target_language=target, domains=domains)


def reporting(configuration: Config) -> str:
    """JSON of the configuration without folders and resources, for tables and figures.

    It has every key that is set, even to its default: `task_relevant: null` means something else than no such key.
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
