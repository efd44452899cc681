"""What each step or command imports at its start, and what its work may import later, because each job pays for it.

The table is exact: a library too many fails the test, and so does one that is no longer imported.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = {
    "accelerate", "bm25s", "comet", "datasets", "huggingface_hub", "matplotlib", "numpy", "pandas", "peft",
    "py3langid", "pyarrow", "pydantic", "pytorch_lightning", "sacrebleu", "scipy", "sentencepiece", "sklearn",
    "snakemake", "tokenizers", "torch", "transformers",
}  # fmt: skip

TABLE = {
    "Snakefile": (
        "pydantic snakemake",
        "datasets huggingface_hub numpy py3langid sacrebleu scipy torch transformers",
    ),
    "python -m caneft": ("", ""),
    "python -m caneft check": (
        "pydantic",
        "datasets huggingface_hub numpy py3langid sacrebleu torch transformers",
    ),
    "python -m caneft compare": ("numpy pandas pydantic sacrebleu scipy", "datasets py3langid"),
    "python -m caneft explain": ("pandas pydantic", "numpy"),
    "python -m caneft held_out": (
        "numpy pandas pydantic scipy torch",
        "datasets huggingface_hub peft py3langid sacrebleu transformers",
    ),
    "python -m caneft init": ("pydantic", "datasets huggingface_hub numpy py3langid sacrebleu torch transformers"),
    "python -m caneft patch": ("numpy pydantic torch", "huggingface_hub transformers"),
    "python -m caneft plan": ("pydantic", "datasets huggingface_hub numpy py3langid sacrebleu torch transformers"),
    "python -m caneft tensorboard": ("numpy pandas pydantic", ""),
    "python -m caneft verify": ("pydantic", "huggingface_hub numpy"),
    "python -m caneft.runtime.lease": ("", "torch"),
    "build_environment": ("", ""),
    "choose_rate": ("numpy pydantic sacrebleu scipy", "datasets py3langid"),
    "decide_samples": (
        "numpy pandas pydantic torch",
        "accelerate datasets huggingface_hub py3langid sacrebleu transformers",
    ),
    "dequantise_model": ("pydantic torch", "huggingface_hub numpy transformers"),
    "draw_mixture": ("pydantic", "datasets numpy py3langid sacrebleu"),
    "dump_importance": ("numpy pydantic torch", "accelerate datasets huggingface_hub py3langid sacrebleu transformers"),
    "fetch_corpus": ("pydantic", "datasets huggingface_hub numpy py3langid sacrebleu"),
    "flag_overlap": ("pydantic", "datasets numpy py3langid sacrebleu"),
    "measure_information": ("numpy pandas pydantic", "datasets py3langid sacrebleu"),
    "measure_stability": ("numpy pandas pydantic", "datasets py3langid sacrebleu"),
    "overview": ("numpy pandas pydantic scipy", ""),
    "plot": ("matplotlib numpy pandas pydantic scipy", ""),
    "prepare_corpus": ("pydantic", "datasets huggingface_hub numpy py3langid sacrebleu"),
    "prepare_pretraining": ("pydantic", "datasets huggingface_hub numpy py3langid sacrebleu"),
    "pretrain_model": ("numpy pydantic torch", "datasets huggingface_hub py3langid sacrebleu tokenizers transformers"),
    "resolve_metric": ("pydantic", "comet datasets huggingface_hub numpy py3langid sacrebleu torch transformers"),
    "resolve_model": ("pydantic torch", "huggingface_hub numpy transformers"),
    "score": ("numpy pydantic sacrebleu", "datasets py3langid"),
    "score_neural": ("pydantic", "comet datasets huggingface_hub numpy py3langid sacrebleu torch transformers"),
    "score_trials": ("numpy pydantic sacrebleu", "datasets py3langid"),
    "score_without_overlap": ("numpy pydantic sacrebleu", "datasets py3langid"),
    "select_neurons": ("numpy pandas pydantic", "datasets py3langid sacrebleu"),
    "show_examples": ("numpy pydantic sacrebleu", "datasets py3langid"),
    "tabulate": ("numpy pandas pydantic scipy", "datasets py3langid sacrebleu"),
    "test_significance": ("numpy pydantic sacrebleu scipy", "datasets py3langid"),
    "train_comet": (
        "pydantic",
        "comet datasets huggingface_hub numpy py3langid pytorch_lightning sacrebleu scipy sentencepiece torch"
        " transformers",
    ),
    "translate": ("numpy pydantic torch", "bm25s datasets huggingface_hub peft py3langid sacrebleu transformers"),
    "tune": ("numpy pydantic torch", "accelerate datasets huggingface_hub peft py3langid sacrebleu transformers"),
}
"""By step, by command of `python -m caneft`, and for the Snakefile: what it imports before it works; and what the
functions that it reaches import when they are called, whether this work calls them or not."""


def modules() -> dict[str, Path]:
    """Every module of the package and every step, by name."""
    files = [file for folder in ("caneft", "workflow/scripts") for file in sorted((ROOT / folder).rglob("*.py"))]
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)
    return dict(zip(names, files, strict=True))


MODULES = modules()
STEPS = [name.rpartition(".")[2] for name in MODULES if name.startswith("workflow.scripts.")]


@cache
def imports(module: str, late: bool) -> frozenset[str]:
    """Names that a module imports when it is imported or, if late, when its functions are called.

    For this project, the names are of the modules themselves: `caneft.patch`, not `caneft`.
    """
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    early = {name for node in outside_functions(tree) for name in imported(node)}
    return frozenset({name for node in ast.walk(tree) for name in imported(node)} - early if late else early)


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Nodes that run when a module is imported: no functions, and nothing for type checkers only."""
    yield node
    for child in ast.iter_child_nodes(node):
        for_types = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
        if not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from outside_functions(child)


def imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            yield name if name in MODULES else node.module


def needed(names: Iterable[str], late: bool = False) -> set[str]:
    """All that importing these imports, including packages above a module. late: also what calling them may import."""
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        parts = name.split(".")
        waiting += [".".join(parts[:n]) for n in range(1, len(parts))]
        if name in MODULES:
            waiting += imports(name, late=False) | (imports(name, late=True) if late else frozenset())
    return found


def heavy(names: Iterable[str]) -> set[str]:
    return {name.split(".")[0] for name in names} & HEAVY


def of_snakefile() -> set[str]:
    """Imports of the workflow's files, which Snakemake reads on every call, and again for every job of a cluster."""
    files = [ROOT / "Snakefile", *(ROOT / "rules").rglob("*.smk")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    lines = re.findall(r"^[ \t]*(import [\w., ]+|from [\w.]+ import .+)$", text, flags=re.MULTILINE)
    return {name for line in lines for name in imported(ast.parse(line).body[0])}


def starts() -> dict[str, set[str]]:
    """What is imported first, by row of the table. For a command, it is what its `run` imports."""
    commands = sorted(name for name in imports("caneft.__main__", late=False) if name.startswith("caneft.commands."))
    return {
        "Snakefile": of_snakefile(),
        "python -m caneft": {"caneft.__main__"},
        **{name.replace("caneft.commands.", "python -m caneft "): {*imports(name, late=True)} for name in commands},
        "python -m caneft.runtime.lease": {"caneft.runtime.lease"},
        **{step: {f"workflow.scripts.{step}"} for step in STEPS},
    }


def rows() -> dict[str, tuple[str, str]]:
    found = {}
    for name, first in starts().items():
        now, later = heavy(needed(first)), set()
        if name != "python -m caneft":  # all its work is in the commands
            later = heavy(needed(first, late=True)) - now
        found[name] = " ".join(sorted(now)), " ".join(sorted(later))
    return found


def test_every_step_and_command_imports_what_the_table_says():
    found = rows()
    wrong = {name: (TABLE.get(name), found.get(name)) for name in sorted({*TABLE, *found})}
    assert {name: both for name, both in wrong.items() if both[0] != both[1]} == {}, "by row: the table, the truth"


def test_the_interpreter_agrees():
    """Steps without torch run in one process, the lightest first: none imports more than the rows so far say."""
    firsts = starts()
    light = [name for name, (now, _) in TABLE.items() if "torch" not in now.split()]
    order = sorted(light, key=lambda name: len(TABLE[name][0].split()))
    todo = [(name, sorted(needed(firsts[name]) & MODULES.keys()), TABLE[name][0].split()) for name in order]
    done = subprocess.run(
        [sys.executable, "-c", AGREES, json.dumps(sorted(HEAVY)), json.dumps(todo)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, json.loads(done.stdout or "null")) == (0, []), done.stderr


AGREES = """
import importlib, json, sys
heavy, todo = map(json.loads, sys.argv[1:])
allowed, wrong = set(), []
for name, modules, expected in todo:
    allowed |= {*expected, *(["numpy", "pyarrow"] if "pandas" in expected else [])}  # pandas brings them
    for module in modules:
        importlib.import_module(module)
    if more := sorted({*heavy} & {*sys.modules} - allowed):
        wrong.append([name, more])
        allowed |= {*more}
print(json.dumps(wrong))
"""
