"""Importance of a real chat model, compared with one unpadded sample at a time and every weight in the graph."""

import copy

import numpy as np
import pytest

from caneft import config
from caneft.corpora.store import Row
from caneft.importance import dumping
from caneft.importance.hooks import Taps, importance
from caneft.models import head
from caneft.prompts import collate
from tests import naive
from tests.real.conftest import SOURCES, TARGETS

SAMPLES = 4


@pytest.fixture(scope="module")
def examples(smol_prompts):
    return [smol_prompts.encode(*pair) for pair in zip(SOURCES[:SAMPLES], TARGETS, strict=False)]


@pytest.fixture(scope="module")
def double(smol):
    """The model in float64, because float32 gives importance only to 5e-5 of a layer's largest."""
    return copy.deepcopy(smol).double()


@pytest.fixture(scope="module")
def expected(double, examples):
    """Importance (layers, samples, neurons), and the largest number in each layer."""
    scores = np.stack([naive.importance(double, e.prompt, e.response).numpy() for e in examples], axis=1)
    return scores, scores.max(axis=(1, 2), keepdims=True)


@pytest.mark.parametrize("rows, share", [(None, 1e-4), (8, 5e-6)], ids=["all logits", "in chunks"])
def test_scores_are_those_of_the_reference(double, smol_prompts, examples, expected, monkeypatch, rows, share):
    """Losses are computed in float32, so scores agree within a share of the layer's largest: in chunks within 1e-6;
    PyTorch's own cross-entropy, which takes all logits at once, within 5e-5, because it exponentiates logarithms. By
    default a CPU takes 341 positions of this vocabulary at once, more than these pairs have."""
    positions, vocabulary = sum(len(e.response) for e in examples), len(double.lm_head.weight)
    assert rows is not None or positions * vocabulary <= head.LOGITS["cpu"]
    if rows is not None:
        assert positions > 2 * rows
        monkeypatch.setattr(head, "LOGITS", {"cpu": rows * vocabulary})
    with Taps(double) as taps:
        (found,) = importance(double, [collate(examples, smol_prompts.tokenizer.pad_token_id)], taps)
    scores, largest = expected
    assert np.max(np.abs(found.importance.double().numpy() - scores) / largest) <= share


def test_the_dump_holds_them_rounded(smol, smol_prompts, examples, expected, room):
    """The model is in float32. float16 keeps ten bits after the first, and its smallest steps are 2**-24."""
    rows = [Row(f"it.train.{n}", *pair) for n, pair in enumerate(zip(SOURCES[:SAMPLES], TARGETS, strict=False))]
    chosen = config.Importance(samples=SAMPLES, tokens_per_batch=150)
    samples = dumping.draw(rows, smol_prompts, "it", chosen, SAMPLES)
    dumping.write(room / "it.npy", smol, samples, smol_prompts, chosen, {"model": {"name": "smollm2"}})
    found = np.load(room / "it.npy").astype(np.float64) / 2.0**chosen.scale_exponent
    scores, largest = expected
    scores = scores[:, [int(name.rpartition(".")[2]) for name in samples.ids]]
    allowed = 1e-4 * largest + 2.0**-11 * scores + 2.0**-25 / 2.0**chosen.scale_exponent
    assert np.all(np.abs(found - scores) <= allowed)
