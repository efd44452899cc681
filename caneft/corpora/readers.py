"""Corpus formats: one generator of pairs per class of the configuration. A new format is one of each.

Readers report what they find, as it stands; what is normalised or dropped is decided in `cleaning`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from caneft.config import (
    Demo,
    DemoDates,
    DemoDatesPretraining,
    DemoPretraining,
    Hub,
    Instruct,
    Jsonl,
    Moses,
    Source,
    Tsv,
)
from caneft.corpora.text import lines
from caneft.errors import InputError, did_you_mean

Resolve = Callable[[str], Path]


class Pair(NamedTuple):
    """A sentence pair and where it stands: the line of its file, or the record of its list, from 1."""

    line: int
    source: str
    target: str


def read(source: Source, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs of a corpus source, in file order and unchanged; `source.limit` is not applied.

    split: train, dev or test, for the built-in corpus. resolve: from a configured path to the file.
    Raises InputError, while iterating, with file, line and remedy.
    """
    return READERS[type(source)](source, split, resolve)


def _jsonl(source: Jsonl, split: str, resolve: Resolve) -> Iterator[Pair]:
    path = resolve(source.path)
    for number, text in lines(path):
        if text.strip():
            where = f"{path}:{number}"
            record = _json(text, path, first_line=number, remedy="Correct or delete the line.")
            yield Pair(number, _field(record, source.source, where), _field(record, source.target, where))


def _instruct(source: Instruct, split: str, resolve: Resolve) -> Iterator[Pair]:
    path = resolve(source.path)
    text = "\n".join(line for _, line in lines(path))
    remedy = "Expected is a JSON list of records; if every line is an object of its own, use format: jsonl."
    records = _json(text, path, first_line=1, remedy=remedy) if text.strip() else []
    if not isinstance(records, list):
        raise InputError(f"{path}: holds a JSON {_kind(records)}. {remedy}")
    for number, record in enumerate(records, start=1):
        where = f"{path}: record {number}"
        source_text = _without_prefix(
            _field(record, source.source, where), "source_prefix", source.source_prefix, where
        )
        target_text = _without_prefix(
            _field(record, source.target, where), "target_prefix", source.target_prefix, where
        )
        yield Pair(number, source_text, target_text)


def _moses(source: Moses, split: str, resolve: Resolve) -> Iterator[Pair]:
    paths = [resolve(source.source_path), resolve(source.target_path)]
    sources, targets = ([text for _, text in lines(path)] for path in paths)
    if len(sources) != len(targets):
        raise InputError(
            f"{paths[0]} has {len(sources)} lines, {paths[1]} has {len(targets)}.\n"
            "The files must be aligned line by line: find the missing line, or take both files from the same release."
        )
    for number, (source_text, target_text) in enumerate(zip(sources, targets, strict=True), start=1):
        yield Pair(number, source_text, target_text)


def _tsv(source: Tsv, split: str, resolve: Resolve) -> Iterator[Pair]:
    path = resolve(source.path)
    needed = max(source.source_column, source.target_column) + 1
    for number, text in lines(path):
        columns = text.split("\t")
        if not text.strip(" "):  # a lone tab is no blank line: it is a pair with two empty sides
            continue
        if len(columns) < needed:
            raise InputError(
                f"{path}:{number}: {len(columns)} tab-separated columns where {needed} are needed.\n"
                "Correct the line, or source_column and target_column of this corpus (counted from 0)."
            )
        yield Pair(number, columns[source.source_column], columns[source.target_column])


def _hub(source: Hub, split: str, resolve: Resolve) -> Iterator[Pair]:
    for number, record in enumerate(_dataset(source, resolve), start=1):
        where = f"dataset {source.name}: record {number}"
        yield Pair(number, _field(record, source.source, where), _field(record, source.target, where))


def _demo(source: Demo, split: str, resolve: Resolve) -> Iterator[Pair]:
    from caneft.corpora import demo

    return _numbered(lambda: demo.pairs(source.domain, split, source.pairs, source.seed))


