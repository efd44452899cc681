"""Who may know whom: imports point down only, and what needs no torch imports none."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# From the ground up. A unit is a module or a package of caneft; it may import units of lower layers only, not its
# neighbours. A new module takes its place here.
LAYERS = (
    ("errors", "files", "machine"),
    ("bounded",),
    (
        "cli",
        "corpora.demo",
        "counting",
        "devices",
        "dumps",
        "holding",
        "hub",
        "integrity",
        "neurons",
        "prompts",
        "schedule",
        "significance",
        "slurm",
    ),
    ("config", "information", "launching", "lease", "parallel", "records"),
    ("corpora", "plan", "settings"),
    ("comparison", "models", "retrieval"),
    ("importance", "patch", "selection"),
    ("decoding", "dumping", "measuring", "reference", "reporting", "scoring", "stability", "tuning"),
    ("growing",),
    ("commands", "examples", "pilot"),
    ("workflow.scripts", "__main__"),
)
RANK = {unit: rank for rank, layer in enumerate(LAYERS) for unit in layer}

WITHOUT_TORCH = (
    "counting",
    "information",
    "lease",
    "neurons",
    "selection",
    "measuring",
    "plan",
    "settings",
    "reporting",
    "corpora",
)
STEPS_WITH_TORCH = {"decide_samples", "dump_importance", "pretrain_model", "resolve_model", "translate", "tune"}
HEAVY = {"torch", "transformers", "peft", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "sacrebleu", "datasets"}


def modules() -> dict[str, Path]:
    """Every module of the package and every step, by name."""
    files = [file for folder in ("caneft", "workflow/scripts") for file in sorted((ROOT / folder).rglob("*.py"))]
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    return dict(zip(names, files, strict=True))


MODULES = modules()
STEPS = [name for name in MODULES if name.startswith("workflow.scripts.")]


def unit(module: str) -> str:
    """The longest unit of LAYERS that holds a module; KeyError without one."""
    name = module.removeprefix("caneft.")
    while name not in RANK:
        if "." not in name:
            raise KeyError(f"{module} stands in no layer: give it a place in LAYERS of {Path(__file__).name}")
        name = name.rpartition(".")[0]
    return name


@cache
def imports(module: str, at_module_level: bool = False) -> frozenset[str]:
    """Names of what a module imports; of this project, the module that is meant: `caneft.patch`, not `caneft`."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = outside_functions(tree) if at_module_level else ast.walk(tree)
    return frozenset(name for node in nodes for name in imported(node))


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: no functions, and nothing that is there for type checkers."""
    yield node
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from outside_functions(child)


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import in line {node.lineno}: write it in full"
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            yield name if name in MODULES else node.module


def needed(module: str) -> dict[str, list[str]]:
    """All that importing a module imports, with the way there; packages above a module are imported with it."""
    found, waiting = {}, [[module]]
    while waiting:
        way = waiting.pop()
        if way[-1] in found:
            continue
        found[way[-1]] = way
        parts = way[-1].split(".")
        above = [".".join(parts[:n]) for n in range(1, len(parts))]
        next_ones = [*above, *(imports(way[-1], at_module_level=True) if way[-1] in MODULES else ())]
        waiting += [[*way, name] for name in next_ones]
    return found


def of_unit(name: str) -> list[str]:
    return [module for module in MODULES if module == f"caneft.{name}" or module.startswith(f"caneft.{name}.")]


TORCH_FREE = [module for name in WITHOUT_TORCH for module in of_unit(name)]
TORCH_FREE += [step for step in STEPS if step.rpartition(".")[2] not in STEPS_WITH_TORCH]


@pytest.mark.parametrize("module", [name for name in MODULES if name not in ("caneft", "workflow")])
def test_imports_point_down(module):
    own = unit(module)
    for name in imports(module):
        assert not name.startswith("workflow"), f"{module} imports {name}"
        if name.startswith("caneft."):
            other = unit(name)
            assert other == own or RANK[other] < RANK[own], f"{module} ({own}) imports {name} ({other})"


def test_every_unit_of_the_layers_exists_and_stands_in_one():
    assert len(RANK) == sum(map(len, LAYERS))
    assert {unit(module) for module in MODULES if module != "caneft"} == set(RANK)


@pytest.mark.parametrize("module", MODULES)
def test_the_package_and_the_steps_never_import_snakemake(module):
    assert not any(name.split(".")[0] == "snakemake" for name in imports(module))


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_needs_no_torch_imports_none(module):
    found = needed(module)
    torch = [name for name in found if name.split(".")[0] in ("torch", "transformers", "peft", "safetensors")]
    assert not torch, " -> ".join(found[torch[0]])


def test_torch_stays_out_of_the_interpreter():
    code = (
        f"import importlib, sys\nfor name in {TORCH_FREE}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_the_snakefile_starts_without_heavy_libraries():
    """Snakemake reads it on every call, and again for every job of a cluster."""
    files = [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    lines = re.findall(r"^[ \t]*(import [\w., ]+|from [\w.]+ import .+)$", text, flags=re.MULTILINE)
    names = {name for line in lines for name in imported(ast.parse(line).body[0])}
    assert "caneft.plan" in names
    for name in names:
        heavy = [needed(name)[found] for found in needed(name) if found.split(".")[0] in HEAVY]
        assert not heavy, " -> ".join(heavy[0])
