"""Configuration files as they are written: line numbers of keys, and what must be a mistake in them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from caneft.errors import InputError

MERGE = "<<"
NO_TEXT = {"bool": "a truth value", "float": "a number", "int": "a number", "null": "nothing", "timestamp": "a date"}
"""What YAML reads an unquoted key as, if not as text, by its tags."""
OTHER_NUMBER = re.compile(r"[-+]?0[0-9_]|.*:")
"""Numbers that YAML 1.1 reads to the base of 8 or 60, or that look so."""
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: str | Path) -> dict[str, Any]:
    """Content of one file. Raises InputError, with the line if known, if it is not a YAML mapping or has a fault."""
    text = _text(path)
    try:
        if found := list(faults(yaml.compose(text, Loader))):
            raise InputError("\n".join(f"{path}: {said}" for said in found))
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(_broken(path, error)) from None
    if not isinstance(content, dict):
        found = "it is empty" if content is None else f"it holds a {type(content).__name__}"
        raise InputError(f"{path}: a configuration has keys with values, such as 'seeds: [1, 2]', but {found}.")
    return content


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Name the configuration's file.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 (byte {error.start}). Is it a configuration?") from None


def _broken(path: str | Path, error: yaml.YAMLError) -> str:
    """A parser's error with file, line and column, and the remedy for its most common cause."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:  # a character that YAML does not allow
        return f"{path}: is not YAML: {' '.join(str(error).split())}"
    problem = getattr(error, "problem", None) or "it cannot be read"
    if "\\t" in problem:
        remedy = "Indent with spaces, not with a tab."
    else:
        remedy = "Look there and just above: a blank after each colon, quotes and brackets closed, indents even?"
    return f"{path}:{mark.line + 1}:{mark.column + 1}: is not YAML: {problem}.\n{remedy}"


def tree(path: str | Path) -> yaml.Node | None:
    """The file as YAML nodes, which know their lines; None if it cannot be read."""
    try:
        return yaml.compose(Path(path).read_text(encoding="utf-8-sig"), Loader)
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None


def faults(node: yaml.Node | None) -> Iterator[str]:
    """Mistakes in valid YAML, with their lines: aliases inside their own anchors, keys that are given twice or are not
    text, and numbers that YAML reads as others."""
    if node is not None:
        yield from _endless(node, set(), set())
        yield from _unusable(node)


def _endless(node: yaml.Node, around: set[int], done: set[int]) -> Iterator[str]:
    """A message for each section that contains itself. around: nodes that contain this one; done: nodes already
    searched."""
    if id(node) in around:
        line = node.start_mark.line + 1
        yield f"an alias (*) is inside its own anchor (&, line {line}), so it has no end. Write out what is meant."
    elif isinstance(node, yaml.CollectionNode) and id(node) not in done:
        around.add(id(node))
        for child in node.value:
            for part in child if isinstance(child, tuple) else [child]:
                yield from _endless(part, around, done)
        around.remove(id(node))
        done.add(id(node))


def _unusable(node: yaml.Node) -> Iterator[str]:
    """Messages about keys and numbers."""
    waiting: list[tuple[tuple[str, ...], yaml.Node]] = [((), node)]
    seen = set()
    while waiting:
        keys, here = waiting.pop()
        if id(here) in seen:  # an alias
            continue
        seen.add(id(here))
        if isinstance(here, yaml.ScalarNode) and keys:
            yield from _other_number(".".join(keys), here)
        elif isinstance(here, yaml.SequenceNode):
            waiting += [((*keys, str(place)), item) for place, item in enumerate(here.value)]
        elif isinstance(here, yaml.MappingNode):
            first: dict[str, int] = {}
            for key, value in here.value:
                name, line = _name(key), key.start_mark.line + 1
                dotted = ".".join((*keys, name))
                if read := NO_TEXT.get(key.tag.rpartition(":")[2]):
                    yield f"{dotted} (line {line}) is {read} to YAML, not a name. Put the key in quotes, or rename it."
                elif name in first:
                    yield (
                        f"{dotted} (line {line}) is in line {first[name]} already; only one of them would count."
                        " Remove or rename one."
                    )
                first.setdefault(name, line)
                waiting.append(((*keys, name), value))


def _other_number(dotted: str, node: yaml.ScalarNode) -> Iterator[str]:
    """A message if YAML may read a number as another: 050 as 40, 3:1 as 181."""
    if node.tag.rpartition(":")[2] in ("int", "float") and OTHER_NUMBER.match(node.value):
        read = yaml.SafeLoader("").construct_object(node)
        instead = (
            "a number without colons" if ":" in node.value else re.sub("^([-+]?)[0_]+(?=[0-9])", r"\1", node.value)
        )
        yield (
            f"{dotted} (line {node.start_mark.line + 1}) is {node.value}, which YAML reads as {read}. Write {instead},"
            " or put it in quotes if it is text."
        )


def line_of(node: yaml.Node | None, keys: Sequence[str | int]) -> int | None:
    """Line of the deepest key that exists; None if not even the first does."""
    line = None
    for key in keys:
        found = _child(node, str(key))
        if found is None:
            break
        line, node = found
    return line


def _child(node: yaml.Node | None, key: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.SequenceNode):
        inside = key.isdigit() and int(key) < len(node.value)
        return (node.value[int(key)].start_mark.line + 1, node.value[int(key)]) if inside else None
    if not isinstance(node, yaml.MappingNode):
        return None
    for name, value in node.value:
        if _name(name) == key:
            return name.start_mark.line + 1, value
    for name, value in node.value:  # keys that it merges from an anchor
        if _name(name) == MERGE:
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if found := _child(source, key):
                    return found
    return None


def _name(node: yaml.Node) -> str:
    return str(node.value)


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merges two configurations as Snakemake does: sections key by key, while everything else is replaced."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            under = result.get(key)
            result[key] = laid_over(under if isinstance(under, Mapping) else {}, value)
        else:
            result[key] = value
    return result
