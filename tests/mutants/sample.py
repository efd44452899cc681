"""Prints a seeded sample of mutants of the package's core, made by cosmic-ray, as JSON lines.

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

# These operators mostly make code that does the same (`==` and `is` of small numbers) or fails at its first call.
LEFT_OUT = re.compile(r"Variable|RemoveDecorator|Is(Not)?(_|$)|Shift|USub_(UAdd|Invert|Not)")
KINDS = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}, {"BitOr", "BitAnd", "BitXor"}
# Code in these is a message, a type, an import or the marker in a signature.
NOT_CODE = ("raise_stmt", "fstring", "decorator", "import_from", "parameters")


def sample(areas: dict[str, dict], equivalent: list[dict], seed: int) -> Iterator[dict]:
    """The mutants of all areas. Equivalent ones are included, and the next mutant of their area replaces them."""
    known = {_key(entry) for entry in equivalent}
    for name, area in areas.items():
        # Modules take turns, so that a long one does not fill the sample.
        turns = chain.from_iterable(zip_longest(*(mutants(module, seed) for module in area["modules"])))
        left = area["mutants"]
        for mutant in filter(None, turns):
            same = _key(mutant) in known
            yield mutant | {"area": name, "equivalent": same, "seed": seed}
            left -= not same
            if left == 0:
                break


def mutants(module: str, seed: int) -> Iterator[dict]:
    """One mutant for each place of a module that can change, in the order of the seed."""
    source = Path(module).read_text(encoding="utf-8")
    lines, seen, by_order = source.split("\n"), Counter(), {}
    for (line, column), changes in sorted(_places(source).items()):
        before = lines[line - 1].strip()
        text = f"{seed} {module} {changes[0][0]} {before} {lines[line - 1][:column].lstrip()}"
        seen[text] += 1
        by_order[_hash(f"{text} {seen[text]}")] = line, before, changes
    for order, (line, before, changes) in sorted(by_order.items()):
        for function, name, occurrence, _ in sorted(
            changes, key=lambda change: _hash(f"{order} {change[1]} {change[3]}")
        ):
            if changed := _changed(source, name, occurrence):
                after = changed.split("\n")[line - 1].strip()
                told = {"module": module, "function": function, "before": before, "after": after}
                yield told | {"source": changed}
                break


def _places(source: str) -> dict[tuple[int, int], list[tuple]]:
    """What cosmic-ray can change, by place: (function, operator, occurrence in the module, occurrence in the place)."""
    nodes, found = list(ast_nodes(get_ast(source))), defaultdict(list)
    for name in filter(_is_telling, operator_names()):
        operator, occurrence = get_operator(name)(), 0
        for node in nodes:
            for place, _ in operator.mutation_positions(node):
                if not _is_text_or_type(node):
                    found[place].append((_function(node), name, occurrence, len(found[place])))
                occurrence += 1
    return found


def _changed(source: str, name: str, occurrence: int) -> str | None:
    """The source after a change; None if it is not valid code, or unchanged."""
    try:
        changed = mutate_code(source, get_operator(name)(), occurrence)
        changed = changed.replace("CosmicRayTestingException", "ZeroDivisionError")  # a name that exists
        same = ast.dump(ast.parse(changed)) == ast.dump(ast.parse(source))
    except (SyntaxError, AttributeError):  # cosmic-ray cannot handle dotted names of exceptions
        return None
    return None if same else changed


def _is_telling(operator: str) -> bool:
    """Whether to use an operator: of the binary ones, those between numbers, or between bits and sets."""
    binary = re.search(r"BinaryOperator_(\w+)_(\w+)", operator)
    return not LEFT_OUT.search(operator) and (not binary or any({*binary.groups()} <= kind for kind in KINDS))


def _is_text_or_type(node) -> bool:
    """Whether a place is in a message, a log, a progress bar, a type, an import, a signature, or in zip's `strict`."""
    while (parent := node.parent) is not None:
        behind = parent.children[parent.children.index(node) - 1]
        first = getattr(parent.children[0], "value", None)
        if (
            parent.type in NOT_CODE
            or (parent.type in ("annassign", "tfpdef", "funcdef") and node.type != "suite" and behind in (":", "->"))
            or (parent.type == "argument" and first in ("strict", "mininterval"))
            or (parent.type == "atom_expr" and first in ("logger", "print", "tqdm"))
        ):
            return True
        node = parent
    return False


def _function(node) -> str:
    names = []
    while node is not None:
        names += [node.name.value] if node.type in ("funcdef", "classdef") else []
        node = node.parent
    return ".".join(reversed(names)) or "module"


def _key(mutant: dict) -> tuple[str, ...]:
    return tuple(mutant[name] for name in ("module", "function", "before", "after"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    described = [yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8")) for name in ("map", "equivalent")]
    for drawn in sample(*described, int(sys.argv[1])):
        print(json.dumps(drawn))
