"""The benchmark of planning: its grid has the promised size, and Snakemake takes its "finished" jobs for finished."""

import json
import subprocess
import sys

import pytest

from benchmarks import planning
from caneft import config
from caneft.plan import Plan


def test_the_grid_has_what_its_options_say():
    plan = Plan(config.load(planning.grid(3, 12, 5)))
    assert len(plan.config.models) == 3 and len(plan.config.methods) == 15 and len(plan.config.seeds) == 5
    assert all(len(direction.domains) == 12 for direction in plan.config.directions.values())
    assert {len(plan.seen(direction, "all")) for direction in plan.config.directions} == {10}


@pytest.mark.parametrize("grown", [False, True])
def test_a_domain_is_added_to_one_direction(grown):
    grid = planning.grid(1, 4, 1)
    before, after = (Plan(config.load(c)) for c in (grid, planning.with_another(grid, "new", grown)))
    assert [len(p.config.directions["de-en"].domains) for p in (before, after)] == [4, 5]
    assert [len(p.config.directions["zh-en"].domains) for p in (before, after)] == [4, 4]
    assert ("new" in after.seen("de-en", "all")) == grown and ("new" in after.unseen("de-en", "all")) != grown


@pytest.mark.slow
def test_it_plans_pretends_and_plans_again(tmp_path):
    """With one model and one seed, an unseen domain is prepared, flagged, copied and scored without overlap, and each
    of 15 methods translates it and is scored. Then come significance, tables, figures, overview, examples and the
    target."""
    out = tmp_path / "planning.json"
    options = ["--models", "1", "--domains", "4", "--seeds", "1", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "benchmarks.planning", *options], check=True, stdout=subprocess.DEVNULL)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["second"]["jobs"] == 0
    # In each direction: tuning, translation, scores, scores without overlap, significance.
    assert found["another rate"]["jobs"] == 2 * 5 + 5
    assert found["unseen domain"]["jobs"] == 4 + 15 * 2 + 6
    assert found["unseen domain"]["jobs"] < found["grown mixture"]["jobs"] < found["first"]["jobs"]
    assert abs(found["bare"]["jobs"] - found["first"]["jobs"]) <= 4
    assert all(100 < found[name]["peak_mb"] < 1000 for name in ("first", "second"))
