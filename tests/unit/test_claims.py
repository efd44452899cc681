"""Verdicts on claims: each verdict that a rule can give, from made-up scores and tests."""

import math
import re

import fake_results
import numpy as np
import pandas as pd
import pytest

from caneft import config, neurons
from caneft.plan import Plan
from caneft.reporting import claims, results, roles
from caneft.reporting.claims import CONTRADICTED, OPEN, SUPPORTED, UNTESTED, Found
from tests.messages import assert_names

GRID = [1e-3, 1e-2]
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "learning_rate": GRID},
    "lora-equal": {"method": "lora", "equal_to": "caneft", "learning_rate": GRID},
    "random": {"method": "random", "learning_rate": GRID},
    "random-layers": {"method": "random", "layers_of": "caneft", "learning_rate": GRID},
    "joint": {"method": "joint", "learning_rate": GRID},
    "gradient": {"method": "gradient", "learning_rate": GRID},
    "bottom": {"method": "bottom", "learning_rate": GRID},
    "caneft": {"method": "caneft", "learning_rate": GRID},
    "caneft-2": {"method": "caneft", "fraction": 0.02, "learning_rate": GRID},
    "caneft-unfiltered": {"method": "caneft", "task_relevant": None, "learning_rate": GRID},
    "random-2": {"method": "random", "fraction": 0.02, "learning_rate": GRID},
}
BLOCK = ("tiny", "de-en", "all")
SEEN, UNSEEN = "average_seen", "koran"
BETTER, WORSE, SAME = 2.0, -2.0, 0.3
SEGMENTS, RUNS, DF = 0.3, 0.3, 24
"""Error of every difference from segments; deviation between runs and its degrees of freedom."""


def plan_of(methods=None, seeds=(1, 2, 3), **sections):
    return fake_results.plan(methods or METHODS, seeds, **sections)


def outcomes_of(plan, outcome, score=None, columns=(SEEN, UNSEEN)):
    """A block's file of significance. outcome(column, other): by how much caneft is better than another variant.
    score(column, variant) replaces it."""
    of = score or (lambda column, variant: 50.0 - (0 if variant == "caneft" else outcome(column, variant)))
    variants = list(plan.config.methods)
    found = {
        "scores": {v: {column: {"score": of(column, v)} for column in columns} for v in variants},
        "runs": {v: 0 if v == "base" else len(plan.config.seeds) for v in variants},
        "errors": {
            column: {
                "variants": variants,
                "covariance": np.diag(np.full(len(variants), SEGMENTS**2 / 2)).tolist(),
                "deviation": RUNS,
                "df": DF,
            }
            for column in columns
        },
    }
    return {"method": "caneft", "baseline": "base", "metrics": {"bleu": found}}


def trials_of(plan, curves):
    """Trials as from `results.trials`. curves(variant): seen and unseen score at each rate."""
    rows = [
        dict(zip(results.BLOCK, BLOCK, strict=True))
        | {"variant": v, "learning_rate": rate, "average_seen": seen, "average_unseen": unseen}
        for v in plan.config.methods
        for rate, (seen, unseen) in enumerate(curves(v), 1)
    ]
    return pd.DataFrame(rows, columns=[*results.BLOCK, "variant", "learning_rate", *results.AVERAGES])


def scores_of(plan, score):
    """Scores as from `results.scores`. score(mixture, variant, seed, domain)."""
    rows = []
    for block in plan.blocks():
        for variant, method in plan.config.methods.items():
            for seed in [pd.NA] if variant == "base" else plan.config.seeds:
                for domain in plan.tested(*block[1:]):
                    identity = dict(zip(results.BLOCK, block, strict=True)) | {"variant": variant, "seed": seed}
                    identity |= {"method": method.method, "domain": domain, "metric": "bleu"}
                    seen = domain in plan.seen(*block[1:])
                    rows.append(identity | {"seen": seen, "score": score(block[2], variant, seed, domain)})
    return pd.DataFrame(rows).astype({"seed": "Int64"})


