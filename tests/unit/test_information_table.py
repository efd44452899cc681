"""Dumps are not trusted: they must be of one model, have the shape in their sidecar, and be readable."""

import json
import math

import numpy as np
import pytest
from pytest import approx
from sklearn.metrics import mutual_info_score

from caneft.importance.dumps import DumpReader
from caneft.plan.settings import InformationSettings
from caneft.selection import counting, information
from caneft.selection.information_table import measure, open_dump
from tests.messages import refused

SETTINGS = InformationSettings(bins=4, null_permutations=3, error_rate=0.05, seed=0)
LAYERS, NEURONS = 2, 5


@pytest.fixture
def dumped(tmp_path):
    """Writes a dump of seeded scores as the importance step would; returns its path."""

    def write(
        domain, samples=24, seed=0, weights="abc", exponent=3, shape=None, dtype=np.float16, model=None, **sidecar
    ):
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
            "model": {"name": "tiny", "id": f"id of {weights}", "weights": {"model.safetensors": weights}}
            | (model or {}),
            "samples": [
                {"id": str(i), "loss": float(rng.gamma(9)), "response_tokens": int(rng.integers(3, 30))}
                for i in range(samples)
            ],
        }
        path.with_suffix(".json").write_text(json.dumps(content | sidecar))
        return path

    return write


def test_opening_a_dump_reads_none_of_its_scores(dumped, monkeypatch):
    path = dumped("it")
    monkeypatch.setattr(DumpReader, "_read", None)
    scores, stats, sidecar = open_dump(path)
    assert isinstance(scores, DumpReader) and scores.shape == (LAYERS, 24, NEURONS)
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
    assert table["null_quantile"].tolist() == [description["null"]["quantile"]] * len(table)
    assert (description["length_strata"], description["samples_by_stratum"]) == (1, None)


def test_the_null_quantile_is_that_of_all_shuffles_at_the_error_rate(dumped):
    paths = [dumped("it", seed=1), dumped("law", seed=2)]
    tables = [counting.contingency([np.load(path)[layer] for path in paths], SETTINGS.bins) for layer in range(LAYERS)]
    rng = np.random.default_rng(0)
    draws = np.concatenate([information.permutation_null([counts], 4000, rng)[0].ravel() for counts in tables])
    many = SETTINGS.model_copy(update={"null_permutations": 4000})
    table, _ = measure(paths, many)
    assert (draws > table["null_quantile"][0]).mean() == approx(0.05, abs=0.005)
    strict, _ = measure(paths, many.model_copy(update={"error_rate": 0.01}))
    assert (draws > strict["null_quantile"][0]).mean() == approx(0.01, abs=0.003)


def test_threads_and_progress_change_nothing(dumped, monkeypatch):
    paths, tiles, threads = [dumped("it", seed=1), dumped("law", seed=2)], [], []
    table, description = measure(paths, SETTINGS)
    each = counting.each_block
    monkeypatch.setattr(counting, "each_block", lambda *arguments: threads.append(arguments[2]) or each(*arguments))
    same, also = measure(paths, SETTINGS, threads=3, progress=lambda found: tiles.extend(found) or found)
    assert table.equals(same) and description == also
    assert tiles == [(0, 0), (1, 0)] and threads[:2] == [3, 3]


def test_strata_are_those_of_the_sidecars_lengths(dumped):
    paths = [dumped("it", seed=1), dumped("law", seed=2)]
    lengths = {
        path.stem: [entry["response_tokens"] for entry in json.loads(path.with_suffix(".json").read_text())["samples"]]
        for path in paths
    }
    table, description = measure(paths, SETTINGS.model_copy(update={"length_strata": 3}))
    pooled = np.array(lengths["it"] + lengths["law"])
    cuts = np.quantile(pooled, [1 / 3, 2 / 3])
    stratum, labels = np.digitize(pooled, cuts), np.repeat([0, 1], 24)
    counted = [{d: int((stratum[labels == i] == s).sum()) for i, d in enumerate(lengths)} for s in range(3)]
    assert (description["length_strata"], description["samples_by_stratum"]) == (3, counted)
    for row in table.itertuples():
        scores = np.concatenate([np.load(path)[row.layer, :, row.neuron] for path in paths]).astype(float)
        expected = 0
        for s in range(3):
            inside = scores[stratum == s]
            edges = np.quantile(inside, [0.25, 0.5, 0.75]).astype(np.float32)
            expected += len(inside) / 48 * mutual_info_score(np.digitize(inside, edges), labels[stratum == s])
        assert row.joint == approx(expected, abs=1e-12)
    assert description["length"] == measure(paths, SETTINGS)[1]["length"]  # of all samples, as without strata


