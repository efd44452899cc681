"""Verdicts on unusual configurations: none may come from a comparison that was not made."""

import fake_results
import numpy as np
import pandas as pd
import pytest
from test_claims import BETTER, BLOCK, METHODS, WORSE, neuron_set, plan_of, verdict_of

from caneft.reporting import evidence, results, roles, shown
from caneft.reporting.claims import CONTRADICTED, OPEN, SUPPORTED, UNTESTED
from caneft.reporting.curves import curve, matched, room
from caneft.reporting.labels import p_text
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
    assert ["random-high"] in [family.variants for family in shown.kinds(plan, BLOCK)]
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
    """Trained on `it`, all methods lose much of law; trained on law, they lose nothing. caneft loses 2 less."""
    if mixture == "all" or variant == "base":
        return 50.0
    return 50.0 - (20.0 if mixture == "it" else 0.0) + (2.0 if variant == "caneft" else 0.0) + 0.1 * (int(seed) - 2)


def where_it_ran(single):
    """Like `harm`, but nan for runs that these mixtures do not have."""

    def score(mixture, variant, seed, domain):
        absent = mixture != "all" and variant not in single[mixture]["de-en"]["methods"]
        return float("nan") if absent else harm(mixture, variant, seed, domain)

    return score


def test_interference_is_over_the_mixtures_that_both_are_trained_on():
    """lora-equal is trained on law only, where nothing is lost: over all mixtures it would seem less harmful."""
    single = mixtures(it=["base", "full", "caneft"], law=["base", "full", "lora-equal", "caneft"])
    found = verdict_of("c", plan_of(mixtures=single), score=where_it_ran(single))
    (line,) = (line for line in found.numbers if line.startswith("against lora-equal"))
    assert_names(line, "+2.0")


def test_interference_has_the_rivals_that_are_trained_on_single_domains():
    methods = {"full-first": METHODS["full"]} | METHODS
    single = mixtures(it=["base", "full", "lora-equal", "caneft"])
    found = verdict_of("c", plan_of(methods, mixtures=single), score=where_it_ran(single))
    assert any(line.startswith("against full:") for line in found.numbers)


def test_a_rival_without_a_common_seen_score_leaves_b_open_unless_the_other_contradicts_it():
    curves = {"full": [(80.0, 40.0), (85.0, 30.0), (90.0, 20.0)]}

    def judged(lora):
        """The verdict on lora-equal, given by how much caneft is better at seen scores of 40 to 60."""

        def points(variant):
            gap = lora if variant == "lora-equal" else 0.0
            return curves.get(variant, [(seen, 50.0 - gap) for seen in (40.0, 50.0, 60.0)])

        return verdict_of("b", curves=points)

    found = judged(BETTER)
    assert found.verdict == UNTESTED and "cannot be compared with full" in found.reason
    assert judged(0.0).verdict == UNTESTED
    assert judged(WORSE).verdict == CONTRADICTED


@pytest.mark.parametrize("own, expected", [(2.0, UNTESTED), (-2.0, CONTRADICTED)])
def test_a_rival_that_shares_no_single_domain_leaves_c_open_unless_the_other_contradicts_it(own, expected):
    single = mixtures(it=["base", "full"], law=["base", "lora-equal", "caneft"])

    def score(mixture, variant, seed, domain):
        if mixture == "all" or variant == "base":
            return 50.0
        if variant not in single[mixture]["de-en"]["methods"]:
            return float("nan")
        return 45.0 + (own if variant == "caneft" else 0.0) + 0.1 * (int(seed) - 2)

    found = verdict_of("c", plan_of(mixtures=single), score=score)
    assert found.verdict == expected
    assert not any(line.startswith("against full") for line in found.numbers)
    assert expected != UNTESTED or "cannot be compared with full" in found.reason


@pytest.mark.parametrize("same", [{"task_relevant": 0.5}, {"task_relevant_scope": "model"}])
def test_a_sweep_is_what_the_figure_of_budgets_draws(same):
    """A default that is written out does not make another kind of method, but another mask does."""
    methods = METHODS | {"caneft-2": METHODS["caneft-2"] | same}
    counts = {"caneft": 115, "caneft-2": 23, "caneft-unfiltered": 115, "random-2": 23, "random": 115}
    rows = pd.DataFrame([{"variant": variant, "unit": "neuron", "neurons": n} for variant, n in counts.items()])
    plan = plan_of(methods)
    assert evidence.sweep(plan, BLOCK, "caneft", rows) == {23: ["caneft-2", "random-2"], 115: ["caneft", "random"]}
    (drawn,) = (family for family in shown.kinds(plan, BLOCK) if "caneft" in family.variants)
    assert drawn.variants == ["caneft", "caneft-2"]


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


def test_an_error_of_the_seen_score_counts_by_the_steeper_curve():
    """From 50 to 70 one curve falls by 10 and rises by 10 again, with a slope of 1; the other falls by 10, with 0.5."""
    dips = [(50.0, 60.0), (60.0, 50.0), (70.0, 60.0)]
    falls = [(50.0, 60.0), (60.0, 55.0), (70.0, 50.0)]
    found = matched(dips, falls, UNIT, UNIT, 2.0)
    assert (found.low, found.high) == (50, 70)
    assert found.difference.segments == pytest.approx(2 * 0.3 * 2**0.5)
    assert found.difference.runs == pytest.approx(2 * 0.3 * 2**0.5)