def records_of(plan, dev=None, counts=None, losses=None):
    """Records as from `results.records`.

    dev: dev score of the chosen rate, by variant. counts: neurons by variant. losses: dev loss by variant, also for the
    runs on single domains.
    """
    rows = []
    for variant, method in plan.config.methods.items():
        if variant != "base":
            score = (dev or {}).get(variant, 50.0)
            chosen = {"grid": {"0.001": 99.0, "0.01": score}, "learning_rate": 0.01, "edge": None}
            count = (counts or {}).get(variant, 115)
            unit = "neuron" if isinstance(method, config.Neurons) else None
            own = {"variant": variant, "method": method.method, "dev_loss": (losses or {}).get(variant, 1.0)}
            own |= {"seed": 1, "choice": chosen, "neurons": count, "unit": unit}
            rows += [dict(zip(results.BLOCK, block, strict=True)) | own for block in plan.blocks()]
    return pd.DataFrame(rows)


def curve(points, spread=0.03, splits=10):
    """Stability as from `results.stability`: mean Jaccard by number of samples, with noise of 0.1.

    Splits are `spread` above or below the mean. With ten splits, the standard error at one size is spread / 3. At the
    last size odd splits are above the mean, at other sizes the later splits; so the difference between these has a
    standard error of sqrt(2) times that.
    """
    rows = []
    for n, j in points.items():
        for split in range(splits):
            above = split % 2 if n == max(points) else split >= splits // 2
            jaccard = j + (spread if above else -spread)
            rows.append({"samples": n, "split": split, "jaccard": jaccard, "noise_jaccard": 0.1})
    return pd.DataFrame(rows, columns=["samples", "split", "jaccard", "noise_jaccard"])


def neuron_set(flat, layers=3, width=384):
    return neurons.NeuronSet.from_flat(layers, width, flat)


def verdict_of(
    letter,
    plan=None,
    outcome=lambda *_: SAME,
    score=lambda *_: 50.0,
    dev=None,
    counts=None,
    losses=None,
    curves=None,
    seen=None,
    points=None,
    sets=None,
    candidates=None,
):
    """The verdict on a claim. seen(column, variant): scores that replace those that `outcome` makes."""
    plan = plan or plan_of()
    points = curve({100: 0.5, 200: 0.82, 400: 0.83}) if points is None else points
    flat = curves or (lambda v: [(rate, 50.0 - (v != "caneft") * outcome(UNSEEN, v)) for rate in (40.0, 50.0, 60.0)])
    found = Found(
        scores_of(plan, score),
        records_of(plan, dev, counts, losses),
        trials_of(plan, flat),
        points,
        outcomes_of(plan, outcome, seen),
        {m: outcomes_of(plan, outcome, columns=["it", "law"]) for m in roles.single_domains(plan, BLOCK)},
        sets or {},
        candidates or {},
    )
    by_letter = {verdict.claim: verdict for verdict in claims.verdicts(plan, BLOCK, found)}
    assert list(by_letter) == list("abcdefg")
    return by_letter[letter]


@pytest.mark.parametrize("letter, column", [("a", SEEN), ("b", UNSEEN)])
@pytest.mark.parametrize(
    "full, lora, expected",
    [
        (BETTER, BETTER, SUPPORTED),
        (BETTER, WORSE, CONTRADICTED),
        (SAME, WORSE, CONTRADICTED),
        (BETTER, SAME, OPEN),
        (SAME, SAME, OPEN),
        (-0.5, SAME, OPEN),
    ],
)
def test_full_and_lora_decide_on_their_own_column(letter, column, full, lora, expected):
    """LoRA is the one of the method's size. The other column contradicts, and controls differ: neither matters."""
    rivals = {"full": full, "lora-equal": lora}

    def outcome(where, other):
        return rivals.get(other, WORSE) if where == column else -rivals.get(other, SAME)

    found = verdict_of(letter, outcome=outcome)
    assert found.verdict == expected
    assert any("lora:" in line or "lora where" in line for line in found.numbers), "controls stand beside it"