def test_more_strata_than_samples_can_fill_are_refused(dumped):
    paths = [dumped("it"), dumped("law")]
    measure(paths, SETTINGS.model_copy(update={"length_strata": 12}))
    with refused("selection.length_strata", 13, 4, 48, "it, law", "bins", "importance.samples"):
        measure(paths, SETTINGS.model_copy(update={"length_strata": 13}))


@pytest.mark.parametrize("hidden_size", [None, 96])
def test_the_hidden_size_is_passed_on(dumped, hidden_size):
    model = {} if hidden_size is None else {"hidden_size": hidden_size}
    _, description = measure([dumped(domain, model=model) for domain in ("it", "law")], SETTINGS)
    assert description["hidden_size"] == hidden_size


def test_units_and_their_weights_are_passed_on(dumped):
    """A sidecar without a unit is of neurons, whose weights then follow from the hidden size."""
    _, plain = measure([dumped(domain) for domain in ("it", "law")], SETTINGS)
    assert (plain["unit"], plain["unit_parameters"]) == ("neuron", None)
    _, heads = measure([dumped(d, unit="head", model={"unit_parameters": 700}) for d in ("it", "law")], SETTINGS)
    assert (heads["unit"], heads["unit_parameters"]) == ("head", 700)


@pytest.mark.parametrize("said", [{"unit": "neuron"}, {}])
def test_dumps_of_neurons_and_of_heads_are_refused_together(dumped, said):
    """Their shapes are equal here, so only the sidecars show the difference."""
    paths = [dumped("it", **said), dumped("law", unit="head"), dumped("koran", **said)]
    with refused(f"{paths[1]}:", paths[0], "head", "neuron"):
        measure(paths, SETTINGS)
    assert measure([paths[0], paths[2]], SETTINGS)[1]["unit"] == "neuron"


@pytest.mark.parametrize(("name", "entry"), [("length", "response_tokens"), ("loss", "loss")])
def test_the_confounds_are_those_of_the_sidecars(dumped, name, entry):
    paths = [dumped("it", seed=1), dumped("law", seed=2)]
    values = [[s[entry] for s in json.loads(path.with_suffix(".json").read_text())["samples"]] for path in paths]
    pooled = np.array(values[0] + values[1], dtype=float)
    edges = [np.quantile(pooled, j / 4) for j in (1, 2, 3)]
    bins = [sum(value >= edge for edge in edges) for value in pooled]
    expected = mutual_info_score(bins, [0] * 24 + [1] * 24)
    found = measure(paths, SETTINGS)[1][name]
    assert found["joint"] == approx(expected, abs=1e-12) and expected > 0
    assert found["one_vs_rest"] == approx(dict.fromkeys(("it", "law"), expected), abs=1e-12)  # for two domains


@pytest.mark.parametrize("loss", [None, "1", -1.0, float("nan"), float("inf"), True])
def test_a_loss_that_cannot_be_is_refused_by_name(dumped, loss):
    path = dumped("it")
    content = json.loads(path.with_suffix(".json").read_text())
    content["samples"][3]["loss"] = loss
    path.with_suffix(".json").write_text(json.dumps(content))
    with refused(f"{path.with_suffix('.json')}:"):
        open_dump(path)


def test_the_order_of_the_dumps_does_not_matter(dumped):
    paths = [dumped("it", seed=1), dumped("law", seed=2), dumped("koran", seed=3)]
    (table, description), (other, same) = measure(paths, SETTINGS), measure(paths[::-1], SETTINGS)
    assert table.equals(other) and description == same


