"""Stability: curves compared with loops and sklearn, halves without a shared sample, known noise levels, examples."""

import itertools
import json
import math
import statistics
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from pytest import approx
from scipy.stats import spearmanr
from sklearn.metrics import mutual_info_score

from caneft.importance.dumps import DumpReader, DumpSet
from caneft.plan.settings import SelectionSettings, StabilitySettings
from caneft.selection import counting, information, stability
from caneft.selection.stability import CRITERIA, Point, curves, flat, measure, of, sizes
from tests.messages import refused

LAYERS, WIDTH, BINS = 2, 30, 5
SCALES = {"it": 8.0, "law": 2.0, "koran": 1.0}


def scores(samples=(40, 44, 50), seed=0, spread=1.5, layers=LAYERS, width=WIDTH):
    """Scores of three domains whose levels differ by neuron."""
    rng = np.random.default_rng(seed)
    return {
        domain: (SCALES[domain] * rng.lognormal(spread * rng.random((layers, 1, width)), 1, (layers, count, width)))
        .clip(0, 6e4)
        .astype(np.float16)
        for domain, count in zip(SCALES, samples, strict=True)
    }


def dump_set(dumps, lengths=None):
    """A dump set as from files, scales and lengths in the sidecars. Without lengths, responses have one token."""
    sidecars = {}
    for domain, dump in dumps.items():
        own = [1] * dump.shape[1] if lengths is None else map(int, lengths[domain])
        samples = [{"response_tokens": length} for length in own]
        sidecars[domain] = {"scale_exponent": int(math.log2(SCALES[domain])), "samples": samples}
    return DumpSet(dumps, {}, sidecars)


def settings_of(splits=2, bins=BINS, seed=0, length_strata=1, **budget):
    given = {"criterion": "caneft", "fraction": None, "gamma": None, "task_relevant": None, **budget}
    given.setdefault("budget_task_relevant", None)
    return StabilitySettings(
        bins=bins, length_strata=length_strata, splits=splits, seed=seed, budget=SelectionSettings(**given)
    )


def tiles_of(neurons, monkeypatch):
    """Makes tiles of `scores()` with this many neurons."""
    monkeypatch.setattr(counting, "BLOCK", neurons)
    monkeypatch.setattr(information, "TILE_BYTES", neurons * 2 * (40 + 44 + 50))


def run_all(dumps, sizes, splits=2, neurons=6, lengths=None, threads=1, progress=lambda neurons: None, **settings):
    """All curves."""
    return curves(dump_set(dumps, lengths), sizes, neurons, settings_of(splits, **settings), threads, progress)


def run(*arguments, criterion="caneft", scope="model", **more):
    """The curve of one criterion; without a mask there is no scope."""
    return of(run_all(*arguments, **more), criterion, scope if more.get("task_relevant") else "off")


def order(samples, seed, split, index):
    """The order of a domain's samples: the seed is all that the witness takes from the package."""
    return np.random.default_rng([seed, stability.STREAM, split, index]).permutation(samples)


def naive_bins(values, bins):
    # float32 makes an edge that is itself a (float16) score equal to that score again
    return np.digitize(values, np.quantile(values, np.arange(1, bins) / bins).astype(np.float32))


def naive_information(scores, labels, strata, bins):
    """Scores of one neuron by criterion, given the stratum. All arguments are of the half's samples, pooled."""
    by_domain, joint = dict.fromkeys(set(labels), 0), 0
    for stratum in set(strata):
        inside = [i for i in range(len(scores)) if strata[i] == stratum]
        binned = naive_bins(scores[inside], bins)
        joint += len(inside) / len(scores) * mutual_info_score(binned, [labels[i] for i in inside])
        for domain in by_domain:
            of_domain = [labels[i] == domain for i in inside]
            by_domain[domain] += len(inside) / len(scores) * mutual_info_score(binned, of_domain)
    found = {
        "caneft": min(by_domain.values()),
        "caneft-geometric": statistics.geometric_mean(by_domain.values()),
        "caneft-harmonic": statistics.harmonic_mean(by_domain.values()),
        "joint": joint,
    }
    return {criterion: round(value, 12) for criterion, value in found.items()}


