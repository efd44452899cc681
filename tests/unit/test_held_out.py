"""Losses of single pairs are the witness's, and the errors of a difference are those of docs/method.md."""

import numpy as np
import pytest
import torch
from scipy import stats

from caneft.translation import held_out
from caneft.tuning.methods import Tuned
from tests import naive


def test_losses_of_pairs_are_those_of_one_pair_after_the_other(tiny_model, examples):
    model = tiny_model()
    found = held_out.pair_losses(Tuned(model), examples, tokens=100)
    with torch.no_grad():
        expected = [float(naive.summed_loss(model, one.prompt, one.response)) for one in examples]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_difference_and_its_errors():
    """300 pairs of 10 tokens a domain: with equal lengths the error of segments is that of a mean of differences."""
    rng = np.random.default_rng(1)
    level = {"base": [3.0], "caneft": [2.0, 2.1, 2.2], "lora": [2.4, 2.3, 2.5]}
    shared = {domain: rng.normal(0, 5, 300) for domain in ("it", "law")}
    own = {name: {domain: rng.normal(0, 1, 300) for domain in shared} for name in level}
    lengths = np.full(300, 10)
    runs = {
        name: [{d: held_out.Losses(10 * mean + shared[d] + own[name][d], lengths) for d in shared} for mean in means]
        for name, means in level.items()
    }
    table = held_out.differences(runs, "caneft").set_index("b")
    paired = {domain: (own["caneft"][domain] - own["lora"][domain]) / 10 for domain in shared}
    value = 2.1 - 2.4 + np.mean([difference.mean() for difference in paired.values()])
    segments = np.sqrt(sum(difference.var(ddof=1) / 300 for difference in paired.values())) / 2
    runs = 0.1 * np.sqrt(2 / 3)  # both variants have a deviation of 0.1
    error = np.hypot(segments, runs)
    row = table.loc["lora"]
    assert row["difference"] == pytest.approx(value)
    assert row["se_runs"] == pytest.approx(runs)
    assert row["se_segments"] == pytest.approx(segments, rel=0.06)  # of 2,000 resamples
    assert row["df"] == 4
    assert row["p_runs"] == pytest.approx(2 * stats.t.sf(abs(value) / error, 4), rel=0.06)
    assert row["high"] - row["low"] == pytest.approx(2 * stats.t.ppf(0.975, 4) * error, rel=0.06)
    assert table.loc["base", "se_runs"] == pytest.approx(0.1 / np.sqrt(3))
    assert table["p_holm"].max() == max(table["p_runs"].max(), 2 * table["p_runs"].min())
