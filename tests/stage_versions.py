"""Fingerprints the code behind every stage, so that every change of it is noticed.

Snakemake does not rerun a job because an imported module changed; `stage_version` in the rule's params does that, by
hand. A test compares the fingerprints with tests/stage_versions.json. When one differs, decide: do old results still
hold? If not, raise `stage_version` in the rule. In both cases acknowledge it: `python -m tests.stage_versions`.
"""

import ast
import functools
import hashlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
STORED = ROOT / "tests" / "stage_versions.json"


def current() -> dict[str, dict]:
    """For each script, the stage version of its rule and the fingerprint of the script and what it imports."""
    found = {}
    for rules in sorted(ROOT.glob("rules/*.smk")):
        for block in re.split(r"^rule ", rules.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            script = re.search(r'script=here\("(workflow/scripts/\w+\.py)"\)', block)
            version = re.search(r"stage_version=(\d+)", block)
            if script and version and script[1] not in found:
                found[script[1]] = {"version": int(version[1]), "code": fingerprint(ROOT / script[1])}
    return found


def fingerprint(script: Path) -> str:
    """Hash of the code of a script and of all modules of the package that it reaches."""
    digest = hashlib.sha256()
    for path in sorted(reached(script)):
        digest.update(f"{path.relative_to(ROOT)} {without_texts(path)}".encode())
    return digest.hexdigest()[:16]


@functools.cache
def without_texts(path: Path) -> str:
    """Source without docstrings, comment lines and blank lines, the same in every version of Python."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if _is_text(node):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def reached(script: Path) -> set[Path]:
    """The script and every module of the package that it imports, directly or not."""
    found, left = set(), [script]
    while left:
        path = left.pop()
        if path in found:
            continue
        found.add(path)
        left += _imported(path)
    return found


@functools.cache
def _imported(path: Path) -> list[Path]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "caneft":
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [file for name in names for file in _files(name)]


def _files(module: str) -> list[Path]:
    stem = ROOT / module.replace(".", "/")
    return [file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.exists()]


def main() -> None:
    STORED.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
