"""The configuration: one model of it, from which the JSON schema and the reference are generated.

Unknown keys are errors. What pydantic cannot see (that a mixture's domains exist in its direction, say)
is checked by `problems`. `load` is the door: it returns a `Config` or raises one readable `InputError`.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from caneft.config_errors import explain, explain_problems
from caneft.corpora import demo
from caneft.errors import InputError, did_you_mean

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)]
Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, le=1)]

RESERVED_DOMAINS = {"seen": "it names the file that holds a run's translations of its own mixture"}


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- corpora -----------------------------------------------------------------------------------------------------


class Source(Section):
    """What all corpus formats share."""

    limit: Positive | None = None
    """At most so many pairs of the file, drawn with `seed`; file order is kept. Without it, all pairs."""
    seed: int = 0
    """Seed of the draw (and, for the built-in corpora, of the text)."""

    def paths(self) -> tuple[str, ...]:
        """Files that this source reads, relative to `data_root` unless absolute."""
        return ()


class Jsonl(Source):
    """One JSON object a line."""

    format: Literal["jsonl"]
    path: str
    """File, relative to `data_root` unless absolute."""
    source: str = "source"
    """Field of the source side; dots descend into nested objects (`translation.de`)."""
    target: str = "target"
    """Field of the target side, likewise."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Instruct(Source):
    """A JSON list of instruction-tuning records; prefixes such as "German: " are stripped."""

    format: Literal["instruct"]
    path: str
    """File, relative to `data_root` unless absolute."""
    source: str = "input"
    """Field of the source side."""
    target: str = "output"
    """Field of the target side."""
    source_prefix: str = ""
    """Text that every source starts with and that is not part of it. A record without it is an error."""
    target_prefix: str = ""
    """The same for the target."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Moses(Source):
    """Two plain text files, aligned line by line."""

    format: Literal["moses"]
    source_path: str
    """File of the source language, relative to `data_root` unless absolute."""
    target_path: str
    """File of the target language."""

    def paths(self) -> tuple[str, ...]:
        return (self.source_path, self.target_path)


class Tsv(Source):
    """Tab-separated text, one pair a line, no quoting."""

    format: Literal["tsv"]
    path: str
    """File, relative to `data_root` unless absolute."""
    source_column: Annotated[int, Field(ge=0)] = 0
    """Column of the source side, counted from 0."""
    target_column: Annotated[int, Field(ge=0)] = 1
    """Column of the target side, counted from 0."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Hub(Source):
    """A dataset that the `datasets` library loads: from the hub, or a folder written by `save_to_disk`."""

    format: Literal["datasets"]
    name: str
    """Name on the hub, or a folder."""
    subset: str | None = None
    """Configuration of the dataset (`de-en`, say)."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Revision on the hub."""
    source: str = "translation.de"
    """Field of the source side; dots descend."""
    target: str = "translation.en"
    """Field of the target side."""


class Demo(Source):
    """The built-in templated German-English corpus; which split is asked for follows from the key."""

    format: Literal["demo"]
    domain: Slug
    """Domain of the built-in corpus (`it`, `law`, `medical`, `subtitles`, `koran`, `garden`, `finance`, `sports`)."""
    pairs: Positive
    """How many pairs to write."""


class DemoPretraining(Source):
    """The built-in corpus as pretraining text: half general, half domain text with senses drawn at random."""

    format: Literal["demo-pretraining"]
    domains: Annotated[list[Slug], Field(min_length=1)]
    """Domains whose words the base model has seen. Include spare ones: adding a domain later leaves the base alone."""
    pairs: Positive
    """How many pairs to write."""


CorpusSource = Annotated[Jsonl | Instruct | Moses | Tsv | Hub | Demo, Field(discriminator="format")]
PretrainingSource = Annotated[Jsonl | Instruct | Moses | Tsv | Hub | DemoPretraining, Field(discriminator="format")]


