"""Simulates how often the tests of a block are wrong if nothing differs, and right if something does.

The figures are in docs/method.md; `python -m tests.unit.test_verdict_errors` prints them.
"""

import math

import numpy as np
import pytest

from caneft.plan.settings import SignificanceSettings
from caneft.scoring import comparing, statistics

SEGMENTS, VARIANTS, SEEDS = 200, 30, 3
SIGMA = 0.2
"""Deviation of a segment's score; all scores are about 0.5. One run's mean has an error of SIGMA / sqrt(SEGMENTS)."""
RUN_EFFECT = 1.5
"""Deviation between runs, in errors of one run's mean over segments: about what the study has."""


def block(rng, run_effect, difference=0.0):
    """Comparisons of the first variant with 29 others, with 3 runs each, in a metric that is a mean of segments.

    run_effect, and difference (of the first variant from all others), are in units of the error of one run's mean.
    """
    unit = SIGMA / math.sqrt(SEGMENTS)
    systems = [(f"v{i}", seed) for i in range(VARIANTS) for seed in range(SEEDS)]
    hard = rng.normal(0.5, 0.1, SEGMENTS)  # of a segment, for all variants
    scores = hard + rng.normal(0, SIGMA, (len(systems), SEGMENTS))
    scores += rng.normal(0, run_effect * unit, (len(systems), 1))
    scores[:SEEDS] += difference * unit
    stacked = np.stack([statistics.segment_scores(own) for own in scores])
    settings = SignificanceSettings(
        systems=[],
        metrics=[],
        neural=[],
        target_language=None,
        seen=["it"],
        unseen=[],
        baseline="v0",
        method=None,
        rivals={},
        rival_by=None,
        resamples=300,
        bootstrap=300,
        seed=int(rng.integers(2**31)),
    )
    sample = comparing.Sample(stacked, statistics.mean_of_segments)
    return comparing.test_metric(settings, systems, iter([("it", sample)]))["comparisons"]


def rates(blocks, run_effect, difference=0.0, seed=0):
    """Share of comparisons below 0.05, by the test of segments and by that of methods."""
    rng = np.random.default_rng([seed, int(10 * run_effect), int(10 * difference)])
    found = [entry for _ in range(blocks) for entry in block(rng, run_effect, difference)]
    return tuple(float(np.mean([entry[name] < 0.05 for entry in found])) for name in ("p", "p_runs"))


@pytest.mark.parametrize("run_effect", [0.0, RUN_EFFECT])
def test_the_test_of_methods_is_wrong_in_at_most_5_per_cent(run_effect):
    """The test of segments is right only without run effects. With these, the variance is 1 + 1.5 squared times what it
    assumes: P(|z| > 1.96) becomes P(|z| > 1.087) = 0.277. Comparisons in a block share a variant, hence the margins."""
    of_segments, of_methods = rates(60, run_effect)
    assert of_methods <= 0.05
    assert of_segments == pytest.approx(0.277 if run_effect else 0.05, abs=0.07 if run_effect else 0.03)


def test_a_difference_of_two_deviations_between_runs_is_often_seen():
    """The difference is 3. Its true error is sqrt(2 / 3 * (1 + 2.25)) = 1.472; the estimated one counts segments twice:
    sqrt(2 / 3 * (1 + 3.25)) = 1.683, times t(0.975, 60) = 2.000 is 3.366. P(d > 3.366) = P(z > 0.249) = 0.402."""
    assert rates(60, RUN_EFFECT, 2 * RUN_EFFECT)[1] == pytest.approx(0.402, abs=0.1)


def test_both_parts_of_the_error_are_those_that_were_put_in():
    """In one block: segments sqrt(2 / 3) units, up to the bootstrap's noise; runs sqrt(2 / 3 * (1 + 2.25)), df 60."""
    found = block(np.random.default_rng(5), RUN_EFFECT)
    unit = SIGMA / math.sqrt(SEGMENTS)
    assert np.mean([entry["se_segments"] for entry in found]) == pytest.approx(unit * (2 / 3) ** 0.5, rel=0.1)
    assert {entry["df"] for entry in found} == {60} and len({entry["se_runs"] for entry in found}) == 1
    assert found[0]["se_runs"] == pytest.approx(unit * (2 / 3 * 3.25) ** 0.5, rel=0.25)  # s itself has an error of 9 %


if __name__ == "__main__":
    for effect, gap in ((0.0, 0.0), (RUN_EFFECT, 0.0), (RUN_EFFECT, 2 * RUN_EFFECT)):
        shares = rates(300, effect, gap)
        print(f"run effect {effect}, difference {gap}: segments {shares[0]:.1%}, methods {shares[1]:.1%}")
