"""Bins compared with exact fractions, mutual information with sklearn, and the null with all permutations."""

import functools
import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytest import approx
from sklearn.metrics import mutual_info_score

from caneft.errors import InputError
from caneft.importance.dumps import DumpReader
from caneft.selection import counting, information
from caneft.selection.counting import contingency, quantile_bins
from caneft.selection.information import (
    NULL_ERROR_RATES,
    conditional_on_strata,
    consensus,
    joint,
    length_strata,
    mutual_information,
    null_quantile,
    one_vs_rest,
    permutation_null,
    sample_information,
    table,
)
from tests.messages import refused

KINDS = {
    "random": lambda rng, shape: rng.random(shape),
    "tied": lambda rng, shape: rng.integers(0, 4, shape),
    "constant": lambda rng, shape: np.full(shape, 0.5),
    "skewed": lambda rng, shape: np.minimum(rng.lognormal(-5, 4, shape), 60000),
    "mostly zero": lambda rng, shape: rng.random(shape) * (rng.random(shape) < 0.2),
}


@st.composite
def scores_by_domain(draw, least=1, most=5, neurons=3):
    """float16 scores (samples, neurons) of domains of unequal size; the first differs from the others."""
    sizes = draw(st.lists(st.integers(1, 60), min_size=least, max_size=most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    parts = [kind(rng, (size, neurons)) for size in sizes]
    parts[0] = parts[0] * draw(st.sampled_from([0, 0.5, 1]))
    return [part.astype(np.float16) for part in parts]


def naive_bins(scores, bins):
    """How many interpolated quantiles are at or below each score, in exact arithmetic."""
    ordered = sorted(Fraction(float(x)) for x in scores)
    edges = []
    for j in range(1, bins):
        place = Fraction(j, bins) * (len(ordered) - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        edges.append(low + (high - low) * (place - math.floor(place)))
    return [sum(Fraction(float(x)) >= edge for edge in edges) for x in scores]


def sklearn_mutual_informations(scores, neuron, bins):
    """(one-vs-rest of each domain, joint) of one neuron."""
    binned = naive_bins(np.concatenate([part[:, neuron] for part in scores]), bins)
    labels = np.repeat(np.arange(len(scores)), [len(part) for part in scores])
    return [mutual_info_score(binned, labels == d) for d in range(len(scores))], mutual_info_score(binned, labels)


@settings(deadline=None)
@given(
    scores=arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        st.tuples(st.integers(1, 3), st.integers(1, 40)),
        elements=st.one_of(st.sampled_from([0.0, -0.0, 0.5, 1.0]), st.floats(0, 60000, width=16)),
    ),
    bins=st.integers(2, 12),
)
def test_bins_equal_the_definition_in_exact_arithmetic(scores, bins):
    assert quantile_bins(scores, bins).tolist() == [naive_bins(row, bins) for row in scores]


def test_256_bins_fit_their_type():
    result = quantile_bins(np.arange(1000.0), 256)
    assert result.dtype == np.uint8
    assert result.tolist() == naive_bins(np.arange(1000), 256)


@settings(deadline=None)
@given(scores=scores_by_domain(), bins=st.integers(2, 12))
def test_contingency_counts_bins_in_domains(scores, bins):
    counts = contingency(scores, bins)
    assert counts.shape == (3, bins, len(scores))
    for neuron in range(3):
        binned = naive_bins(np.concatenate([part[:, neuron] for part in scores]), bins)
        labels = np.repeat(np.arange(len(scores)), [len(part) for part in scores])
        expected = np.zeros((bins, len(scores)), int)
        np.add.at(expected, (binned, labels), 1)
        assert np.array_equal(counts[neuron], expected)


@pytest.mark.parametrize("sizes", [(2039, 2040, 2041), (5000, 9, 300)], ids=str)
def test_contingency_counts_thousands(sizes):
    rng = np.random.default_rng(0)
    scores = [rng.integers(0, 500, (size, 70)).astype(np.float16) for size in sizes]
    scores[0][:, 3] = 499  # the highest score: above every edge
    counts = contingency(scores)
    labels = np.repeat(np.arange(3), sizes)
    for neuron in (0, 3, 64, 69):
        pooled = np.concatenate([part[:, neuron] for part in scores]).astype(float)
        binned = np.digitize(pooled, np.quantile(pooled, np.arange(1, 10) / 10).round(6))
        assert np.array_equal(counts[neuron], np.histogram2d(binned, labels, (range(11), range(4)))[0])
    assert counts.sum(axis=1).tolist() == [list(sizes)] * 70


def test_neither_threads_nor_the_sort_change_the_counts(monkeypatch):
    rng = np.random.default_rng(0)
    scores = [rng.lognormal(0, 1, (size, 200)).astype(np.float16) for size in (40, 33)]
    expected = contingency(scores)
    assert np.array_equal(contingency(scores, threads=3), expected)
    for kind in ("stable", "quicksort"):
        monkeypatch.setattr(counting, "_sort_kind", lambda kind=kind: kind)
        assert np.array_equal(contingency(scores), expected)


def test_an_error_of_a_thread_is_raised():
    scores = np.ones((5, 200), np.float16)
    scores[2, 150] = -1
    with refused("-1"):
        contingency([np.ones((4, 200), np.float16), scores], threads=3)


@settings(max_examples=40, deadline=None)
@given(scores=scores_by_domain(), bins=st.integers(2, 12))
def test_mutual_information_equals_sklearn(scores, bins):
    counts = contingency(scores, bins)
    for neuron in range(3):
        by_domain, over_all = sklearn_mutual_informations(scores, neuron, bins)
        assert one_vs_rest(counts)[neuron] == approx(np.array(by_domain), abs=1e-12)
        assert consensus(counts)[neuron] == approx(min(by_domain), abs=1e-12)
        assert joint(counts)[neuron] == approx(over_all, abs=1e-12)


@settings(deadline=None)
@given(counts=arrays(np.int64, (2, 5, 3), elements=st.integers(0, 10**6)).filter(lambda c: (c.sum((1, 2)) > 0).all()))
def test_mutual_information_of_large_counts_equals_sklearn(counts):
    expected = [mutual_info_score(None, None, contingency=one) for one in counts]
    assert mutual_information(counts) == approx(np.array(expected), abs=1e-12)


@settings(deadline=None)
@given(
    line=arrays(np.int64, 9, elements=st.integers(0, 10**6)).filter(lambda line: line.sum() > 0), columns=st.booleans()
)
def test_a_single_line_has_exactly_no_information(line, columns):
    counts = np.zeros((9, 4), np.int64)
    counts[:, 2] = line
    assert mutual_information(counts if columns else counts.T) == 0


@settings(deadline=None)
@given(scores=scores_by_domain(least=2, most=2))
def test_two_domains_have_one_information(scores):
    counts = contingency(scores)
    assert np.array_equal(consensus(counts), joint(counts))


def test_a_domain_that_a_neuron_singles_out_has_all_the_information():
    scores = [np.full((50, 1), value, np.float16) for value in (1, 2, 3, 4)]
    counts = contingency(scores, bins=4)
    assert joint(counts) == approx(math.log(4))
    assert consensus(counts) == approx(math.log(4) - 0.75 * math.log(3))


@pytest.mark.parametrize("counts", [np.zeros((3, 2), int), np.array([[3, -1], [1, 1]])])
def test_an_empty_or_negative_table_is_refused(counts):
    for measure in (mutual_information, one_vs_rest):
        with pytest.raises(InputError):
            measure(counts)


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf, -np.inf, -6e-8])
@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_a_score_that_cannot_be_is_refused(bad, dtype):
    scores = np.ones((5, 2), dtype)
    scores[3, 1] = bad
    with refused(float(scores[3, 1])):
        contingency([np.ones((4, 2), dtype), scores])
    with refused(float(scores[3, 1]), "(3, 1)"):
        quantile_bins(scores)


