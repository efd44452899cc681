"""NeuronSet compared with Python sets, and its file."""

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caneft.errors import InputError
from caneft.neurons import NeuronSet, load, read_description, save
from tests.messages import refused

LAYERS, WIDTH = 3, 7
members = st.sets(st.integers(0, LAYERS * WIDTH - 1))


def neurons(flat) -> NeuronSet:
    return NeuronSet.from_flat(LAYERS, WIDTH, list(flat))


@given(a=members, b=members)
def test_set_algebra_is_that_of_python_sets(a, b):
    for ours, expected in ((neurons(a) | neurons(b), a | b), (neurons(a) & neurons(b), a & b)):
        assert ours.flat().tolist() == sorted(expected)
    assert (neurons(a) - neurons(b)).flat().tolist() == sorted(a - b)
    assert (neurons(a) == neurons(b)) == (a == b)
    assert neurons(a).jaccard(neurons(b)) == (len(a & b) / len(a | b) if a | b else 1)


@given(a=members, b=members)
def test_phi_is_one_less_the_variance_of_the_selection_over_that_of_chance(a, b):
    """Nogueira, Sechidis and Brown (2018) define it for any number of sets, with unbiased variances."""
    chosen = np.array([[n in one for n in range(LAYERS * WIDTH)] for one in (a, b)])
    share, phi = chosen.mean(), neurons(a).phi(neurons(b))
    if share in (0, 1):
        assert phi is None
    else:
        assert phi == pytest.approx(1 - chosen.var(axis=0, ddof=1).mean() / (share * (1 - share)), abs=1e-12)


@given(a=members, b=members)
def test_phi_of_sets_of_one_size_is_kunchevas_index(a, b):
    total, size = LAYERS * WIDTH, min(len(a), len(b))
    a, b = set(sorted(a)[:size]), set(sorted(b)[:size])
    if 0 < size < total:
        kuncheva = (len(a & b) * total - size**2) / (size * (total - size))
        assert neurons(a).phi(neurons(b)) == pytest.approx(kuncheva, abs=1e-12)


