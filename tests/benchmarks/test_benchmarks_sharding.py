"""The benchmark of dumps by several processes: it runs the real step, and different bytes are an error."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from benchmarks import sharding
from tests.messages import refused


@pytest.mark.slow
def test_it_measures_both_and_finds_the_same_bytes():
    options = ["--shape", "tiny", "--samples", "12", "--rounds", "1", "--tokens-per-batch", "100"]
    done = subprocess.run([sys.executable, "-m", "benchmarks.sharding", *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["same_bytes"] and found["times_as_fast"]["1"] == 1
    assert all(found[name][n] > 0 for name in ("seconds", "start_seconds") for n in ("1", "2"))


def measured(monkeypatch, dumped):
    """What `measure` returns if dumps take these seconds and leave these bytes: dumped(corpus, processes)."""
    monkeypatch.setattr(sharding, "prepare", lambda *_: None)
    monkeypatch.setattr(sharding, "dump", lambda folder, corpus, processes, tokens: dumped(corpus, processes))
    given = {"shape": "tiny", "samples": 4, "processes": [1, 2], "rounds": 1, "tokens_per_batch": 9}
    return sharding.measure(SimpleNamespace(**given))


def test_what_both_need_to_start_is_no_part_of_the_gain(monkeypatch):
    """Starting takes 10 s; the rest takes 12 s with one process and 4 s with two."""
    found = measured(monkeypatch, lambda corpus, n: (10.0 if corpus == "two" else 10 + {1: 12.0, 2: 4.0}[n], [b"x"]))
    assert found["same_bytes"] and found["times_as_fast"] == {1: 1, 2: 3}
    assert found["seconds"] == {1: 22, 2: 14} and found["start_seconds"] == {1: 10, 2: 10}


def test_other_bytes_are_an_error(monkeypatch):
    with refused(2, 1):
        measured(monkeypatch, lambda corpus, processes: (1.0, [bytes([processes])]))
