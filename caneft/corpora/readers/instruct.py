"""A JSON list of instruction-tuning records. JSON has no way to read a list by parts, so it is held as a whole."""

from collections.abc import Iterator
from pathlib import Path

from caneft.config import Instruct
from caneft.corpora.readers import records
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError

LARGEST = 500_000_000  # bytes: more than a million pairs; as objects they take several times that
REMEDY = "Expected is a JSON list of records; if every line is an object of its own, use format: jsonl."


def read(source: Instruct, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by record."""
    path = resolve(source.path)
    text = _whole(path)
    found = records.parse(text, path, first_line=1, remedy=REMEDY) if text.strip() else []
    if not isinstance(found, list):
        raise InputError(f"{path}: holds a JSON {records.kind(found)}. {REMEDY}")
    for number, record in enumerate(found, start=1):
        where = f"{path}: record {number}"
        source_text, target_text = (records.field(record, name, where) for name in (source.source, source.target))
        yield Pair(
            number,
            _without_prefix(source_text, "source_prefix", source.source_prefix, where),
            _without_prefix(target_text, "target_prefix", source.target_prefix, where),
        )


def _whole(path: Path) -> str:
    texts, size = [], 0
    for _, text in lines(path, longest=LARGEST):  # a list that no one indented is a single line
        size += len(text)
        if size > LARGEST:
            raise InputError(f"{path}: is longer than {LARGEST:,} characters. Write one object a line: format: jsonl.")
        texts.append(text)
    return "\n".join(texts)


def _without_prefix(text: str, key: str, prefix: str, where: str) -> str:
    if not text.startswith(prefix):
        raise InputError(
            f"{where}: starts with {text[: len(prefix) + 10]!r}, not with {prefix!r}.\n"
            f"Correct the record, or {key} of this corpus."
        )
    return text[len(prefix) :]
