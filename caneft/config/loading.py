"""Turns nested dicts into a checked `Config`, or raises one readable message."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from caneft import demo
from caneft.config import languages, trying, yamlfiles
from caneft.config.corpora import (
    Demo,
    DemoDates,
    DemoDatesPretraining,
    DemoPretraining,
    Direction,
    Mixture,
    Source,
    select_on,
    target_code,
)
from caneft.config.messages import explain, explain_problems
from caneft.config.methods import Full, Lora, Method, Neurons, Trained
from caneft.config.names import RESERVED_DIRECTIONS, RESERVED_DOMAINS, RESERVED_METHODS
from caneft.config.paths import missing_files, same_splits, sources
from caneft.config.prompts import template_fields
from caneft.config.root import Config
from caneft.config.section import LAST_SEED
from caneft.demo import dates
from caneft.errors import InputError, did_you_mean

SPOKEN = "source_language", "target_language"
FAULTS = 5
"""Most faults that one message names."""


def load(raw: Mapping[str, Any], files: Sequence[str | Path] = (), check_files: bool = True) -> Config:
    """The validated configuration, cut to its `limit`.

    raw: the merged configuration as nested dicts; files: the files it was read from, for messages.
    check_files: whether every corpus file and model folder must exist.
    Raises InputError of at most ten lines: file, key, line, what was found, what was expected.
    """
    if found := [f"{file}: {said}" for file in files for said in yamlfiles.faults(yamlfiles.tree(file))]:
        raise InputError("\n".join(found[:FAULTS]))
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise InputError(explain(error, Config, raw, files)) from None
    if found := list(problems(config)):
        raise InputError(explain_problems(found, raw, files))
    if check_files and (found := list(missing_files(config)) or list(same_splits(config))):
        raise InputError(explain_problems(found, raw, files))
    return trying.small(config)


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Contradictions between sections, as (key, message)."""
    yield from _reserved_problems("directions", config.directions, RESERVED_DIRECTIONS)
    for direction_name, direction in config.directions.items():
        yield from _reserved_problems(f"directions.{direction_name}.domains", direction.domains, RESERVED_DOMAINS)
    yield from _reserved_problems("methods", config.methods, RESERVED_METHODS)
    yield from _task_problems(config)
    for name, by_direction in config.mixtures.items():
        for direction_name, mixture in by_direction.items():
            yield from _mixture_problems(config, name, direction_name, mixture)
    yield from _pilot_problems(config)
    for name, model in config.models.items():
        for corpus in model.pretrain.corpora if model.pretrain else ():
            if corpus.direction not in config.directions:
                hint = did_you_mean(corpus.direction, config.directions)
                yield f"models.{name}.pretrain.corpora", f"names the direction '{corpus.direction}'. {hint}"
        if model.pretrain and model.pretrain.hidden_size % model.pretrain.heads:
            yield f"models.{name}.pretrain.heads", "must divide hidden_size"
    for name, metric in config.scoring.neural.items():
        train = getattr(metric, "train", None)
        for corpus in train.corpora if train else ():
            if corpus.direction not in config.directions:
                hint = did_you_mean(corpus.direction, config.directions)
                yield f"scoring.{name}.train.corpora", f"names the direction '{corpus.direction}'. {hint}"
    for key, source in sources(config):
        yield from _demo_problems(key, source)
    trained = {d for direction in config.directions.values() for d, entry in direction.domains.items() if entry.train}
    for domain in sorted(config.tuning.pairs.keys() - trained):
        yield "tuning.pairs", f"names '{domain}', a domain without training pairs. {did_you_mean(domain, trained)}"
    yield from _method_problems(config)
    yield from _budget_problems(config)
    yield from _nodes_problems(config)
    yield from _significance_problems(config)
    last = max(config.seeds)
    if config.importance.draws == "per_seed" and (drawn := config.importance.seed + 1 + last) > LAST_SEED:
        said = f"have {last}, whose draw of importance samples (importance.seed + 1 + {last}) has the seed {drawn}"
        yield "seeds", f"{said}; it must be at most {LAST_SEED}. Lower one of them"
    if sum(method.method == "base" for method in config.methods.values()) > 1:
        yield "methods", "has more than one entry with method: base"
    yield from _label_problems(config)