def test_p_is_adjusted_over_all_that_is_quoted():
    """Fourteen tests are quoted: seen against full, both LoRAs, random, random-layers and two criteria; unseen against
    the first five; the share of the smallest budget, and this budget against random.

    A difference of 1.2 has a standard error of hypot(0.3, 0.3 * sqrt(2 / 3)) = 0.387, so t = 3.10 with 24 degrees of
    freedom: p = 0.0049 (tables of t: 3.091 is 0.005), times 14 at most 0.07. The critical value of t is 2.064.
    """
    found = verdict_of(
        "a",
        outcome=lambda column, other: 1.2 if (column, other) == (SEEN, "full") else 0.0,
        counts={"caneft-2": 23, "random-2": 23},
    )
    assert found.verdict == OPEN
    assert_names(found.numbers[0], "full", "+1.2", "+0.4", "+2.0", "0.30", "0.24")
    (p,) = re.findall(r"p = ([0-9.]+)", found.numbers[0])
    assert 14 * 0.0047 < float(p) < 14 * 0.0050


@pytest.mark.parametrize(
    "change, named, not_named",
    [
        ({"full": {"method": "full", "learning_rate": 1e-3}}, "full", "lora"),
        ({"lora": None, "lora-equal": None}, "lora", "full"),
    ],
)
def test_an_unfair_comparison_decides_nothing(change, named, not_named):
    methods = {name: method for name, method in (METHODS | change).items() if method}
    found = verdict_of("a", plan_of(methods), outcome=lambda *_: BETTER)
    reason = found.reason.lower()
    assert found.verdict == UNTESTED and named in reason and not_named not in reason
    assert found.numbers, "numbers are shown all the same"


@pytest.mark.parametrize("letter", list("abde"))
@pytest.mark.parametrize("seeds, tested", [((1,), False), ((1, 2), False), ((1, 2, 3), True)])
def test_under_three_seeds_nothing_is_decided(letter, seeds, tested):
    found = verdict_of(letter, plan_of(seeds=seeds), outcome=lambda *_: BETTER, counts={"caneft-2": 23, "random-2": 23})
    assert (found.verdict != UNTESTED) == tested
    assert tested or "3" in found.reason
    assert tested == any("p " in line for line in found.numbers) and "nan" not in " ".join(found.numbers)


CURVES = {  # seen and unseen score by rising rate
    "caneft": [(60.0, 55.0), (65.0, 50.0), (70.0, 45.0), (65.0, 40.0)],  # the last one has passed the best seen score
    "lora-equal": [(50.0, 62.0), (62.0, 50.0), (80.0, 32.0)],
    "full": [(85.0, 30.0), (88.0, 25.0), (90.0, 20.0)],
}


def test_unseen_scores_are_compared_where_the_seen_ones_are_equal():
    """From 60 to 70 lora-equal falls from 52 to 42: caneft is 3 above it at both ends, whichever rates were chosen.

    Its slope is -1, so the errors of the seen score count together with those of the unseen one (0.3 and 0.245). A
    trial has two seeds where a final run has three, which makes errors sqrt(2) * sqrt(3 / 2) times as large. Between
    its rates, caneft is on average 2.5 above the lower one. lora-equal is on average 11 below the higher one from 60 to
    62, and 4 from 62 to 70, so 5.4 in all. Together, 7.9 may come from the shape of the curves between the rates.
    """
    found = verdict_of("b", curves=lambda v: CURVES.get(v, []), outcome=lambda *_: WORSE)
    (line,) = (line for line in found.numbers if line.startswith("against lora-equal"))
    assert_names(line, "60.0", "70.0", "+3.0", f"{0.3 * 3**0.5:.2f}", f"{0.3 * 2**0.5:.2f}", "+3.0 at 60.0", "7.90")
    assert found.verdict == UNTESTED and "full" in found.reason, "full has no score that both reach"


def test_grids_without_a_common_score_decide_nothing():
    apart = {"caneft": [(60.0, 55.0), (65.0, 50.0), (70.0, 45.0)]}
    curves = lambda v: apart.get(v, [(85.0, 30.0), (88.0, 25.0), (90.0, 20.0)])  # noqa: E731
    assert verdict_of("b", curves=curves, outcome=lambda *_: WORSE).verdict == UNTESTED


def test_grids_of_two_rates_do_not_tell_how_a_curve_runs():
    """Neither does a grid whose best seen score is at its second rate."""
    for few in ([(60.0, 55.0), (70.0, 45.0)], [(60.0, 55.0), (70.0, 45.0), (69.0, 40.0)]):
        curves = lambda v, few=few: few if v == "caneft" else [(50.0, 50.0), (60.0, 50.0), (70.0, 50.0)]  # noqa: E731
        assert verdict_of("b", curves=curves, outcome=lambda *_: BETTER).verdict == UNTESTED


