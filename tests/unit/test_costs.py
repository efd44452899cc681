"""Predicted costs of a configuration, compared with arithmetic by hand and a measured run; sizes, with transformers."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import common
from caneft import config
from caneft.__main__ import main
from caneft.commands import checking, costs
from caneft.commands.costs import Device, Estimate, Text
from caneft.plan import Run
from tests.messages import assert_names, refused

ROOT = Path(__file__).parents[2]

QWEN = "Qwen/Qwen2.5-7B-Instruct"
WEIGHTS = 7_615_283_200  # without norms and biases
USED = WEIGHTS - 152_064 * 3_584  # without the embedding, which is only looked up
DEMO = {"format": "demo", "domain": "it", "pairs": 10}
SEEN = {"train": DEMO, "dev": DEMO, "test": DEMO | {"limit": 128}}
RAW = {
    "directions": {
        "de-en": {
            "source_language": "German",
            "target_language": "English",
            "domains": {"it": SEEN, "law": SEEN, "koran": {"test": DEMO | {"pairs": 70}}},
        }
    },
    "models": {"qwen": {"hub": QWEN, "dtype": "bfloat16"}},
    "mixtures": {"all": {"de-en": ["it", "law"]}},
    "methods": {
        "base": {"method": "base"},
        "icl": {"method": "icl", "examples": 2},
        "full": {"method": "full", "learning_rate": 1e-5, "optimizer": "adamw-offload"},
        "adapters": {"method": "adapters", "learning_rate": 1e-4},
        "caneft": {"method": "caneft", "learning_rate": [1e-5, 1e-4]},
    },
    "selection": {"fraction": 0.01},
    "importance": {"samples": 10000},
    "tuning": {"pairs_per_domain": 2000, "dev_pairs_per_domain": 100, "epochs": 2, "batch_size": 5},
}
DEVICE = Device(
    flops=1e14,
    generation=1e30,
    float32=0.25,
    bandwidth=1e12,
    step=0.02,
    load=10,
    memory=1e11,
    link=2e10,
    source="nowhere",
)
TEXTS = {"qwen": Text(60, 40, 2.5)}


def estimated(raw: dict, device: Device = DEVICE) -> Estimate:
    return Estimate(config.load(raw, check_files=False), device, TEXTS)


ESTIMATE = estimated(RAW)


def run(variant, **attempt):
    return Run("qwen", "de-en", variant, "all", **attempt)


@pytest.mark.parametrize(
    "hub, shape",
    [
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        (QWEN, "qwen2.5-7b"),
        ("google/gemma-2-9b-it", "gemma-2-9b"),
    ],
)
def test_sizes_are_those_of_the_architectures(hub, shape):
    """They leave out norms and biases, less than a thousandth of the weights."""
    model = common.build_model(common.SHAPES[shape], torch.device("meta"), torch.bfloat16)
    found, text = costs.HUB[hub], model.config
    matrices = sum(p.numel() for p in model.parameters() if p.dim() == 2)
    assert found.parameters == matrices
    assert found.parameters == pytest.approx(sum(p.numel() for p in model.parameters()), rel=1e-3)
    sizes = (text.num_hidden_layers, text.intermediate_size, text.hidden_size, text.vocab_size)
    assert (found.layers, found.neurons, found.hidden, found.vocabulary) == sizes
    assert found.tied == text.tie_word_embeddings


def test_a_dump_by_hand():
    seconds, size = ESTIMATE.importance("qwen")
    assert seconds == pytest.approx(4 * USED * 100 * 10_000 / 1e14)  # 283 s
    assert size == 28 * 18944 * 10_000 * 2  # 10.6 GB


def test_a_run_by_hand():
    """8,000 pairs of 100 tokens in two epochs, 200 dev pairs three times; full adds 1,600 steps on the CPU."""
    dev = 2 * USED * 100 * 200 * 3 / 1e14
    assert ESTIMATE.tuning(run("caneft", seed=1)) == pytest.approx(4 * USED * 100 * 8000 / 1e14 + dev)
    beside = 1600 * WEIGHTS * (28 / 1e11 + 4 / 2e10)  # 1,600 times 3.7 s
    assert ESTIMATE.tuning(run("full", seed=1)) == pytest.approx(6 * USED * 100 * 8000 / 1e14 + dev + beside)


def test_translations_by_hand():
    """Two test sets of 128 pairs and one of 70, in two batches each; a step takes 20 ms, 14 to read the weights."""
    one = 2 * 40 * 2.5 * 0.02
    read = 2 * USED * (128 + 128 + 70) / 1e14
    assert ESTIMATE.translation(run("caneft", seed=1)) == pytest.approx(3 * one + read * 100)
    assert ESTIMATE.translation(run("icl")) == pytest.approx(3 * one + read * (100 + 2 * 100))
    again = one + 2 * USED * 100 * 70 / 1e14  # both adapters translate the unseen domain
    assert ESTIMATE.translation(run("adapters", seed=1)) == pytest.approx(3 * one + read * 100 + again)
    routed = RAW | {"methods": {"adapters": RAW["methods"]["adapters"] | {"route": "source_loss"}}}
    every = estimated(routed)
    assert every.translation(run("adapters", seed=1)) == pytest.approx(2 * (3 * one + read * 100))
    dev = 2 * (2 * 40 * 2.5 * 0.02 + 2 * USED * 100 * 100 / 1e14)
    assert ESTIMATE.translation(run("caneft", rate=1e-5)) == pytest.approx(3 * one + read * 100 + dev)
    slow = replace(DEVICE, bandwidth=2 * USED)  # a second for a step of 32.5 sentences, the mean batch
    assert estimated(RAW, slow).decoding("qwen", 65) == 2 * 40 * 2.5
    computing = replace(DEVICE, generation=65 * USED)  # a second for a step of 32.5 sentences, the mean of two batches
    assert estimated(RAW, computing).decoding("qwen", 65) == pytest.approx(2 * 40 * 2.5)


def test_float32_is_slower():
    """It computes at a quarter of the rate, so it takes four times as long."""
    raw = RAW | {"models": {"qwen": RAW["models"]["qwen"] | {"dtype": "float32"}}}
    assert estimated(raw).importance("qwen")[0] == pytest.approx(4 * ESTIMATE.importance("qwen")[0])


def test_rows_count_jobs_and_what_stays_on_disk():
    rows = {row.stage: row for row in ESTIMATE.rows()}
    dumps = 2 * (4 * USED * 1e6 / 1e14 + 10)
    row = rows["importance"]
    assert (row.jobs, row.loads, row.seconds, row.bytes) == (2, 2, pytest.approx(dumps), 2 * 28 * 18944 * 20_000)
    several = RAW | {"seeds": [1, 2, 3], "importance": RAW["importance"] | {"draws": "per_seed"}}
    (row,) = (row for row in estimated(several).rows() if row.stage == "importance")
    assert (row.jobs, row.seconds, row.bytes) == (8, pytest.approx(4 * dumps), 4 * 2 * 28 * 18944 * 20_000)
    patch = 0.01 * 28 * 18944 * 3 * 3584 * 2
    trials = rows["tuning, trials"]  # two rates with two seeds each
    assert (trials.jobs, trials.bytes) == (4, pytest.approx(4 * patch))
    full, adapters = 2 * WEIGHTS, 2 * 28 * 2 * 16 * 3584 * 4
    final = rows["tuning, final runs"]
    assert (final.jobs, final.bytes) == (3, pytest.approx(patch + full + adapters))
    assert rows["translation, trials"].jobs == 4 * 2  # dev and test
    assert rows["scores, trials"].jobs == 1  # for one grid
    assert rows["translation, final runs"].jobs == 1 + 1 + 3


def test_the_table_adds_up():
    rows = [costs.Row("a", "x", 2, 1, 7200.0, 3e9, 900), costs.Row("b", "y", 1000, 0, 3600.0, 0.0, 4000)]
    assert costs.table(rows).splitlines()[2:] == [
        "| a | x | 2 | 1 | 2.00 | 3.0 | 900 |",
        "| b | y | 1,000 | 0 | 1.00 | 0.0 | 4,000 |",
        "| all |  | 1,002 | 1 | 3.00 | 3.0 | 4,000 |",
    ]


@pytest.mark.parametrize("name", ["paper", "config"])
def test_the_command_prints_a_table_that_adds_up(capsys, monkeypatch, name):
    monkeypatch.setattr("sys.argv", ["caneft", "plan", str(ROOT / f"config/{name}.yaml"), "--price", "2.5"])
    main()
    printed = capsys.readouterr().out
    cells = [line.split("|") for line in printed.splitlines()[2:] if line.startswith("|")]
    hours = [float(cell[5].replace(",", "")) for cell in cells]
    assert math.isclose(sum(hours[:-1]), hours[-1], abs_tol=0.005 * len(hours))
    rates = {"paper": ("h100", "assumed"), "config": ("cpu", "measured")}[name]
    assert_names(printed, *rates, "2.5")


def test_a_model_of_unknown_size_is_said():
    with refused("models.mine", "config.json", "snakemake fetch"):
        next(estimated(RAW | {"models": {"mine": {"path": "mine"}}}).rows())


def test_the_rate_of_a_core_is_that_of_the_measurement():
    measured = json.loads((ROOT / "benchmarks/results/real-cpu.json").read_text(encoding="utf-8"))
    rate = 4 * measured["parameters"] * measured["subjects"]["importance"]["ours"]["tokens_per_second"]
    assert costs.DEVICES["cpu"].flops == pytest.approx(rate, rel=0.02)


def test_a_run_that_was_measured_is_foreseen_within_half(tmp_path):
    """Processor seconds of config/gemma.yaml, as in docs/study/gemma; pairs had 58 tokens on average."""
    shape = {"hidden_size": 640, "num_hidden_layers": 18, "vocab_size": 262_144, "intermediate_size": 2048}
    heads = {"head_dim": 256, "num_attention_heads": 4, "num_key_value_heads": 1}
    folder = tmp_path / "models/gemma-3-270m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(shape | heads))
    raw, files = checking.from_files([ROOT / "config/gemma.yaml"])
    loaded = config.load(raw | {"results_root": str(tmp_path)}, files, check_files=False)
    estimate = Estimate(loaded, costs.DEVICES["cpu"], {"gemma-3-270m": Text(35, 23)})
    by_stage = {row.stage: row.seconds / row.jobs for row in estimate.rows() if row.jobs}
    with (ROOT / "docs/study/gemma/cost.csv").open(encoding="utf-8") as file:
        spent = [(row["stage"], row["variant"], float(row["cpu_seconds"])) for row in csv.DictReader(file)]
    dumps = next(seconds for stage, _, seconds in spent if stage == "importance")
    assert 2 / 3 < 4 * by_stage["importance"] / dumps < 1.5
    tuned = [seconds for stage, _, seconds in spent if stage == "tuning"]
    assert 2 / 3 < by_stage["tuning, final runs"] * len(tuned) / sum(tuned) < 1.5
    for stage, variant, seconds in spent:
        if stage == "translation":
            attempt = {} if variant in ("base", "icl") else {"seed": 1}
            found = Run("gemma-3-270m", "de-en", variant, None if variant == "base" else "all", **attempt)
            load = costs.DEVICES["cpu"].load * len(estimate.plan.splits(found))
            assert 2 / 3 < (estimate.translation(found) + load) / seconds < 1.5, variant
