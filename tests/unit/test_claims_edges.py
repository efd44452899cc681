"""Verdicts where a configuration is unusual: none may come out of a comparison that there is not."""

import fake_results
import numpy as np
import pandas as pd
import pytest
from test_claims import BLOCK, METHODS, neuron_set, plan_of, verdict_of

from caneft.reporting import evidence, results, roles
from caneft.reporting.claims import OPEN, SUPPORTED, UNTESTED
from caneft.reporting.frontiers import bulge, matched
from caneft.scoring.significance import Difference
from tests.messages import assert_names


@pytest.mark.parametrize("method", ["full", "lora", "random"])
def test_a_method_is_no_rival_of_its_own(method):
    plan = plan_of()
    compared = roles.rivals(plan, BLOCK, method) + roles.controls(plan, BLOCK, method)
    assert compared and method not in compared
    assert roles.rivals(plan, BLOCK, "lora")[-1] == "lora-equal"


def test_random_neurons_of_a_half_are_no_chance():
    half = {"random-high": METHODS["random"] | {"among": ["high-information"]}}
    plan = plan_of(half | METHODS)
    assert roles.chance(plan, BLOCK, "caneft") == ["random", "random-layers"]
    counts = {"caneft": 115, "caneft-2": 23, "random-high": 23, "random-2": 23, "random": 115}
    rows = [{"variant": variant, "unit": "neuron", "neurons": count} for variant, count in counts.items()]
    assert evidence.sweep(plan, BLOCK, "caneft", pd.DataFrame(rows)) == {
        23: ["caneft-2", "random-2"],
        115: ["caneft", "random"],
    }


def mixtures(**single):
    """A mixture of it and law, and single-domain mixtures with these methods (None: all)."""
    return {"all": {"de-en": ["it", "law"]}} | {
        domain: {"de-en": {"domains": [domain], "test": [*({"it", "law"} - {domain})]} | ({"methods": m} if m else {})}
        for domain, m in single.items()
    }


def harm(mixture, variant, seed, domain):
    """Trained on it all lose much of law, trained on law nothing; caneft loses 2 less."""
    if mixture == "all" or variant == "base":
        return 50.0
    return 50.0 - (20.0 if mixture == "it" else 0.0) + (2.0 if variant == "caneft" else 0.0) + 0.1 * (int(seed) - 2)


def where_it_ran(single):
    """`harm`, nan for runs that these mixtures do not have."""

    def score(mixture, variant, seed, domain):
        absent = mixture != "all" and variant not in single[mixture]["de-en"]["methods"]
        return float("nan") if absent else harm(mixture, variant, seed, domain)

    return score


def test_interference_is_over_the_mixtures_that_both_are_trained_on():
    """lora-equal knows law alone, where nothing is lost: over all mixtures it would harm less than caneft does."""
    single = mixtures(it=["base", "full", "caneft"], law=["base", "full", "lora-equal", "caneft"])
    found = verdict_of("c", plan_of(mixtures=single), score=where_it_ran(single))
    (line,) = (line for line in found.numbers if line.startswith("against lora-equal"))
    assert_names(line, "+2.0")


def test_interference_has_the_rivals_that_are_trained_on_single_domains():
    methods = {"full-first": METHODS["full"]} | METHODS
    single = mixtures(it=["base", "full", "lora-equal", "caneft"])
    found = verdict_of("c", plan_of(methods, mixtures=single), score=where_it_ran(single))
    assert any(line.startswith("against full:") for line in found.numbers)


def test_a_single_domain_that_is_not_the_blocks_does_not_count():
    whole = {"all": {"de-en": ["it", "law"]}, "other": {"de-en": {"domains": ["medical"], "test": ["it", "law"]}}}
    plan = plan_of(seen=("it", "law", "medical"), mixtures=whole)
    assert roles.single_domains(plan, BLOCK) == []
    assert verdict_of("c", plan, score=harm).verdict == UNTESTED


@pytest.mark.parametrize("losses", [{"caneft": float("nan")}, {"full": float("nan"), "lora-equal": float("nan")}])
def test_less_harm_does_not_count_where_a_dev_loss_is_not_known(losses):
    single = mixtures(it=None)
    assert verdict_of("c", plan_of(mixtures=single), score=harm, losses=losses).verdict == OPEN


