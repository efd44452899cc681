"""A few hundred damaged files by all parsers; `make test-fuzz` reads ten thousand."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import parsers, run

EACH = 15


def check(found):
    assert found["failures"] == []
    assert sum(found[outcome] for outcome in run.COLUMNS if outcome != "inputs") == EACH
    assert found["accepted"] < EACH


@pytest.mark.parametrize("name", parsers.BY_NAME)
def test_a_damaged_file_is_refused_or_repaired_and_never_a_traceback(name, monkeypatch):
    monkeypatch.setattr(run, "LIMIT_MB", math.inf)  # this process holds what other tests need
    check(run.work(name, EACH, 1))


@pytest.mark.slow
def test_a_process_that_reads_them_all_stays_small():
    command = [sys.executable, "-m", "tests.fuzz.run", "--inputs", str(EACH), "--seed", "1", "--worker"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *parsers.BY_NAME], capture_output=True, text=True, timeout=900, cwd=root)
    assert done.returncode == 0, done.stderr[-3000:]
    found = list(map(json.loads, done.stdout.splitlines()))
    assert [line["parser"] for line in found] == list(parsers.BY_NAME)
    for line in found:
        check(line)