def test_without_unseen_domains_there_is_no_b():
    assert verdict_of("b", plan_of(unseen=()), outcome=lambda *_: BETTER).verdict == UNTESTED


def test_without_test_sets_of_trials_there_is_no_b():
    plan = plan_of()
    plan = Plan(plan.config.model_copy(update={"trials": config.Trials(test_sets=False)}))
    untested = verdict_of("b", plan, outcome=lambda *_: BETTER, curves=lambda _: [(math.nan, math.nan)] * 3)
    assert untested.verdict == UNTESTED and "trials.test_sets" in untested.reason
    fixed = verdict_of("b", plan, outcome=lambda *_: BETTER, curves=lambda _: [])
    assert fixed.verdict == UNTESTED and "trials.test_sets" not in fixed.reason, "there are no trials"


SINGLE = {"all": {"de-en": ["it", "law"]}, "it": {"de-en": {"domains": ["it"], "test": ["law"]}}}


@pytest.mark.parametrize(
    "caneft, spread, loss, expected",
    [
        (45.0, 0.5, 1.0, SUPPORTED),
        (45.0, 0.5, 1.1, OPEN),  # it has learnt less of its own domain, which may explain the smaller harm to others
        (20.0, 0.5, 1.0, CONTRADICTED),
        (20.0, 0.5, 1.1, CONTRADICTED),
        (20.0, 0.5, 0.9, OPEN),  # it has learnt more
        (40.5, 0.6, 1.0, OPEN),
        (45.0, 9.0, 1.0, OPEN),
    ],
)
def test_interference_counts_what_was_learnt(caneft, spread, loss, expected):
    """Trained on `it`, tested on law, base 50: full has 40 ± spread, lora-equal 30 ± spread, at a dev loss of 1."""
    means = {"full": 40.0, "lora-equal": 30.0, "caneft": caneft}

    def score(mixture, variant, seed, domain):
        if mixture == "all" or variant == "base":
            return 50.0
        if domain == "it":
            return 57.0
        return means.get(variant, 45.0) + spread * (int(seed) - 2)

    found = verdict_of("c", plan_of(mixtures=SINGLE), score=score, losses={"caneft": loss})
    assert found.verdict == expected
    difference = f"{caneft - 50:+.1f}".replace("-", "−")
    (own,) = (line for line in found.numbers if line.startswith("caneft:"))
    assert_names(own, difference, "+7.0", f"{loss:.4f}")
    (full,) = (line for line in found.numbers if line.startswith("against full"))
    assert_names(full, f"{SEGMENTS:.2f}", f"{spread * (2 / 3) ** 0.5:.2f}")


def test_without_mixtures_of_one_domain_there_is_no_c():
    assert verdict_of("c").verdict == UNTESTED


@pytest.mark.parametrize(
    "outcomes, expected",
    [
        ({"joint": BETTER, "random": BETTER, "random-layers": BETTER, "gradient": WORSE}, SUPPORTED),
        ({"joint": WORSE, "random": BETTER, "random-layers": BETTER}, CONTRADICTED),
        ({"joint": BETTER, "random": BETTER, "random-layers": WORSE}, CONTRADICTED),
        ({"joint": BETTER, "random": SAME, "random-layers": BETTER}, OPEN),
    ],
)
def test_the_best_criterion_on_dev_and_chance_decide(outcomes, expected):
    """joint has the highest dev score among the rivals, so gradient is only shown; bottom is no rival."""
    dev = {"joint": 60.0, "gradient": 55.0, "bottom": 90.0}
    found = verdict_of("d", outcome=lambda column, other: outcomes.get(other, SAME), dev=dev)
    assert found.verdict == expected
    assert not any("bottom" in line for line in found.numbers)


def test_without_another_criterion_there_is_no_d():
    methods = {name: method for name, method in METHODS.items() if name not in ("joint", "gradient")}
    assert verdict_of("d", plan_of(methods), outcome=lambda *_: BETTER).verdict == UNTESTED


