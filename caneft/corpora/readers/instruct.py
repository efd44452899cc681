"""A JSON list of instruction-tuning records. Memory holds the whole text, but only one record at a time."""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from caneft.config import Instruct
from caneft.corpora.readers import records
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.text import lines
from caneft.errors import InputError

LARGEST = 500_000_000  # bytes: more than a million pairs
BLANK = re.compile(r"[ \t\n\r]*")
REMEDY = "Expected is a JSON list of records; if every line is an object of its own, use format: jsonl."


def read(source: Instruct, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by record."""
    path = resolve(source.path)
    located = (
        (number, f"{path}: record {number}", record)
        for number, record in enumerate(_elements(_whole(path), path), start=1)
    )
    for number, source_text, target_text in records.pairs(located, source.source, source.target):
        where = f"{path}: record {number}"
        yield Pair(
            number,
            _without_prefix(source_text, "source_prefix", source.source_prefix, where),
            _without_prefix(target_text, "target_prefix", source.target_prefix, where),
        )


def _elements(text: str, path: Path) -> Iterator[Any]:
    """Elements of a JSON list, one by one, as all together take many times the text; none for a blank file."""
    place = BLANK.match(text).end()
    if text[place : place + 1] != "[":
        if place < len(text):
            found = records.parse(text, path, first_line=1, remedy=REMEDY)
            raise InputError(f"{path}: holds a JSON {records.kind(found)}. {REMEDY}")
        return
    first, place = True, BLANK.match(text, place + 1).end()
    while not text.startswith("]", place):
        if not first:
            place = records.parse(text, path, 1, REMEDY, partial(_after_comma, place=place))
        element, place = records.parse(text, path, 1, REMEDY, partial(_element, place=place))
        yield element
        first, place = False, BLANK.match(text, place).end()
    records.parse(text, path, 1, REMEDY, partial(_end, place=BLANK.match(text, place + 1).end()))


def _element(text: str, place: int) -> tuple[Any, int]:
    """An element and the position after it."""
    try:
        return records.DECODER.raw_decode(text, place)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # without a place, so that of the element is named
        raise json.JSONDecodeError(str(error), text, place) from None


def _after_comma(text: str, place: int) -> int:
    """The position at which the next element begins."""
    if not text.startswith(",", place):
        raise json.JSONDecodeError("Expecting ',' delimiter", text, place)
    return BLANK.match(text, place + 1).end()


def _end(text: str, place: int) -> None:
    if place < len(text):
        raise json.JSONDecodeError("Extra data", text, place)


def _whole(path: Path) -> str:
    texts, size = [], 0
    for _, text in lines(path, "instruct", longest=LARGEST):  # a list without indentation is a single line
        size += len(text)
        if size > LARGEST:
            raise InputError(f"{path}: is longer than {LARGEST:,} characters. Write one object a line: format: jsonl.")
        texts.append(text)
    return "\n".join(texts)


def _without_prefix(text: str, key: str, prefix: str, where: str) -> str:
    if text and not text.startswith(prefix):  # an empty side has none
        raise InputError(
            f"{where}: starts with {text[: len(prefix) + 10]!r}, not with {prefix!r}.\n"
            f"Correct the record, or {key} of this corpus."
        )
    return text[len(prefix) :]
