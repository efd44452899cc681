"""Tests of significance compared with sacrebleu's, naive loops and arithmetic by hand, and on a simulated null."""

import json
import math
import zlib
from random import Random

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.significance import PairedTest

from caneft.demo import pairs
from caneft.plan.settings import SignificanceSettings
from caneft.reporting import evidence
from caneft.scoring import comparing, rival, significance, statistics
from caneft.storage.bounded import read_json
from caneft.storage.files import write_json
from tests.messages import refused

LIBRARIES = [("bleu", BLEU), ("chrf", CHRF), ("ter", TER)]
REFERENCES = [target for _, target in pairs("law", "test", 120)]


def corrupted(share, seed, texts=REFERENCES):
    """Texts with some words replaced by `uh`."""
    rng = Random(seed)
    return [" ".join("uh" if rng.random() < share else word for word in text.split()) for text in texts]


def settings(**changes):
    found = {
        "systems": [],
        "metrics": ["bleu"],
        "neural": [],
        "target_language": "en",
        "seen": ["law"],
        "unseen": [],
        "baseline": "base",
        "method": "caneft",
        "rivals": {},
        "rival_by": None,
        "resamples": 2000,
        "bootstrap": 500,
        "seed": 1,
    }
    return SignificanceSettings(**found | changes)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("name", "library"), LIBRARIES)
def test_scores_from_sums_are_sacrebleus(name, library, seed):
    hypotheses = corrupted(0.15 * seed, seed)
    hypotheses[seed] = ""
    measure = statistics.Surface(name, "en", REFERENCES)
    found = measure.score(measure(hypotheses).sum(axis=0))
    assert found == pytest.approx(library().corpus_score(hypotheses, [REFERENCES]).score, abs=1e-9)


@pytest.mark.parametrize("hypotheses", [[""] * 120, ["x"] * 120, ["uh uh uh uh uh"] * 120])
@pytest.mark.parametrize(("name", "library"), LIBRARIES)
def test_hopeless_outputs_score_as_sacrebleu_says(name, library, hypotheses):
    measure = statistics.Surface(name, "en", REFERENCES)
    found = measure.score(measure(hypotheses).sum(axis=0))
    assert found == pytest.approx(library().corpus_score(hypotheses, [REFERENCES]).score, abs=1e-9)


def test_ter_of_sums_is_no_mean_of_segments():
    """One edit in one word and one in nine are 2 / 10; the mean would be 55.6. Words without a reference give 100."""
    references = ["yes", "a b c d e f g h i", ""]
    measure = statistics.Surface("ter", "en", references)
    counted = measure(["no", "a b c d e f g h j", "x y"])
    assert counted.tolist() == [[1, 1], [1, 9], [2, 0]]
    assert measure.score(counted[:2].sum(axis=0)) == pytest.approx(20)
    assert measure.score(counted[[0, 0, 1]]).tolist() == pytest.approx([100, 100, 100 / 9])
    assert measure.score(counted[2]) == TER().corpus_score(["x y"], [[""]]).score == 100
    assert measure.score(np.zeros(2)) == TER().corpus_score([""], [[""]]).score == 0


def test_exact_match_is_a_share():
    measure = statistics.Surface("exact", None, ["a", "b", "c", "d"])
    assert measure.score(measure(["a", "b ", "x", ""]).sum(axis=0)) == 50


def p_of(first, second, metric="bleu", resamples=2000, seed=0):
    measure = statistics.Surface(metric, "en", REFERENCES)
    systems = np.stack([measure(first), measure(second)])
    drawn = significance.randomised(systems, [[(0, 1)]], measure.score, resamples, np.random.default_rng(seed))
    observed = measure.score(systems[0].sum(axis=0)) - measure.score(systems[1].sum(axis=0))
    return significance.p_values(np.array([observed]), drawn)[0]


@pytest.mark.parametrize(("name", "library"), LIBRARIES[:2])
@pytest.mark.parametrize("share", [0.2, 0.22, 0.25])
def test_p_agrees_with_sacrebleus_paired_randomisation(name, library, share, monkeypatch):
    """They agree within three standard errors of two independent estimates. Not for TER: its edits are whole numbers,
    so many resamples have exactly the observed difference, and sacrebleu does not count these."""
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    first, second, count = corrupted(0.2, 1), corrupted(share, 2), 2000
    metric = library(references=[REFERENCES])
    test = PairedTest([("a", first), ("b", second)], {name: metric}, None, test_type="ar", n_samples=count)
    theirs = next(results for label, results in test()[1].items() if label != "System")[1].p_value
    ours = p_of(first, second, name, count)
    error = math.sqrt(2 * max(theirs * (1 - theirs), 1 / count) / count)
    assert abs(ours - theirs) < 3 * error