@pytest.mark.parametrize("bins", [1, 257])
def test_a_number_of_bins_that_cannot_be_is_refused(bins):
    with refused(bins, 2, 256):
        quantile_bins(np.ones(5), bins)


def test_domains_of_different_width_are_refused():
    with refused("[2, 3]"):
        contingency([np.ones((4, 2)), np.ones((4, 3))])


STRATA = [  # (bins, labels) of the samples: tied bins, unequal domains
    [((0, 0, 0, 1, 1, 2, 2), (0, 0, 1, 1, 1, 2, 2))],
    [((0, 0, 1, 1, 2), (0, 1, 1, 2, 2)), ((0, 1, 1, 2), (0, 0, 1, 2))],
]


@pytest.mark.parametrize("strata", STRATA, ids=["one stratum", "two strata"])
def test_the_null_has_the_distribution_of_all_permutations(strata):
    """Enumerates all ways to shuffle labels within strata; the minimum is taken after the sum over strata."""
    total, expected = sum(len(labels) for _, labels in strata), Counter()

    @functools.cache
    def share(binned, inside):
        return len(binned) / total * mutual_info_score(binned, inside)

    def parts(binned, labels):
        """What each distinct order of a stratum's labels adds to the domains' information."""
        for order in set(itertools.permutations(labels)):
            yield [share(binned, tuple(label == d for label in order)) for d in range(3)]

    for chosen in itertools.product(*(list(parts(*stratum)) for stratum in strata)):
        by_domain = [sum(of_domain) for of_domain in zip(*chosen, strict=True)]
        expected[round(min(by_domain), 9)] += 1  # each distinct order is equally likely
    tables = [np.zeros((1, 3, 3), int) for _ in strata]
    for counts, pair in zip(tables, strata, strict=True):
        np.add.at(counts[0], pair, 1)
    draws, joint_draws = permutation_null(tables, 40000, np.random.default_rng(0))
    seen = Counter(np.round(draws[:, 0], 9).tolist())
    assert set(seen) == set(expected)
    for value, count in expected.items():
        probability = count / expected.total()
        assert seen[value] / 40000 == approx(probability, abs=5 * math.sqrt(probability / 40000))
    assert (joint_draws >= draws - 1e-12).all()


