"""Finds problems of a configuration without running it, for `python -m caneft check` and the Snakefile."""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from caneft import config as configuration
from caneft.config import Alternating, Config, Demo, DemoDates, Jsonl, Moses, Source, Tsv, languages
from caneft.config.messages import explain_problems
from caneft.config.yamlfiles import laid_over, read
from caneft.corpora.text import head
from caneft.errors import InputError
from caneft.plan import ARTEFACTS, Plan, needs
from caneft.runtime.devices import bfloat16_units
from caneft.runtime.lease import usable
from caneft.storage.files import split_archive

DEMO = Path(__file__).parents[2] / "config" / "config.yaml"
PACKED = (".gz", ".xz", ".zip")
SMALL, FIRST = 2**16, 50
"""Most bytes of a file that is read as a whole, and number of pairs that are read from larger ones."""
LONGEST = 2**20
"""Most bytes of a line that are read at once."""


def from_files(files: Sequence[str | Path]) -> tuple[dict[str, Any], list[str | Path]]:
    """The configuration of these files, each merged over the one before, and the list of all its files.

    Without `directions`, it is merged over the demo. Raises InputError with file and line.
    """
    raw: dict[str, Any] = {}
    for file in files:
        raw = laid_over(raw, read(file))
    if "directions" in raw:
        return raw, list(files)
    return laid_over(read(DEMO), raw), [DEMO, *files]


def checked(raw: Mapping[str, Any], files: Sequence[str | Path], here: bool = True) -> Config:
    """As `config.load`, with all other checks that are possible beforehand.

    here: whether the corpora and the packages of all steps must be on this machine.
    """
    config = configuration.load(raw, files, check_files=here)
    if here:
        found = [*_tokenizers(config), *_detectors(config), *_models(config), *_corpora(config)]
        if found:
            raise InputError(explain_problems(found, raw, files))
    return config


def gpus_asked_for(config: Config) -> dict[str, int]:
    """Number of GPUs that a job requests, by key."""
    plan = Plan(config)
    asked = {f"models.{name}.resources.gpu": model.resources.gpu for name, model in config.models.items()}
    for variant in plan.variants(*ARTEFACTS):
        for model in config.models:
            asked.setdefault(f"methods.{variant}.resources.gpu", plan.tuning_resources(model, variant).gpu)
    return asked | {
        f"scoring.{name}.resources.gpu": metric.resources.gpu for name, metric in config.scoring.neural.items()
    }


def without_gpu(asked: Mapping[str, int]) -> str:
    """The warning if jobs request GPUs on a machine without any; empty if no job does."""
    keys = [f"{key} is {count}" for key, count in asked.items() if count]
    if not keys:
        return ""
    more = f" (and {len(keys) - 1} more)" if len(keys) > 1 else ""
    return (
        f"{keys[0]}{more}, but no GPU is seen here (nvidia-smi, CUDA_VISIBLE_DEVICES): on this machine all jobs run on"
        " the CPU, where a large model takes days."
    )


def slow_dtype(config: Config, gpus: int, units: bool | None) -> str:
    """The warning if jobs multiply bfloat16 on a processor without units for it; empty if none do.

    gpus: number that jobs may use here; units: as from `devices.bfloat16_units`.
    """
    slow = [name for name, one in config.models.items() if one.dtype == "bfloat16" and not (gpus and one.resources.gpu)]
    if units is not False or not slow:
        return ""
    return (
        f"models.{slow[0]}.dtype is bfloat16, but this processor has no units for it (lscpu: neither avx512_bf16 nor"
        " amx_bf16), so float32 is several times as fast here. Set it to float32, or run elsewhere."
    )


def same_pairs(config: Config) -> str:
    """The warning if two domains of a direction read the same pairs for training, or for their test; else empty."""
    follows = {
        "train": "Domains that differ in name only carry no information about each other: correct one, or remove it.",
        "test": "So the scores of both are of the same segments: correct one, unless this is meant.",
    }
    for (name, direction), split in product(config.directions.items(), follows):
        seen: dict[str, str] = {}
        for domain, splits in direction.domains.items():
            if (source := getattr(splits, split)) is None:
                continue
            other = seen.setdefault(repr(configuration.read_from(config, source)), domain)
            if other != domain:
                where = f"directions.{name}.domains"
                return f"{where}.{domain}.{split} reads the same pairs as {where}.{other}.{split}. {follows[split]}"
    return ""


def warnings(config: Config) -> Iterator[str]:
    """Problems that are worth a warning but stop nothing. Only `caneft check` asks for all: some read corpora."""
    from caneft.commands.corpus_warnings import of_corpora  # late: it imports the readers of corpora

    gpus = len(usable(os.environ))
    if (said := without_gpu(gpus_asked_for(config))) and not gpus:
        yield said
    for said in (slow_dtype(config, gpus, bfloat16_units()), same_pairs(config)):
        if said:
            yield said
    yield from of_corpora(config)


def _tokenizers(config: Config) -> Iterator[tuple[str, str]]:
    """Directions whose target language needs packages for BLEU that are not installed."""
    if "bleu" not in config.scoring.metrics:
        return
    for name in config.directions:
        tokenizer = languages.tokenizer(configuration.target_code(name))
        if tokenizer and (extra := languages.lacking_extra(tokenizer)):
            yield (
                f"directions.{name}",
                f"is scored with sacreBLEU's tokenizer {tokenizer}, whose packages are not installed:\n"
                f'pip install "sacrebleu[{extra}]", or {languages.INSTEAD}',
            )


