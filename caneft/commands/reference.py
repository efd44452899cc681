"""Generates the reference: config/schema.json, docs/configuration.md, and the DAG in docs/architecture.md.

    python -m caneft.commands.reference            writes all three
    python -m caneft.commands.reference --check    changes nothing; exit code 1 if one of them is stale

Schema and page are made from `caneft.config.Config` alone, the DAG from `snakemake --rulegraph` of the demo.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from caneft.config import Config
from caneft.config.section import LAST_SEED
from caneft.storage.files import atomic_write

ROOT = Path(__file__).parents[2]
COMMAND = "python -m caneft.commands.reference"
DAG_PAGE = "docs/architecture.md"
BEGIN, END = "<!-- dag:begin -->", "<!-- dag:end -->"

EXAMPLE = (ROOT / "docs" / "example.yaml").read_text(encoding="utf-8")
SHOWN = ("mixtures",)  # sections whose example is on the page

INTRODUCTION = f"""\
<!-- Generated from caneft/config/ by `{COMMAND}` (`make docs`). Edit the model there, not this page. -->

# Configuration

`config/config.yaml` is the demo and the default; `config/opus.yaml` runs real corpora. `caneft init` writes a file for
your corpora and model ([guide](guides.md#start-with-your-own-data-and-model)). Editors check and complete keys in a
file that begins with

```yaml
# yaml-language-server: $schema=schema.json
```

## How configurations are put together

* A file that names `directions` stands alone: `snakemake --cores all --configfile config/opus.yaml`.
* Of several files, the later one wins:
  `snakemake --cores all --configfile config/config.yaml config/examples/add-a-domain.yaml`.
* A file without `directions` is merged into the demo, key by key; lists are replaced, null unsets a key:
  `selection: {{fraction: null, gamma: "null"}}`. To have fewer domains or methods, write a file that stands alone.
* `--config` wins over all files: `--config results_root=results/second` or `--config 'tuning={{epochs: 1}}'`.

The merged configuration of the tables is saved as `{{results_root}}/config.yaml`. Unknown keys are errors.

## Where paths start

Relative paths of corpora, models and metrics start from `data_root` (`--config data_root=FOLDER`), else from the
environment variable CANEFT_DATA; with neither, they are errors. A relative `data_root` starts from where `snakemake`
runs.

Corpora are UTF-8 text. They may be compressed: `.gz`, `.xz`, or `.zip` with one file in it; `texts.zip::train.de` is
one file of several in an archive.

## All keys

Each key is given with its default. A key without one may be left out, unless it is required; without a type, it is text
or has a section below. A *name* has lower-case letters, digits, `-` and `_`. *By name* is a mapping from names of your
own (`*` in headings). A *seed* is an integer from 0 to 4294967295. Other numbers are positive, unless a
bound is given. [example.yaml](example.yaml) has an example of every section; [incremental.md](incremental.md) says what
a change of a key reruns.
"""

Schema = dict[str, Any]
TEXT, BOOLEAN = "text", "`true` or `false`"
(SLUG,) = Config.model_json_schema()["properties"]["models"]["patternProperties"]


# --- schema ------------------------------------------------------------------------------------------------------


def schema() -> Schema:
    """JSON schema of a configuration file, for editors.

    In addition to what pydantic derives, a mixture may be a bare list, names are checked, and only a file that names
    `directions` must have the required keys, as any other is merged into the demo.
    """
    found = Config.model_json_schema()
    mixtures = _values(found["properties"]["mixtures"])
    (pattern,) = mixtures["patternProperties"]
    bare_list = found["$defs"]["Mixture"]["properties"]["domains"]
    mixtures["patternProperties"][pattern] = {"anyOf": [_values(mixtures), bare_list]}
    for part in _objects(found):
        if "patternProperties" in part:
            part["additionalProperties"] = False
    required = found.pop("required")
    comment = f"Generated from caneft/config/ by `{COMMAND}` (`make docs`)."
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return (
        {"$comment": comment, "$schema": dialect}
        | found
        | {
            "if": {"required": ["directions"]},
            "then": {"required": required},
        }
    )


def _values(part: Schema) -> Schema:
    """Schema of the values of a mapping from names."""
    return next(iter(part["patternProperties"].values()))


def _objects(part: Any) -> Iterator[Schema]:
    """Every object inside a JSON value, itself included."""
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(inner)


# --- page --------------------------------------------------------------------------------------------------------


def page() -> str:
    """docs/configuration.md."""
    whole = Config.model_json_schema()
    keys = whole["properties"]
    chapters, plain, described = [], {}, {_name(part): {} for part in keys.values() if "$ref" in part}
    for key, part in keys.items():
        section = _section(whole, part)
        if nested := list(_sections(whole, part, key, described)):
            example = [_fence(section_of(EXAMPLE, key))] * (key in SHOWN)
            chapters += [f"## `{key}`", _text(section["description"]), *example, *nested]
        else:
            plain[key] = part
    required = ", ".join(f"`{key}`" for key in whole["required"])
    chapters = [INTRODUCTION, _keys(whole, plain), f"Required sections: {required}.", *chapters]
    return "\n\n".join(chapter.strip() for chapter in chapters) + "\n"


Described = dict[str, dict[str, Schema]]


def _sections(whole: Schema, part: Schema, path: str, described: Described) -> Iterator[str]:
    """Text about the sections in a key's value, outermost first, each described once.

    described: keys of the sections that are on the page already or have a chapter of their own, by name.
    """
    if "discriminator" in part:
        yield from _union(whole, part, path, described)
    elif "$ref" in part:
        name, section = _name(part), _section(whole, part)
        if name in described and path not in whole["properties"]:
            return
        if path not in whole["properties"]:
            yield f"### `{path}`\n\n{_text(section['description'])}"
        yield _keys(whole, section["properties"], section, described)
        described[name] = section["properties"]
        for key, inner in section["properties"].items():
            yield from _sections(whole, inner, f"{path}.{key}", described)
    elif "patternProperties" in part:
        yield from _sections(whole, _values(part), f"{path}.*", described)
    elif "items" in part:
        yield from _sections(whole, part["items"], f"{path}[]", described)
    for inner in part.get("anyOf", ()):
        yield from _sections(whole, inner, path, described)


def _name(part: Schema) -> str:
    return part["$ref"].rsplit("/", 1)[1]


def _section(whole: Schema, part: Schema) -> Schema:
    """Schema of the section that a value refers to, or the value's own schema if it refers to none."""
    return whole["$defs"][_name(part)] if "$ref" in part else part


def _union(whole: Schema, part: Schema, path: str, described: Described) -> Iterator[str]:
    """Text about a choice between sections by the value of one key: their shared keys, then each one's own."""
    tag = part["discriminator"]["propertyName"]
    members = {_name(member): _section(whole, member) for member in part["oneOf"]}
    if described.keys() >= members.keys():
        return
    yield f"### {tag.capitalize()}s of `{path}`"
    if known := [_tags(member, tag) for name, member in members.items() if name in described]:
        yield f"As above: {', '.join(known)}. And these:"
    shared = _shared([member["properties"] for member in members.values()])
    for keys, having in shared if not known else ():
        without = [_tags(member, tag) for member, has in zip(members.values(), having, strict=True) if not has]
        yield f"Keys of all{' but ' if without else ''}{' and '.join(without)}:\n\n{_keys(whole, keys)}"
    common = {key for keys, _ in shared for key in keys}
    for name, member in members.items():
        if name not in described:
            described[name] = member["properties"]
            own = {key: inner for key, inner in member["properties"].items() if key not in {tag, *common}}
            yield f"#### {tag}: {_tags(member, tag)}\n\n{_text(member['description'])}"
            if own:
                yield _keys(whole, own, member)
    for member in members.values():
        for key, inner in member["properties"].items():
            yield from _sections(whole, inner, f"{path}.{key}", described)


def _shared(members: list[dict[str, Schema]]) -> list[tuple[dict[str, Schema], list[bool]]]:
    """Keys that at least half of the sections have alike, grouped by the sections that do: a flag for each section."""
    found: list[tuple[dict[str, Schema], list[bool]]] = []
    for key, part in {key: part for member in members for key, part in member.items()}.items():
        having = [member.get(key) == part for member in members]
        if 2 * sum(having) < len(members):
            continue
        same = next((keys for keys, others in found if others == having), None)
        if same is None:
            found.append(({key: part}, having))
        else:
            same[key] = part
    return found


def _tags(member: Schema, tag: str) -> str:
    return ", ".join(f"`{choice}`" for choice in _choices(member["properties"][tag]))


def _choices(part: Schema) -> list[str]:
    return part.get("enum") or [part["const"]]


def _keys(
    whole: Schema, properties: dict[str, Schema], section: Schema | None = None, described: Described | None = None
) -> str:
    """A list of keys, each with its default, type and description.

    Neighbours with the same description share a line, as do three or more keys that an already described section has.
    """
    required = (section or {}).get("required", [])
    known = max((_alike(properties, keys) for keys in (described or {}).values()), key=len, default=[])
    known = known if len(known) >= 3 else []
    lines = [f"- {', '.join(f'`{key}`' for key in known)}: As above."] if known else []
    own = [(key, part) for key, part in properties.items() if key not in known]
    for description, neighbours in groupby(own, lambda item: _text(item[1]["description"])):
        match list(neighbours):
            case [(key, part)]:
                lines.append(f"- {_head(whole, key, part, key in required)}: {description}")
            case several:
                needed = " (required)" if all(key in required for key, _ in several) else ""
                lines.append(f"- {', '.join(_with_default(key, part) for key, part in several)}{needed}: {description}")
    return "\n".join(lines)


def _alike(keys: dict[str, Schema], others: dict[str, Schema]) -> list[str]:
    return [key for key, part in keys.items() if others.get(key) == part]


def _text(description: str) -> str:
    """A docstring as Markdown: on one line, with links to pages of docs/."""
    return re.sub(r"\bdocs/([\w-]+\.md)", r"[\1](\1)", description.replace("\n", " "))


def _head(whole: Schema, key: str, part: Schema, required: bool) -> str:
    """A key with its default, as in a file, and its type if the default does not show it.

    Text gets no type, nor do sections, which have chapters of their own.
    """
    head, kind = _with_default(key, part), _type(whole, part)
    if head == f"`{key}`":
        told = [kind] * (kind not in (TEXT, "section")) + ["required"] * required
        return f"{head} ({', '.join(told)})" if told else head
    bounds = re.sub(r"^(text|`true` or `false`|integer|number|seed)($| )", "", kind)  # the default shows these
    return f"{head} ({bounds})" if bounds else head


def _with_default(key: str, part: Schema) -> str:
    default = None if "$ref" in part else part.get("default")
    return f"`{key}`" if default is None else f"`{key}: {json.dumps(default, ensure_ascii=False)}`"


def _type(whole: Schema, part: Schema) -> str:
    """Type of a value in plain words."""
    match part:
        case {"discriminator": {"propertyName": tag}}:
            return f"section with `{tag}`"
        case {"$ref": _}:
            return "section"
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(_type(whole, option) for option in options if option.get("type") != "null")
        case {"enum": _} | {"const": _}:
            return ", ".join(f"`{choice}`" for choice in _choices(part))
        case {"type": "array", "items": items}:
            choices = "enum" in items
            kind, *limits = _type(whole, items).split(" ", 0 if choices else 1)
            return " ".join([f"list of {kind}" + ("" if choices else "s"), *limits])
        case {"patternProperties": _}:
            return f"by name: {_type(whole, _values(part))}"
        case {"type": "object", "additionalProperties": values}:
            return f"by name: {_type(whole, values)}"
        case {"type": "string", "pattern": pattern} if pattern == SLUG:
            return "name"
        case {"type": "integer", "minimum": 0, "maximum": most} if most == LAST_SEED:
            return "seed"
    words = {"string": TEXT, "integer": "integer", "number": "number", "boolean": BOOLEAN}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {part[bound]:.12g}" for bound, sign in bounds.items() if bound in part]
    if part["type"] in ("integer", "number") and not limits:
        return f"any {part['type']}"
    return f"{words[part['type']]} {', '.join(limits) if limits != ['> 0'] else ''}".strip()


def section_of(example: str, key: str) -> str:
    """The lines of a top-level key in a YAML text."""
    return re.search(rf"^{key}:.*\n(?:[ #].*\n)*", example, re.MULTILINE)[0]


def _fence(text: str) -> str:
    return f"```yaml\n{text.strip()}\n```"


# --- DAG ---------------------------------------------------------------------------------------------------------

Edges = set[tuple[str, str]]


def rule_graph() -> Edges:
    """Pairs (rule, rule that needs it) of the demo, without arrows that a longer path implies."""
    command = "snakemake --rulegraph mermaid-js --cores 1 --configfile config/config.yaml --nolock"
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stderr}")
    return direct(edges(done.stdout))


def edges(mermaid: str) -> Edges:
    """Arrows of a Mermaid flowchart, by the labels of their nodes."""
    labels = dict(re.findall(r"(\w+)\[(\w+)\]", mermaid))
    found = re.findall(r"(\w+) --> (\w+(?: & \w+)*)", mermaid)
    return {(labels.get(a, a), labels.get(b, b)) for a, ends in found for b in ends.split(" & ")}


def direct(arrows: Edges) -> Edges:
    """The arrows whose ends no other path connects."""
    after = {node: {b for a, b in arrows if a == node} for arrow in arrows for node in arrow}

    def reached(node: str) -> set[str]:
        return after[node].union(*map(reached, after[node]))

    return {(a, b) for a, b in arrows if not any(b in reached(other) for other in after[a])}


def dag_block(arrows: Edges) -> str:
    of_each = groupby(sorted(arrows), key=itemgetter(0))
    lines = "\n".join(f"    {a} --> {' & '.join(b for _, b in pairs)}" for a, pairs in of_each)
    return (
        f"{BEGIN}\n<!-- Generated by `{COMMAND}` (`make docs`). -->\n\n```mermaid\nflowchart TB\n{lines}\n```\n\n{END}"
    )


def block_in(text: str) -> str | None:
    """The part of a page between the markers, with them; None if they are missing."""
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", text, re.DOTALL)
    return found[0] if found else None


# --- command -----------------------------------------------------------------------------------------------------


def generated() -> dict[Path, str]:
    """Content of the files that are generated as a whole."""
    text = json.dumps(schema(), indent=1, ensure_ascii=False).replace("{\n ", "{", 1) + "\n"
    return {ROOT / "config/schema.json": text, ROOT / "docs/configuration.md": page()}


def with_dag() -> dict[Path, str]:
    """The page with the DAG between its markers; empty if it has no markers, or the same arrows already."""
    path = ROOT / DAG_PAGE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    block = block_in(text)
    if block is None:
        print(f"{DAG_PAGE} has no {BEGIN} ... {END}: its DAG is left out", file=sys.stderr)
        return {}
    arrows = rule_graph()
    return {} if arrows == edges(block) else {path: text.replace(block, dag_block(arrows))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a file is stale")
    check = parser.parse_args().check
    wanted = (generated() | with_dag()).items()
    stale = [(path, text) for path, text in wanted if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path, text in stale:
        print(f"{path.relative_to(ROOT)} {'is stale: run `make docs`' if check else 'written'}")
        if not check:
            with atomic_write(path) as beside:
                beside.write_text(text, encoding="utf-8")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