def test_a_shuffle_keeps_the_margins_and_each_neuron_has_its_own():
    counts = contingency([np.random.default_rng(d).random((size, 30)) for d, size in enumerate((40, 33, 60))])
    shuffled = information.shuffled(counts, np.random.default_rng(0))
    assert shuffled.shape == counts.shape and (shuffled >= 0).all()
    for axis in (1, 2):
        assert np.array_equal(shuffled.sum(axis=axis), counts.sum(axis=axis))
    assert len({table.tobytes() for table in shuffled}) == 30


def test_the_null_has_the_known_bias():
    rng = np.random.default_rng(1)
    counts = contingency([rng.random((800, 200)).astype(np.float16) for _ in range(4)])
    null_consensus, null_joint = permutation_null([counts], 5, rng)
    assert null_joint.shape == null_consensus.shape == (5, 200)
    assert null_joint.mean() == approx(9 * 3 / 6400, rel=0.05)
    assert one_vs_rest(counts).mean() == approx(9 / 6400, rel=0.05)
    assert np.median(null_consensus) == approx(0.0008, rel=0.1)
    two = contingency([rng.random((800, 200)).astype(np.float16) for _ in range(2)])
    assert permutation_null([two], 5, rng)[0].mean() == approx(9 / 3200, rel=0.05)


def make_inputs(seed=0, sizes=(30, 41, 30), layers=2, width=11):
    rng = np.random.default_rng(seed)
    domains = ["law", "it", "koran"]
    dumps = {
        d: (rng.lognormal(0, 1, (layers, size, width)) * (1 + i * rng.random(width))).astype(np.float16)
        for i, (d, size) in enumerate(zip(domains, sizes, strict=True))
    }
    stats = {d: {name: rng.random((layers, width)) for name in ("activation", "gradient", "positive")} for d in domains}
    return dumps, stats, {"law": 1024.0, "it": 1024.0, "koran": 512.0}


def set_tiles(monkeypatch, blocks_per_tile=2):
    """Sets blocks of three neurons, and this many blocks per tile."""
    monkeypatch.setattr(counting, "BLOCK", 3)
    monkeypatch.setattr(information, "TILE_BYTES", int(blocks_per_tile * 3 * 2 * (30 + 41 + 30)))