def test_identical_outputs_have_p_one_and_a_plain_difference_the_least_one():
    same = corrupted(0.3, 1)
    assert p_of(same, list(same)) == 1
    assert p_of(same, list(same), "chrf") == 1
    assert p_of(REFERENCES, corrupted(0.6, 1)) == 1 / 2001


def test_other_texts_with_the_same_score_have_p_one():
    """Both hypotheses of one segment are equally wrong, so swapping them changes nothing."""
    first, second = list(REFERENCES), list(REFERENCES)
    first[0], second[0] = "uh uh", "oh oh"
    assert p_of(first, second) == 1


def test_p_is_uniform_where_there_is_no_difference():
    """Tests 300 pairs of equally good systems; the Kolmogorov-Smirnov bound at 1 per cent is 1.63 / sqrt(300)."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(300):
        scores = np.round(rng.beta(4, 2, size=(2, 80)), 6)  # segment scores like those of a neural metric
        systems = np.stack([statistics.segment_scores(system) for system in scores])
        drawn = significance.randomised(
            systems, [[(0, 1)]], statistics.mean_of_segments, 999, np.random.default_rng(number)
        )
        observed = np.array([scores[0].mean() - scores[1].mean()])
        found.append(significance.p_values(observed, drawn)[0])
    ordered, steps = np.sort(found), np.arange(1, 301) / 300
    statistic = max((steps - ordered).max(), (ordered - steps + 1 / 300).max())
    assert statistic < 1.63 / math.sqrt(300)
    assert 0.02 < np.mean(np.array(found) <= 0.05) < 0.09


def test_seeds_are_swapped_together_as_in_a_naive_loop():
    """With two seeds for each of two variants, a resample swaps a segment in both pairs or in none."""
    texts = {
        ("a", 1): corrupted(0.2, 1),
        ("a", 2): corrupted(0.2, 2),
        ("b", 1): corrupted(0.24, 3),
        ("b", 2): corrupted(0.24, 4),
    }
    measure = statistics.Surface("chrf", "en", REFERENCES)
    systems = np.stack([measure(found) for found in texts.values()])
    places = comparing.pairs(list(texts), "a", "b")
    assert places == [(0, 2), (1, 3)]
    drawn = significance.randomised(systems, [places], measure.score, 12, np.random.default_rng(3))[:, 0]
    swaps = np.random.default_rng(3).integers(2, size=(significance.CHUNK, 120), dtype=bool)[:12]
    for swap, value in zip(swaps, drawn, strict=True):
        naive = []
        for seed in (1, 2):
            one, other = texts["a", seed], texts["b", seed]
            first = [b if swapped else a for a, b, swapped in zip(one, other, swap, strict=True)]
            second = [a if swapped else b for a, b, swapped in zip(one, other, swap, strict=True)]
            naive.append(
                CHRF().corpus_score(first, [REFERENCES]).score - CHRF().corpus_score(second, [REFERENCES]).score
            )
        assert value == pytest.approx(np.mean(naive), abs=1e-9)


def test_a_variant_without_seeds_meets_every_seed_of_the_other():
    systems = [("base", None), ("caneft", 1), ("caneft", 2), ("icl", None)]
    assert comparing.pairs(systems, "caneft", "base") == [(1, 0), (2, 0)]
    assert comparing.pairs(systems, "base", "icl") == [(0, 3)]


def test_what_is_compared():
    variants = ["base", "full", "lora", "caneft"]
    with_base = [("full", "base"), ("lora", "base"), ("caneft", "base")]
    assert comparing.comparisons(variants, "base", "caneft") == [*with_base, ("caneft", "full"), ("caneft", "lora")]
    assert comparing.comparisons(variants, None, "full") == [("full", v) for v in ("base", "lora", "caneft")]
    assert comparing.comparisons(variants, "base", None) == with_base


def test_the_bootstrap_is_that_of_a_naive_loop():
    hypotheses = corrupted(0.2, 1)
    measure = statistics.Surface("bleu", "en", REFERENCES)
    systems = np.stack([measure(hypotheses), measure(corrupted(0.3, 2))])
    drawn = significance.bootstrapped(systems, measure.score, 30, np.random.default_rng(9))
    numbers = np.random.default_rng(9).integers(120, size=(significance.CHUNK, 120))[:30]
    for chosen, value in zip(numbers, drawn[:, 0], strict=True):
        texts, references = [hypotheses[i] for i in chosen], [REFERENCES[i] for i in chosen]
        assert value == pytest.approx(BLEU().corpus_score(texts, [references]).score, abs=1e-9)


def test_intervals_hold_the_true_mean_about_as_often_as_they_say():
    rng, hits = np.random.default_rng(2), 0
    for number in range(200):
        system = statistics.segment_scores(np.round(rng.beta(4, 2, size=150), 6))[None]
        drawn = significance.bootstrapped(system, statistics.mean_of_segments, 400, np.random.default_rng(number))
        low, high = significance.interval(drawn[:, 0])
        hits += low <= 4 / 6 <= high
    assert 0.90 <= hits / 200 <= 0.99


def test_holm_by_hand():
    """.01 .02 .03 .04 in order, times 4 3 2 1, are .04 .06 .06 .04, and never fall: the last is .06, too."""
    assert significance.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert significance.holm([0.6, 0.5]) == [1, 1]
    assert significance.holm([]) == []


def test_averages_are_swapped_independently_in_every_domain():
    """Compared with a naive loop over two domains whose coins follow from their names."""
    domains = {"it": [t for _, t in pairs("it", "test", 50)], "law": REFERENCES[:50]}
    texts = {
        (variant, seed): {
            domain: corrupted(share, seed + 10 * (variant == "base"), found) for domain, found in domains.items()
        }
        for variant, seed, share in (("base", 0, 0.3), ("caneft", 1, 0.26), ("caneft", 2, 0.26))
    }
    systems = [("base", None), ("caneft", 1), ("caneft", 2)]
    outputs = dict(zip(systems, texts.values(), strict=True))
    asked = settings(seen=["it", "law"], unseen=[], method=None, resamples=300)
    found = comparing.test_metric(asked, systems, comparing.surface_samples("bleu", "en", domains, outputs))
    (entry,) = [e for e in found["comparisons"] if e["column"] == "average_seen"]
    by_domain = {e["column"]: e for e in found["comparisons"]}
    assert entry["difference"] == pytest.approx(
        (by_domain["it"]["difference"] + by_domain["law"]["difference"]) / 2, abs=1e-5
    )
    resampled = []
    for domain, references in domains.items():
        rng = np.random.default_rng([1, zlib.crc32(domain.encode()), 0])
        chunks = [rng.integers(2, size=(significance.CHUNK, 50), dtype=bool) for _ in range(2)]
        swaps = np.concatenate(chunks)[:300]
        resampled.append([_difference(outputs, domain, references, swap) for swap in swaps[:60]])
    means = np.mean(resampled, axis=0)
    full = comparing.test_metric(
        settings(seen=["it", "law"], method=None, resamples=60),
        systems,
        comparing.surface_samples("bleu", "en", domains, outputs),
    )
    (short,) = [e for e in full["comparisons"] if e["column"] == "average_seen"]
    as_large = (np.abs(means) >= abs(entry["difference"]) - 1e-5).sum()
    assert short["p"] == pytest.approx((as_large + 1) / 61)


def _difference(outputs, domain, references, swap):
    found = []
    for seed in (1, 2):
        one, other = outputs["caneft", seed][domain], outputs["base", None][domain]
        first = [b if swapped else a for a, b, swapped in zip(one, other, swap, strict=True)]
        second = [a if swapped else b for a, b, swapped in zip(one, other, swap, strict=True)]
        found.append(BLEU().corpus_score(first, [references]).score - BLEU().corpus_score(second, [references]).score)
    return np.mean(found)


def test_a_further_variant_changes_no_other_test():
    texts = {("base", None): {"law": corrupted(0.3, 1)}, ("caneft", 1): {"law": corrupted(0.28, 2)}}
    more = {**texts, ("lora", 1): {"law": corrupted(0.1, 3)}}

    def tested(outputs):
        samples = comparing.surface_samples("chrf", "en", {"law": REFERENCES}, outputs)
        return comparing.test_metric(settings(), list(outputs), samples)["comparisons"]

    (alone,) = tested(texts)
    assert alone in tested(more) and len(tested(more)) == 3


def test_the_best_rival_is_the_best_on_dev(tmp_path):
    def written(name, content):
        (tmp_path / name).write_text(json.dumps(content))
        return tmp_path / name

    grids = {"lora": {"1": 70.0, "2": None}, "full": {"1": 71.0, "2": 69.0}, "random": {"1": 73.0, "2": 60.0}}
    rates = {"lora": 1, "full": 1, "random": 2}  # the chosen rate counts, not the grid's highest score
    choices = {n: [written(f"{n}.json", {"grid": grid, "learning_rate": rates[n]})] for n, grid in grids.items()}
    assert rival.best_rival(rival.dev_results(choices, "chrf"), "chrf") == "full"  # the first of equal ones
    losses = {"lora": (0.5, 0.7), "full": (0.5, 0.6)}
    records = {
        name: [written(f"{name}{i}.json", {"tuning": {"dev_loss": loss}}) for i, loss in enumerate(seeds)]
        for name, seeds in losses.items()
    }
    assert rival.best_rival(rival.dev_results(records, "dev_loss"), "dev_loss") == "full"
    assert rival.best_rival(rival.dev_results(choices, "chrf"), "ter") == "random"
    assert rival.best_rival({}, None) is None
    with refused(tmp_path / "broken.json", "dev_loss"):
        rival.dev_results({"full": [written("broken.json", {"tuning": {}})]}, "dev_loss")


def test_a_difference_between_methods_by_hand():
    """3 with errors of 0.6 and 0.8 gives t = 3 with 4 degrees of freedom; by tables p = 0.0399, t(0.975) = 2.776."""
    found = significance.Difference(3.0, 0.6, 0.8, 4)
    assert found.error == pytest.approx(1.0) and found.p == pytest.approx(0.0399, abs=5e-5)
    assert found.interval == pytest.approx((0.224, 5.776), abs=5e-4)
    unknown = significance.Difference(3.0, 0.6, 0.0, 0)
    assert np.isnan(unknown.p) and unknown.interval == pytest.approx((3 - 1.96 * 0.6, 3 + 1.96 * 0.6), abs=1e-4)
    assert significance.Difference(0.0, 0.0, 0.0, 4).p == 1
    wrong = significance.Difference(-5.0, 0.6, 0.8, 4, bias=2.0)
    assert wrong.p == found.p and wrong.interval == pytest.approx((-9.776, -0.224), abs=5e-4)
    assert significance.Difference(1.9, 0.0, 0.0, 4, bias=2.0).p == 1


def test_a_contrast_weighs_covariances_and_runs():
    """a has 3 runs, b 2, base none. Segments: Var = 1 * 4 + 1 * 9 - 2 * 2. Runs: 0.5 squared times 1 / 3 + 1 / 2."""
    errors = significance.Errors(
        {"a": 5.0, "b": 3.0, "base": 1.0},
        np.array([[4.0, 2, 0], [2, 9, 0], [0, 0, 1]]),
        {"a": 3, "b": 2, "base": 0},
        0.5,
        3,
    )
    found = errors.contrast({"a": 1, "b": -1})
    assert found == pytest.approx((2.0, 3.0, 0.5 * (5 / 6) ** 0.5, 3, 0.0))
    assert errors.contrast({"a": 1, "base": -1}) == pytest.approx((4.0, 5**0.5, 0.5 * 3**-0.5, 3, 0.0))
    assert errors.enough(["a", "base"]) and not errors.enough(["a", "b"])
    again = significance.Errors.from_json(errors.score, errors.runs, errors.as_json())
    assert again.contrast({"a": 1, "b": -1}) == found
    with pytest.raises(ValueError, match="base"):
        significance.Errors.from_json({"a": 5.0, "b": 3.0}, errors.runs, errors.as_json())


def test_the_errors_in_the_file_are_those_of_its_comparisons(tmp_path):
    """The file's keys are sorted and the variants are not, and each variant has a different error."""
    domains = {"it": REFERENCES}
    shares = {"zero": 0.05, "base": 0.3, "middle": 0.5, "caneft": 0.1}
    systems = [(variant, seed) for variant in shares for seed in ([None] if variant == "base" else [1, 2, 3])]
    outputs = {(v, s): {"it": corrupted(shares[v], 7 * (s or 1) + len(v), REFERENCES)} for v, s in systems}
    asked = settings(seen=["it"], unseen=[], method="caneft", resamples=50)
    tested = comparing.test_metric(asked, systems, comparing.surface_samples("bleu", "en", domains, outputs))
    write_json(tmp_path / "tests.json", {"metrics": {"bleu": tested}})
    read = evidence.errors(read_json(tmp_path / "tests.json"), "bleu")["it"]
    found = {(e["a"], e["b"]): e for e in tested["comparisons"]}
    assert len(found) == 5 and len({round(e["se_segments"], 3) for e in found.values()}) == 5
    for (a, b), entry in found.items():
        own = read.contrast({a: 1, b: -1})
        assert own.value == pytest.approx(entry["difference"], abs=2e-6)
        assert own.segments == pytest.approx(entry["se_segments"], abs=2e-6)


def test_the_deviation_is_pooled_over_variants():
    """(1, 3) has variance 2 with one degree of freedom, (2, 2, 5) has 3 with two: (2 + 6) / 3. One run adds nothing."""
    assert significance.pooled_deviation([[1, 3], [2, 2, 5], [9]]) == pytest.approx(((8 / 3) ** 0.5, 3))
    assert significance.pooled_deviation([[9], []]) == (0.0, 0)