def naive_candidates(dumps, rows, q, scope):
    """Neurons in the top share q of every domain, among all neurons or among those of their layer."""
    everyone = list(itertools.product(range(LAYERS), range(WIDTH)))
    candidates = set(everyone)
    for domain in dumps if q else ():
        means = {key: dumps[domain][key[0], rows[domain], key[1]].astype(float).mean() for key in everyone}
        for key in everyone:
            among = [mean for other, mean in means.items() if scope == "model" or other[0] == key[0]]
            if means[key] < sorted(among, reverse=True)[math.ceil(q * len(among)) - 1]:
                candidates.discard(key)
    return candidates


def naive_scores(dumps, rows, bins, lengths=None, strata=1):
    """Scores of every neuron by criterion. rows: the half's samples, by domain."""
    everyone = list(itertools.product(range(LAYERS), range(WIDTH)))
    labels = [d for d in sorted(dumps) for _ in rows[d]]
    of_sample = naive_bins(np.concatenate([lengths[d][rows[d]] for d in sorted(dumps)]), strata) if lengths else None
    of_sample = [0] * len(labels) if of_sample is None else of_sample.tolist()
    found = {}
    for layer, n in everyone:
        pooled = np.concatenate([dumps[d][layer, rows[d], n] for d in sorted(dumps)]).astype(np.float64)
        found[layer, n] = naive_information(pooled, labels, of_sample, bins)
    return found


def naive_set(scores, candidates, neurons, per_layer):
    chosen = []
    for key in sorted(sorted(candidates), key=lambda key: -scores[key]):
        if len(chosen) < neurons and sum(layer == key[0] for layer, _ in chosen) < per_layer:
            chosen.append(key)
    return set(chosen)


LENGTHS = {d: np.random.default_rng(9).integers(3, 40, n) for d, n in zip(SCALES, (40, 44, 50), strict=True)}
CASES = {
    "all": (None, 6, {}),
    "relevant": (0.6, 6, {}),
    "too many": (0.6, 40, {}),
    "per layer": (None, 9, {"per_layer": 5}),
    "too many per layer": (0.6, 40, {"per_layer": 4}),
    "given the length": (None, 10, {"lengths": LENGTHS, "length_strata": 3}),
}


SLOW = ("all", "relevant", "too many")


@pytest.mark.parametrize(
    ("q", "neurons", "more"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in CASES.items()],
)
def test_the_curves_equal_loops(q, neurons, more, monkeypatch):
    """Shuffled labels are replaced by uninformative ones, so that held-out consensus is the other half's own."""
    dumps, splits = scores(), 1 if more.get("lengths") else 2
    tiles_of(7, monkeypatch)
    monkeypatch.setattr(information, "shuffled", lambda counts, rng: np.ones_like(counts))
    points = run_all(dumps, [20, 7], splits=splits, neurons=neurons, task_relevant=q, seed=4, **more)
    scopes = ("model", "layer") if q else ("off",)
    assert [(p.criterion, p.scope, p.samples, p.neurons) for p in points] == [
        (criterion, scope, size, neurons) for criterion in CRITERIA for scope in scopes for size in (7, 20)
    ]
    counts = {(scope, n): [] for scope in scopes for n in (7, 20)}
    for n, split in itertools.product((7, 20), range(splits)):
        orders = {d: order(dumps[d].shape[1], 4, split, i) for i, d in enumerate(sorted(dumps))}
        halves = [{d: o[first : first + n] for d, o in orders.items()} for first in (0, n)]
        scored = [naive_scores(dumps, rows, BINS, more.get("lengths"), 3) for rows in halves]
        for scope in scopes:
            candidates = [naive_candidates(dumps, rows, q, scope) for rows in halves]
            for criterion in CRITERIA:
                (point,) = (p for p in of(points, criterion, scope) if p.samples == n)
                mine = [{key: found[criterion] for key, found in half.items()} for half in scored]
                per_layer = more.get("per_layer", WIDTH)
                a, b = map(naive_set, mine, candidates, [neurons] * 2, [per_layer] * 2)
                assert point.jaccard[split] == approx(len(a & b) / len(a | b))
                assert point.phi[split] == approx(nogueira([a, b]), abs=1e-12)
                together = spearmanr(*(list(half.values()) for half in mine)).statistic
                assert point.correlation[split] == approx(together, abs=1e-9)
                own = [
                    mean([other[key]["caneft"] for key in chosen]) for chosen, other in ((a, scored[1]), (b, scored[0]))
                ]
                assert point.held_out[split] == approx(mean(own), abs=1e-12)
                assert neurons < 40 or max(len(a), len(b)) < neurons, "the case of fewer candidates is not met"
                if "per_layer" in more:
                    assert max(Counter(layer for layer, _ in a).values()) == per_layer, "no layer is full"
            counts[scope, n] += map(len, candidates)
    assert all(point.candidates == approx(mean(counts[point.scope, point.samples])) for point in points)