def test_the_table_equals_loops_across_tiles(tmp_path, monkeypatch):
    set_tiles(monkeypatch)
    dumps, stats, scales = make_inputs()
    for domain in ("law", "it"):
        np.save(tmp_path / f"{domain}.npy", dumps[domain])
    law, it = np.load(tmp_path / "law.npy", mmap_mode="r"), DumpReader(tmp_path / "it.npy")
    frame, _ = table(dumps | {"law": law, "it": it}, stats, 10, 3, 0, scales)
    names = ("importance", "activation", "gradient", "positive", "mi")
    expected = ["layer", "neuron"] + [f"{name}_{d}" for name in names for d in ("it", "koran", "law")]
    assert list(frame.columns) == expected + ["consensus", "joint", "null_consensus", "null_joint"]
    assert frame["layer"].tolist() == [0] * 11 + [1] * 11
    assert frame["neuron"].tolist() == list(range(11)) * 2
    for row in frame.itertuples():
        ordered = [dumps[d][row.layer] for d in ("it", "koran", "law")]
        by_domain, over_all = sklearn_mutual_informations(ordered, row.neuron, 10)
        assert [row.mi_it, row.mi_koran, row.mi_law, row.joint] == approx([*by_domain, over_all], abs=1e-12)
        assert row.consensus == approx(min(by_domain), abs=1e-12)
        for ours, d in zip((row.importance_it, row.importance_koran, row.importance_law), sorted(dumps), strict=True):
            values = [float(x) for x in dumps[d][row.layer, :, row.neuron]]
            assert ours == approx(math.fsum(values) / len(values) / scales[d], rel=1e-12, abs=0)
        for name in ("activation", "gradient", "positive"):
            assert getattr(row, f"{name}_it") == stats["it"][name][row.layer, row.neuron]
        assert 0 < row.null_consensus <= row.null_joint


def test_the_table_is_the_same_for_the_same_seed():
    first, null = table(*make_inputs()[:2], 10, 2, 5, make_inputs()[2])
    again, null_again = table(*make_inputs()[:2], 10, 2, 5, make_inputs()[2])
    other, _ = table(*make_inputs()[:2], 10, 2, 6, make_inputs()[2])
    assert first.equals(again) and np.array_equal(null, null_again)
    assert not first["null_consensus"].equals(other["null_consensus"])
    assert first["consensus"].equals(other["consensus"])


def test_neither_tiles_nor_threads_change_the_table(monkeypatch):
    found = []
    for blocks, threads in ((1, 1), (2, 1), (2, 3), (99, 2)):
        set_tiles(monkeypatch, blocks)
        dumps, stats, scales = make_inputs()
        found.append(table(dumps, stats, 10, 4, 7, scales, threads=threads))
    assert all(frame.equals(found[0][0]) and np.array_equal(null, found[0][1]) for frame, null in found)


def test_layers_and_blocks_have_their_own_shuffles(monkeypatch):
    set_tiles(monkeypatch)
    dumps, stats, scales = make_inputs(width=6)
    alike = {domain: np.tile(dump[:1, :, :3], (2, 1, 2)) for domain, dump in dumps.items()}
    frame, _ = table(alike, stats, 10, 20, 0, scales)
    blocks = frame["null_joint"].to_numpy().reshape(4, 3)
    assert len({block.tobytes() for block in blocks}) == 4
    assert len({block.tobytes() for block in frame["joint"].to_numpy().reshape(4, 3)}) == 1


class Watched:
    """A dump that records the size of each piece that is read from it."""

    def __init__(self, array):
        self.array, self.shape, self.pieces = array, array.shape, []

    def __getitem__(self, key):
        self.pieces.append(self.array[key].nbytes)
        return self.array[key]


@pytest.mark.parametrize(("blocks", "tiles"), [(0, 4), (1, 4), (2, 2), (3.9, 2), (4, 1)])
def test_what_is_read_at_once_stays_below_the_limit(monkeypatch, blocks, tiles):
    set_tiles(monkeypatch, blocks)
    dumps, stats, scales = make_inputs(layers=1, width=12)
    watched = {domain: Watched(dump) for domain, dump in dumps.items()}
    table(watched, stats, 10, 1, 0, scales)
    at_once = [sum(pieces) for pieces in zip(*(dump.pieces for dump in watched.values()), strict=True)]
    assert len(at_once) == tiles and sum(at_once) == sum(dump.nbytes for dump in dumps.values())
    assert max(at_once) <= max(information.TILE_BYTES, 3 * 2 * (30 + 41 + 30))