def test_dumps_of_different_models_are_refused_by_name(dumped):
    paths = [dumped("it"), dumped("law", weights="def"), dumped("koran")]
    with refused(f"{paths[1]}:", "id of def", "id of abc", paths[0]):
        measure(paths, SETTINGS)


def test_two_dumps_of_one_domain_are_refused_by_name(dumped):
    paths = [dumped("it"), dumped("law"), dumped("medical")]
    sidecar = paths[2].with_suffix(".json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"domain": "it"}))
    with refused("it.npy", "medical.npy", "'it'"):
        measure(paths, SETTINGS)


def test_dumps_of_another_model_than_the_manifests_are_refused_by_name(dumped, tmp_path):
    manifest = tmp_path / "manifest.json"
    paths = [dumped("it"), dumped("law")]
    manifest.write_text(json.dumps({"id": "owner/new", "weights": {"model.safetensors": "abc"}}))
    assert measure(paths, SETTINGS, manifest)[1] == measure(paths, SETTINGS)[1]
    manifest.write_text(json.dumps({"id": "owner/new", "weights": {"model.safetensors": "other"}}))
    with refused(f"{paths[0]}:", "id of abc", "owner/new", manifest):
        measure(paths, SETTINGS, manifest)


@pytest.mark.parametrize("bad", [np.nan, -1, np.inf, -np.inf])
def test_a_score_that_cannot_be_is_refused_by_file_and_place(dumped, bad):
    paths = [dumped("it"), dumped("law")]
    scores = np.load(paths[1])
    scores[1, 17, 3] = bad
    np.save(paths[1], scores)
    with refused(f"{paths[1]}:", "layer 1", "sample 17", "neuron 3", scores[1, 17, 3], "scale_exponent"):
        measure(paths, SETTINGS)


@pytest.mark.parametrize("shape", [[2, 23, 5], [2, 24], [5, 24, 2]], ids=str)
def test_a_shape_that_is_not_the_sidecars_is_refused_by_name(dumped, shape):
    path = dumped("it", shape=shape)
    with refused(f"{path}:", "(2, 24, 5)", shape):
        measure([path, dumped("law")], SETTINGS)


def test_another_precision_is_refused_by_name(dumped):
    with refused("it.npy:", "float32", "float16"):
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
    with refused(broken):
        measure([path, dumped("law")], SETTINGS)


def test_a_truncated_dump_is_refused_by_name(dumped):
    path = dumped("it")
    path.write_bytes(path.read_bytes()[:-2])
    with refused(f"{path}:", path.stat().st_size):
        open_dump(path)


@pytest.mark.parametrize(("shape", "shown"), [([1, 5], "(1, 5)"), (None, "gradient")])
def test_statistics_that_do_not_fit_are_refused_by_name(dumped, shape, shown):
    path = dumped("it")
    names = ("activation",) if shape is None else ("activation", "gradient", "positive")
    np.savez(path.with_suffix(".stats.npz"), **{name: np.zeros(shape or (LAYERS, NEURONS)) for name in names})
    with refused(f"{path.with_suffix('.stats.npz')}:", shown):
        open_dump(path)


@pytest.mark.parametrize("name", ["domain", "model", "scale_exponent", "shape", "samples"])
def test_a_sidecar_that_lacks_something_is_refused_by_name(dumped, name):
    sidecar = dumped("it").with_suffix(".json")
    content = json.loads(sidecar.read_text())
    del content[name]
    sidecar.write_text(json.dumps(content))
    with refused(f"{sidecar}:", f"'{name}'"):
        open_dump(sidecar.with_suffix(".npy"))


def test_a_sidecar_that_lacks_samples_is_refused_by_name(dumped):
    path = dumped("it")
    content = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(content | {"samples": content["samples"][:-1]}))
    with refused(f"{path}:", 23, (LAYERS, 24, NEURONS)):
        open_dump(path)


@pytest.mark.parametrize("exponent", [1000, -1000, 3.0, "3", True, None])
def test_an_exponent_that_cannot_be_is_refused_by_name(dumped, exponent):
    path = dumped("it", exponent=exponent)
    with refused(f"{path.with_suffix('.json')}:"):
        open_dump(path)
