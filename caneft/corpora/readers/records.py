"""JSON records, as jsonl, instruct and datasets have them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from caneft.errors import InputError, did_you_mean

REMEDY = "\nCorrect the record, or source and target of this corpus (dots descend into nested objects)."
KINDS = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}


def parse(text: str, path: Path, first_line: int, remedy: str, read: Callable[[str], Any] = json.loads) -> Any:
    """JSON value of a text that begins in line `first_line` of the file. Raises InputError with line and remedy."""
    try:
        return read(text)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise InputError(f"{path}:{line}: not JSON: {error.msg} (column {error.colno}). {remedy}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise InputError(f"{path}:{first_line}: unusable JSON: {error}. {remedy}") from None


def field(record: Any, name: str, where: str) -> str:
    """Text of a record's field; dots in the name descend into nested objects. Raises InputError that begins `where`."""
    value, above = record, "the record"
    for key in name.split("."):
        if not isinstance(value, dict):
            raise InputError(f"{where}: {above} is a JSON {kind(value)}, so there is no field '{name}' in it.{REMEDY}")
        if key not in value:
            raise InputError(f"{where}: no field '{name}': {above} lacks '{key}'. {did_you_mean(key, value)}{REMEDY}")
        value, above = value[key], f"'{key}'"
    if not isinstance(value, str):
        raise InputError(f"{where}: field '{name}' is a JSON {kind(value)}, not a string.{REMEDY}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{where}: field '{name}' holds half of a surrogate pair. Correct or delete it.") from None
    return value


def kind(value: Any) -> str:
    """What JSON calls a value of this type."""
    return KINDS.get(type(value), "null")
