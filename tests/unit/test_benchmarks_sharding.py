"""The benchmark of dumps by several processes: it runs the real step, and other bytes are an error."""

import json
import subprocess
import sys

import pytest

from benchmarks import sharding
from tests.messages import refused

pytestmark = pytest.mark.slow


def test_it_measures_both_and_finds_the_same_bytes():
    options = ["--shape", "tiny", "--samples", "12", "--rounds", "1", "--tokens-per-batch", "100"]
    done = subprocess.run([sys.executable, "-m", "benchmarks.sharding", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same_bytes"] and found["times_as_fast"]["1"] == 1
    assert all(found[name][n] > 0 for name in ("seconds", "start_seconds") for n in ("1", "2"))


def test_other_bytes_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(sharding, "prepare", lambda *_: None)
    monkeypatch.setattr(sharding, "dump", lambda folder, corpus, processes, tokens: (1.0, [bytes([processes])]))
    given = type("Given", (), {"shape": "tiny", "samples": 4, "processes": [1, 2], "rounds": 1, "tokens_per_batch": 9})
    with refused(2, 1):
        sharding.measure(given)
