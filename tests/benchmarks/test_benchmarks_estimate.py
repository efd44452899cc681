"""The estimate of what a grid costs, against arithmetic by hand, and its model sizes against transformers."""

import math

import pytest
import torch

from benchmarks import common, estimate
from caneft import config
from caneft.plan import Run
from tests.messages import refused

QWEN = "Qwen/Qwen2.5-7B-Instruct"
USED = 7_070_619_136  # less the embedding of 152,064 x 3,584 that is only looked up
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
MACHINE = estimate.Machine(flops=1e14, bandwidth=1e12, step=0.02, load=10, memory=1e11, link=2e10)
ESTIMATE = estimate.Estimate(config.load(RAW, check_files=False), MACHINE, estimate.Text(60, 40, 2.5))


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
    model = common.build_model(common.SHAPES[shape], torch.device("meta"), torch.bfloat16)
    size, text = estimate.SIZES[hub], model.config
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    looked_up = 0 if text.tie_word_embeddings else text.vocab_size * text.hidden_size
    assert size.used == size.parameters - looked_up
    sizes = (text.num_hidden_layers, text.intermediate_size, text.hidden_size)
    assert (size.layers, size.neurons, size.hidden) == sizes


def test_a_dump_by_hand():
    seconds, size = ESTIMATE.importance("qwen")
    assert seconds == pytest.approx(4 * USED * 100 * 10_000 / 1e14)  # 283 s
    assert size == 28 * 18944 * 10_000 * 2  # 10.6 GB


def test_a_run_by_hand():
    """8,000 pairs of 100 tokens in two epochs, and 200 dev pairs three times; 1,600 steps beside the GPU."""
    dev = 2 * USED * 100 * 200 * 3 / 1e14
    assert ESTIMATE.tuning(run("caneft", seed=1)) == pytest.approx(4 * USED * 100 * 8000 / 1e14 + dev)
    beside = 1600 * 7_615_616_512 * (28 / 1e11 + 4 / 2e10)  # 1,600 times 3.7 s
    assert ESTIMATE.tuning(run("full", seed=1)) == pytest.approx(6 * USED * 100 * 8000 / 1e14 + dev + beside)


def test_translations_by_hand():
    """Two test sets of 128 pairs in two batches each, one of 70 in two; a step takes 20 ms, 14 to read the weights."""
    one = 2 * 40 * 2.5 * 0.02
    read = 2 * USED * (128 + 128 + 70) / 1e14
    assert ESTIMATE.translation(run("caneft", seed=1)) == pytest.approx(3 * one + read * 100)
    assert ESTIMATE.translation(run("icl")) == pytest.approx(3 * one + read * (100 + 2 * 100))
    again = one + 2 * USED * 100 * 70 / 1e14  # both adapters translate the unseen domain
    assert ESTIMATE.translation(run("adapters", seed=1)) == pytest.approx(3 * one + read * 100 + again)
    routed = RAW | {"methods": {"adapters": RAW["methods"]["adapters"] | {"route": "source_loss"}}}
    every = estimate.Estimate(config.load(routed, check_files=False), MACHINE, ESTIMATE.text)
    assert every.translation(run("adapters", seed=1)) == pytest.approx(2 * (3 * one + read * 100))
    dev = 2 * (2 * 40 * 2.5 * 0.02 + 2 * USED * 100 * 100 / 1e14)
    assert ESTIMATE.translation(run("caneft", rate=1e-5)) == pytest.approx(3 * one + read * 100 + dev)
    slow = estimate.Machine(1e14, 2 * USED, 0.02, 10, 1e11, 2e10)  # a second to read the weights
    assert estimate.Estimate(ESTIMATE.config, slow, ESTIMATE.text).decoding("qwen", 65) == 2 * 40 * 2.5


def test_rows_count_jobs_and_what_stays_on_disk():
    rows = {stage: (jobs, seconds, size) for _, stage, jobs, seconds, size in ESTIMATE.rows()}
    dumps = 2 * (4 * USED * 1e6 / 1e14 + 10)
    assert rows["importance"] == (2, pytest.approx(dumps), 2 * 28 * 18944 * 20_000)
    several = RAW | {"seeds": [1, 2, 3], "importance": RAW["importance"] | {"draws": "per_seed"}}
    drawn = estimate.Estimate(config.load(several, check_files=False), MACHINE, ESTIMATE.text)
    (row,) = (row[2:] for row in drawn.rows() if row[1] == "importance")
    assert row == (8, pytest.approx(4 * dumps), 4 * 2 * 28 * 18944 * 20_000)
    patch = 0.01 * 28 * 18944 * 3 * 3584 * 2
    assert rows["tuning, trials"][::2] == (4, pytest.approx(4 * patch))  # two rates, each with two seeds
    full, adapters = 2 * 7_615_616_512, 2 * 28 * 2 * 16 * 3584 * 4
    assert rows["tuning, final runs"][::2] == (3, pytest.approx(patch + full + adapters))
    assert rows["translation, trials"][0] == 4 * 3  # dev, seen, koran
    assert rows["translation, final runs"][0] == 3 + 2 + 3 * 2  # the base has each domain apart


def test_the_table_adds_up(capsys, tmp_path):
    text = estimate.table([("a", "x", 2, 7200.0, 3e9), ("b", "y", 1000, 3600.0, 0.0)], price=3)
    assert text.splitlines()[2:] == [
        "| a | x | 2 | 2.0 | 6 | 3 |",
        "| b | y | 1,000 | 1.0 | 3 | 0 |",
        "| all |  | 1,002 | 3.0 | 9 | 3 |",
    ]
    estimate.main([str(common.ROOT / "config" / "paper.yaml")])
    printed = capsys.readouterr().out
    hours = [float(line.split("|")[4].replace(",", "")) for line in printed.splitlines()[2:] if line.startswith("|")]
    assert math.isclose(sum(hours[:-1]), hours[-1], abs_tol=0.05 * len(hours))


def test_a_model_of_unknown_size_is_said():
    other = config.load(RAW | {"models": {"mine": {"path": "mine"}}}, check_files=False)
    with refused("models.mine", "SIZES", "benchmarks/estimate.py"):
        next(estimate.Estimate(other, MACHINE, ESTIMATE.text).rows())