def test_layers_that_may_not_have_more_say_nothing():
    chosen, candidates = {"caneft": neuron_set([*range(40), *range(384, 424)])}, {"caneft": [200, 150, 126]}
    plan = plan_of(selection={"fraction": 0.1, "per_layer": 40})
    assert verdict_of("f", plan, sets=chosen, candidates=candidates).verdict == UNTESTED
    assert verdict_of("f", sets=chosen, candidates=candidates).verdict != UNTESTED


@pytest.mark.parametrize("own, rows", [({}, 1), ({"fraction": 0.02}, 0), ({"task_relevant": 0.2}, 0)])
def test_a_curve_is_of_one_budget_and_mask(own, rows):
    plan = fake_results.plan({"caneft": {"method": "caneft", "learning_rate": 1e-2} | own})
    frame = pd.DataFrame([{"criterion": "caneft", "scope": "model", "samples": 400}])
    assert len(results.own_curve(plan, frame, "caneft")) == rows


UNIT = Difference(0.0, 0.3, 0.3, 24)


@pytest.mark.parametrize(
    "first, second, slope",
    [
        # the last rate is best in both scores, so the frontier is a point; the other one falls by 1 for each 1
        ([(60.0, 51.0), (65.0, 53.0)], [(50.0, 65.0), (80.0, 35.0)], 1.0),
        # both are points: what is left is the rise of the grids
        ([(60.0, 50.0), (65.0, 52.5)], [(60.0, 50.0), (65.0, 60.0)], 2.0),
        ([(40.0, 50.0), (60.0, 50.0)], [(40.0, 48.0), (60.0, 48.0)], 0.0),
    ],
)
def test_an_error_of_the_seen_score_counts_where_frontiers_meet_in_a_point(first, second, slope):
    found = matched(first, second, UNIT, UNIT, 1.0)
    assert found.low == found.high
    assert found.difference.segments == pytest.approx(0.3 * (1 + slope**2) ** 0.5)
    assert found.difference.runs == pytest.approx(0.3 * (1 + slope**2) ** 0.5)


@pytest.mark.parametrize(
    "curve, low, high, room",
    [
        # one pair of rates: up to the left rate, half of the fall of 4 by the mean
        ([(50, 60), (60, 56)], 50, 60, 2.0),
        ([(50, 60), (60, 56)], 50, 55, 1.0),
        ([(50, 60)], 50, 50, 0.0),
        # slopes -0.1 and -1: no higher than 60, nor than 59 + (60 - seen), which meet at 59: a triangle of height 0.9
        ([(50, 60), (60, 59), (70, 49)], 50, 60, 0.45),
        # slopes -1 and -0.5 do not fall ever faster, so the left rate of each: 5 and 2.5
        ([(50, 60), (60, 50), (70, 45)], 50, 70, 3.75),
    ],
)
def test_a_frontier_may_bend_between_its_rates(curve, low, high, room):
    assert bulge(np.array(curve, float).T, low, high) == pytest.approx(room, abs=0.01)


@pytest.mark.parametrize("rates", [2, 3, 5])
@pytest.mark.parametrize("flat, steep", [(0.0, 0.0), (0.1, 2.0), (0.5, 0.5)])
def test_rates_on_different_sides_of_a_bend_are_no_difference(rates, flat, steep):
    """Two grids on one frontier that bends at a seen score of 60; the errors are small, so that only the bend counts.
    Without the room above the lines, half of the pairs and more are called different where there is a bend."""
    rng, segments, runs = np.random.default_rng(0), 0.05, 0.1
    noise, unit = np.hypot(segments, runs) / 2**0.5, Difference(0.0, segments, runs, 24)

    def grid(gap):
        seen = np.sort(rng.uniform(50, 65, rates))
        unseen = 60 + gap - np.where(seen < 60, flat * (seen - 50), flat * 10 + steep * (seen - 60))
        return list(zip(seen + rng.normal(0, noise, rates), unseen + rng.normal(0, noise, rates), strict=True))

    def significant(gap):
        found = [matched(grid(gap), grid(0), unit, unit, 1.0) for _ in range(400)]
        return np.mean([each.difference.p < 0.05 for each in found if each])

    assert significant(0) <= 0.05
    assert significant(3) >= 0.7


def test_a_set_that_leaves_small_layers_empty_is_uneven():
    """A draw of 100 of 500 candidates leaves a layer of 40 empty with probability (1 - 40/500)^100 < 0.0003. The other
    two are equally full, so the fullest layer alone shows nothing."""
    chosen = neuron_set([*range(50), *range(384, 434)])
    assert verdict_of("f", sets={"caneft": chosen}, candidates={"caneft": [230, 230, 40]}).verdict == SUPPORTED
