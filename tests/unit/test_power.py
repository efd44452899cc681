"""The smallest difference that a configuration can show, by tables of Student's t."""

import math

import fake_results
import pytest

from caneft.reporting import power
from tests.messages import assert_names

BLOCK = ("tiny", "de-en", "all")
GRID = [1e-3, 1e-2]
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "learning_rate": GRID},
    "caneft": {"method": "caneft", "learning_rate": GRID},
}


def test_by_hand():
    """Two seen domains of 400 segments; full and lora, each on seen and on unseen domains, make 4 comparisons.

    Three variants of 3 seeds have 6 degrees of freedom. t(0.99375) is between t(0.99) = 3.143 and t(0.995) = 3.707, and
    t(0.8) is 0.906. The error is sqrt(11.5^2 / 800 + 2 * 0.46^2 / 3) = 0.5535.
    """
    found = power.smallest(fake_results.plan(METHODS, seeds=(1, 2, 3)), BLOCK)
    assert found[1:] == (800, True, 3, 4)
    assert 0.5535 * (3.143 + 0.906) < found.difference < 0.5535 * (3.707 + 0.906)
    assert_names(power.sentence(fake_results.plan(METHODS, seeds=(1, 2, 3)), BLOCK), 800, 3, f"{found.difference:.1f}")


@pytest.mark.parametrize(
    ("change", "factor"),
    [
        ({"expected_segments": 1e-9, "expected_runs": 0.46}, math.sqrt(2 / 3) * 0.46),
        ({"expected_segments": 11.5, "expected_runs": 0.0}, 11.5 / math.sqrt(800)),
    ],
)
def test_each_part_of_the_error_alone(change, factor):
    """The quantiles are the same, so the ratio of two differences is that of their errors."""
    plain = power.smallest(fake_results.plan(METHODS, seeds=(1, 2, 3)), BLOCK).difference
    found = power.smallest(fake_results.plan(METHODS, seeds=(1, 2, 3), significance=change), BLOCK).difference
    both = math.sqrt(11.5**2 / 800 + 2 * 0.46**2 / 3)
    assert found / plain == pytest.approx(factor / both)


def test_more_seeds_see_less():
    seen = [power.smallest(fake_results.plan(METHODS, seeds=range(1, 1 + n)), BLOCK).difference for n in (3, 5, 10)]
    assert seen[0] > seen[1] > seen[2]


def test_two_seeds_see_nothing():
    plan = fake_results.plan(METHODS, seeds=(1, 2))
    assert math.isnan(power.smallest(plan, BLOCK).difference)
    assert_names(power.sentence(plan, BLOCK), 2, 3)


def test_without_the_method_nothing_is_said():
    methods = {name: method for name, method in METHODS.items() if name != "caneft"}
    plan = fake_results.plan(methods, seeds=(1, 2, 3))
    assert power.smallest(plan, BLOCK) is None and power.sentence(plan, BLOCK) == ""


@pytest.mark.parametrize(
    "metric, own, said",
    [
        ("bleu", {}, False),
        ("chrf", {}, True),
        ("exact", {"expected_runs": 1.0}, True),
        ("exact", {"expected_runs": 1.0, "expected_segments": 40.0}, False),
    ],
)
def test_deviations_of_another_metric_are_said_to_be_borrowed(metric, own, said):
    plan = fake_results.plan(METHODS, seeds=(1, 2, 3), scoring={"metrics": [metric]}, significance=own)
    assert ("expected_segments" in power.sentence(plan, BLOCK)) == said
