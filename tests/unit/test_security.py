"""What the package never does with data of others: run, unpickle or fetch it. See SECURITY.md."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [file for folder in ("caneft", "workflow", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]
ALLOWED = {
    "shell": {"False"},
    "allow_pickle": {"False"},
    "trust_remote_code": {"False", "_trusted(manifest)", "trusted"},
    "weights_only": {"True"},
}
"""By option of any call: what may stand there. ruff knows literals of some of them, and of some functions only."""
FETCHING = {"resolve_model", "resolve_metric", "fetch_corpus"}


def test_nothing_is_unpickled_evaluated_or_given_to_a_shell():
    """Runs ruff's rules of flake8-bandit, and checks the calls that pyproject.toml bans."""
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    assert re.findall(r"^.*: (?:S|TID)\d.*", done.stdout, re.MULTILINE) == []  # style belongs to `make lint`


def test_options_that_would_run_what_others_made_have_safe_values():
    """No linter knows these options."""
    assert len(SOURCES) > 100
    assert list(offences()) == []


def offences() -> Iterator[str]:
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield from (f"{file.relative_to(ROOT)}:{node.lineno}: {said}" for said in offence(node))


def offence(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    for option, values in ALLOWED.items():
        if option in options and options[option] not in values:
            yield f"{option}={options[option]}"
    if name in ("compile", "__import__", "builtins.compile", "builtins.__import__"):
        yield name
    if name in ("np.load", "numpy.load") and "allow_pickle" not in options:
        yield f"{name} without allow_pickle=False"
    loads_model = re.fullmatch(r"AutoModel(?!.*config).*from_pretrained", name)
    if loads_model and "trust_remote_code" not in options:
        yield f"{name} without trust_remote_code"


def test_only_rules_that_fetch_lift_the_ban_on_the_network():
    """HF_HUB_OFFLINE is 1 for every job; these rules restore the user's setting."""
    lifting = set()
    for rules in (ROOT / "rules").rglob("*.smk"):
        for name, body in re.findall(
            r"^rule (\w+):\n((?:(?:    .*)?\n)+)", rules.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if "HF_HUB_OFFLINE" in body:
                lifting.add(name)
    assert lifting == FETCHING