def nogueira(sets):
    """The paper's formula: 1 minus the mean variance of the neurons' selection over that of chance."""
    chosen = np.array([[key in own for key in itertools.product(range(LAYERS), range(WIDTH))] for own in sets])
    share = chosen.mean()
    return 1 - chosen.var(axis=0, ddof=1).mean() / (share * (1 - share))


@pytest.fixture
def selected_from(monkeypatch):
    """The tables behind the selected sets: for each size and split, those of the halves, then those with noise."""
    seen, score = [], stability.selection.score
    monkeypatch.setattr(stability.selection, "score", lambda table, name: seen.append(table) or score(table, name))
    monkeypatch.setattr(stability, "CRITERIA", ("caneft",))
    return seen


def test_halves_share_no_sample_and_orders_differ_by_domain_and_split(selected_from):
    samples, n = 24, 10
    marked = np.eye(samples, dtype=np.float16)[None]  # neuron j scores in sample j only, so means show the samples
    run(dict.fromkeys(("it", "law"), marked), [n], splits=2)
    assert len(selected_from) == 8
    halves = [
        [set(np.flatnonzero(table[f"importance_{domain}"])) for domain in ("it", "law")]
        for table in (selected_from[i] for i in (0, 1, 4, 5))
    ]
    for first, second in (halves[:2], halves[2:]):
        for a, b in zip(first, second, strict=True):
            assert len(a) == len(b) == n and not a & b
    firsts = [halves[0][0], halves[0][1], halves[2][0], halves[2][1]]
    assert all(a != b for a, b in itertools.combinations(firsts, 2))


def test_means_are_those_of_the_half_without_the_dumps_factor(selected_from):
    dumps = scores()
    run(dumps, [20], splits=1)
    rows = {domain: order(dumps[domain].shape[1], 0, 0, i)[20:40] for i, domain in enumerate(sorted(dumps))}
    for domain, chosen in rows.items():
        expected = dumps[domain][:, chosen].astype(np.float64).mean(axis=1).ravel() / SCALES[domain]
        assert selected_from[1][f"importance_{domain}"].to_numpy() == approx(expected, rel=1e-12)


