"""Verdicts on claims: each that a rule can give, from scores and tests made up by hand."""

import fake_results
import numpy as np
import pandas as pd
import pytest

from caneft import neurons
from caneft.reporting import claims, evidence, results
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
BETTER, WORSE, SAME = (2.0, 0.0001), (-2.0, 0.0001), (0.5, 0.4)


def plan_of(methods=None, seeds=(1, 2, 3), **sections):
    return fake_results.plan(methods or METHODS, seeds, **sections)


def outcomes_of(plan, outcome):
    """A block's file of significance; outcome(column, other) gives difference and p of caneft against other."""
    entries = []
    for column in (SEEN, UNSEEN):
        for other in plan.config.methods:
            if other != "caneft":
                difference, p = outcome(column, other)
                low, high = difference - 1, difference + 1
                entry = {"a": "caneft", "b": other, "column": column, "difference": difference}
                entries.append(entry | {"low": low, "high": high, "p": p})
    return {"method": "caneft", "baseline": "base", "metrics": {"bleu": {"comparisons": entries}}}


def scores_of(plan, score):
    """Scores as of `results.scores`; score(mixture, variant, seed, domain)."""
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


def records_of(plan, dev=None, counts=None):
    """Records as of `results.records`. dev: best dev score by variant. counts: neurons by variant."""
    rows = []
    for variant, method in plan.config.methods.items():
        if variant != "base":
            chosen = {"grid": {"0.001": None, "0.01": (dev or {}).get(variant, 50.0)}, "edge": None}
            count = (counts or {}).get(variant, 115)
            identity = dict(zip(results.BLOCK, BLOCK, strict=True)) | {"variant": variant, "method": method.method}
            unit = "neuron" if isinstance(method, evidence.Neurons) else None
            rows.append(identity | {"seed": 1, "choice": chosen, "neurons": count, "unit": unit})
    return pd.DataFrame(rows)


