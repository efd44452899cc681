"""What the package never does with what others made: run it, unpickle it, fetch it. docs: SECURITY.md."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    file
    for folder in ("caneft", "workflow", "benchmarks")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if file.suffix == ".py"
]
UNSAFE_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads", "torch.load",
    "joblib.load", "pd.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "marshal.loads", "shelve.open",
    "subprocess.getoutput",
}  # fmt: skip
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FETCHING = {"resolve_model", "resolve_metric", "fetch_corpus"}
HUB = {
    "caneft/hub.py": "the one door to the hub",
    "caneft/corpora/fetching.py": "the commit of a data set, asked for by fetch_corpus",
}


def called(node: ast.Call) -> str:
    """`np.load` of a call `np.load(path)`."""
    try:
        return ast.unparse(node.func)
    except ValueError:
        return ""


def calls(file: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("file", SOURCES, ids=[str(file.relative_to(ROOT)) for file in SOURCES])
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(file):
    for node in calls(file):
        name, where = called(node), f"{file}:{node.lineno}"
        assert name not in UNSAFE_CALLS, f"{where}: {name}"
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert options.get("shell") in (None, "False"), where
        assert options.get("allow_pickle") in (None, "False"), where
        assert options.get("trust_remote_code") in (None, "False", "_trusted(manifest)", "trusted"), where
        assert options.get("weights_only") in (None, "True"), where
        if name in ("np.load", "numpy.load"):
            assert options.get("allow_pickle") == "False", where
        if name.endswith("from_pretrained") and name.startswith("AutoModel"):
            assert "trust_remote_code" in options or "config" in name, where
    imported = {
        name
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert not {name.partition(".")[0] for name in imported} & UNSAFE_MODULES, file


def test_only_the_doors_import_the_hub():
    for file in SOURCES:
        name = str(file.relative_to(ROOT))
        imports_hub = re.search(r"^\s*(from|import) huggingface_hub", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert bool(imports_hub) <= (name in HUB), f"{name} imports huggingface_hub"


def test_only_rules_that_fetch_lift_the_ban_on_the_network():
    """HF_HUB_OFFLINE is 1 for every job; what these rules put back is what the user had set."""
    lifting = set()
    for rules in (ROOT / "rules").glob("*.smk"):
        for name, body in re.findall(
            r"^rule (\w+):\n((?:(?:    .*)?\n)+)", rules.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if "HF_HUB_OFFLINE" in body:
                lifting.add(name)
    assert lifting == FETCHING