class Domain(Section):
    """A text type with its own corpus. With `test` alone it is only tested: an unseen domain."""

    test: CorpusSource
    """Test set. Never cleaned, only normalised: its lines are what is scored."""
    train: CorpusSource | None = None
    """Training pairs, for importance and tuning."""
    dev: CorpusSource | None = None
    """Development pairs, for dev loss and the choice of learning rates."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Domain":
        if (self.train is None) != (self.dev is None):
            raise ValueError("a seen domain needs both train and dev, an unseen one neither")
        return self


class Direction(Section):
    """A language pair in one order."""

    source_language: str
    """Name of the source language as it stands in the prompt, e.g. German."""
    target_language: str
    """Name of the target language as it stands in the prompt, e.g. English."""
    domains: Annotated[dict[Slug, Domain], Field(min_length=1)]
    """The domains by name."""


class Mixture(Section):
    """A named list of domains that a run is trained on. A bare list of names is short for `domains`."""

    domains: Annotated[list[Slug], Field(min_length=1)]
    """Domains of the training data; they must have `train` and `dev`."""
    select_on: Slug | None = None
    """Mixture whose domains the neurons are selected on; by default this one. Needs at least two domains."""
    test: list[Slug] | None = None
    """Further domains to test on. By default all domains of the direction that have only a test set (unseen ones)."""


def _domains_only(value: Any) -> Any:
    return {"domains": value} if isinstance(value, list) else value


# --- models ------------------------------------------------------------------------------------------------------


class PretrainingCorpus(Section):
    """A corpus that a base model is pretrained on."""

    direction: Slug
    """Direction of its pairs."""
    corpus: PretrainingSource
    """Where the pairs come from."""


class Pretraining(Section):
    """A small base model that the workflow pretrains itself, where no weights can be had."""

    architecture: Literal["llama", "qwen2", "gemma2"] = "llama"
    """Architecture of the decoder."""
    corpora: Annotated[list[PretrainingCorpus], Field(min_length=1)]
    """What it is pretrained on, and its tokenizer trained on."""
    hidden_size: Positive = 96
    """Width of the residual stream."""
    layers: Positive = 3
    """Number of decoder layers."""
    intermediate_size: Positive = 384
    """Number of FFN neurons per layer."""
    heads: Positive = 4
    """Number of attention heads."""
    vocabulary: Annotated[int, Field(ge=300)] = 1200
    """Entries of the byte-level BPE tokenizer."""
    steps: Positive = 1600
    """Optimizer steps. Steps, not seconds: bases stopped by the clock differ."""
    tokens_per_step: Positive = 1000
    """Tokens of one step's batch, padding included."""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    """Peak rate of AdamW; warm-up over 5 % of the steps, then cosine to zero."""
    max_tokens: Positive = 256
    """Longer training examples are left out (and counted)."""
    seed: int = 0
    """Seed of weights and data order."""


class Resources(Section):
    """What one job of a model asks the scheduler for. Never part of a result's identity."""

    gpu: Annotated[int, Field(ge=0)] = 0
    """GPUs of a job. 0: the scheduler is not asked for one (a visible one is used all the same)."""
    mem_mb: Positive = 4000
    """Memory of a job, in MB."""
    runtime: Positive = 120
    """Time limit of a job, in minutes."""


class Model(Section):
    """A base model: exactly one of `hub`, `path` and `pretrain`."""

    hub: str | None = None
    """Id on the Hugging Face hub."""
    revision: str | None = None
    """Revision on the hub."""
    path: str | None = None
    """Folder of a local Hugging Face model, relative to `data_root` unless absolute."""
    pretrain: Pretraining | None = None
    """Settings of a small base that is pretrained here."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision that the frozen weights are loaded in."""
    scale_exponent: int | None = None
    """Overrides `importance.scale_exponent` for this model."""
    resources: Resources = Resources()
    """What a job of this model needs."""

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        given = [name for name in ("hub", "path", "pretrain") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of hub, path and pretrain is needed, found {' and '.join(given) or 'none'}")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision goes with hub only")
        return self


# --- the stages --------------------------------------------------------------------------------------------------


