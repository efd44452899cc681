"""`python -m tests.rooms` prints the rooms of the package: what is in each, which others it imports, and circles."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "caneft"


def room(module: str) -> str:
    """The package or loose module at the root that a module belongs to."""
    return module.partition(".")[0]


def modules() -> dict[str, Path]:
    """Files by dotted name below the package."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return {name: file for name, file in found.items() if name}


def imports(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "caneft":
            base = node.module.partition(".")[2]
            for name in (f"{base}.{alias.name}".strip(".") for alias in node.names):
                yield name if name in known else base


def arrows() -> dict[str, set[str]]:
    """For each room, the rooms that it imports."""
    known, found = modules(), defaultdict(set)
    for module, file in known.items():
        found[room(module)] |= {room(name) for name in imports(file, known)} - {room(module), ""}
    return dict(sorted(found.items()))


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of rooms that reach each other."""

    def reached(start: str) -> set[str]:
        found, left = set(), [start]
        while left:
            new = graph[left.pop()] - found
            found |= new
            left += new
        return found

    within = {name: reached(name) for name in graph}
    sets = {frozenset(b for b in within[a] if a in within[b]) for a in graph if a in within[a]}
    return [set(members) for members in sets]


def main() -> None:
    graph, lines = arrows(), defaultdict(int)
    for module, file in modules().items():
        lines[room(module)] += len(file.read_text(encoding="utf-8").splitlines())
    for name, entered in graph.items():
        print(f"{name:<12} {lines[name]:>6} lines   enters {', '.join(sorted(entered)) or 'none'}")
    longest = max(modules().values(), key=lambda file: len(file.read_text(encoding="utf-8").splitlines()))
    print(
        f"{len(graph)} rooms, {sum(map(len, graph.values()))} arrows, {len(circles(graph))} circles,"
        f" {sum(lines.values()):,} lines ({sum(lines.values()) - lines['demo']:,} without demo); the longest file is"
        f" {longest.relative_to(PACKAGE)} with {len(longest.read_text(encoding='utf-8').splitlines())}"
    )


if __name__ == "__main__":
    main()
