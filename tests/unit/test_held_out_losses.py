"""Losses of single pairs equal the witness's, and the errors of a difference are those of docs/method.md."""

import fake_results
import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.storage.files import write_json
from caneft.translation import held_out
from caneft.tuning.methods import Tuned
from tests import naive
from tests.messages import assert_names, suggestion

TRAINED = {"learning_rate": 1e-2}


def test_losses_of_pairs_are_those_of_one_pair_after_the_other(tiny_model, examples):
    model = tiny_model()
    found = held_out.pair_losses(Tuned(model), examples, tokens=100)
    with torch.no_grad():
        expected = [float(naive.summed_loss(model, one.prompt, one.response)) for one in examples]
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_difference_and_its_errors():
    """With 300 pairs of 10 tokens per domain, all equally long, the error of segments is that of a mean difference."""
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
    between = 0.1 * np.sqrt(2 / 3)  # both variants have a deviation of 0.1
    error = np.hypot(segments, between)
    row = table.loc["lora"]
    assert row["difference"] == pytest.approx(value)
    assert row["se_runs"] == pytest.approx(between)
    assert row["se_segments"] == pytest.approx(segments, rel=0.06)  # with 2,000 resamples
    assert row["df"] == 4
    assert row["p_runs"] == pytest.approx(2 * stats.t.sf(abs(value) / error, 4), rel=0.06)
    assert row["high"] - row["low"] == pytest.approx(2 * stats.t.ppf(0.975, 4) * error, rel=0.06)
    fewer = held_out.differences(runs | {"lora": runs["lora"][:2]}, "caneft").set_index("b")
    assert fewer.loc["lora", ["p_runs", "p_holm"]].isna().all(), "two runs do not speak of a method"
    assert fewer.loc["base", "p_holm"] == fewer.loc["base", "p_runs"] > 0
    assert table.loc["base", "se_runs"] == pytest.approx(0.1 / np.sqrt(3))
    assert table["p_holm"].max() == max(table["p_runs"].max(), 2 * table["p_runs"].min())


@pytest.mark.parametrize(
    ("options", "facts"),
    [
        (["--pairs", 20], ("it", 0, 20)),  # the mixture uses all dev pairs of the results
        (["--mixture", "al"], (suggestion("al", "all"),)),
        (["--variants", "lora"], ("--variants", "caneft")),
        (["--variants", "canefd", "lora"], (suggestion("canefd", "caneft"),)),
    ],
)
def test_what_cannot_be_measured_is_said_before_a_model_is_loaded(finished, tmp_path, command_line, options, facts):
    code, _, said = command_line("held-out", finished, tmp_path / "out", *options)
    assert code == 1
    assert_names(said, *facts)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--pairs", "--threads"])
def test_numbers_start_at_1(finished, tmp_path, command_line, option):
    code, _, said = command_line("held-out", finished, tmp_path / "out", option, 0)
    assert code == 2  # as for any option that argparse refuses
    assert_names(said, option, 0)


@pytest.fixture
def finished(tmp_path, tokenizer, tiny_model):
    """Results of two trained variants, as far as the command reads them before it loads weights."""
    root = tmp_path / "results"
    trained = {name: TRAINED | {"method": name} for name in ("caneft", "lora")}
    plan = fake_results.plan({"base": {"method": "base"}} | trained)
    fake_results.write(plan, root)
    (root / "config.yaml").write_text(yaml.safe_dump(plan.config.model_dump(mode="json")))
    folder = root / "models/tiny"
    folder.mkdir(parents=True, exist_ok=True)
    tiny_model().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_json(folder / "manifest.json", manifests.describe(folder, {"id": None, "folder": "."}, tiny_model().config))
    rows = [Row(f"it.dev.{n}", f"Satz {n}.", f"Sentence {n}.") for n in range(5)]
    for place in ("corpora/de-en/it", "corpora/de-en/law", "mixtures/de-en/all"):
        (root / place).mkdir(parents=True, exist_ok=True)
        store.write(root / place / "dev.jsonl", rows)
    return root