@pytest.mark.parametrize(
    "small, chance, expected",
    [
        (59.9, 52.0, SUPPORTED),  # keeps 9.9 of 10; random gains 2
        (59.9, 62.0, CONTRADICTED),  # random gains significantly more
        (59.9, 59.8, OPEN),  # random gains as much
        (58.1, 52.0, OPEN),  # 8.1 of 10 is not significantly above 8
        (56.0, 52.0, CONTRADICTED),  # 6 of 10 is significantly below 8
    ],
)
def test_what_the_smallest_budget_keeps(small, chance, expected):
    """Base has 50, caneft 60."""
    means = {"caneft": 60.0, "caneft-2": small, "random-2": chance, "caneft-unfiltered": 99.0}
    counts = {"caneft-2": 23, "random-2": 23, "caneft-unfiltered": 60}
    found = verdict_of("e", seen=lambda column, variant: means.get(variant, 50.0), counts=counts)
    assert found.verdict == expected
    gain, other = (f"{value - 50:+.1f}".replace("-", "−") for value in (small, chance))
    assert_names(found.numbers[0], 23, f"caneft-2 {gain}", f"random-2 {other}")
    assert not any("unfiltered" in line for line in found.numbers), "another filter is no other budget"
    above = f"{small - 50 - 8:+.1f}".replace("-", "−")
    (share,) = (line for line in found.numbers if line.startswith("caneft-2"))
    error = SEGMENTS * ((1 + 0.8**2 + 0.2**2) / 2) ** 0.5, RUNS * ((1 + 0.8**2) / 3) ** 0.5  # base has only one output
    assert_names(share, above, *(f"{part:.2f}" for part in error))


def test_without_a_sweep_there_is_no_e():
    methods = {name: method for name, method in METHODS.items() if not name.endswith("-2")}
    assert verdict_of("e", plan_of(methods)).verdict == UNTESTED


EVEN = np.concatenate([layer * 384 + np.arange(40) for layer in range(3)])
ALL = [384, 384, 384]


@pytest.mark.parametrize(
    "flat, candidates, expected",
    [
        (np.arange(120), ALL, SUPPORTED),  # all in layer 0
        (np.arange(120), [300, 2, 2], OPEN),  # but nearly all candidates are there
        (EVEN, [1100, 42, 42], SUPPORTED),  # ten times their share
        (np.concatenate([np.arange(43), 384 + np.arange(40), 768 + np.arange(37)]), ALL, OPEN),
    ],
)
def test_layers_against_draws_among_the_candidates(flat, candidates, expected):
    sets = {"caneft": neuron_set(flat), "joint": neuron_set(np.arange(60))}
    found = verdict_of("f", sets=sets, candidates={"caneft": candidates})
    assert found.verdict == expected
    shared = len(np.intersect1d(flat, np.arange(60)))
    by_chance = 120 * 60 / max(sum(candidates), 1152)  # joint uses no mask
    jaccard, chance = shared / (180 - shared), by_chance / (180 - by_chance)
    assert_names(found.numbers[-1], "joint", f"{jaccard:.2f}", f"{chance:.2f}")


def test_more_even_than_chance_contradicts():
    """There are 64 layers of 32 neurons, with 4 selected in each: chi-squared is 0, but about 63 for random sets."""
    flat = np.concatenate([32 * layer + np.arange(4) for layer in range(64)])
    assert (
        verdict_of("f", sets={"caneft": neuron_set(flat, 64, 32)}, candidates={"caneft": [32] * 64}).verdict
        == CONTRADICTED
    )


def test_random_neurons_under_the_mask_prefer_no_layer():
    """With candidates mostly in one layer, at most 5 % of random draws from them have a verdict other than open."""
    rng, candidates, said = np.random.default_rng(0), [346, 31, 90], []
    for _ in range(300):
        places = rng.permutation(np.concatenate([layer * 384 + np.arange(n) for layer, n in enumerate(candidates)]))
        sets = {"caneft": neuron_set(places[:115])}
        said.append(claims._layers(plan_of(), Found(*[None] * 6, sets, {"caneft": candidates}), "caneft").verdict)
    assert said.count(OPEN) >= 0.95 * len(said) - 3 * (0.05 * 0.95 * len(said)) ** 0.5