def _demo_pretraining(source: DemoPretraining, split: str, resolve: Resolve) -> Iterator[Pair]:
    from caneft.corpora import demo

    return _numbered(lambda: demo.pretraining(source.domains, source.pairs, source.seed))


def _demo_dates(source: DemoDates, split: str, resolve: Resolve) -> Iterator[Pair]:
    from caneft.corpora.demo import dates

    return _numbered(lambda: dates.pairs(source.domain, split, source.pairs, source.seed))


def _demo_dates_pretraining(source: DemoDatesPretraining, split: str, resolve: Resolve) -> Iterator[Pair]:
    from caneft.corpora.demo import dates

    return _numbered(lambda: dates.pretraining(source.domains, source.pairs, source.seed))


def _numbered(texts: Callable[[], Iterable[tuple[str, str]]]) -> Iterator[Pair]:
    try:
        for number, (source_text, target_text) in enumerate(texts(), start=1):
            yield Pair(number, source_text, target_text)
    except ValueError as error:
        raise InputError(f"built-in corpus: {error}") from None


def _json(text: str, path: Path, first_line: int, remedy: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}:{line}: not JSON: {error.msg} (column {error.colno}). {remedy}") from None


def _field(record: Any, name: str, where: str) -> str:
    """Text of a record's field; dots in the name descend into nested objects."""
    value, above = record, "the record"
    for key in name.split("."):
        if not isinstance(value, dict):
            raise InputError(f"{where}: {above} is a JSON {_kind(value)}, so there is no field '{name}' in it.{REMEDY}")
        if key not in value:
            raise InputError(f"{where}: no field '{name}': {above} lacks '{key}'. {did_you_mean(key, value)}{REMEDY}")
        value, above = value[key], f"'{key}'"
    if not isinstance(value, str):
        raise InputError(f"{where}: field '{name}' is a JSON {_kind(value)}, not a string.{REMEDY}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: field '{name}' holds half of a surrogate pair. Correct or delete it.") from None
    return value


REMEDY = "\nCorrect the record, or source and target of this corpus (dots descend into nested objects)."
KINDS = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "null")


def _without_prefix(text: str, key: str, prefix: str, where: str) -> str:
    if not text.startswith(prefix):
        raise InputError(
            f"{where}: starts with {text[: len(prefix) + 10]!r}, not with {prefix!r}.\n"
            f"Correct the record, or {key} of this corpus."
        )
    return text[len(prefix) :]


def _dataset(source: Hub, resolve: Resolve) -> Iterable[dict]:
    """The dataset itself: from a folder if `name` is one, else from the hub or its cache."""
    try:
        import datasets  # late: it takes seconds, and other formats do without it
    except ImportError:
        raise InputError(f"dataset {source.name}: install the package `datasets`, or use another format.") from None
    folder = _folder(source.name, resolve)
    try:
        if folder is None:
            return datasets.load_dataset(source.name, source.subset, split=source.split, revision=source.revision)
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever the library's back ends raise: OSError, ValueError, errors of HTTP clients
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"dataset {source.name}: cannot be loaded: {reason}\n"
            "Check name, subset, split and revision. Without network, download it elsewhere with "
            "datasets.load_dataset(...).save_to_disk(FOLDER), copy FOLDER here and set name to it."
        ) from error
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if source.split not in loaded:
        raise InputError(f"dataset {source.name}: no split '{source.split}'. {did_you_mean(source.split, loaded)}")
    return loaded[source.split]


def _folder(name: str, resolve: Resolve) -> Path | None:
    """The folder of that name, here or under the data root, if there is one."""
    if Path(name).is_dir():
        return Path(name)
    try:
        path = resolve(name)
    except InputError:  # no data root: then it is a name on the hub
        return None
    return path if path.is_dir() else None


READERS: dict[type[Source], Callable[..., Iterator[Pair]]] = {
    Jsonl: _jsonl,
    Instruct: _instruct,
    Moses: _moses,
    Tsv: _tsv,
    Hub: _hub,
    Demo: _demo,
    DemoPretraining: _demo_pretraining,
    DemoDates: _demo_dates,
    DemoDatesPretraining: _demo_dates_pretraining,
}
