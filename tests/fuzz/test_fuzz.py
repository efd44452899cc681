"""A few hundred damaged files by all parsers, in one process; `make test-fuzz` reads ten thousand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import parsers, run

EACH = 15


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-m", "tests.fuzz.run", "--inputs", str(EACH), "--seed", "1", "--worker"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *parsers.BY_NAME], capture_output=True, text=True, timeout=900, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    return {line["parser"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", parsers.BY_NAME)
def test_a_damaged_file_is_refused_or_repaired_and_never_a_traceback(found, name):
    assert found[name]["failures"] == []
    assert sum(found[name][outcome] for outcome in run.COLUMNS if outcome != "inputs") == EACH
    assert found[name]["accepted"] < EACH