@pytest.mark.parametrize(
    "points, spread, expected",
    [
        ({100: 0.5, 200: 0.82, 400: 0.83}, 0.03, SUPPORTED),  # the gain is 0.01 ± 0.014, so it is below 0.038
        ({100: 0.5, 200: 0.82, 400: 0.83}, 0.05, OPEN),  # 0.01 ± 0.024: it may be 0.057
        ({100: 0.5, 200: 0.84, 400: 0.82}, 0.03, SUPPORTED),  # a fall is no rise
        ({100: 0.5, 200: 0.78, 400: 0.79}, 0.03, OPEN),  # flat, but a fifth of the neurons still differ
        ({100: 0.3, 200: 0.4, 400: 0.5}, 0.03, CONTRADICTED),  # 0.1 ± 0.014
        ({100: 0.3, 200: 0.4, 400: 0.47}, 0.03, OPEN),  # 0.07 ± 0.014: it may be only 0.042
        ({100: 0.5, 400: 0.68}, 0.03, CONTRADICTED),  # 0.18 over two doublings, each 0.09 ± 0.007
        ({100: 0.5, 400: 0.58}, 0.03, OPEN),  # 0.04 each
        ({100: 0.1, 200: 0.1, 400: 0.1}, 0.03, CONTRADICTED),  # no more than noise
        ({100: 0.1, 200: 0.1, 400: 0.129}, 0.03, CONTRADICTED),  # 0.029 ± 0.01 above noise
        ({100: 0.1, 200: 0.1, 400: 0.131}, 0.03, OPEN),
        ({400: 0.9}, 0.03, UNTESTED),
        ({}, 0.03, UNTESTED),
    ],
)
def test_whether_the_curve_is_flat(points, spread, expected):
    assert verdict_of("g", points=curve(points, spread)).verdict == expected


def test_a_curve_of_few_splits_decides_nothing():
    points = {100: 0.5, 200: 0.82, 400: 0.83}
    found = {n: verdict_of("g", points=curve(points, splits=n)) for n in (9, 10)}
    assert {n: verdict.verdict for n, verdict in found.items()} == {9: UNTESTED, 10: SUPPORTED}
    assert_names(" ".join(found[9].numbers), "0.827", 400, 9)


def test_halves_that_agree_by_chance_are_not_stable():
    """If 185 of 200 neurons are selected, halves share nine tenths whichever these are, and so do shuffled labels."""
    frame = curve({100: 0.85, 200: 0.868, 400: 0.868}, 0.01).assign(noise_jaccard=0.84)
    assert verdict_of("g", points=frame).verdict == OPEN
    assert verdict_of("g", points=frame.assign(noise_jaccard=0.1)).verdict == SUPPORTED


@pytest.mark.parametrize("chosen", [115, 1094])
def test_a_selection_by_chance_is_not_stable(chosen):
    """Random sets of a tenth of 1,152 neurons, or of 95 %, which share nine tenths whichever these are."""
    rng, replicates, came = np.random.default_rng(0), 100, []
    for _ in range(replicates):
        rows = pd.DataFrame([(n, split) for n in (200, 400) for split in range(10)], columns=["samples", "split"])
        for name in ("jaccard", "noise_jaccard"):
            shared = rng.hypergeometric(chosen, 1152 - chosen, chosen, size=len(rows))
            rows[name] = shared / (2 * chosen - shared)
        came.append(claims._stability(Found(None, None, None, rows, {}, {}, {}, {})).verdict)
    assert came.count(SUPPORTED) <= 0.05 * replicates
    assert came.count(CONTRADICTED) >= 0.95 * replicates


