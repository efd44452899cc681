"""The benchmark of mutual information: its naive loops compute what the package does; it reports what it promises."""

import json

import numpy as np
import pytest
from pytest import approx
from sklearn.metrics import mutual_info_score

from benchmarks import information as benchmark
from caneft.selection import counting, information, information_table
from tests.messages import refused

KEYS = ("mi_vs_joint_loop", "mi_vs_ovr_loop")


@pytest.fixture
def paths(tmp_path):
    return benchmark.generate(tmp_path, 62, 150, 3)  # 61 is no multiple of 10: no edge is a score except by rounding


def test_the_naive_loops_compute_what_the_package_does(paths):
    by_domain, over_all = benchmark.ours(paths, 2)
    scores, labels = benchmark.load(paths)
    assert scores.shape == (62, 150) and np.bincount(labels).tolist() == [21, 21, 20]
    everything = range(150)
    assert np.array(benchmark.joint_loop(scores, labels, everything)) == approx(over_all, abs=1e-12)
    assert np.array(benchmark.ovr_loop(scores, labels, everything)) == approx(by_domain, abs=1e-12)
    assert (by_domain.shape, over_all.shape) == ((150, 3), (150,))


def test_the_naive_loops_are_what_they_are_called(paths):
    scores, labels = benchmark.load(paths)
    neuron = next(n for n in range(150) if len(set(scores[:, n].tolist())) == 62)  # without ties
    ranks = scores[:, neuron].argsort().argsort()
    bins = [sum(rank >= 61 * j / 10 for j in range(1, 10)) for rank in ranks]
    assert benchmark.joint_loop(scores, labels, [neuron]) == approx([mutual_info_score(labels, bins)])
    expected = [mutual_info_score([label == domain for label in labels], bins) for domain in range(3)]
    assert benchmark.ovr_loop(scores, labels, [neuron])[0] == approx(expected)


def test_numbers_that_differ_are_an_error(paths, monkeypatch):
    benchmark.one_round(paths, [0, 149], 1)
    real = information.joint
    monkeypatch.setattr(information, "joint", lambda counts: real(counts) + 1e-9)
    with refused("joint"):
        benchmark.one_round(paths, [0, 149], 1)


def test_made_up_scores_look_like_scores(tmp_path):
    paths = benchmark.generate(tmp_path, 2000, 200, 4)
    scores, _ = benchmark.load(paths)
    assert scores.dtype == np.float16 and np.isfinite(scores).all() and (scores > 0).all()
    counts = counting.contingency([np.load(path)[0] for path in paths])
    null = information.permutation_null([counts], 20, np.random.default_rng(0))[1]
    above = information.joint(counts) > np.quantile(null, 0.99)
    assert 0.15 < above.mean() < 0.85  # only the neurons that differ by domain


def test_the_large_set_takes_no_room_and_is_measured_as_the_step_does(tmp_path):
    paths = benchmark.sparse(tmp_path, 0.002, 2, 50, 4)
    sizes = [path.stat() for path in paths]
    assert sum(size.st_size for size in sizes) == approx(0.002e9, rel=0.01)
    assert sum(512 * size.st_blocks for size in sizes) < 1e5
    table, _ = information_table.measure(paths, benchmark.SETTINGS, tmp_path / "manifest.json")
    assert len(table) == 10_000


@pytest.mark.slow
def test_a_process_of_its_own_measures_the_large_set(tmp_path):
    benchmark.sparse(tmp_path, 0.002, 2, 50, 4)
    found = benchmark.measured_apart(tmp_path, 1)
    assert found["large_set_neurons"] == 10_000
    assert 50 < found["mi_peak_mb"] < 1000


@pytest.mark.slow
def test_main_prints_its_ratios_in_one_json_object(tmp_path, capsys):
    small = ["--samples", "42", "--neurons", "130", "--domains", "2", "--reference-neurons", "3", "--rounds", "1"]
    memory = ["--memory-gb", "0.0005", "--memory-samples", "20", "--threads", "2", "--folder", str(tmp_path)]
    benchmark.main([*small, *memory])
    *lines, last = capsys.readouterr().out.splitlines()
    result = json.loads(last)
    assert all(result[key + end] > 0 for key in KEYS for end in ("", "_threads")) and result["mi_peak_mb"] > 50
    asked = {"samples": 42, "neurons": 130, "domains": 2, "threads": 2, "reference_neurons": 3}
    assert asked.items() <= result.items()
    seconds = result["seconds"]
    for key, loop in zip(KEYS, ("joint_loop", "ovr_loop"), strict=True):
        assert result[key] == approx(seconds[loop] / seconds["ours"])
        assert result[f"{key}_threads"] == approx(seconds[loop] / seconds["ours_threads"])
    assert lines[2].startswith("| |") and len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert {path.name for path in tmp_path.glob("*.npy")} == {"domain0.npy", "domain1.npy"}


def test_loops_are_scaled_to_all_neurons_and_reading_is_not():
    second = benchmark.Seconds(1.0, 0.5)
    assert second + second * 4 == benchmark.Seconds(5.0, 2.5)


def test_ratios_are_of_the_least_times_of_all_rounds():
    """Joint loop: 70, 10, 20 s. Ours: 4, 3, 2 s, on threads half of it. So the ratios are 10 / 2 and 10 / 1."""
    second = benchmark.Seconds(1.0, 0.5)
    rounds = [
        {"ours": second * n, "ours_threads": second * (n / 2), "joint_loop": second * m, "ovr_loop": second * (3 * m)}
        for n, m in ((4, 70), (3, 10), (2, 20))
    ]
    assert benchmark.ratios(rounds) == {
        "mi_vs_joint_loop": 5,
        "mi_vs_ovr_loop": 15,
        "mi_vs_joint_loop_threads": 10,
        "mi_vs_ovr_loop_threads": 30,
        "cpu_time": {"mi_vs_joint_loop": 5, "mi_vs_ovr_loop": 15},
    }
