"""The reference that is generated: config/schema.json, docs/configuration.md, and the DAG in docs/architecture.md.

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
from pathlib import Path
from typing import Any

from caneft.config import Config
from caneft.selection.criteria import CRITERIA
from caneft.storage.files import atomic_write

ROOT = Path(__file__).parents[2]
COMMAND = "python -m caneft.commands.reference"
DAG_PAGE = "docs/architecture.md"
BEGIN, END = "<!-- dag:begin -->", "<!-- dag:end -->"

EXAMPLE = (ROOT / "docs" / "example.yaml").read_text(encoding="utf-8")

INTRODUCTION = f"""\
<!-- Generated from caneft/config/ by `{COMMAND}` (`make docs`). Edit the model there, not this page. -->

# Configuration

`config/config.yaml` is the demo and the default; `config/opus.yaml` runs real corpora. Unknown keys are errors. An
editor with a YAML language server checks and completes keys where the file begins with

```yaml
# yaml-language-server: $schema=schema.json
```

## How configurations are put together

* A file that names `directions` stands alone: `snakemake --cores all --configfile config/opus.yaml`. `python -m caneft
  init` writes one for your corpora and model ([guide](guides.md#start-with-your-own-data-and-model)).
* Several files are merged, and the later one wins:
  `snakemake --cores all --configfile config/config.yaml config/examples/add-a-domain.yaml`.
* A file without `directions` is merged into the demo, key by key. Lists are replaced, not joined. You can change the
  demo's entries but not remove them; keys with a default can be set to null, as in
  `selection: {{fraction: null, gamma: "null"}}`. To have fewer domains or methods, write a file that stands alone.
* `--config` wins over all files: `snakemake --cores all --config results_root=results/second` or
  `--config 'tuning={{epochs: 1}}'`.

The merged configuration is saved as `{{results_root}}/config.yaml`.

## Where paths start

Relative paths of corpora, models and metrics start from `data_root` (`--config data_root=FOLDER`), else from the
environment variable `CANEFT_DATA`. With neither, a relative path is an error. `data_root` itself starts from the folder
that `snakemake` runs in.

Corpus files may be compressed: `.gz`, `.xz`, or `.zip` with one file in it; `texts.zip::train.de` is the file
`train.de` of an archive that holds several. Text is UTF-8; anything else is an error that names the line.

## What an error looks like

At most ten lines, before the first job:

```text
config/config.yaml: tuning.epocs is not a known key. Known: batch_size, clip, ... Did you mean 'epochs'?
config/config.yaml: mixtures.all.de-en names the domain 'medcial', which direction de-en does not have. Known: it, ...
```

## What changes rerun

A changed key reruns the stages whose results depend on it, and what follows them. No result depends on `report`, the
`resources` of models and `tuning.keep_full_weights`. [incremental.md](incremental.md) lists the jobs of each change.

## All keys

A *name* has lower-case letters, digits, `-` and `_`, and becomes part of paths. *By name* is a mapping from names of
your own, for which `*` stands in headings.
"""

Schema = dict[str, Any]


# --- schema ------------------------------------------------------------------------------------------------------


def schema() -> Schema:
    """JSON schema of a configuration file, for editors.

    Beside what pydantic derives: a mixture may be a bare list, names are checked, and only a file that names
    `directions` must have the required keys, as any other is laid over the demo.
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
    chapters, plain, described = [], "", set()
    for key, part in whole["properties"].items():
        example = section_of(EXAMPLE, key)
        if nested := list(_sections(whole, part, key, described)):
            chapters += [f"## `{key}`", _section(whole, part).get("description"), _fence(example), *nested]
        else:
            plain += example.strip() + "\n"
        if key == "methods":
            chapters += [_criteria()]
    chapters = [INTRODUCTION, _table(whole, whole["properties"]), _fence(plain), *chapters]
    return "\n\n".join(chapter.strip() for chapter in chapters) + "\n"


def _sections(whole: Schema, part: Schema, path: str, described: set[str]) -> Iterator[str]:
    """Text of the sections that a key's value is made of, outermost first, each described once."""
    if "discriminator" in part:
        yield from _union(whole, part, path, described)
    elif "$ref" in part:
        name, section = _name(part), _section(whole, part)
        if name in described:
            return
        described.add(name)
        if path not in whole["properties"]:
            yield f"### `{path}`\n\n{section['description']}"
        yield _table(whole, section["properties"], section)
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
    """The section that a value is, or the value's own schema if it is none."""
    return whole["$defs"][_name(part)] if "$ref" in part else part


def _union(whole: Schema, part: Schema, path: str, described: set[str]) -> Iterator[str]:
    """A choice between sections by the value of one key: what all have in common, then each with its own keys."""
    tag = part["discriminator"]["propertyName"]
    names = [_name(member) for member in part["oneOf"]]
    members = [_section(whole, member) for member in part["oneOf"]]
    if described.issuperset(names):
        return
    first, *others = (member["properties"] for member in members)
    shared = {key: inner for key, inner in first.items() if all(other.get(key) == inner for other in others)}
    choices = ", ".join(_tags(member, tag) for member in members)
    yield f"### {tag.capitalize()}s of `{path}`\n\nThe key `{tag}` says which: {choices}."
    if described.intersection(names):
        yield "Here are those that are not described above."
    elif shared:
        yield f"Each has the keys\n\n{_table(whole, shared)}"
    for name, member in zip(names, members, strict=True):
        if name not in described:
            described.add(name)
            own = {key: inner for key, inner in member["properties"].items() if key not in {tag, *shared}}
            yield f"#### {tag}: {_tags(member, tag)}\n\n{member['description']}"
            if own:
                yield _table(whole, own, member)
            yield _fence(line_of(EXAMPLE, tag, member))
    for member in members:
        for key, inner in member["properties"].items():
            yield from _sections(whole, inner, f"{path}.{key}", described)


def _tags(member: Schema, tag: str) -> str:
    return ", ".join(f"`{choice}`" for choice in _choices(member["properties"][tag]))


def _choices(part: Schema) -> list[str]:
    return part.get("enum") or [part["const"]]


def _table(whole: Schema, properties: dict[str, Schema], section: Schema | None = None) -> str:
    required = (section or whole).get("required", [])
    rows = ["| key | type | default | what it is |", "|---|---|---|---|"]
    for key, part in properties.items():
        description = part.get("description", "Which of them.").replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{key}` | {_type(whole, part)} | {_default(key, part, required)} | {description} |")
    return "\n".join(rows)


def _default(key: str, part: Schema, required: list[str]) -> str:
    if key in required:
        return "required"
    if part.get("default") is None:
        return "none"
    return "see below" if "$ref" in part else f"`{json.dumps(part['default'], ensure_ascii=False)}`"


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
            kind, *limits = _type(whole, items).split(" ", 1)
            return " ".join([f"list of {kind}" + ("" if kind.endswith("`") else "s"), *limits])
        case {"patternProperties": _}:
            return f"by name: {_type(whole, _values(part))}"
        case {"type": "object", "additionalProperties": values}:
            return f"by name: {_type(whole, values)}"
        case {"type": "string", "pattern": _}:
            return "name"
    words = {"string": "text", "integer": "integer", "number": "number", "boolean": "`true` or `false`"}
    bounds = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = ", ".join(f"{sign} {part[bound]:.12g}" for bound, sign in bounds.items() if bound in part)
    return f"{words[part['type']]} {limits}".strip()


def _criteria() -> str:
    """What each criterion of the neuron methods selects."""
    rows = [
        f"| `{name}` | {criterion.description.replace('|', chr(92) + '|')} |" for name, criterion in CRITERIA.items()
    ]
    return "\n".join(["| neuron method | selects |", "|---|---|", *rows])


def section_of(example: str, key: str) -> str:
    """The lines of a top-level key in a YAML text."""
    return re.search(rf"^{key}:.*\n(?:[ #].*\n)*", example, re.MULTILINE)[0]


def line_of(example: str, tag: str, member: Schema) -> str:
    """The first line of a YAML text that uses one of a union's members."""
    tags = "|".join(map(re.escape, _choices(member["properties"][tag])))
    return re.search(rf"^ *(.*\{{{tag}: (?:{tags})[,}}].*)$", example, re.MULTILINE)[1]


def _fence(text: str) -> str:
    return f"```yaml\n{text.strip()}\n```"


# --- DAG ---------------------------------------------------------------------------------------------------------

Edges = set[tuple[str, str]]


def rule_graph() -> Edges:
    """(rule, rule that needs it) of the demo, without arrows that a longer way implies."""
    command = [
        "snakemake",
        "--rulegraph",
        "mermaid-js",
        "--cores",
        "1",
        "--configfile",
        "config/config.yaml",
        "--nolock",
    ]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return direct(edges(done.stdout))


def edges(mermaid: str) -> Edges:
    """Arrows of a Mermaid flowchart, by the labels of their nodes."""
    labels = dict(re.findall(r"(\w+)\[(\w+)\]", mermaid))
    return {(labels.get(a, a), labels.get(b, b)) for a, b in re.findall(r"(\w+) --> (\w+)", mermaid)}


def direct(arrows: Edges) -> Edges:
    """The arrows whose ends no other way connects."""
    after = {node: {b for a, b in arrows if a == node} for arrow in arrows for node in arrow}

    def reached(node: str) -> set[str]:
        return after[node].union(*map(reached, after[node]))

    return {(a, b) for a, b in arrows if not any(b in reached(other) for other in after[a])}


def dag_block(arrows: Edges) -> str:
    lines = "\n".join(f"    {a} --> {b}" for a, b in sorted(arrows))
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
    """The page with the DAG between its markers; nothing if it has no markers, or the same arrows already."""
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
