"""The dump: which samples, what is stored, and what is refused without a trace."""

import json
import re

import naive
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx

from caneft import config, dumping
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.importance import Dump

ABOUT = {"model": {"name": "tiny", "id": "tiny", "weights": {}}}


@pytest.fixture
def rows(pairs):
    return [Row(f"it.train.{number}", *pair) for number, pair in enumerate(pairs, start=1)]


@pytest.fixture
def dump(tmp_path, prompts, rows):
    """Dumps a model's scores into tmp_path / "dump"; returns the drawn samples and the path."""

    def write(model, **settings):
        chosen = config.Importance(**{"samples": 7, "tokens_per_batch": 250} | settings)
        samples = dumping.draw(rows, prompts, "it", chosen)
        path = tmp_path / "dump" / "it.npy"
        dumping.write(path, model, samples, prompts, chosen, ABOUT, lambda count: None)
        return samples, path

    return write


def exponent_named_by(error) -> int:
    return int(re.search(r"models\.tiny\.scale_exponent to (-?\d+)", str(error.value)).group(1))


@given(
    scores=st.lists(st.floats(2**-36, 15, allow_subnormal=False, width=32), min_size=1, max_size=30),
    exponent=st.integers(10, 12),
)
def test_stored_numbers_are_the_scores_times_a_power_of_two_rounded(tmp_path_factory, scores, exponent):
    path = tmp_path_factory.mktemp("dump") / "x.npy"
    dump = Dump(path, (1, len(scores), 1), exponent, "tiny")
    dump.write(list(range(len(scores))), np.array(scores, np.float32).reshape(1, -1, 1))
    dump._memory.flush()
    stored = np.load(path)[0, :, 0]
    assert stored.dtype == np.float16
    for score, found in zip(scores, stored.tolist(), strict=True):
        steps = score * 2.0**exponent * 2**24  # float16's grid below 2**-13 is 2**-24; above, 10 bits behind the first
        grain = max(1, 2.0 ** (np.floor(np.log2(steps)) - 10))
        assert abs(found * 2**24 - steps) <= grain / 2


def test_batches_may_come_in_any_order(tmp_path):
    scores = np.arange(1, 25, dtype=np.float32).reshape(2, 4, 3)
    dump = Dump(tmp_path / "x.npy", (2, 4, 3), 0, "tiny")
    for chosen in ([3, 1], [0, 2]):
        dump.write(chosen, scores[:, chosen])
    dump.close()
    assert np.array_equal(np.load(tmp_path / "x.npy"), scores)


def test_what_a_dump_leaves(dump, tiny_model, rows):
    model = tiny_model()
    samples, path = dump(model, scale_exponent=9)
    assert sorted(file.name for file in path.parent.iterdir()) == ["it.json", "it.npy", "it.stats.npz"]
    scores, sidecar = np.load(path), json.loads(path.with_suffix(".json").read_text())
    assert scores.dtype == np.float16 and scores.flags.c_contiguous
    assert sidecar["shape"] == list(scores.shape) == [3, 7, 40]
    assert sidecar["scale_exponent"] == 9 and sidecar["domain"] == "it" and sidecar["model"] == ABOUT["model"]
    expected = [naive.importance(model, e.prompt, e.response) for e in samples.examples]
    for sample, score in enumerate(expected):
        stored = scores[:, sample].astype(np.float64) / 2**9
        assert stored == approx(score.numpy(), rel=2**-10, abs=2**-24)
    passes = [naive.one_pass(model, e.prompt, e.response) for e in samples.examples]
    listed = sidecar["samples"]
    assert [entry["loss"] for entry in listed] == approx([found.loss for found in passes], rel=1e-5)
    assert [entry["response_tokens"] for entry in listed] == [len(e.response) for e in samples.examples]
    assert [entry["id"] for entry in listed] == samples.ids
    with np.load(path.with_suffix(".stats.npz")) as stats:
        assert {name: stats[name].shape for name in stats} == dict.fromkeys(
            ("activation", "gradient", "positive"), (3, 40)
        )


@pytest.mark.parametrize("exponent, words", [(40, "saturates"), (-60, "vanish")])
def test_a_wrong_exponent_is_refused_and_the_message_names_one_that_fits(dump, tiny_model, tmp_path, exponent, words):
    model = tiny_model()
    with pytest.raises(InputError, match=words) as error:
        dump(model, scale_exponent=exponent)
    assert list((tmp_path / "dump").iterdir()) == []
    dump(model, scale_exponent=exponent_named_by(error))


def test_scores_that_are_not_finite_are_refused(dump, tiny_model, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 3] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        dump(model)
    assert list((tmp_path / "dump").iterdir()) == []


def test_a_failed_dump_leaves_the_old_one_alone(dump, tiny_model):
    _, path = dump(tiny_model())
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(InputError):
        dump(tiny_model(seed=1), scale_exponent=40)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_one_percent_may_vanish(tmp_path):
    """Of the positive scores: exact zeros are no loss."""
    scores = np.ones((1, 1, 300), np.float32)
    scores[0, 0, :100] = 0
    scores[0, 0, 100:102] = 2**-26
    dump = Dump(tmp_path / "a.npy", scores.shape, 0, "tiny")
    dump.write([0], scores)
    dump.close()
    scores[0, 0, 102] = 2**-26
    dump = Dump(tmp_path / "b.npy", scores.shape, 0, "tiny")
    dump.write([0], scores)
    with pytest.raises(InputError, match="1.5%"):
        dump.close()


def test_the_draw_is_in_file_order_and_repeatable(rows, prompts):
    def ids(**settings):
        return dumping.draw(rows, prompts, "it", config.Importance(**settings)).ids

    numbers = [int(name.rsplit(".", 1)[1]) for name in ids(samples=5)]
    assert numbers == sorted(set(numbers)) and len(numbers) == 5
    assert ids(samples=5) == ids(samples=5)
    assert len({tuple(ids(samples=5, seed=seed)) for seed in range(10)}) > 1


def test_long_samples_are_left_out_before_the_draw_and_counted(rows, prompts):
    lengths = {row.id: len(prompts.encode(row.source, row.target)) for row in rows}
    limit = sorted(lengths.values())[4]
    drawn = dumping.draw(rows, prompts, "it", config.Importance(samples=5, max_tokens=limit))
    assert drawn.ids == [name for name, length in lengths.items() if length <= limit]
    assert drawn.too_long == 3
    with pytest.raises(InputError, match="it has 5 training pairs .* importance.samples is 6"):
        dumping.draw(rows, prompts, "it", config.Importance(samples=6, max_tokens=limit))


def test_each_sample_keeps_its_own_examples(rows, prompts):
    drawn = dumping.draw(rows, prompts, "it", config.Importance(samples=6))
    by_id = {row.id: prompts.encode(row.source, row.target) for row in rows}
    assert drawn.examples == [by_id[name] for name in drawn.ids]
