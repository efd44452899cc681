"""JSON records, as in jsonl, instruct and datasets."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from caneft.corpora.readers.pair import Pair
from caneft.errors import InputError, did_you_mean

NAMES = "source and target of this corpus (dots descend into nested objects, numbers from 0 into lists)."
CORRECT_NAMES, CORRECT_EITHER = f"Correct {NAMES}", f"Correct the record, or {NAMES}"
INDEX = re.compile("[0-9]{1,9}")
KINDS = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises ValueError if it has a key twice, of which only the last would count."""
    made = dict(members)
    if len(made) < len(members):
        ((name, _),) = Counter(name for name, _ in members).most_common(1)
        raise ValueError(f"an object has the key {name!r} twice")
    return made


DECODER = json.JSONDecoder(object_pairs_hook=_once)


def parse(text: str, path: Path, first_line: int, remedy: str, read: Callable[[str], Any] = DECODER.decode) -> Any:
    """JSON value of a text that begins in line `first_line` of the file. Raises InputError with line and remedy."""
    try:
        return read(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}:{line}: not JSON: {error.msg} (column {error.colno}). {remedy}") from None
    except (ValueError, RecursionError) as error:  # a key twice, thousands of digits or nested brackets
        raise InputError(f"{path}:{first_line}: unusable JSON: {error}. {remedy}") from None


def pairs(
    located: Iterable[tuple[int, str, Any]], source: str, target: str, remedy: str = CORRECT_EITHER
) -> Iterator[Pair]:
    """Pairs of records; a side that is null is empty, so that cleaning counts it.

    located: number of a pair, beginning of messages about its record, and the record. source, target: names of fields.
    Raises InputError if a record has no such text, and at the end if no record has both.
    """
    number = complete = 0
    where = ""
    for number, where, record in located:
        sides = field(record, source, target, where, remedy), field(record, target, source, where, remedy)
        complete += None not in sides
        yield Pair(number, sides[0] or "", sides[1] or "")
    if number and not complete:
        raise InputError(
            f"{where}: the last record, and none has both '{source}' and '{target}': one is null in each.\n{remedy}"
        )


def field(record: Any, name: str, other: str, where: str, remedy: str = CORRECT_EITHER) -> str | None:
    """Text of a record's field; None if it, or an object that holds it, is null (or NaN, as tables write it).

    name: a key; if no key has that name, dots descend into nested objects, and whole numbers, from 0, into lists.
    other: the other side's field, which is never suggested. where: the beginning of messages. Raises InputError if
    there is no such field or it holds no text.
    """
    value, above, path, rest = record, "the record", [], name.split(".")
    while rest:
        if isinstance(value, list) and INDEX.fullmatch(rest[0]):
            if int(rest[0]) >= len(value):
                raise InputError(
                    f"{where}: no field '{name}': {above} is a list of {len(value)} elements, counted from 0.\n{remedy}"
                )
            used, value = 1, value[int(rest[0])]
        elif isinstance(value, dict):
            used = next((n for n in range(len(rest), 0, -1) if ".".join(rest[:n]) in value), 0)
            if not used:
                others = [key for key in value if other in (".".join([*path, key, *more]) for more in ((), rest[1:]))]
                advice = did_you_mean(rest[0], value, taken=others)
                raise InputError(f"{where}: no field '{name}': {above} lacks '{rest[0]}'. {advice}\n{remedy}")
            value = value[".".join(rest[:used])]
        else:
            raise InputError(
                f"{where}: {above} is a JSON {kind(value)}, so there is no field '{name}' in it.\n{remedy}"
            )
        path, rest = path + rest[:used], rest[used:]
        above = f"'{'.'.join(path)}'"
        if value is None or value != value:  # NaN alone differs from itself
            return None
    if not isinstance(value, str):
        raise InputError(f"{where}: field '{name}' is a JSON {kind(value)}, not a string.\n{remedy}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: field '{name}' holds half of a surrogate pair. Correct or delete it.") from None
    return value


def kind(value: Any) -> str:
    """JSON's name for the type of a value."""
    return KINDS.get(type(value), "null")