@pytest.mark.parametrize("blocks", [60, pytest.param(240, marks=pytest.mark.slow)])
def test_where_nothing_differs_hardly_anything_is_said(blocks):
    """All methods of these blocks are equal; at most 5 % of the blocks may have a wrong verdict on a, b or d.

    A score has the noise of its segments and of three runs, that of a trial the noise of two runs; and the deviation
    between runs is itself an estimate with 24 degrees of freedom.
    """
    rng, plan, wrong = np.random.default_rng(0), plan_of(), 0
    empty = pd.DataFrame(columns=[*results.BLOCK, "variant", "method", "metric", "domain", "seen", "seed", "score"])
    records = records_of(plan, counts={"caneft-2": 23, "random-2": 23})
    for _ in range(blocks):
        noise = {
            (column, v): rng.normal(0, SEGMENTS / 2**0.5) + rng.normal(0, RUNS / 3**0.5) * (v != "base")
            for column in (SEEN, UNSEEN)
            for v in METHODS
        }
        tests = outcomes_of(plan, None, lambda column, v, noise=noise: 50.0 + noise[column, v])
        for errors in tests["metrics"]["bleu"]["errors"].values():
            errors["deviation"] = RUNS * (rng.chisquare(DF) / DF) ** 0.5
        of_trial = math.hypot(SEGMENTS / 2**0.5, RUNS / 3**0.5) * (3 / 2) ** 0.5
        level = {v: 50.0 + rng.normal(0, of_trial) for v in METHODS}
        trials = trials_of(plan, lambda v, level=level: [(rate, level[v] - rate / 10) for rate in (40.0, 50.0, 60.0)])
        found = Found(empty, records, trials, curve({}), tests, {}, {}, {})
        said = {v.claim: v.verdict for v in claims.verdicts(plan, BLOCK, found)}
        assert UNTESTED not in (said["a"], said["b"], said["d"])
        wrong += any(said[claim] != OPEN for claim in "abd")
    assert wrong <= 0.05 * blocks


@pytest.mark.parametrize("blocks", [40, pytest.param(160, marks=pytest.mark.slow)])
def test_harm_and_budget_are_hardly_ever_wrong_where_nothing_differs(blocks):
    """In (c) all methods harm other domains alike; in (e) the smallest budget keeps exactly 80 % of the gain, and so do
    random neurons. Runs of a method differ by RUNS; all share the noise of a test set's segments."""
    rng, plan, wrong = np.random.default_rng(1), plan_of(mixtures=SINGLE), {"c": 0, "e": 0}
    records, truth = records_of(plan, counts={"caneft-2": 23, "random-2": 23}), {"base": 40.0}
    truth |= {v: 50.0 if v == "caneft" else 48.0 for v in METHODS if v != "base"}
    for _ in range(blocks):
        shared = {v: rng.normal(0, SEGMENTS / 2**0.5) for v in METHODS}
        runs = {(v, seed): rng.normal(0, RUNS) for v in METHODS for seed in plan.config.seeds}

        def score(mixture, variant, seed, domain, shared=shared, runs=runs):
            return 50.0 if variant == "base" else 40.0 + shared[variant] + runs[variant, int(seed)]

        def mean(column, v, shared=shared, runs=runs):
            of_runs = np.mean([runs[v, seed] for seed in plan.config.seeds]) * (v != "base")
            return truth[v] + shared[v] + of_runs

        tests = outcomes_of(plan, None, mean)
        single = {m: outcomes_of(plan, lambda *_: SAME, columns=["it", "law"]) for m in ("it",)}
        trials = trials_of(plan, lambda v: [(rate, 50.0) for rate in (40.0, 50.0, 60.0)])
        found = Found(scores_of(plan, score), records, trials, curve({}), tests, single, {}, {})
        said = {v.claim: v.verdict for v in claims.verdicts(plan, BLOCK, found)}
        assert UNTESTED not in (said["c"], said["e"])
        for claim in wrong:
            wrong[claim] += said[claim] != OPEN
    assert max(wrong.values()) <= 0.05 * blocks


def test_without_the_method_nothing_is_tested():
    plan = plan_of()
    found = Found(*[pd.DataFrame()] * 3, curve({}), {"method": None}, {}, {}, {})
    assert {verdict.verdict for verdict in claims.verdicts(plan, BLOCK, found)} == {UNTESTED}


def test_verdicts_are_counted_over_blocks():
    plan = plan_of()
    one, other = ([claims.Verdict(c, v, "", []) for c in claims.CLAIMS] for v in (SUPPORTED, UNTESTED))
    counted = claims.counted({("a", "b", "c"): one, ("a", "b", "d"): other, ("a", "b", "e"): other})
    assert plan and set(counted.values()) == {"supported 1, no verdict 2"}