@given(flat=st.lists(st.integers(0, LAYERS * WIDTH - 1), unique=True))
def test_counts_and_indices_of_each_layer(flat):
    ours = neurons(flat)
    expected = [sorted(n % WIDTH for n in flat if n // WIDTH == layer) for layer in range(LAYERS)]
    assert [indices.tolist() for indices in ours.indices] == expected
    assert all(indices.dtype == np.int64 for indices in ours.indices)
    assert ours.per_layer().tolist() == [len(indices) for indices in expected]
    assert len(ours) == len(flat)
    assert ours.fraction == len(flat) / 21
    assert ours == NeuronSet(LAYERS, WIDTH, tuple(np.array(indices, int) for indices in expected))


def test_parameters_are_gate_row_up_row_and_down_column():
    gate = up = np.zeros((WIDTH, 5))
    down = np.zeros((5, WIDTH))
    ours = neurons([0, 6, 20])
    expected = sum(gate[[j]].size + up[[j]].size + down[:, [j]].size for layer in ours.indices for j in layer)
    assert ours.parameters(unit_parameters=15) == expected == 45


@pytest.mark.parametrize(
    ("indices", "facts"),
    [
        (([0], [1]), (2, 3)),
        (([0], [2, 1], []), ("layer 1",)),
        (([0], [], [3, 3]), ("layer 2",)),
        (([7], [], []), ("layer 0", "[0, 7)")),
        (([], [-1], []), ("layer 1", "-1", "[0, 7)")),
        (([0.5], [], []), ("layer 0", "float64")),
    ],
)
def test_a_set_that_is_none_is_refused(indices, facts):
    with refused(*facts):
        NeuronSet(LAYERS, WIDTH, tuple(np.array(layer) for layer in indices))


@pytest.mark.parametrize("flat", [[-1], [21], [4, 4]])
def test_flat_indices_out_of_range_or_repeated_are_refused(flat):
    with pytest.raises(InputError):
        neurons(flat)


def test_sets_of_different_models_do_not_mix():
    with refused("3 x 7 neuron", "7 x 3 neuron"):
        neurons([1]) | NeuronSet.from_flat(7, 3, [1])
    assert neurons([1]) != NeuronSet.from_flat(7, 3, [1])


def test_the_set_does_not_follow_the_callers_array():
    mine = np.array([1, 2])
    ours = NeuronSet(1, 5, (mine,))
    mine[0] = 0
    assert ours.flat().tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        ours.indices[0][0] = 0


@pytest.mark.parametrize("flat", [[], [0], [20, 3, 7]])
def test_a_file_returns_what_was_saved(tmp_path, flat):
    save(tmp_path / "a.npz", neurons(flat), {"criterion": "caneft", "gamma": 0.25, "domain": "法律"})
    assert load(tmp_path / "a.npz") == neurons(flat)
    assert read_description(tmp_path / "a.npz") == {"criterion": "caneft", "gamma": 0.25, "domain": "法律"}
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert (arrays["layer"] * WIDTH + arrays["neuron"]).tolist() == sorted(flat)
        assert {arrays["layer"].dtype, arrays["neuron"].dtype} == {np.dtype(np.int32)}
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_equal_content_gives_equal_bytes(tmp_path):
    save(tmp_path / "a.npz", neurons([1, 9]), {"b": 1, "a": 2})
    save(tmp_path / "b.npz", neurons([9, 1]), {"a": 2, "b": 1})
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_save_that_fails_leaves_the_old_file(tmp_path):
    save(tmp_path / "a.npz", neurons([1]), {})
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(TypeError):
        save(tmp_path / "a.npz", neurons([2]), {"not json": object()})
    assert (tmp_path / "a.npz").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_file_is_replaced_and_not_written_into(tmp_path):
    save(tmp_path / "a.npz", neurons([1]), {})
    (tmp_path / "reader.npz").hardlink_to(tmp_path / "a.npz")  # like the old file in the hands of a reader
    save(tmp_path / "a.npz", neurons([2, 3]), {})
    assert load(tmp_path / "reader.npz") == neurons([1])
    assert load(tmp_path / "a.npz") == neurons([2, 3])


def files_that_are_no_neuron_set(folder):
    save(folder / "good.npz", neurons([1, 9]), {})
    good = (folder / "good.npz").read_bytes()
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.npz").write_text("neurons")
    (folder / "truncated.npz").write_bytes(good[: len(good) // 2])
    damaged = bytearray(good)
    damaged[good.index(b"neuron.npy") + 141] ^= 255
    (folder / "damaged.npz").write_bytes(damaged)
    np.save(folder / "array.npy", np.arange(3))
    np.savez(folder / "foreign.npz", weights=np.arange(3))
    whole = dict(np.load(folder / "good.npz"))
    np.savez(folder / "range.npz", **{**whole, "neuron": np.array([1, 7], np.int32)})
    np.savez(folder / "repeated.npz", **{**whole, "layer": np.array([0, 0]), "neuron": np.array([1, 1])})
    np.savez(folder / "shapes.npz", **{**whole, "neuron": np.array([1], np.int32)})
    np.savez(folder / "objects.npz", **{**whole, "layer": np.array([0, None])})
    (folder / "good.npz").unlink()
    return sorted(folder.iterdir())


def test_a_file_that_is_no_neuron_set_is_named(tmp_path):
    paths = files_that_are_no_neuron_set(tmp_path)
    assert len(paths) == 10
    for path in paths:
        with refused(f"{path}:"):
            load(path)


def test_a_description_that_is_not_json_is_named(tmp_path):
    save(tmp_path / "a.npz", neurons([1]), {})
    whole = {**np.load(tmp_path / "a.npz"), "description": np.frombuffer(b"{", np.uint8)}
    np.savez(tmp_path / "b.npz", **whole)
    with refused(f"{tmp_path / 'b.npz'}:", "JSON"):
        read_description(tmp_path / "b.npz")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npz"):
        load(tmp_path / "none.npz")