class Prompt(Section):
    """The instruction, the same for training, importance and inference."""

    instruction: str = (
        "Translate the following text from {source_language} into {target_language}. Reply only with the translation."
    )
    """Text before the source. Fields: {source_language}, {target_language}; {domain} only with `name_domain`."""
    name_domain: bool = False
    """Whether the instruction names the domain. Off: the name would leak the label into every importance score."""

    @model_validator(mode="after")
    def _fields(self) -> "Prompt":
        allowed = {"source_language", "target_language"} | ({"domain"} if self.name_domain else set())
        try:
            self.instruction.format(**dict.fromkeys(allowed, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"prompt.instruction has an unusable field ({error}); allowed: {', '.join(sorted(allowed))}"
                + ("" if self.name_domain else "; {domain} needs name_domain: true")
            ) from None
        if self.name_domain and "{domain}" not in self.instruction:
            raise ValueError("name_domain: true needs {domain} in prompt.instruction")
        return self


class Importance(Section):
    """The importance dump: activation times gradient per sample and neuron."""

    samples: Positive = 800
    """Training pairs per domain, drawn with `seed`."""
    seed: int = 0
    """Seed of the draw."""
    tokens_per_batch: Positive = 4096
    """Token budget of a batch, padding included. Does not change the numbers beyond float tolerance."""
    max_tokens: Positive = 512
    """Longer examples are left out before the draw (and counted)."""
    scale_exponent: int = 12
    """Scores are stored as float16 times 2 to this power; one constant per model."""


class Selection(Section):
    """From importance to neurons. Give either `fraction` or `gamma`; every method gets the same number of neurons."""

    bins: Annotated[int, Field(ge=2, le=64)] = 10
    """Quantile bins of the mutual information."""
    fraction: Share | None = None
    """Budget: this share of all FFN neurons."""
    gamma: Annotated[float, Field(ge=0)] | Literal["null"] | None = None
    """Threshold of consensus MI in nats; `"null"`: the 1 - error_rate quantile of the permutation null."""
    error_rate: Share = 0.01
    """Error rate of `gamma: "null"`."""
    null_permutations: Positive = 20
    """Permutations of the labels behind the null columns."""
    task_relevant: Share | None = 0.5
    """For MI criteria: first keep neurons whose mean importance is in this top share of every domain; null: off."""
    seed: int = 0
    """Seed of the permutations."""

    @model_validator(mode="after")
    def _one_budget(self) -> "Selection":
        if (self.fraction is None) == (self.gamma is None):
            raise ValueError("exactly one of fraction and gamma is needed")
        return self


class Tuning(Section):
    """The training loop that all methods share."""

    pairs_per_domain: Positive = 800
    """Training pairs drawn from each domain of the mixture."""
    dev_pairs_per_domain: Positive = 100
    """Dev pairs drawn from each domain, for the dev loss."""
    epochs: Positive = 2
    """Passes over the mixture."""
    batch_size: Positive = 32
    """Pairs of one optimizer step."""
    tokens_per_batch: Positive = 4096
    """Token budget of one forward pass; a step is accumulated from as many as it takes."""
    max_tokens: Positive = 512
    """Longer examples are left out (and counted)."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps with linear warm-up; cosine to zero afterwards."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Decoupled weight decay of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""
    seed: int = 0
    """Seed of the draw of pairs; the order of training follows the run's seed."""
    keep_full_weights: bool = True
    """Keep the weights of `full` runs. Without them a test domain added later trains `full` again."""


class Decoding(Section):
    """Greedy generation. Nothing is inherited from the checkpoint's generation settings."""

    batch_size: Positive = 64
    """Sentences decoded together, sorted by length."""
    length_factor: Annotated[float, Field(gt=0)] = 2.0
    """A hypothesis may have so many tokens per source token ..."""
    length_offset: Annotated[int, Field(ge=1)] = 16
    """... plus so many; one that does not end by then is cut, flagged and counted."""
    max_source_tokens: Positive = 1024
    """A source longer than this is an error, never cut silently."""


class Scoring(Section):
    """Metrics of the tables."""

    metrics: Annotated[list[Literal["bleu", "chrf"]], Field(min_length=1)] = ["bleu", "chrf"]
    """Surface metrics of sacrebleu; the first is the headline. The tokenizer follows the target language."""


class Report(Section):
    """Words of tables, figures and report. Never part of a result's identity."""

    title: str = "CANEFT"
    """Title of the report."""
    note: str = ""
    """A sentence that every caption ends with, e.g. what the numbers cannot show."""
    labels: dict[str, str] = {}
    """Labels of variants and domains in tables and figures; by default their names."""


# --- methods -----------------------------------------------------------------------------------------------------


class Base(Section):
    """The model as it is, zero-shot."""

    method: Literal["base"]


class Trained(Section):
    """What every method that trains has."""

    learning_rate: Annotated[float, Field(gt=0)]
    """Peak learning rate."""


class Full(Trained):
    """All weights."""

    method: Literal["full"]


class Lora(Trained):
    """LoRA on the FFN modules (PEFT)."""

    method: Literal["lora"]
    rank: Positive = 16
    """Rank of every module."""
    alpha: Positive | None = None
    """Scaling numerator; by default twice the rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the low-rank product."""


class Neurons(Trained):
    """Selected FFN neurons: the criterion is the method's name."""

    method: Literal["caneft", "joint", "importance", "activation", "gradient", "random", "bottom", "specific"]
    fraction: Share | None = None
    """Overrides the budget of `selection` for this entry."""
    task_relevant: Share | None = None
    """Overrides `selection.task_relevant` for this entry (only MI criteria use it)."""


Method = Annotated[Base | Full | Lora | Neurons, Field(discriminator="method")]


class Config(Section):
    """Configuration of a CANEFT workflow."""

    results_root: str = "results"
    """Folder of everything that is computed; two runs can stand side by side."""
    data_root: str | None = None
    """Folder that relative corpus and model paths start from; by default the environment variable CANEFT_DATA."""
    directions: Annotated[dict[Slug, Direction], Field(min_length=1)]
    """Language pairs with their domains."""
    models: Annotated[dict[Slug, Model], Field(min_length=1)]
    """Base models."""
    mixtures: Annotated[dict[Slug, dict[Slug, Annotated[Mixture, BeforeValidator(_domains_only)]]], Field(min_length=1)]
    """Training mixtures: name, then direction, then domains."""
    methods: Annotated[dict[Slug, Method], Field(min_length=1)]
    """Rows of the main table, in this order: named variants of the methods."""
    seeds: Annotated[list[int], Field(min_length=1)] = [1]
    """Seeds of tuning. `random` draws its neurons by the same seed."""
    prompt: Prompt = Prompt()
    """The instruction given to the model."""
    importance: Importance = Importance()
    """Importance dumps."""
    selection: Selection
    """Neuron selection."""
    tuning: Tuning = Tuning()
    """Fine-tuning."""
    decoding: Decoding = Decoding()
    """Translation."""
    scoring: Scoring = Scoring()
    """Metrics."""
    report: Report = Report()
    """Words of the report."""


def load(raw: Mapping[str, Any], files: Sequence[str | Path] = (), check_files: bool = True) -> Config:
    """Validated configuration.

    raw: the merged configuration as nested dicts; files: where it was read from, named in messages.
    check_files: whether every corpus file and model folder must exist.
    Raises InputError of at most ten lines: file, key, what was found, what was expected.
    """
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        raise InputError(explain(error, Config, raw, files)) from None
    if found := list(problems(config)):
        raise InputError(explain_problems(found, files))
    if check_files and (found := list(missing_files(config))):
        raise InputError(explain_problems(found, files))
    return config


def problems(config: Config) -> Iterator[tuple[str, str]]:
    """Contradictions between sections, as (key, message)."""
    for direction_name, direction in config.directions.items():
        for domain in direction.domains:
            if domain in RESERVED_DOMAINS:
                yield f"directions.{direction_name}.domains.{domain}", f"is reserved: {RESERVED_DOMAINS[domain]}"
    for name, by_direction in config.mixtures.items():
        for direction_name, mixture in by_direction.items():
            yield from _mixture_problems(config, name, direction_name, mixture)
    for name, model in config.models.items():
        for corpus in model.pretrain.corpora if model.pretrain else ():
            if corpus.direction not in config.directions:
                hint = did_you_mean(corpus.direction, config.directions)
                yield f"models.{name}.pretrain.corpora", f"names the direction '{corpus.direction}'. {hint}"
        if model.pretrain and model.pretrain.hidden_size % model.pretrain.heads:
            yield f"models.{name}.pretrain.heads", "must divide hidden_size"
    for key, source in sources(config):
        yield from _demo_problems(key, source)
    if sum(method.method == "base" for method in config.methods.values()) > 1:
        yield "methods", "has more than one entry with method: base"
    if len(set(config.seeds)) != len(config.seeds):
        yield "seeds", "names a seed twice"


def _demo_problems(key: str, source: Source) -> Iterator[tuple[str, str]]:
    if isinstance(source, Demo):
        names, known = [source.domain], (*demo.DOMAINS, "general")
    elif isinstance(source, DemoPretraining):
        names, known = source.domains, demo.DOMAINS
    else:
        return
    for name in names:
        if name not in known:
            yield key, f"names the built-in domain '{name}'. {did_you_mean(name, known)}"


def _mixture_problems(config: Config, name: str, direction_name: str, mixture: Mixture) -> Iterator[tuple[str, str]]:
    key = f"mixtures.{name}"
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
    if len(set(mixture.domains)) != len(mixture.domains):
        yield key, "names a domain twice"
    selection = select_on(name, mixture)
    if direction_name not in config.mixtures.get(selection, {}):
        hint = did_you_mean(selection, config.mixtures)
        yield f"{key}.select_on", f"names the mixture '{selection}' of direction {direction_name}. {hint}"
    elif len(config.mixtures[selection][direction_name].domains) < 2:
        yield (
            f"{key}.select_on",
            f"is '{selection}' with one domain; every MI is 0 there. Name a mixture of two or more",
        )


def select_on(name: str, mixture: Mixture) -> str:
    """Name of the mixture that a mixture's neurons are selected on: its own, `all` for a single domain."""
    return mixture.select_on or (name if len(mixture.domains) > 1 else "all")


def data_root(config: Config) -> Path | None:
    """Folder of relative paths: the configuration's, else the environment variable CANEFT_DATA, else None."""
    root = config.data_root or os.environ.get("CANEFT_DATA")
    return Path(root) if root else None


def publish_data_root(config: Config) -> None:
    """Puts the data root into CANEFT_DATA, where steps find it: it belongs to no result, so to no job's params."""
    if (root := data_root(config)) is not None:
        os.environ["CANEFT_DATA"] = str(root.resolve())


def resolver(root: str | Path | None) -> Callable[[str], Path]:
    """Function from a path as configured to a path: relative ones start from `root`.

    It raises InputError for a relative path where there is no root.
    """

    def resolve(path: str) -> Path:
        if Path(path).is_absolute():
            return Path(path)
        if not root:
            raise InputError(
                f"'{path}' is relative, but there is no data_root.\n"
                "Set data_root in the configuration, by --config data_root=FOLDER, or in the variable CANEFT_DATA"
            )
        return Path(root) / path

    return resolve


def sources(config: Config) -> Iterator[tuple[str, Source]]:
    """Every corpus source with its key."""
    for direction_name, direction in config.directions.items():
        for domain_name, domain in direction.domains.items():
            for split in ("train", "dev", "test"):
                if (source := getattr(domain, split)) is not None:
                    yield f"directions.{direction_name}.domains.{domain_name}.{split}", source
    for name, model in config.models.items():
        for index, corpus in enumerate(model.pretrain.corpora if model.pretrain else ()):
            yield f"models.{name}.pretrain.corpora.{index}", corpus.corpus


def missing_files(config: Config) -> Iterator[tuple[str, str]]:
    """Corpus files and model folders that do not exist, as (key, message)."""
    wanted = [(key, path) for key, source in sources(config) for path in source.paths()]
    wanted += [(f"models.{name}.path", model.path) for name, model in config.models.items() if model.path]
    resolve = resolver(data_root(config))
    for key, path in wanted:
        try:
            full = resolve(path)
        except InputError as error:
            yield key, f"cannot be found: {error}"
            return
        if not full.exists():
            yield (
                key,
                f"names the file {full}, which does not exist. Correct the path or data_root ({data_root(config)})",
            )