def test_progress_is_told_by_tiles(monkeypatch):
    set_tiles(monkeypatch)
    seen = []
    frame, _ = table(*make_inputs()[:2], 10, 1, 0, make_inputs()[2], progress=lambda tiles: seen.extend(tiles) or tiles)
    assert seen == [(0, 0), (0, 6), (1, 0), (1, 6)] and len(frame) == 22


def test_null_quantiles_are_exceeded_at_the_stated_rate():
    rng = np.random.default_rng(2)
    dumps = {d: rng.random((1, 400, 500)).astype(np.float16) for d in "abc"}
    stats = {d: dict.fromkeys(("activation", "gradient", "positive"), np.zeros((1, 500))) for d in "abc"}
    frame, quantiles = table(dumps, stats, 10, 20, 0, dict.fromkeys("abc", 1.0))
    assert quantiles.shape == NULL_ERROR_RATES.shape == (1001,)
    assert (np.diff(quantiles) >= 0).all()
    assert quantiles[0] <= frame["null_consensus"].min() and quantiles[-1] >= frame["null_consensus"].max()
    draws, _ = permutation_null([contingency([dump[0] for dump in dumps.values()])], 20, rng)
    for rate in (0.5, 0.05, 0.01):
        threshold = null_quantile(quantiles, rate)
        assert (draws > threshold).mean() == approx(rate, rel=0.3)
        assert (frame["consensus"] > threshold).mean() == approx(rate, abs=0.07)
    with refused(1e-6):
        null_quantile(quantiles, 1e-6)


def test_the_table_names_the_dump_that_is_broken():
    dumps, stats, scales = make_inputs()
    dumps["koran"][1, 7, 9] = np.inf
    with refused("koran", "layer 1", "sample 7", "neuron 9", "inf", "scale_exponent"):
        table(dumps, stats, 10, 1, 0, scales)


def test_the_table_refuses_what_does_not_belong_together():
    dumps, stats, scales = make_inputs()
    with refused("['it']"):
        table({"it": dumps["it"]}, stats, 10, 1, 0, scales)
    with refused("['it', 'koran', 'law']", "['it']"):
        table(dumps, {"it": stats["it"]}, 10, 1, 0, scales)
    with refused("(2, 5)", "(2, 11)"):
        table({**dumps, "it": dumps["it"][:, :, :5]}, stats, 10, 1, 0, scales)
    with refused("'it': ['activation']", "'law': ['activation', 'gradient', 'positive']"):
        table(dumps, stats | {"it": {"activation": stats["it"]["activation"]}}, 10, 1, 0, scales)
    with refused("strata"):
        table(dumps, stats, 10, 1, 0, scales, {d: np.zeros(30, int) for d in dumps})
    with refused("null_permutations"):
        table(dumps, stats, 10, 0, 0, scales)


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.fixed_dictionaries(
        {d: st.lists(st.integers(1, 30), min_size=1, max_size=50) for d in ("law", "it", "a")}
    )
)
def test_information_of_samples_equals_sklearn(lengths):
    ours = sample_information(lengths, 10)
    parts = [np.array(lengths[d])[:, None] for d in ("a", "it", "law")]
    by_domain, over_all = sklearn_mutual_informations(parts, 0, 10)
    assert list(ours["domains"]) == ["a", "it", "law"]
    assert list(ours["domains"].values()) == approx(by_domain, abs=1e-12)
    assert (ours["joint"], ours["consensus"]) == approx((over_all, min(by_domain)), abs=1e-12)


def sklearn_given_strata(scores, strata, neuron, bins):
    """(one-vs-rest of each domain, joint) of one neuron: sums over strata of N_s / N times sklearn's."""
    found = []
    for stratum in sorted(set(np.concatenate(strata).tolist())):
        inside = [part[of == stratum] for part, of in zip(scores, strata, strict=True)]
        share = sum(map(len, inside)) / sum(map(len, scores))
        by_domain, over_all = sklearn_mutual_informations(inside, neuron, bins)
        found.append([share * mi for mi in (*by_domain, over_all)])
    *by_domain, over_all = (sum(of_strata) for of_strata in zip(*found, strict=True))
    return by_domain, over_all


