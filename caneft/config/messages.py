"""Validation errors of the configuration as sentences: file, key, what was found, what was expected."""

import datetime
import difflib
import re
import reprlib
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from caneft.config import yamlfiles
from caneft.config.section import SLUG
from caneft.errors import did_you_mean

SHOWN = 4
SECTIONS = ("dict_type", "model_type", "model_attributes_type")
WANTED = {
    "bool_parsing": "be true or false",
    "bool_type": "be true or false",
    "finite_number": "be a finite number",
    "float_parsing": "be a number",
    "float_type": "be a number",
    "greater_than": "be more than {gt}",
    "greater_than_equal": "be at least {ge}",
    "int_from_float": "be a whole number",
    "int_parsing": "be a whole number",
    "int_type": "be a whole number",
    "less_than": "be less than {lt}",
    "less_than_equal": "be at most {le}",
    "list_type": "be a list",
    "literal_error": "be {expected}",
    "multiple_of": "be a multiple of {multiple_of}",
    "string_too_long": "have at most {max_length} characters",
    "string_type": "be text",
    "too_short": "name at least {min_length}",
    **dict.fromkeys(SECTIONS, "be a section with keys"),
}
"""What a value must be, by pydantic's type of error."""
BRIEF = reprlib.Repr()
"""Shortens values: YAML aliases can turn a few lines into gigabytes."""
BRIEF.maxstring = BRIEF.maxother = 100
BRIEF.maxlevel = 2


def explain(error: ValidationError, model: type[BaseModel], raw: Mapping, files: Sequence[str | Path]) -> str:
    """Message for a pydantic error: two lines per problem, at most four problems."""
    problems: list[tuple[tuple, str]] = []
    wanted: dict[tuple, list[dict]] = {}
    for item in error.errors():
        location = tuple(part for part in item["loc"])
        keys = _written(location, raw)
        if item["type"] in WANTED:  # pydantic reports one error for each kind of value that is allowed
            if keys not in wanted:
                problems.append((keys, ""))
            wanted.setdefault(keys, []).append(item)
        else:
            problems.append((keys, _sentence(item, model, location)))
    return _format([(keys, said or _unlike(wanted[keys], model)) for keys, said in problems], raw, files)


def explain_problems(problems: Sequence[tuple[str, str]], raw: Mapping, files: Sequence[str | Path]) -> str:
    """Message for contradictions found after validation."""
    return _format([(tuple(key.split(".")), message) for key, message in problems], raw, files)


def _format(problems: Sequence[tuple[tuple, str]], raw: Mapping, files: Sequence[str | Path]) -> str:
    unique = list(dict.fromkeys((keys, message) for keys, message in problems))
    lines = [_line(keys, message, raw, files) for keys, message in unique[:SHOWN]]
    lines = [line for problem in lines for line in problem.splitlines()]
    if len(unique) > SHOWN:
        lines.append(f"... and {len(unique) - SHOWN} more.")
    return "\n".join(lines[:10])


def _line(keys: tuple, message: str, raw: Mapping, files: Sequence[str | Path]) -> str:
    """File, key, line and what is wrong there."""
    origin = _origin(keys, raw, files)
    line = yamlfiles.line_of(yamlfiles.tree(origin), keys)
    return f"{origin}: {'.'.join(map(str, keys)) or 'configuration'}{f' (line {line})' if line else ''} {message}"


def _unlike(items: Sequence[dict], model: type[BaseModel]) -> str:
    """Says what a value is, and what it must be."""
    value = items[0]["input"]
    if isinstance(value, bool) and any(item["type"] == "string_type" for item in items):
        return f'is {value}: YAML reads {_bare(value)} so, unless in quotes, as in "no".'
    wanted = [WANTED[item["type"]].format(**_readable(item.get("ctx", {}))) + _example(item, model) for item in items]
    found = "empty" if value is None else str(value) if isinstance(value, datetime.date) else BRIEF.repr(value)
    return f"is {found}: it must {' or '.join(dict.fromkeys(wanted))}."


