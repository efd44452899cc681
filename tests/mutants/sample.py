"""A seeded sample of mutants of the package's core, made by cosmic-ray, as JSON lines.

It runs in an environment of its own: only this part needs cosmic-ray.

Every place in the code that cosmic-ray can change gives at most one mutant. A hash of the seed and of the changed line
orders the places, so a change of one function leaves the rest of the sample as it is. See docs/testing.md.
"""

import ast
import hashlib
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

import yaml
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

HERE = Path(__file__).parent

# Operators that need arguments of their own, and those that mostly make equal code or code that cannot run at all:
# == and `is` are the same for small numbers, a decorator that is gone is found by the first call.
LEFT_OUT = re.compile(r"Variable|RemoveDecorator|Is(Not)?(_|$)|(Shift|USub_(UAdd|Invert|Not))")
ARITHMETIC, BITWISE = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}, {"BitOr", "BitAnd", "BitXor"}
# What these calls are given is read by people.
TEXTS = {"print", "tqdm", "warn", "info", "warning", "debug", "announce", "say"}


def sample(areas: dict[str, dict], equivalent: list[dict], seed: int) -> list[dict]:
    """The mutants of all areas, the equivalent ones in the order replaced by the next of their area."""
    known = {_key(entry) for entry in equivalent}
    return [mutant for name, area in areas.items() for mutant in _draw(name, area, known, seed)]


def _draw(name: str, area: dict, known: set[tuple], seed: int) -> list[dict]:
    """Modules take turns, so that a long one does not take all places. The equivalent ones on the way come along."""
    turns = chain.from_iterable(zip_longest(*(mutants(module, seed) for module in area["modules"])))
    drawn, left = [], area["mutants"]
    while left > 0:
        mutant = next(turns)
        if mutant is not None:
            drawn.append(mutant | {"area": name, "equivalent": _key(mutant) in known})
            left -= not drawn[-1]["equivalent"]
    return drawn


def mutants(module: str, seed: int) -> Iterator[dict]:
    """One mutant of each place of a module that can be changed, in the order of the seed."""
    source = Path(module).read_text(encoding="utf-8")
    lines, seen, by_order = source.split("\n"), Counter(), {}
    for (line, column), changes in sorted(_places(source).items()):
        function, before = changes[0][0], lines[line - 1].strip()
        text = f"{seed} {module} {function} {before} {column - len(lines[line - 1]) + len(lines[line - 1].lstrip())}"
        seen[text] += 1
        by_order[_hash(f"{text} {seen[text]}")] = line, before, changes
    for order, (line, before, changes) in sorted(by_order.items()):
        for function, name, occurrence, _ in sorted(
            changes, key=lambda change: _hash(f"{order} {change[1]} {change[3]}")
        ):
            changed = _changed(source, name, occurrence)
            if changed is not None:
                after = changed.split("\n")[line - 1].strip()
                yield {
                    "module": module,
                    "function": function,
                    "line": line,
                    "before": before,
                    "after": after,
                    "source": changed,
                }
                break


def _places(source: str) -> dict[tuple[int, int], list[tuple]]:
    """By place, what cosmic-ray can change: (function, operator, occurrence in the module, occurrence in the place)."""
    nodes, found = list(ast_nodes(get_ast(source))), defaultdict(list)
    for name in operator_names():
        if LEFT_OUT.search(name) or not _same_kind(name):
            continue
        operator, occurrence = get_operator(name)(), 0
        for node in nodes:
            for place, _ in operator.mutation_positions(node):
                if not _is_text_or_type(node):
                    found[place].append((_function(node), name, occurrence, len(found[place])))
                occurrence += 1
    return found


def _changed(source: str, name: str, occurrence: int) -> str | None:
    """The source after a change; None if it is no code, or the same."""
    try:
        changed = mutate_code(source, get_operator(name)(), occurrence)
        changed = changed.replace("CosmicRayTestingException", "ZeroDivisionError")  # a name that is known
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source))
    except (SyntaxError, AttributeError):  # cosmic-ray knows no dotted names of exceptions
        return None
    return None if same else changed


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _same_kind(name: str) -> bool:
    """Whether an operator of numbers stays one of numbers, and one of bits or sets one of those."""
    found = re.search(r"BinaryOperator_(\w+)_(\w+)", name)
    return not found or any({found[1], found[2]} <= kind for kind in (ARITHMETIC, BITWISE))


def _is_text_or_type(node) -> bool:
    """Whether a place belongs to a message, a type, an import, a signature's marks or zip's `strict`."""
    while node.parent is not None:
        parent = node.parent
        if parent.type == "argument" and parent.children[0].get_code().strip() == "strict":  # zip's own assertion
            return True
        if parent.type in ("raise_stmt", "fstring", "decorator", "import_from", "parameters"):
            return True
        if parent.type in ("annassign", "tfpdef", "param", "funcdef") and _behind(parent, node, (":", "->")):
            return True
        if parent.type in ("atom_expr", "power") and parent.children[-1] is node and _called(parent) in TEXTS:
            return True
        node = parent
    return False


def _behind(parent, node, marks: tuple[str, ...]) -> bool:
    """Whether the child stands right behind one of the marks; a function's body does not count."""
    at = parent.children.index(node)
    return node.type != "suite" and at > 0 and getattr(parent.children[at - 1], "value", None) in marks


def _called(call) -> str:
    return re.split(r"\W+", "".join(child.get_code() for child in call.children[:-1]).strip())[-1]


def _function(node) -> str:
    names = []
    while node is not None:
        if node.type in ("funcdef", "classdef"):
            names.append(node.name.value)
        node = node.parent
    return ".".join(reversed(names)) or "module"


def _key(mutant: dict) -> tuple[str, ...]:
    return tuple(mutant[name] for name in ("module", "function", "before", "after"))


if __name__ == "__main__":
    areas, equivalent = (
        yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("map", "equivalent")
    )
    for mutant in sample(areas, equivalent or [], int(sys.argv[1])):
        print(json.dumps(mutant))