def uninformative(neurons, samples=200, seed=0):
    """Scores that are independent of the domain."""
    rng = np.random.default_rng(seed)
    return {domain: rng.random((2, samples, neurons // 2)).astype(np.float16) for domain in SCALES}


def mean(values):
    """Mean over splits."""
    return sum(values) / len(values)


def test_without_information_halves_agree_as_two_random_draws_do():
    m, k = 2000, 200
    (point,) = run(uninformative(m), [100], splits=4, neurons=k, bins=10)
    # two draws of k of m neurons share k^2/m on average, which is 20 here, with a standard deviation of about 4
    assert mean(point.jaccard) == approx(k / (2 * m - k), abs=0.02)
    assert mean(point.noise_jaccard) == approx(k / (2 * m - k), abs=0.02)
    assert mean(point.phi) == approx(0, abs=0.04) and mean(point.noise_phi) == approx(0, abs=0.04)
    # the minimum of three noisy one-vs-rest MI is about 0.01 here; for 200 neurons its error is 0.0004
    assert abs(mean(point.held_out)) < 0.001 and abs(mean(point.noise_held_out)) < 0.001
    assert mean(point.correlation) == approx(0, abs=0.05)
    assert mean(point.noise_correlation) == approx(0, abs=0.05)
    assert len(set(point.noise_correlation)) == 4, "every split has a shuffle of its own"


def test_noise_keeps_the_agreement_that_the_task_relevant_neurons_alone_give():
    m, k = 2000, 200
    dumps = {domain: dump * np.float16(0.1) for domain, dump in uninformative(m).items()}
    for dump in dumps.values():
        dump[:, :, ::4] *= 10  # the same quarter of the neurons is the most important in every half
    (point,) = run(dumps, [100], splits=4, neurons=k, task_relevant=0.25, bins=10)
    assert point.candidates == m / 4
    assert mean(point.noise_jaccard) == approx(k / (2 * m / 4 - k), abs=0.04)


def test_noise_is_shuffled_within_each_half(selected_from):
    dumps = uninformative(400)
    dumps["it"][:, :, :200] += 4  # it differs in all its neurons, so every table has high MI before the shuffle
    dumps["law"] += 2
    run(dumps, [100], splits=1, bins=10)
    half, other, noise, other_noise = (table["consensus"] for table in selected_from)
    assert half.mean() > 0.5 and other.mean() > 0.5
    for values in (noise, other_noise):  # one-vs-rest noise for N = 300 is (10 - 1) / 2N; the minimum of three is less
        assert 0.2 * 9 / 600 < values.mean() < 9 / 600
    assert abs(np.corrcoef(noise, other_noise)[0, 1]) < 0.2


def test_no_two_shuffles_are_the_same():
    # scores are distinct: all neurons and halves have the same margins, so equal random numbers would give equal tables
    rng, m, k = np.random.default_rng(0), 1000, 100
    orders = np.argsort(rng.random((m, 120)), axis=1).reshape(2, m // 2, 3, 40).astype(np.float16)
    dumps = {domain: orders[:, :, i].transpose(0, 2, 1) for i, domain in enumerate(SCALES)}
    (point,) = run(dumps, [20], splits=3, neurons=k)
    assert mean(point.noise_jaccard) == approx(k / (2 * m - k), abs=0.03)
    assert mean(point.noise_correlation) == approx(0, abs=0.08)
    assert len(set(point.noise_correlation)) == 3


def test_the_layers_of_a_half_have_shuffles_of_their_own(selected_from):
    same = np.argsort(np.random.default_rng(0).random((100, 80)), axis=1).reshape(100, 2, 40).astype(np.float16)
    dumps = {domain: np.stack([same[:, i].T] * 2) for i, domain in enumerate(("it", "law"))}
    run(dumps, [20], splits=1)
    half, _, noise, _ = (table["consensus"].to_numpy().reshape(2, 100) for table in selected_from)
    assert np.array_equal(*half)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.4


def test_planted_information_is_found_again():
    dumps = uninformative(400, seed=1)
    planted = np.random.default_rng(2).permutation(200)[:20]
    for domain, shift in zip(SCALES, (0, 1, 2), strict=True):
        dumps[domain][:, :, planted] += np.float16(shift)
    (point,) = run(dumps, [50], splits=2, neurons=40)
    assert point.jaccard == point.phi == [1, 1]
    assert mean(point.noise_jaccard) == approx(40 / (800 - 40), abs=0.06)
    # one of three domains differs from the rest, H(1/3) = 0.64 nats; in noise only a tenth of the neurons are planted
    assert min(point.held_out) > 0.3 and 0.2 * min(point.held_out) > max(point.noise_held_out)
    # a tenth is above the rest, whose ranks are random: of the ranks' variance, 3 x 0.1 x 0.9 is between the two groups
    assert mean(point.correlation) == approx(0.27, abs=0.06)


def test_weak_information_is_found_again_with_more_samples():
    dumps = uninformative(400)
    for domain, shift in zip(SCALES, (0, 1, 2), strict=True):
        dumps[domain] += np.float16(0.6 * shift) * np.linspace(0, 1, 200, dtype=np.float16)
    few, many = run(dumps, [10, 100], splits=2, neurons=100)
    for name in ("jaccard", "correlation"):
        assert mean(getattr(many, name)) > mean(getattr(few, name)) + 0.2


def test_the_rank_correlation_averages_the_ranks_of_ties():
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: sum of d^2 = 0.5; but with ties it is Pearson's of ranks, 4.5 / sqrt(4.5 * 5)
    ties = np.array([0.1, 0.2, 0.2, 0.9]), np.array([0.1, 0.2, 0.3, 0.4])
    assert stability._rank_correlation(*ties) == approx(4.5 / math.sqrt(4.5 * 5), rel=1e-12)
    assert stability._rank_correlation(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None


def test_neurons_that_never_respond_have_no_correlation_and_agree_as_noise_does():
    silent = dict.fromkeys(("it", "law"), np.zeros((1, 20, 10), np.float16))
    (point,) = run(silent, [10], splits=1, neurons=3)
    assert point == Point("caneft", "off", 10, 3, 10.0, [1.0], [1.0], [None], [0.0], [1.0], [1.0], [None], [0.0])


def test_a_scope_without_candidates_is_undefined_unless_it_is_the_configured_one():
    """The domains' important neurons are in different halves of a layer; all of layer 0 are above all of layer 1."""
    rng = np.random.default_rng(0)
    dumps = {domain: rng.random((2, 40, 20)).astype(np.float16) for domain in ("it", "law")}
    for i, dump in enumerate(dumps.values()):
        dump[:, :, 10 * i : 10 * i + 10] += 2
        dump[0] += 10
    given = {"splits": 1, "neurons": 5, "task_relevant": 0.5}
    within = run(dumps, [20], scope="layer", **given)[0]
    assert (within.candidates, within.jaccard, within.phi, within.held_out) == (0, [None], [None], [None])
    assert within.noise_jaccard == [None] and within.correlation != [None]
    assert run(dumps, [20], **given)[0].candidates == 20
    with refused("selection.task_relevant", 0.5):
        run(dumps, [20], task_relevant_scope="layer", **given)


def test_a_set_of_all_neurons_has_no_phi():
    (point,) = run(uninformative(20, samples=20), [10], splits=1, neurons=20)
    assert (point.jaccard, point.phi, point.noise_phi) == ([1.0], [None], [None])


def test_what_only_one_half_shows_is_not_held_out():
    """In the first half of the samples neuron 0 tells the domain, in the second it does not; neuron 1 does in both."""
    samples, n = 40, 20
    rng = np.random.default_rng(0)
    dumps = {}
    for i, domain in enumerate(("it", "law")):
        own = rng.random((1, samples, 50)).astype(np.float16)
        rows = order(samples, 0, 0, i)
        own[0, rows[:n], 0] += 5 * i
        own[0, :, 1] += 5 * i
        dumps[domain] = own
    (point,) = run(dumps, [n], splits=1, neurons=2, bins=2)
    # the first half selects {0, 1}, of which 1 tells log 2 in the other half; the second {1, another}: the same. Noise
    # takes a little off
    assert point.held_out[0] == approx(math.log(2) / 2, abs=0.06)
    (alone,) = run(dumps, [n], splits=1, neurons=1, bins=2)  # equal scores go to neuron 0; the other half takes 1
    assert alone.held_out[0] == approx(math.log(2) / 2, abs=0.06)


def test_the_result_depends_on_the_seed_alone(tmp_path, monkeypatch):
    dumps = scores()
    expected = run(dumps, [7, 20], task_relevant=0.6)
    assert run(dumps, [7, 20], task_relevant=0.6) == expected
    assert run(dict(reversed(dumps.items())), [20, 7, 7], task_relevant=0.6, threads=3) == expected
    assert run(dumps, [7, 20], task_relevant=0.6, seed=1) != expected
    for domain, dump in dumps.items():
        np.save(tmp_path / f"{domain}.npy", dump)
    tiles_of(1, monkeypatch)
    read = {domain: DumpReader(tmp_path / f"{domain}.npy") for domain in dumps}
    assert run(read, [7, 20], task_relevant=0.6) == expected


def test_a_size_has_the_same_point_whatever_other_sizes_there_are():
    assert run(scores(), [7]) == run(scores(), [7, 13, 20])[:1]


def test_progress_counts_every_neuron_once_per_split(monkeypatch):
    tiles_of(11, monkeypatch)
    seen = []
    run(scores(), [7], splits=2, progress=seen.append)
    assert seen == [11, 11, 8] * LAYERS * 2


WRONG = [
    ({}, {"sizes": [20, 21]}, ["it", 40, 21, 42]),
    ({}, {"sizes": []}, ["sizes []"]),
    ({}, {"sizes": [0]}, ["sizes [0]"]),
    ({}, {"sizes": [5], "splits": 0}, ["splits 0"]),
    ({}, {"sizes": [5], "neurons": 0}, ["neurons 0"]),
    ({}, {"sizes": [5], "bins": 1}, ["bins", 1]),
    ({"law": np.ones((2, 44, 29), np.float16)}, {"sizes": [5]}, ["'law': (2, 29)", "'it': (2, 30)"]),
    ({"law": np.ones((3, 44, 30), np.float16)}, {"sizes": [5]}, ["'law': (3, 30)", "'it': (2, 30)"]),
    ({"law": np.full((2, 44, 30), np.inf, np.float16)}, {"sizes": [5]}, ["inf"]),
]


@pytest.mark.parametrize(("other", "arguments", "facts"), WRONG, ids=[str(facts[0]) for _, _, facts in WRONG])
def test_what_cannot_be_is_refused(other, arguments, facts):
    with refused(*facts):
        run(scores() | other, **arguments)


def test_strata_take_away_what_the_length_alone_tells(selected_from):
    rng = np.random.default_rng(0)
    lengths = {"it": rng.integers(1, 50, 200), "law": rng.integers(25, 75, 200)}
    dumps = {d: (own[:, None] + rng.random((1, 200, 100))).astype(np.float16) for d, own in lengths.items()}
    above_noise = {}
    for strata in (1, 50):
        run(dumps, [100], splits=1, length_strata=strata, lengths=lengths)
        half, _, noise, _ = (table["consensus"].mean() for table in selected_from[-4:])
        above_noise[strata] = half - noise
    assert above_noise[1] > 0.15
    assert abs(above_noise[50]) < 0.03


def test_domains_that_do_not_belong_together_are_refused():
    dumps = scores()
    with refused("['it']"):
        run({"it": dumps["it"]}, [5])


def information_of(dumps, consensus):
    """The information of all samples, as far as selection needs it: the given consensus, and the dumps' means."""
    layer, neuron = np.divmod(np.arange(LAYERS * WIDTH), WIDTH)
    means = {f"importance_{d}": dump.astype(float).mean(axis=1).ravel() / SCALES[d] for d, dump in dumps.items()}
    return pd.DataFrame({"layer": layer, "neuron": neuron, "consensus": consensus, **means})


BUDGETS = [
    ({"fraction": 0.1}, 6),  # of 60 neurons
    ({"gamma": 0.45}, 15),  # the values are 0, 0.01, ... 0.59
    ({"gamma": "null"}, 10),
    ({"fraction": 0.1, "task_relevant": 0.6}, 6),
    ({"parameters": 3 * 16 * 8 - 1}, 7),  # less than eight neurons at hidden size 16
    ({"fraction": 0.2, "per_layer": 7}, 12),
]


@pytest.mark.parametrize("strata", [1, 3])
@pytest.mark.parametrize(("budget", "neurons"), BUDGETS, ids=str)
def test_what_is_left_says_all_that_a_reader_needs(budget, neurons, strata):
    dumps, consensus = scores(), np.arange(60) / 100
    settings = settings_of(seed=5, length_strata=strata, **budget)
    table, about = information_of(dumps, consensus), {"null": {"quantile": 0.5}, "hidden_size": 16}
    found = measure(dump_set(dumps, LENGTHS), table, about, settings)
    more = {name: budget.get(name) for name in ("per_layer", "task_relevant")}
    expected = run_all(dumps, [20], 2, neurons, LENGTHS, seed=5, length_strata=strata, **more)
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert found["points"] == [vars(point) for point in expected]
    assert (found["neurons"], found["neurons_of_the_model"]) == (neurons, 60)
    assert found["samples"] == {"it": 40, "koran": 50, "law": 44} and found["domains"] == ["it", "koran", "law"]
    assert StabilitySettings(**found["settings"]) == settings
    assert all(name in found["meaning"] for name in ("phi", "held_out", "scope", "criterion", "samples", "candidates"))


def test_gamma_is_counted_among_the_task_relevant_neurons():
    dumps, consensus = scores(), np.arange(60) / 100
    table = information_of(dumps, consensus)
    ranks = [sorted(table[f"importance_{d}"], reverse=True)[35] for d in SCALES]
    relevant = [all(row[f"importance_{d}"] >= r for d, r in zip(SCALES, ranks, strict=True)) for row in rows(table)]
    wanted = sum(keep and mi >= 0.3 for keep, mi in zip(relevant, consensus, strict=True))
    assert 0 < wanted < sum(consensus >= 0.3)
    settings = settings_of(splits=1, gamma=0.3, task_relevant=0.6, budget_task_relevant=0.6)
    assert measure(dump_set(dumps), table, {"null": {"quantile": 0.5}}, settings)["neurons"] == wanted


def rows(table):
    return table.to_dict("records")


def test_sizes_by_hand():
    assert sizes(800) == [25, 50, 100, 200, 400]
    assert sizes(10_000) == [25, 50, 100, 200, 400, 800, 1600, 3200, 5000]
    assert sizes(60) == [30]
    assert sizes(76) == [25, 38]  # 38 is slightly more than 1.5 times 25
    assert sizes(74) == [37]
    assert sizes(1000) == [25, 50, 100, 200, 500]  # 400 is within a factor of 1.5 of 500
    assert sizes(20) == [10] and sizes(3) == [1]
    assert sizes(100, smallest=10) == [10, 20, 50]
    with refused(1, "samples"):
        sizes(1)


def point(samples, jaccard, noise=0.05):
    """A point with the given means, whose splits differ."""
    of_noise = {f"noise_{name}": [0.0] * 2 for name in ("phi", "correlation", "held_out")}
    lists = of_noise | {name.removeprefix("noise_"): values for name, values in of_noise.items()}
    lists |= {"jaccard": [jaccard - 0.02, jaccard + 0.02], "noise_jaccard": [noise - 0.01, noise + 0.01]}
    return Point("caneft", "off", samples, 10, 50.0, **lists)


def test_flat_by_hand():
    rising = [point(25, 0.2), point(50, 0.5), point(100, 0.7), point(200, 0.74), point(400, 0.75)]
    assert flat(rising, gain=0.05) == 200
    assert flat(rising[::-1], gain=0.05) == 200
    assert flat(rising, gain=0.25) == 100
    assert flat(rising, gain=0.02) == 400
    assert flat(rising, gain=0.005) is None
    noise = [point(25, 0.06), point(50, 0.07), point(100, 0.09), point(200, 0.3), point(400, 0.31)]
    assert flat(noise, gain=0.05) == 400, "a curve that lies flat on the noise is not flat yet"
    near = [point(25, 0.10), point(50, 0.12, noise=0.08)]
    assert flat(near, gain=0.035) == 50 and flat(near, gain=0.045) is None, "0.12 lies 0.04 above noise"
    assert flat([point(25, 0.7), point(51, 0.7)], gain=0.05) is None, "51 has no point of exactly half"
    assert flat([point(25, 0.7), point(50, 0.6)], gain=0.05) == 50, "a fall is no rise"
    assert flat([point(25, 0.9)], gain=0.05) is None and flat([], gain=0.05) is None