def _readable(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context of a pydantic error, with numbers as people write them: 0.00001, not 1e-05."""
    return {
        key: f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
        for key, value in context.items()
    }


def _example(item: dict, model: type[BaseModel]) -> str:
    """An example of a valid value, or the known name that was probably meant; empty if there is neither."""
    kind, value = item["type"], item["input"]
    if kind == "literal_error" and isinstance(value, str):
        close = difflib.get_close_matches(value, re.findall(r"'(.*?)'", item["ctx"]["expected"]), n=1)
        return f" (did you mean '{close[0]}'?)" if close else ""
    if kind == "string_type":
        return ", in quotes" if isinstance(value, int | float | datetime.date) else ""
    if kind == "list_type" and not isinstance(value, Mapping | None):
        return f", as in [{value}]"
    if kind not in SECTIONS:
        return ""
    keys = _known_keys(model, item["loc"])
    key = next((key for key in ("hub", "method", "path") if key in keys), None)
    if isinstance(value, str) and key:
        kept = "format: ..., " if key == "path" and "format" in keys else ""
        return f", as in {{{kept}{key}: {BRIEF.repr(value)[1:-1]}}}"
    return f" ({', '.join(keys[:SHOWN])}{', ...' if len(keys) > SHOWN else ''})" if keys else ""


def _sentence(item: dict, model: type[BaseModel], location: tuple) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"is not a known key. {did_you_mean(str(location[-1]), _known_keys(model, location[:-1]))}"
    if kind == "missing":
        return "is missing; it is required."
    if kind == "union_tag_invalid":
        expected = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
        key = context["discriminator"].strip("'")
        return f"has {key} '{context['tag']}'. {did_you_mean(context['tag'], expected)}"
    if kind == "union_tag_not_found":
        return f"needs the key {context['discriminator']}."
    if kind == "value_error":
        return f"is not usable: {context['error']}."
    if kind == "string_pattern_mismatch" and "/" in context["pattern"]:  # not shown: an address may hold a password
        return "is not a name on a hub: owner/name is needed, neither an address nor a folder."
    if kind == "string_pattern_mismatch" and context["pattern"] == SLUG:
        found = "is" if location[-1] == "[key]" else f"is {BRIEF.repr(item['input'])},"
        return f"{found} not a usable name: lower-case letters, digits, '-' and '_', starting with a letter or digit."
    return f"is {BRIEF.repr(item['input'])}: {item['msg'][0].lower()}{item['msg'][1:]}."


def _bare(truth: bool) -> str:
    return "yes, on and true" if truth else "no, off and false"


def _written(location: tuple, raw: Any) -> tuple:
    """The location as the file has it: without pydantic's union tags, but with list indices."""
    keys, here = [], raw
    for position, part in enumerate(location):
        last = position == len(location) - 1
        in_list = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if part == "[key]":
            continue
        if in_list or (isinstance(here, Mapping) and part in here):
            here = here[part]
        elif not last or not isinstance(here, Mapping) or part in (here.get("format"), here.get("method")):
            continue
        keys.append(part)
    return tuple(keys)


def _known_keys(model: Any, location: tuple) -> list[str]:
    """Keys of the section at a pydantic location, which includes union tags."""
    here = model
    for part in location:
        here = _descend(_plain(here), part)
    return [name for cls in _classes(_plain(here)) for name in cls.model_fields]


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType):
        for argument in get_args(annotation):
            yield from _classes(_plain(argument))


def _descend(annotation: Any, part: Any) -> Any:
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if get_origin(annotation) is list:
        return get_args(annotation)[0]
    for cls in _classes(annotation):
        if part in cls.model_fields:
            return cls.model_fields[part].annotation
        for tag in ("format", "method"):
            field = cls.model_fields.get(tag)
            if field is not None and get_origin(field.annotation) is Literal and part in get_args(field.annotation):
                return cls
    return annotation


def _origin(keys: tuple, raw: Mapping, files: Sequence[str | Path]) -> str:
    """The file that gives a key the value in force, else the command line.

    For a missing key, this looks for the nearest section that exists.
    """
    wanted, depth = _at(keys, raw)
    holders = []
    for file in files:
        try:
            found = _at(keys[:depth], yaml.safe_load(Path(file).read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            continue
        holders.append((found[1], BRIEF.repr(found[0]) == BRIEF.repr(wanted), str(file)))
    whole = [holder for holder in holders if holder[0] == depth]
    same = [holder for holder in whole if holder[1]]
    if same or (whole and isinstance(wanted, Mapping | list)):
        return (same or whole)[0][2]
    return "--config" if depth else str(files[0]) if files else "configuration"


def _at(keys: tuple, content: Any) -> tuple[Any, int]:
    """The value at the deepest key that exists, and its depth."""
    depth = 0
    for key in keys:
        if isinstance(content, Mapping) and key in content:
            content = content[key]
        elif isinstance(content, list) and str(key).isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            break
        depth += 1
    return content, depth