def curve(points, spread=0.03, splits=10):
    """Stability as of `results.stability`: mean Jaccard by samples, noise 0.1.

    Splits lie `spread` above or below the mean. Of ten, the standard error at one size is spread / 3; of the difference
    between the last size, where odd splits lie above, and another one, where the later ones do, sqrt(2) times that.
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
    letter, plan=None, outcome=lambda *_: SAME, score=lambda *_: 50.0, dev=None, counts=None, points=None, sets=None
):
    plan = plan or plan_of()
    points = curve({100: 0.5, 200: 0.82, 400: 0.83}) if points is None else points
    found = Found(scores_of(plan, score), records_of(plan, dev, counts), points, outcomes_of(plan, outcome), sets or {})
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
        ((-0.5, 0.4), SAME, OPEN),
    ],
)
def test_full_and_lora_decide_on_their_own_column(letter, column, full, lora, expected):
    """The other column says the opposite, and controls differ: neither changes the verdict."""
    rivals = {"full": full, "lora": lora}

    def outcome(where, other):
        return (rivals.get(other, WORSE)) if where == column else (-rivals.get(other, SAME)[0], 0.0001)

    found = verdict_of(letter, outcome=outcome)
    assert found.verdict == expected
    assert any("lora-equal" in line for line in found.numbers), "controls stand beside it"


def test_p_is_adjusted_over_all_that_is_quoted():
    """Seen and unseen against full, lora, lora-equal, random and random-layers, seen against two criteria: 12 tests.

    With p = 0.01 for one and 0.5 for the others, Holm makes 0.12 of it; alone it would be significant.
    """
    found = verdict_of("a", outcome=lambda column, other: (2.0, 0.01 if (column, other) == (SEEN, "full") else 0.5))
    assert found.verdict == OPEN
    assert_names(found.numbers[0], "full", "+2.0", "+1.0", "+3.0", "0.120")


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
    assert found.verdict == UNTESTED and named in found.reason and not_named not in found.reason
    assert found.numbers, "numbers are shown all the same"


def test_one_seed_decides_nothing():
    assert verdict_of("a", plan_of(seeds=(1,)), outcome=lambda *_: BETTER).verdict == UNTESTED


def test_without_unseen_domains_there_is_no_b():
    assert verdict_of("b", plan_of(unseen=()), outcome=lambda *_: BETTER).verdict == UNTESTED


SINGLE = {"all": {"de-en": ["it", "law"]}, "it": {"de-en": {"domains": ["it"], "test": ["law"]}}}


@pytest.mark.parametrize(
    "caneft, spread, expected",
    [(45.0, 0.5, SUPPORTED), (20.0, 0.5, CONTRADICTED), (41.0, 0.6, OPEN), (45.0, 3.0, OPEN)],
)
def test_interference_is_decided_by_the_deviations(caneft, spread, expected):
    """Trained on it, tested on law, base 50: full 40 ± spread, lora 30 ± spread; the margin is both deviations."""
    means = {"full": 40.0, "lora": 30.0, "caneft": caneft}

    def score(mixture, variant, seed, domain):
        if mixture == "all" or variant == "base":
            return 50.0
        if domain == "it":
            return 57.0
        return means.get(variant, 45.0) + spread * (int(seed) - 2)

    found = verdict_of("c", plan_of(mixtures=SINGLE), score=score)
    assert found.verdict == expected
    difference = f"{caneft - 50:+.1f}".replace("-", "−")
    (own,) = (line for line in found.numbers if line.startswith("caneft:"))
    assert_names(own, f"{difference} ± {spread:.1f}", "+7.0", 3)


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
    """joint has the higher dev score, so gradient is only shown; bottom is no rival."""
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
        (58.5, 52.0, SUPPORTED),  # 8.5 of 10, random 2
        (58.5, 60.0, CONTRADICTED),  # random gains clearly more
        (58.5, 58.4, OPEN),  # random gains as much
        (56.0, 52.0, OPEN),  # 6 of 10
        (54.0, 52.0, CONTRADICTED),  # 4 of 10
    ],
)
def test_what_the_smallest_budget_keeps(small, chance, expected):
    """Base 50, caneft 60; deviations over seeds are 0.1 each."""
    means = {"caneft": 60.0, "caneft-2": small, "random-2": chance, "caneft-unfiltered": 99.0}

    def score(mixture, variant, seed, domain):
        return means.get(variant, 50.0) + (0 if variant == "base" else 0.1 * (int(seed) - 2))

    found = verdict_of("e", score=score, counts={"caneft-2": 23, "random-2": 23, "caneft-unfiltered": 60})
    assert found.verdict == expected
    gain, other = (f"{value - 50:+.1f}".replace("-", "−") for value in (small, chance))
    assert_names(found.numbers[0], 23, f"caneft-2 {gain} ± 0.1", f"random-2 {other} ± 0.1")
    assert not any("unfiltered" in line for line in found.numbers), "another filter is no other budget"


def test_without_a_sweep_there_is_no_e():
    methods = {name: method for name, method in METHODS.items() if not name.endswith("-2")}
    assert verdict_of("e", plan_of(methods)).verdict == UNTESTED


EVEN = np.concatenate([layer * 384 + np.arange(40) for layer in range(3)])


@pytest.mark.parametrize(
    "flat, expected",
    [
        (np.arange(120), SUPPORTED),  # all in layer 0
        (EVEN, CONTRADICTED),  # one in a hundred draws is as even
        (np.concatenate([np.arange(43), 384 + np.arange(40), 768 + np.arange(37)]), OPEN),
    ],
)
def test_layers_against_random_sets(flat, expected):
    sets = {"caneft": neuron_set(flat), "joint": neuron_set(np.arange(60))}
    found = verdict_of("f", sets=sets)
    assert found.verdict == expected
    shared = len(np.intersect1d(flat, np.arange(60)))
    by_chance = 120 * 60 / 1152
    jaccard, chance = shared / (180 - shared), by_chance / (180 - by_chance)
    assert_names(found.numbers[-1], "joint", f"{jaccard:.2f}", f"{chance:.2f}")


def test_more_even_than_chance_contradicts():
    """64 layers of 32 neurons, 4 of each: random sets have about 9 in their fullest layer."""
    flat = np.concatenate([32 * layer + np.arange(4) for layer in range(64)])
    assert verdict_of("f", sets={"caneft": neuron_set(flat, 64, 32)}).verdict == CONTRADICTED


@pytest.mark.parametrize(
    "points, spread, expected",
    [
        ({100: 0.5, 200: 0.82, 400: 0.83}, 0.03, SUPPORTED),  # the gain is 0.01 ± 0.014, so below 0.038
        ({100: 0.5, 200: 0.82, 400: 0.83}, 0.05, OPEN),  # 0.01 ± 0.024: it may be 0.057
        ({100: 0.5, 200: 0.84, 400: 0.82}, 0.03, SUPPORTED),  # a fall is no rise
        ({100: 0.5, 200: 0.78, 400: 0.79}, 0.03, OPEN),  # flat, where a fifth of the neurons differ
        ({100: 0.3, 200: 0.4, 400: 0.5}, 0.03, CONTRADICTED),  # 0.1 ± 0.014
        ({100: 0.3, 200: 0.4, 400: 0.47}, 0.03, OPEN),  # 0.07 ± 0.014: it may be 0.042
        ({100: 0.5, 400: 0.68}, 0.03, CONTRADICTED),  # 0.18 by two doublings, each 0.09 ± 0.007
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


@pytest.mark.parametrize("chosen", [115, 1094])
def test_a_selection_by_chance_is_not_stable(chosen):
    """Random sets of a tenth of 1,152 neurons; of 95 %, which share nine tenths whatever they are."""
    rng, replicates, came = np.random.default_rng(0), 300, []
    for _ in range(replicates):
        rows = pd.DataFrame([(n, split) for n in (200, 400) for split in range(10)], columns=["samples", "split"])
        for name in ("jaccard", "noise_jaccard"):
            shared = rng.hypergeometric(chosen, 1152 - chosen, chosen, size=len(rows))
            rows[name] = shared / (2 * chosen - shared)
        came.append(claims._stability(Found(None, None, rows, {}, {})).verdict)
    assert came.count(SUPPORTED) <= 0.05 * replicates
    assert came.count(CONTRADICTED) >= 0.95 * replicates


def test_without_the_method_nothing_is_tested():
    plan = plan_of()
    found = Found(pd.DataFrame(), pd.DataFrame(), curve({}), {"method": None}, {})
    assert {verdict.verdict for verdict in claims.verdicts(plan, BLOCK, found)} == {UNTESTED}


def test_verdicts_are_counted_over_blocks():
    plan = plan_of()
    one, other = ([claims.Verdict(c, v, "", []) for c in claims.CLAIMS] for v in (SUPPORTED, UNTESTED))
    counted = claims.counted({("a", "b", "c"): one, ("a", "b", "d"): other, ("a", "b", "e"): other})
    assert plan and set(counted.values()) == {"supported 1, not tested 2"}