def test_a_curve_ends_at_the_best_seen_score():
    found = curve([(50.0, 60.0), (60.0, 58.0), (60.0, 59.0), (66.0, 50.0), (64.0, 40.0)])
    assert found.tolist() == [[50, 60, 66], [60, 59, 50]]
    assert curve([]).shape == (2, 0)


@pytest.mark.parametrize(
    "points, low, high, below, above",
    [
        ([(50, 60), (60, 56)], 50, 60, 2.0, 2.0),  # half of the fall by 4
        ([(50, 60), (60, 56)], 50, 55, 3.0, 1.0),
        ([(50, 56), (60, 60)], 50, 55, 1.0, 3.0),  # it rises
        ([(50, 60), (60, 59), (70, 49)], 50, 70, 2.75, 2.75),  # 0.5 and 5
        ([(50, 60), (60, 60)], 50, 60, 0.0, 0.0),
    ],
)
def test_between_rates_a_curve_may_run_anywhere_between_their_scores(points, low, high, below, above):
    own = np.array(points, float).T
    places = np.unique([low, high, *own[0][(own[0] >= low) & (own[0] <= high)]])
    assert room(own, places, min) == pytest.approx(below)
    assert room(own, places, max) == pytest.approx(above)


SHAPES = {
    "flat": lambda seen: 60 + 0 * seen,
    "straight": lambda seen: 60 - 0.5 * (seen - 50),
    "bent down": lambda seen: 60 - np.where(seen < 60, 0.1 * (seen - 50), 1 + 2 * (seen - 60)),
    "bent up": lambda seen: 60 - np.where(seen < 54, 3 * (seen - 50), 12 + 0.2 * (seen - 54)),
    "falling fast": lambda seen: 40 + 20 * np.exp(-(seen - 50) / 4),
    "a hump": lambda seen: 60 - 0.08 * (seen - 58) ** 2,
    "rising": lambda seen: 50 + 0.5 * (seen - 50),
}


@pytest.mark.parametrize("rates", [(3, 3), (3, 5), (5, 3)])
@pytest.mark.parametrize("shape", SHAPES)
def test_grids_on_one_curve_are_no_difference(shape, rates):
    """Their rates may be anywhere. Without the allowance around the lines, half of the grids or more would differ."""
    rng, segments, runs = np.random.default_rng(0), 0.3, 0.46
    noise, unit = np.hypot(segments, runs) / 2**0.5, Difference(0.0, segments, runs, 24)

    def grid(number):
        seen = np.sort(rng.uniform(50, 66, number))
        scores = np.stack([seen, SHAPES[shape](seen)], axis=1) + rng.normal(0, noise, (number, 2))
        return list(map(tuple, scores))

    found = [matched(*map(grid, rates), unit, unit, 1.0) for _ in range(200)]
    assert np.mean([each.difference.p < 0.05 for each in found if each]) <= 0.05


@pytest.mark.parametrize("shape", ["flat", "straight", "a hump", "rising"])
def test_a_large_difference_is_seen(shape):
    """A difference of 10 is significant with five rates each, because the bias is at most 4."""
    seen, unit = np.linspace(50, 66, 5), Difference(0.0, 0.3, 0.46, 24)
    first, second = (list(zip(seen, SHAPES[shape](seen) + gap, strict=True)) for gap in (10, 0))
    found = matched(first, second, unit, unit, 1.0).difference
    assert found.value == pytest.approx(10) and found.bias <= 4 and found.p < 0.001


def test_a_set_that_leaves_small_layers_empty_is_uneven():
    """A draw of 100 of 500 candidates leaves a layer of 40 empty with probability (1 - 40/500)^100 < 0.0003. The other
    two layers are equally full, so the fullest layer alone shows nothing."""
    chosen = neuron_set([*range(50), *range(384, 434)])
    assert verdict_of("f", sets={"caneft": chosen}, candidates={"caneft": [230, 230, 40]}).verdict == SUPPORTED


def test_small_layers_do_not_drown_large_ones():
    """Of 2,020 candidates, two layers have 1,000 each and twenty layers one each. The 205 selected neurons are 123 and
    80 in the large layers and 2 in the small ones. Expected are 101.5, 101.5 and, together, 2.03, so chi-squared is
    4.55 + 4.55 + 0.00."""
    candidates = [1000, 1000, *[1] * 20]
    counts = np.array([123, 80, 1, 1, *[0] * 18])
    assert evidence.unevenness(counts, candidates) == pytest.approx(9.11, abs=0.01)
    both = np.stack([counts, counts])
    assert evidence.unevenness(both, candidates) == pytest.approx([9.11, 9.11], abs=0.01)
    assert evidence.unevenness(np.array([10, 0, 0]), [5, 5, 0]) == pytest.approx(10)


@pytest.mark.parametrize("candidates", [[80, 0, 0], [50, 20, 10]])
def test_candidates_that_leave_no_choice_test_nothing(candidates):
    flat = np.concatenate([layer * 384 + np.arange(n) for layer, n in enumerate(candidates)])
    chosen = neuron_set(flat[:60] if candidates[0] == 80 else flat)
    assert verdict_of("f", sets={"caneft": chosen}, candidates={"caneft": candidates}).verdict == UNTESTED


@pytest.mark.parametrize(
    "p, said", [(1.0, "p = 1.0000"), (0.0001, "p = 0.0001"), (0.00009999, "p < 0.0001"), (0.0, "p < 0.0001")]
)
def test_no_p_is_printed_as_nought(p, said):
    assert p_text(p) == said
