"""The choice of a learning rate: highest mean dev score, ties to the lower rate, edges flagged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from caneft.scoring.choosing import choose, mean_score
from tests.messages import refused


def test_the_mean_is_over_domains():
    domains = {"it": {"chrf": {"score": 40.0}, "segments": 900}, "law": {"chrf": {"score": 61.0}, "segments": 100}}
    assert mean_score(domains, "chrf") == 50.5


@pytest.mark.parametrize(
    ("trials", "rate", "edge"),
    [
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 55.0}, 3e-3, None),
        ({1e-2: 55.0, 1e-3: 50.0, 3e-3: 60.0}, 3e-3, None),  # in whatever order they come
        ({1e-3: 60.0, 3e-3: 60.0, 1e-2: 55.0}, 1e-3, "low"),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 60.0}, 3e-3, None),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: 61.0}, 1e-2, "high"),
        ({1e-3: 50.0, 3e-3: 60.0, 1e-2: None}, 3e-3, None),  # what lies above is known: it diverges
        ({1e-3: 0.0, 3e-3: None}, 1e-3, "low"),
    ],
)
def test_choice(trials, rate, edge):
    found = choose(trials, "chrf")
    assert (found["learning_rate"], found["edge"]) == (rate, edge)
    assert [float(name) for name in found["grid"]] == sorted(trials)
    assert all(found["grid"][f"{rate:g}"] == score for rate, score in trials.items())


def test_nothing_to_choose_from_is_said():
    with refused("0.001", "0.01"):
        choose({1e-2: None, 1e-3: None}, "chrf")


# Dev scores of two rates: chrF2 is for the lower one, exact match for the higher one.
TRIALS = {
    1e-3: {"it": {"chrf": 60.0, "exact": 10.0}, "law": {"chrf": 70.0, "exact": 20.0}},
    1e-2: {"it": {"chrf": 61.0, "exact": 40.0}, "law": {"chrf": 67.0, "exact": 0.0}},
}


@pytest.mark.parametrize(
    ("metric", "rate", "grid"), [("chrf", 1e-3, {"0.001": 65, "0.01": 64}), ("exact", 1e-2, {"0.001": 15, "0.01": 20})]
)
def test_the_step_judges_by_the_metric_that_it_is_told(tmp_path, metric, rate, grid):
    names = {kind: [f"{kind}{i}.json" for i in range(len(TRIALS))] for kind in ("scores", "records")}
    for tried, scores, record in zip(TRIALS, *names.values(), strict=True):
        domains = {
            domain: {name: {"score": score} for name, score in found.items()} for domain, found in TRIALS[tried].items()
        }
        about = {"model": "tiny", "direction": "de-en", "run": f"all/full/lr{tried:g}"}
        (tmp_path / scores).write_text(json.dumps(about | {"domains": domains}))
        (tmp_path / record).write_text(json.dumps({"tuning": {"diverged_at": None}}))
    files = [arg for kind, paths in names.items() for arg in (f"--{kind}", *(str(tmp_path / path) for path in paths))]
    command = [sys.executable, "-m", "workflow.scripts.choose_rate", "--metric", metric, *files]
    choice = tmp_path / "choice.json"
    subprocess.run([*command, "--choice", choice], cwd=Path(__file__).parents[2], check=True)
    found = json.loads(choice.read_text())
    assert (found["learning_rate"], found["metric"], found["grid"]) == (rate, metric, grid)
