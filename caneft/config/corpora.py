"""Sections about text: corpus formats, domains, directions, mixtures."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from caneft.config import languages
from caneft.config.prompts import Prompt
from caneft.config.section import File, Positive, Section, Seed, Slug, Unique
from caneft.errors import InputError


class Source(Section):
    """Keys that all corpus formats share."""

    limit: Positive | None = None
    """Largest number of pairs, drawn after cleaning."""
    seed: Seed = 0
    """Seed of the draw, and of built-in texts."""
    reverse: bool = False
    """Swap source and target after reading."""

    @property
    def remote(self) -> bool:
        """Whether `snakemake fetch` may have to download it first. A folder is looked for in the working directory and
        under CANEFT_DATA."""
        return False

    def paths(self) -> tuple[str, ...]:
        """Files that this source reads, relative to `data_root` unless absolute."""
        return ()


class Jsonl(Source):
    """One JSON object per line."""

    format: Literal["jsonl"]
    path: File
    """File."""
    source: str = "source"
    """Fields of the two sides. Dots descend into objects (`translation.de`), numbers into lists (`turns.0.content`)."""
    target: str = "target"
    """Fields of the two sides. Dots descend into objects (`translation.de`), numbers into lists (`turns.0.content`)."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Instruct(Source):
    """A JSON list of instruction-tuning records."""

    format: Literal["instruct"]
    path: File
    """File."""
    source: str = "input"
    """Fields of the two sides."""
    target: str = "output"
    """Fields of the two sides."""
    source_prefix: str = ""
    """Prefixes to strip, such as "German: "; a record without them is an error."""
    target_prefix: str = ""
    """Prefixes to strip, such as "German: "; a record without them is an error."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Moses(Source):
    """Two plain text files, aligned line by line."""

    format: Literal["moses"]
    source_path: File
    """Files of the two sides."""
    target_path: File
    """Files of the two sides."""

    def paths(self) -> tuple[str, ...]:
        return (self.source_path, self.target_path)


class Tsv(Source):
    """One pair per line, in columns: no quoting, no header, the same number of columns in every line."""

    format: Literal["tsv"]
    path: File
    """File."""
    source_column: Annotated[int, Field(ge=0)] = 0
    """Columns of the two sides, from 0."""
    target_column: Annotated[int, Field(ge=0)] = 1
    """Columns of the two sides, from 0."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Alternating(Source):
    """One text file with the two languages on alternating lines, like UM-Corpus."""

    format: Literal["alternating"]
    path: File
    """File."""
    first: Literal["source", "target"] = "target"
    """Side of the first line."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Tmx(Source):
    """A translation memory."""

    format: Literal["tmx"]
    path: File
    """File, in UTF-8, UTF-16 or the single-byte encoding that it declares."""
    source_language: str
    """Codes of the languages in the file. `en` also matches `en-US`, `EN_GB` and `eng`; `en-US` only itself."""
    target_language: str
    """Codes of the languages in the file. `en` also matches `en-US`, `EN_GB` and `eng`; `en-US` only itself."""

    def paths(self) -> tuple[str, ...]:
        return (self.path,)


class Hub(Source):
    """A dataset of the `datasets` library."""

    format: Literal["datasets"]
    name: str
    """Name on the hub, or a folder written by `save_to_disk`."""
    subset: str | None = None
    """Configuration of the dataset."""
    split: str = "train"
    """Split of the dataset."""
    revision: str | None = None
    """Revision on the hub."""
    source: str = "translation.de"
    """Fields of the two sides."""
    target: str = "translation.en"
    """Fields of the two sides."""

    def folder(self, resolve: Callable[[str], Path]) -> Path | None:
        """The folder `name`, in the working directory or where `resolve` leads; None for a dataset on the hub."""
        if Path(self.name).is_dir():
            return Path(self.name)
        try:
            path = resolve(self.name)
        except InputError:  # without a data root, the name is one on the hub
            return None
        return path if path.is_dir() else None

    @property
    def remote(self) -> bool:
        return self.folder(lambda name: Path(os.environ.get("CANEFT_DATA", ""), name)) is None


class SacreBleu(Source):
    """A published test set that sacreBLEU downloads, with its first reference."""

    format: Literal["sacrebleu"]
    name: str
    """Name in `sacrebleu --list`."""
    langpair: str
    """Language pair, source first."""

    @property
    def remote(self) -> bool:
        return True


class Demo(Source):
    """Built-in corpora from templates, with English as the target."""

    format: Literal["demo"]
    language: Literal["de", "zh"] = "de"
    """Source language."""
    domain: Slug
    """German: `it`, `law`, `medical`, `subtitles`, `koran`, `garden`, `finance`, `sports`. Chinese: `education`,
    `spoken`, `thesis`, `science`, `microblog`, `news`, `laws`."""
    pairs: Positive
    """Number of pairs to write."""


class DemoPretraining(Source):
    """A built-in corpus as pretraining text: half general, half domain text with random senses."""

    format: Literal["demo-pretraining"]
    language: Literal["de", "zh"] = "de"
    """Source language."""
    domains: Annotated[list[Slug], Field(min_length=1)]
    """Domains whose words the base sees. Spare ones let you add a domain later without changing the base."""
    pairs: Positive
    """Number of pairs to write."""


class DemoDates(Source):
    """Built-in lines with a date in any form; the target is the day in ISO form."""

    format: Literal["demo-dates"]
    domain: Slug
    """Kind of text, which decides ambiguous dates: `forms`, `invoices`, `letters`, `logs`, `tickets`."""
    pairs: Positive
    """Number of pairs to write."""


class DemoDatesPretraining(Source):
    """`demo-dates` as pretraining text: half plain dates, half lines of `domains`, with ambiguous dates read at
    random."""

    format: Literal["demo-dates-pretraining"]
    domains: Annotated[list[Slug], Field(min_length=1)]
    """Kinds of text that the base sees."""
    pairs: Positive
    """Number of pairs to write."""


Files = Jsonl | Instruct | Moses | Tsv | Alternating | Tmx
CorpusSource = Annotated[Files | Hub | SacreBleu | Demo | DemoDates, Field(discriminator="format")]
PretrainingSource = Annotated[Files | Hub | DemoPretraining | DemoDatesPretraining, Field(discriminator="format")]


class Domain(Section):
    """A text type with its own corpus. An unseen domain has only `test`."""

    test: CorpusSource
    """Test set; normalised, not cleaned."""
    train: CorpusSource | None = None
    """Training pairs, for importance and tuning."""
    dev: CorpusSource | None = None
    """Development pairs, for dev loss and learning rates."""

    @model_validator(mode="after")
    def _both_or_neither(self) -> "Domain":
        if (self.train is None) != (self.dev is None):
            raise ValueError("a seen domain needs both train and dev, an unseen one neither")
        return self


class Direction(Section):
    """A language pair, named by its codes, source first (`de-en`, `en-zh_hans`); or another task, under any name."""

    source_language: str | None = None
    """Names for the prompt, such as German; required if the prompt has these fields."""
    target_language: str | None = None
    """Names for the prompt, such as German; required if the prompt has these fields."""
    domains: Annotated[dict[Slug, Domain], Field(min_length=1)]
    """The domains."""
    prompt: Prompt | None = None
    """Replaces the general `prompt`."""


class Mixture(Section):
    """Domains to train on together. A bare list is short for `domains`."""

    domains: Unique[Slug]
    """Domains to train on; each needs `train` and `dev`."""
    select_on: Slug | None = None
    """Mixture of at least two domains to select neurons on; by default this one, or `all` if this has one domain."""
    rates_on: Slug | None = None
    """Mixture to choose learning rates on; by default the one to select neurons on."""
    methods: list[Slug] | None = None
    """Variants to run; by default all."""
    test: list[Slug] | None = None
    """Further domains to test on; by default all that have only a test set."""


def domains_only(value: Any) -> Any:
    return {"domains": value} if isinstance(value, list) else value


def select_on(name: str, mixture: Mixture) -> str:
    """Name of the mixture on which a mixture's neurons are selected: its `select_on`, else itself, or `all` if it has a
    single domain."""
    return mixture.select_on or (name if len(mixture.domains) > 1 else "all")


def rates_on(name: str, mixture: Mixture) -> str:
    """Name of the mixture on which the learning rates of a mixture's runs are chosen."""
    return mixture.rates_on or select_on(name, mixture)


def target_code(direction: str) -> str | None:
    """Tag of a direction's target language, in lower case; None if the direction is not named by languages."""
    found = languages.of_direction(direction)
    return found[1] if found else None