@settings(max_examples=12, deadline=None)
@given(data=st.data(), bins=st.integers(2, 6))
def test_the_table_given_strata_equals_sklearn_in_each(data, bins):
    """The strata are arbitrary: some have a single sample, some lack a domain."""
    scores = dict(zip("abc", data.draw(scores_by_domain(least=3, most=3)), strict=True))
    strata = {
        d: np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
        for d, n in ((d, len(part)) for d, part in scores.items())
    }
    stats = {d: {"activation": np.zeros((1, 3))} for d in scores}
    dumps = {d: part[None] for d, part in scores.items()}
    frame, null = table(dumps, stats, bins, 2, 0, dict.fromkeys(scores, 1.0), strata)
    for neuron, row in frame.iterrows():
        by_domain, over_all = sklearn_given_strata(list(scores.values()), list(strata.values()), neuron, bins)
        assert row[["mi_a", "mi_b", "mi_c"]].tolist() == approx(by_domain, abs=1e-12)
        assert (row["consensus"], row["joint"]) == approx((min(by_domain), over_all), abs=1e-12)
        assert -1e-12 <= row["null_consensus"] <= row["null_joint"] + 1e-12
        assert null[0] <= row["null_consensus"] + 1e-12


def test_one_stratum_changes_nothing():
    dumps, stats, scales = make_inputs()
    plain, null = table(dumps, stats, 10, 3, 0, scales)
    one = {d: np.full(dump.shape[1], 5) for d, dump in dumps.items()}
    same, same_null = table(dumps, stats, 10, 3, 0, scales, one)
    assert plain.equals(same) and np.array_equal(null, same_null)
    counts = contingency([dump[0] for dump in dumps.values()])
    assert np.array_equal(conditional_on_strata(one_vs_rest, [counts]), one_vs_rest(counts))
    assert np.array_equal(conditional_on_strata(joint, [counts]), joint(counts))


def test_what_length_alone_tells_vanishes_given_its_strata():
    rng = np.random.default_rng(0)
    lengths = {d: rng.integers(5, 30 + 15 * i, 600) for i, d in enumerate("abc")}
    alone = {d: np.log(length)[None, :, None] for d, length in lengths.items()}
    both = {d: np.concatenate([score, 1 + (d == "a") * rng.random((1, 600, 1))], axis=2) for d, score in alone.items()}
    dumps = {d: score.astype(np.float16) for d, score in both.items()}
    stats = {d: {"activation": np.zeros((1, 2))} for d in dumps}

    def measured(strata):
        strata = strata and length_strata(lengths, strata)
        frame, _ = table(dumps, stats, 10, 20, 0, dict.fromkeys(dumps, 1.0), strata)
        return frame

    plain, stratified, narrow = measured(None), measured(8), measured(60)
    assert plain["joint"][0] == approx(sample_information(lengths, 10)["joint"], abs=1e-12)
    assert plain["joint"][0] > 0.1 and plain["joint"][0] > 10 * plain["null_joint"][0]
    assert stratified["joint"][0] < plain["joint"][0] / 3
    assert narrow["joint"][0] < narrow["null_joint"].mean()  # at most two lengths per stratum
    for frame in (stratified, narrow):  # what comes from the domain itself stays, less what length tells about it, too
        assert frame["joint"][1] > plain["joint"][1] / 2


@settings(deadline=None)
@given(
    lengths=st.fixed_dictionaries({d: st.lists(st.integers(1, 9), min_size=1, max_size=30) for d in ("b", "a")}),
    strata=st.integers(2, 12),
)
def test_strata_are_quantile_bins_of_the_pooled_lengths(lengths, strata):
    found = length_strata(lengths, strata)
    assert list(found) == ["a", "b"]
    assert [*found["a"].tolist(), *found["b"].tolist()] == naive_bins(lengths["a"] + lengths["b"], strata)


def test_minus_zero_counts_as_zero():
    """As bit patterns the two are far apart, on either side of the padding."""
    rng = np.random.default_rng(0)
    plain = [(rng.random((n, 5)) * (rng.random((n, 5)) < 0.6)).astype(np.float16) for n in (31, 40)]
    signed = [np.where((part == 0) & (rng.random(part.shape) < 0.5), np.float16(-0.0), part) for part in plain]
    assert all(np.signbit(part).any() for part in signed)
    assert np.array_equal(contingency(signed), contingency(plain))
    assert np.array_equal(quantile_bins(signed[0].T), quantile_bins(plain[0].T))
