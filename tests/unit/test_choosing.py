"""The choice of a learning rate: the lowest within one standard error of the best dev score; edges are flagged."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caneft.corpora.store import Row
from caneft.plan.settings import ChoiceSettings
from caneft.scoring.choosing import choose
from tests.messages import refused

SEGMENTS = 200
DOMAINS = ("it", "law")


def dev():
    """Pairs of two domains; the target of a segment is its number."""
    return {d: [Row(f"{d}:{i}", f"source {i}", f"target {i}") for i in range(SEGMENTS)] for d in DOMAINS}


def outputs(hits):
    """Hypotheses with the given percentage of exact matches in every domain; None for a trial that diverged.

    hits: by rate, the percentage of each seed. Each trial draws the matching segments anew.
    """
    found = {}
    for rate, seeds in hits.items():
        for seed, share in enumerate(seeds):
            rng = np.random.default_rng([round(1e6 * rate), seed])
            if share is None:
                found[rate, seed] = None
                continue
            right = {d: set(rng.permutation(SEGMENTS)[: round(share * SEGMENTS / 100)].tolist()) for d in DOMAINS}
            found[rate, seed] = {
                d: [f"target {i}" if i in right[d] else "wrong" for i in range(SEGMENTS)] for d in DOMAINS
            }
    return found


def chosen(hits, metric="exact"):
    return choose(ChoiceSettings(metric=metric, target_language="en", domains=list(DOMAINS)), dev(), outputs(hits))


@pytest.mark.parametrize(
    ("hits", "rate", "edge"),
    [
        ({1e-3: [10, 10], 3e-3: [60, 60], 1e-2: [30, 30]}, 3e-3, None),
        ({1e-2: [30, 30], 1e-3: [10, 10], 3e-3: [60, 60]}, 3e-3, None),  # in any order
        ({1e-3: [60, 60], 3e-3: [60, 60], 1e-2: [30, 30]}, 1e-3, "low"),  # equal scores: the lower rate
        ({1e-3: [10, 10], 3e-3: [59, 59], 1e-2: [60, 60]}, 3e-3, "high"),  # ties with the best, the highest rate
        ({1e-3: [10, 10], 3e-3: [30, 30], 1e-2: [60, 60]}, 1e-2, "high"),
        ({1e-3: [10, 10], 3e-3: [60, 60], 1e-2: [60, None]}, 3e-3, None),  # above it, the rate is known to diverge
        ({1e-3: [0], 3e-3: [None]}, 1e-3, "low"),
    ],
)
def test_choice(hits, rate, edge):
    found = chosen(hits)
    assert (found["learning_rate"], found["edge"]) == (rate, edge)
    means = {r: None if None in seeds else float(np.mean(seeds)) for r, seeds in hits.items()}
    assert list(found["grid"]) == [f"{r:g}" for r in sorted(hits)]
    assert {float(name): score for name, score in found["grid"].items()} == means


@pytest.mark.parametrize(
    ("hits", "rate", "edge"),
    [
        ({1e-3: [10, 10], 3e-3: [60, 60], 1e-2: [30, 30]}, 3e-3, None),
        ({1e-3: [60, 60], 3e-3: [60, 60], 1e-2: [30, 30]}, 1e-3, "low"),
        ({1e-3: [10, 10], 3e-3: [59, 59], 1e-2: [60, 60]}, 3e-3, "high"),
    ],
)
def test_where_lower_is_better_the_lowest_score_wins(hits, rate, edge):
    """In a wrong output both words are edits, so TER is 100 minus the percentage of right outputs."""
    found = chosen(hits, "ter")
    assert (found["learning_rate"], found["edge"]) == (rate, edge)
    means = {r: 100 - float(np.mean(seeds)) for r, seeds in hits.items()}
    assert {float(name): score for name, score in found["grid"].items()} == pytest.approx(means)


def test_the_error_has_a_part_of_segments_and_one_of_seeds():
    """Segments match independently with shares p and q; means are over two seeds and two domains, so over four outputs
    of 200 segments each. The seeds' scores (60, 70) and (50, 60) have a pooled variance of 50, so runs add 50 / 2
    twice."""
    found = chosen({1e-3: [60, 70], 1e-2: [50, 60]})
    assert found["best"] == 1e-3 and found["errors"]["0.001"] is None
    of_segments = sum(100**2 * p * (1 - p) / SEGMENTS for p in (0.6, 0.7, 0.5, 0.6)) / 4 / 2
    assert found["errors"]["0.01"] == pytest.approx((of_segments + 50) ** 0.5, rel=0.03)
    alone = chosen({1e-3: [60], 1e-2: [50]})["errors"]["0.01"]  # one seed each; their outputs agree only by chance
    assert alone == pytest.approx((sum(100**2 * p * (1 - p) / SEGMENTS for p in (0.6, 0.5)) / 2) ** 0.5, rel=0.12)


@pytest.mark.parametrize(("noise", "rate"), [(0, 1e-2), (8, 1e-3)])
def test_seeds_that_differ_much_make_a_lower_rate_level(noise, rate):
    """Of 400 segments 50 % and 60 % match: 2.5 standard errors of segments, but less than one of the seeds' noise."""
    hits = {1e-3: [50 - noise, 50 + noise], 1e-2: [60 - noise, 60 + noise], 1e-1: [10 - noise, 10 + noise]}
    assert chosen(hits)["learning_rate"] == rate


def test_nothing_to_choose_from_is_said():
    with refused("0.001", "0.01"):
        chosen({1e-2: [None], 1e-3: [None]})


@pytest.mark.parametrize(("metric", "rate"), [("exact", 1e-2), ("chrf", 1e-3)])
def test_the_step_judges_by_the_metric_that_it_is_told(tmp_path, metric, rate):
    """At the higher rate every other output is exact and the rest far off; at the lower rate all are nearly right."""
    rows = [row for domain in dev().values() for row in domain]
    texts = {1e-3: lambda i, row: f"{row.target}!", 1e-2: lambda i, row: row.target if i % 2 else "zzz"}
    lines = [{"id": r.id, "source": r.source, "target": r.target, "domain": r.id.split(":")[0]} for r in rows]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for tried, text in texts.items():
        made = [
            {"id": row.id, "domain": row.id.split(":")[0], "hypothesis": text(i, row), "flags": []}
            for i, row in enumerate(rows)
        ]
        (tmp_path / f"{tried}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made))
        (tmp_path / f"{tried}.cost.json").write_text("{}")
        (tmp_path / f"{tried}.json").write_text(json.dumps({"tuning": {"diverged_at": None}}))
    settings = ChoiceSettings(metric=metric, target_language="en", domains=list(DOMAINS)).model_dump_json()
    command = [sys.executable, "-m", "workflow.scripts.choose_rate", "--settings", settings]
    command += ["--dev", tmp_path / "dev.jsonl", "--trials", *(f"all/full/lr{tried:g}-seed0" for tried in texts)]
    command += ["--translations", *(tmp_path / f"{tried}.jsonl" for tried in texts)]
    command += ["--records", *(tmp_path / f"{tried}.json" for tried in texts), "--choice", tmp_path / "choice.json"]
    subprocess.run(command, cwd=Path(__file__).parents[2], check=True)
    found = json.loads((tmp_path / "choice.json").read_text())
    assert (found["learning_rate"], found["metric"], found["format"]) == (rate, metric, 1)