def _reserved_problems(key: str, names: Iterable[str], reserved: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in names:
        if name in reserved:
            yield f"{key}.{name}", f"is reserved: {reserved[name]}. Choose another name"


def _task_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Problems of directions, which may be any task, that lack what the prompt or the metrics need."""
    for name, direction in config.directions.items():
        prompt = config.prompt if direction.prompt is None else direction.prompt
        for (text, template), key in product(prompt.read.items(), SPOKEN):
            if getattr(direction, key) is None and key in template_fields(template):
                yield f"directions.{name}.{key}", f"is missing, but prompt.{text} has the field {{{key}}}"
        yield from _other_names(name, direction)
        if (target := target_code(name)) is None:
            yield from _unnamed_problems(config, name, direction)
        elif (of_words := config.scoring.of_words) and languages.tokenizer(target) is None:
            yield (
                f"directions.{name}",
                f"translates into '{target}', which is written without spaces and which sacreBLEU has no tokenizer for."
                f" So {' and '.join(of_words)} would mean nothing: {languages.INSTEAD}",
            )


def _unnamed_problems(config: Config, name: str, direction: Direction) -> Iterator[tuple[str, str]]:
    """Problems of a direction that is not named by languages."""
    key, unnamed = f"directions.{name}", "is not named by language codes, such as de-en, which"
    if languages.is_ambiguous(name):
        yield key, "can be read in more than one way: write '_' within a code, as in en-fr_ca"
    elif direction.target_language is not None and languages.looks_coded(name):
        yield key, f"is not named by languages. {_meant_codes(name, direction)}"
    elif of_words := config.scoring.of_words:
        reason = f"the metric {of_words[0]} needs for its tokenizer. Rename it, or choose other scoring.metrics"
        yield key, f"{unnamed} {reason}. {_meant_codes(name, direction)}".rstrip()
    elif config.cleaning.wrong_language == "drop":
        yield key, f"{unnamed} cleaning.wrong_language: drop needs. Rename it, or keep such pairs"


def _other_names(name: str, direction: Direction) -> Iterator[tuple[str, str]]:
    """Language names in the prompt that contradict the codes in the direction's name."""
    for tag, key in zip(languages.of_direction(name) or (), SPOKEN, strict=False):
        words = getattr(direction, key)
        if words is not None and not languages.is_called(tag, words):
            own = languages.name(tag)
            yield (
                f"directions.{name}.{key}",
                f"is {words}, whose code is '{languages.named(words)}', but the direction's name has '{tag}'"
                f"{f', the code of {own}' if own else ''}. Rename the direction, or write here what '{tag}' is",
            )


def _meant_codes(name: str, direction: Direction) -> str:
    """Says which parts of a direction's name are not language codes, and which codes were probably meant."""
    spoken = direction.source_language, direction.target_language
    said = []
    for part, language in zip(name.split("-", 1), spoken, strict=False):
        if languages.parsed(part) is None:
            meant = languages.meant(part, language)
            said.append(f"'{part}' is not a language code." + (f" Did you mean '{meant}'?" if meant else ""))
    return " ".join(said)


def _method_problems(config: Config) -> Iterator[tuple[str, str]]:
    grids = {name: m.grid for name, m in config.methods.items() if isinstance(m, Trained) and m.grid}
    sizes = {name: len(grid) for name, grid in grids.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
        yield "methods", f"has grids of learning rates of different sizes, which is not a fair comparison: {listed}"
    for name, grid in grids.items():
        for rate in grid:
            if float(f"{rate:g}") != rate:  # as the name of a trial's folder writes it
                said = f"has the rate {rate!r}; in a grid, rates have six digits at most, such as {rate:g}"
                yield f"methods.{name}.learning_rate", said
    if grids and (both := sorted(set(config.trials.seeds) & set(config.seeds))):
        listed = ", ".join(map(str, both))
        yield "trials.seeds", f"share {listed} with seeds: a trial must not be a final run as well"
    for name, method in config.methods.items():
        yield from _offload_problems(config, name, method)
        for key in ("layers_of", "equal_to") if isinstance(method, Neurons | Lora) else ():
            if (other := getattr(method, key, None)) is not None:
                yield from _reference_problems(config, f"methods.{name}.{key}", other)


def _budget_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Budgets larger than the set of neurons that they are taken from."""
    shared = config.selection
    for name, method in config.methods.items():
        if not isinstance(method, Neurons) or method.layers_of is not None:
            continue
        own = f"methods.{name}"
        has_budget = method.fraction or method.parameters
        key, fraction = (own, method.fraction) if has_budget else ("selection", shared.fraction)
        if fraction is None:
            continue
        has_mask = "task_relevant" in method.model_fields_set
        mask = method.task_relevant if has_mask else shared.task_relevant
        if method.masked and mask is not None and fraction > mask:
            limit = f"{own if has_mask else 'selection'}.task_relevant"
            said = f"is {fraction}, but {limit} leaves only {mask} of all neurons to choose from"
            yield f"{key}.fraction", f"{said}. Lower the first, raise the second, or switch it off with null"
        for label, model in config.models.items() if method.unit == "neuron" and shared.per_layer else ():
            if (base := model.pretrain) is None:
                continue  # its layers are not known until it is read
            asked, most = max(1, round(fraction * base.layers * base.intermediate_size)), base.layers * shared.per_layer
            if asked > most:
                said = f"is {fraction}, {asked} neurons of '{label}', but selection.per_layer leaves {most}"
                yield f"{key}.fraction", f"{said}. Lower the first, or raise the second"


def _label_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Labels for names that do not exist."""
    criteria = get_args(Neurons.model_fields["method"].annotation)  # the table of stability has them all
    domains = (domain for direction in config.directions.values() for domain in direction.domains)
    known = {*config.methods, *criteria, *domains}
    for name in config.report.labels:
        if name not in known:
            yield (
                f"report.labels.{name}",
                f"names no variant, criterion or domain. {did_you_mean(name, known)}",
            )


def _significance_problems(config: Config) -> Iterator[tuple[str, str]]:
    section = config.significance
    for key in ("baseline", "method"):
        name = getattr(section, key)
        if name is not None and name not in config.methods:
            yield f"significance.{key}", f"names the variant '{name}'. {did_you_mean(name, config.methods)}"
    if section.method is not None and section.method == section.baseline:
        yield "significance.method", f"is '{section.method}', as the baseline is; name another variant"


def _offload_problems(config: Config, name: str, method: Method) -> Iterator[tuple[str, str]]:
    if not (isinstance(method, Full) and method.optimizer == "adamw-offload"):
        return
    for label, model in config.models.items():
        resources = method.resources.over(model.resources) if method.resources else model.resources
        if model.dtype == "float16":
            yield (
                f"methods.{name}.optimizer",
                f"is adamw-offload, which cannot scale losses, as '{label}' needs in float16",
            )
        if resources.gpu > 1 and resources.device_map == "none":
            yield (
                f"methods.{name}.resources",
                f"give a job of '{label}' {resources.gpu} GPUs, but adamw-offload keeps its masters in one process.\n"
                "Set gpu: 1, or a device_map, which spreads the model over them",
            )
        if resources.nodes > 1:
            yield (
                f"methods.{name}.resources",
                f"give a job of '{label}' {resources.nodes} nodes, but adamw-offload keeps its masters in one process."
                " Set nodes: 1",
            )


def _nodes_problems(config: Config) -> Iterator[tuple[str, str]]:
    """Resources with several nodes and a device_map, which spreads a model over the GPUs of one node."""
    asked = {f"models.{name}.resources": model.resources for name, model in config.models.items()}
    for (name, method), model in product(config.methods.items(), config.models.values()):
        if isinstance(method, Trained) and method.resources:
            asked.setdefault(f"methods.{name}.resources", method.resources.over(model.resources))
    for key, resources in asked.items():
        if resources.nodes > 1 and resources.device_map != "none":
            yield f"{key}.nodes", f"is {resources.nodes}, but a device_map spreads the model over the GPUs of one node"


def _reference_problems(config: Config, key: str, other: str) -> Iterator[tuple[str, str]]:
    neurons = {name: m for name, m in config.methods.items() if isinstance(m, Neurons) and m.unit == "neuron"}
    if other not in neurons:
        yield key, f"names '{other}', which is not a neuron variant. {did_you_mean(other, neurons)}"
    elif neurons[other].layers_of is not None:
        yield key, f"names '{other}', which itself takes its numbers from '{neurons[other].layers_of}'; name that one"


def _pilot_problems(config: Config) -> Iterator[tuple[str, str]]:
    name, key = config.importance.auto.mixture, "importance.auto.mixture"
    if config.importance.samples != "auto" or name is None:
        return
    if name not in config.mixtures:
        yield key, f"names the mixture '{name}'. {did_you_mean(name, config.mixtures)}"
    for direction, mixture in config.mixtures.get(name, {}).items():
        if len(mixture.domains) < 2:
            yield key, f"is '{name}', which has one domain in direction {direction}; halves are compared on two or more"


def _demo_problems(key: str, source: Source) -> Iterator[tuple[str, str]]:
    if isinstance(source, Demo):
        names, known = [source.domain], (*demo.TWINS[source.language].domains, "general")
    elif isinstance(source, DemoPretraining):
        names, known = source.domains, demo.TWINS[source.language].domains
    elif isinstance(source, DemoDates):
        names, known = [source.domain], tuple(dates.DOMAINS)
    elif isinstance(source, DemoDatesPretraining):
        names, known = source.domains, tuple(dates.DOMAINS)
    else:
        return
    for name in names:
        if name not in known:
            yield key, f"names the built-in domain '{name}'. {did_you_mean(name, known)}"


def _mixture_problems(config: Config, name: str, direction_name: str, mixture: Mixture) -> Iterator[tuple[str, str]]:
    key = f"mixtures.{name}.{direction_name}"
    if direction_name not in config.directions:
        yield key, f"names the direction '{direction_name}'. {did_you_mean(direction_name, config.directions)}"
        return
    domains = config.directions[direction_name].domains
    for domain in [*mixture.domains, *(mixture.test or ())]:
        if domain not in domains:
            hint = did_you_mean(domain, domains)
            yield key, f"names the domain '{domain}', which direction {direction_name} does not have. {hint}"
    for domain in mixture.domains:
        if domain in domains and domains[domain].train is None:
            yield key, f"trains on '{domain}', which has only a test set in direction {direction_name}"
    for variant in mixture.methods or ():
        if variant not in config.methods:
            yield f"{key}.methods", f"names the variant '{variant}'. {did_you_mean(variant, config.methods)}"
    if mixture.rates_on and direction_name not in config.mixtures.get(mixture.rates_on, {}):
        hint = did_you_mean(mixture.rates_on, config.mixtures)
        yield f"{key}.rates_on", f"names the mixture '{mixture.rates_on}' of direction {direction_name}. {hint}"
    yield from _selection_problems(config, name, direction_name, mixture)


def _selection_problems(config: Config, name: str, direction_name: str, mixture: Mixture) -> Iterator[tuple[str, str]]:
    """Problems of the mixture on which a mixture's neurons are selected and its rates chosen."""
    key, selection = f"mixtures.{name}.{direction_name}", select_on(name, mixture)
    is_there = direction_name in config.mixtures.get(selection, {})
    variants = config.methods if mixture.methods is None else mixture.methods
    run = [config.methods[variant] for variant in variants if variant in config.methods]
    if not is_there and mixture.select_on is not None:
        hint = did_you_mean(selection, config.mixtures)
        yield f"{key}.select_on", f"names the mixture '{selection}' of direction {direction_name}. {hint}"
    elif not any(isinstance(method, Neurons) or getattr(method, "equal_to", None) for method in run):
        if not is_there and mixture.rates_on is None and any(getattr(method, "grid", None) for method in run):
            said = f"is needed in direction {direction_name}: learning rates are chosen on the mixture '{selection}'"
            yield f"{key}.rates_on", f"{said}, which does not exist. Name one, such as '{name}' itself"
    elif not is_there:
        yield (
            f"{key}.select_on",
            f"is needed in direction {direction_name}: {_no_second_domain(config, direction_name)}",
        )
    elif len(config.mixtures[selection][direction_name].domains) < 2:
        yield (
            f"{key}.select_on",
            f"is '{selection}' with one domain; every MI is 0 there. Name a mixture of two or more",
        )


def _no_second_domain(config: Config, direction: str) -> str:
    """Says what to do about a mixture of one domain if there is no mixture 'all' to select its neurons on."""
    found = {
        name: by_direction[direction] for name, by_direction in config.mixtures.items() if direction in by_direction
    }
    larger = [name for name, mixture in found.items() if len(mixture.domains) > 1]
    if larger:
        remedy = f"name one of two or more domains: {', '.join(larger)}"
    else:
        remedy = "add a domain, or a mixture 'all' of two or more domains"
    return f"the mixture has one domain, and neurons are selected by what tells domains apart. So {remedy}"