def _detectors(config: Config) -> Iterator[tuple[str, str]]:
    """Directions with a language that the detector does not know, if `cleaning` drops wrong languages."""
    if config.cleaning.wrong_language == "keep":
        return
    from caneft.corpora.sides import label  # late: this import takes a third of a second

    for name in config.directions:
        for tag in languages.of_direction(name) or ():
            if label(tag) is None:
                yield (
                    f"directions.{name}",
                    f"has the language '{tag}', which py3langid does not know, but cleaning.wrong_language is drop. Set"
                    " it to keep",
                )


def _models(config: Config) -> Iterator[tuple[str, str]]:
    """Model folders and GGUF files with problems that show in the names and first bytes of files."""
    from caneft.models import beside, foreign  # late: they import the readers of model files

    resolve = configuration.resolver(configuration.data_root(config))
    for name, model in config.models.items():
        if model.path is None:
            continue
        path = resolve(model.path)
        said = [foreign.no_gguf(path)] if model.quantised else [*beside.wrong(path), *beside.in_weights(path)]
        if wrong := [one for one in said if one]:
            yield f"models.{name}.path", "\n".join([f"names {path}, which cannot be used as a model:", *wrong])


def _corpora(config: Config) -> Iterator[tuple[str, str]]:
    """Problems of corpora, but only of the first kind found: a file that is not a corpus has too few pairs as well."""
    return next((found for look in (_foreign, _sides, _unread, _pairs) if (found := [*look(config)])), [])


def _foreign(config: Config) -> Iterator[tuple[str, str]]:
    """Corpora whose files do not begin as files of their format do."""
    resolve = configuration.resolver(configuration.data_root(config))
    for key, source in configuration.sources(config):
        try:
            for path in source.paths():
                head(resolve(path), source.format)
        except InputError as error:
            yield key, f"cannot be read: {error}"


def _sides(config: Config) -> Iterator[tuple[str, str]]:
    """Corpora of domains that read source and target from the same place, so every target would be its source."""
    resolve = configuration.resolver(configuration.data_root(config))
    for key, source in configuration.sources(config):
        if not key.startswith("directions."):
            continue
        sides = [getattr(source, f"source{end}", None) for end in ("", "_path", "_column")]
        targets = [getattr(source, f"target{end}", None) for end in ("", "_path", "_column")]
        if isinstance(source, Moses):
            sides[1], targets[1] = resolve(source.source_path).resolve(), resolve(source.target_path).resolve()
        for end, one, other in zip(("", "_path", "_column"), sides, targets, strict=True):
            if one is not None and one == other:
                yield f"{key}.target{end}", f"is {other}, and so is source{end}: every target would be its source"


def _unread(config: Config) -> Iterator[tuple[str, str]]:
    """Corpora that cannot be read, or small ones without text. Only small files are read beyond their first pairs."""
    from caneft.corpora import readers  # late: not every command needs it

    resolve = configuration.resolver(configuration.data_root(config))
    for key, source in configuration.sources(config):
        files = [split_archive(resolve(path))[0] for path in source.paths()]
        is_small = all(file.stat().st_size <= SMALL and file.suffix.lower() not in PACKED for file in files)
        if not files or not (is_small or isinstance(source, Jsonl | Tsv | Moses | Alternating)):
            continue
        try:
            pairs = list(islice(readers.read(source, "train", resolve), None if is_small else FIRST))
        except InputError as error:
            yield key, f"cannot be read: {error}"
        else:
            if is_small and not any(pair.source.strip() and pair.target.strip() for pair in pairs):
                listed = ", ".join(str(resolve(path)) for path in source.paths())
                yield key, f"has no pair with text on both sides: correct or replace {listed}"


def _pairs(config: Config) -> Iterator[tuple[str, str]]:
    """Domains with fewer pairs than will be drawn from them, as far as that can be seen without parsing them."""
    for direction, entry in config.directions.items():
        for (domain, split), asked in needs.of_splits(config, direction).items():
            source = getattr(entry.domains[domain], split)
            found = pairs_at_most(config, source, max(asked.values()))
            short = {key: number for key, number in asked.items() if found is not None and found < number}
            if short:
                listed = ", ".join(f"{key} asks for {number}" for key, number in short.items())
                yield f"directions.{direction}.domains.{domain}.{split}", f"has {found} pairs at most, but {listed}"


def pairs_at_most(config: Config, source: Source, enough: int) -> int | None:
    """Most pairs that a source can have, by its `limit`, the pairs of a built-in corpus, and the lines of a file.

    enough: counting stops at this number. None if only reading would tell.
    """
    bounds = [bound for bound in (source.limit, _lines(config, source, enough)) if bound is not None]
    bounds += [source.pairs] if isinstance(source, Demo | DemoDates) else []
    return min(bounds, default=None)


def _lines(config: Config, source: Source, enough: int) -> int | None:
    """Pairs that the lines of an uncompressed text file make; None for compressed files and other formats."""
    if not isinstance(source, Jsonl | Tsv | Moses | Alternating):
        return None
    resolve = configuration.resolver(configuration.data_root(config))
    file, member = split_archive(resolve(source.paths()[0]))
    if member is not None or file.suffix.lower() in PACKED:
        return None
    each = 2 if isinstance(source, Alternating) else 1
    count = 0
    with open(file, "rb") as text:
        while count < each * enough and (line := text.readline(LONGEST)):
            count += line.endswith(b"\n") or len(line) < LONGEST
    return count // each
