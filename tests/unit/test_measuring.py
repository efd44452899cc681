"""Dumps are opened with suspicion: of one model, of the shape their sidecar says, readable."""

import json
import math

import numpy as np
import pytest
from pytest import approx
from sklearn.metrics import mutual_info_score

from caneft.errors import InputError
from caneft.measuring import measure, open_dump
from caneft.settings import InformationSettings

SETTINGS = InformationSettings(bins=4, null_permutations=3, error_rate=0.05, seed=0)
LAYERS, NEURONS = 2, 5


@pytest.fixture
def dumped(tmp_path):
    """Leaves a dump of seeded scores as the importance step would; returns its path."""

    def write(domain, samples=24, seed=0, weights="abc", exponent=3, shape=None, dtype=np.float16, **sidecar):
        rng = np.random.default_rng(seed)
        path = tmp_path / f"{domain}.npy"
        scores = rng.random((LAYERS, samples, NEURONS))
        np.save(path, scores.astype(dtype))
        names = ("activation", "gradient", "positive")
        np.savez(path.with_suffix(".stats.npz"), **{name: rng.random((LAYERS, NEURONS)) for name in names})
        content = {
            "domain": domain,
            "shape": shape or list(scores.shape),
            "scale_exponent": exponent,
            "model": {"name": "tiny", "weights": {"model.safetensors": weights}},
            "samples": [
                {"id": str(i), "loss": 1.0, "response_tokens": int(rng.integers(3, 30))} for i in range(samples)
            ],
        }
        path.with_suffix(".json").write_text(json.dumps(content | sidecar))
        return path

    return write


def test_a_dump_is_mapped_and_not_read(dumped):
    scores, stats, sidecar = open_dump(dumped("it"))
    assert isinstance(scores, np.memmap) and not scores.flags.writeable
    assert {name: values.shape for name, values in stats.items()} == dict.fromkeys(
        ("activation", "gradient", "positive"), (LAYERS, NEURONS)
    )
    assert sidecar["domain"] == "it"


def test_what_is_measured(dumped):
    paths = [dumped("law", samples=24, seed=1, exponent=5), dumped("it", samples=24, seed=2)]
    table, description = measure(paths, SETTINGS)
    assert len(table) == LAYERS * NEURONS
    assert description["domains"] == ["it", "law"]
    assert description["samples"] == {"it": 24, "law": 24}
    assert description["entropy_of_domain"] == approx(math.log(2))
    for path, exponent in zip(paths, (5, 3), strict=True):
        scale = np.load(path).astype(np.float64).mean(axis=1).ravel() / 2**exponent
        assert table[f"importance_{path.stem}"].to_numpy() == approx(scale, rel=1e-6)
    assert 0 <= description["null"]["quantile"] <= math.log(2)


def test_the_length_confound_is_that_of_the_sidecars(dumped):
    paths = [dumped("it", seed=1), dumped("law", seed=2)]
    lengths = [
        [entry["response_tokens"] for entry in json.loads(path.with_suffix(".json").read_text())["samples"]]
        for path in paths
    ]
    pooled = np.array(lengths[0] + lengths[1], dtype=float)
    edges = [np.quantile(pooled, j / 4) for j in (1, 2, 3)]
    bins = [sum(length >= edge for edge in edges) for length in pooled]
    expected = mutual_info_score(bins, [0] * 24 + [1] * 24)
    assert measure(paths, SETTINGS)[1]["length"]["joint"] == approx(expected, abs=1e-12)


def test_the_order_of_the_dumps_does_not_matter(dumped):
    paths = [dumped("it", seed=1), dumped("law", seed=2), dumped("koran", seed=3)]
    (table, description), (other, same) = measure(paths, SETTINGS), measure(paths[::-1], SETTINGS)
    assert table.equals(other) and description == same


def test_dumps_of_different_models_are_refused_by_name(dumped):
    paths = [dumped("it"), dumped("law"), dumped("koran", weights="def")]
    with pytest.raises(InputError, match=r"it\.npy.*koran\.npy.* are of different models"):
        measure(paths, SETTINGS)


@pytest.mark.parametrize("shape", [[2, 23, 5], [2, 24], [5, 24, 2]], ids=str)
def test_a_shape_that_is_not_the_sidecars_is_refused_by_name(dumped, shape):
    path = dumped("it", shape=shape)
    with pytest.raises(InputError, match=r"it\.npy: holds float16 of shape \(2, 24, 5\), but its sidecar says"):
        measure([path, dumped("law")], SETTINGS)


def test_another_precision_is_refused_by_name(dumped):
    with pytest.raises(InputError, match=r"it\.npy: holds float32"):
        open_dump(dumped("it", dtype=np.float32))


BROKEN = [
    (".npy", b""),
    (".npy", b"text"),
    (".npy", b"PK\x03\x04 no archive"),
    (".npy", None),
    (".stats.npz", b""),
    (".stats.npz", b"PK\x03\x04 no archive"),
    (".stats.npz", None),
    (".json", b"{"),
    (".json", b""),
    (".json", b"{}"),
    (".json", b"[]"),
    (".json", None),
]


@pytest.mark.parametrize("suffix, content", BROKEN, ids=str)
def test_a_broken_file_is_refused_by_name(dumped, suffix, content):
    path = dumped("it")
    broken = path.with_suffix(suffix)
    broken.unlink()
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(InputError, match=r"/it\."):
        measure([path, dumped("law")], SETTINGS)


def test_a_truncated_dump_is_refused_by_name(dumped):
    path = dumped("it")
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"it\.npy"):
        open_dump(path)


def test_statistics_that_lack_one_are_refused_by_name(dumped):
    path = dumped("it")
    np.savez(path.with_suffix(".stats.npz"), activation=np.zeros((LAYERS, NEURONS)))
    with pytest.raises(InputError, match=r"it\.npy.*gradient"):
        open_dump(path)
