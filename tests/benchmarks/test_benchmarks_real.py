"""The benchmark of real models: the trainer trains the same thing, and every ratio follows from its rows."""

import json

import pytest
import torch

from benchmarks import real as benchmark
from benchmarks import subjects, tuning
from benchmarks.common import SHAPES, Base, read_pairs
from benchmarks.subjects import as_users_have_it
from caneft.prompts import Example, collate
from tests.messages import assert_names, refused

CPU = torch.device("cpu")
OPTIONS = ["--device", "cpu", "--threads", "1", "--tokens-per-step", "250", "--steps", "2", "--warmup", "1"]
OPTIONS += ["--rounds", "1", "--no-memory"]
LORA = 3 * 3 * 16 * (24 + 40)  # weights of rank 16 in three layers of the tiny model


@pytest.fixture
def folder(tiny_model, tokenizer, tmp_path):
    """A model and its tokenizer in a folder, as users have them."""
    place = tmp_path / "small-1b"
    tiny_model("gemma3_text", tie_word_embeddings=True, final_logit_softcapping=None).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def files():
    return read_pairs(None, (), 100)


@pytest.fixture
def case(folder, files):
    def make(*more: str, length: int = 62):
        arguments = benchmark.parse(["--model", str(folder), *OPTIONS, *more])
        return tuning.case_of(arguments.bases[0], length, "off", files, arguments)

    return make


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_the_last_line_has_every_ratio_of_a_folder_with_a_model(folder, files, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "read_pairs", lambda *_: files)
    profile = tmp_path / "profile.txt"
    benchmark.main(["--model", str(folder), *OPTIONS, "--profile", str(profile)])
    result = last_line(capsys)
    importance, rows = result["subjects"]["importance"], result["subjects"]["tuning"]
    assert (tuple(importance), tuple(rows)) == (benchmark.IMPORTANCE, benchmark.TUNING)
    expected = {"model": "small-1b", "architecture": "gemma3_text", "device": "cpu", "dtype": "float32", "threads": 1}
    assert expected.items() <= result.items()
    assert result["samples_per_step"] == 4 and 200 < result["tokens_of_a_step"] < result["positions_of_a_step"] < 320
    assert 0 <= result["loss_difference"] <= 1e-5
    slow, fast = (importance[name]["tokens_per_second"] for name in ("naive", "ours"))
    assert result["importance_vs_naive"] == pytest.approx(fast / slow, rel=1e-3)
    for key, other in (("step_vs_lora", "lora-r16"), ("step_vs_trainer", "trainer")):
        five, one, theirs = (rows[name]["step_seconds"] for name in ("slices-5%", "slices-1%", other))
        assert result[key] == pytest.approx(five / theirs, rel=1e-3)
        assert result["one_percent"][key] == pytest.approx(one / theirs, rel=1e-3)
    assert {"memory_vs_lora", "memory_vs_trainer", "importance_vs_floor"} <= result.keys()
    assert rows["slices-5%"]["trainable_parameters"] == 3 * 3 * 2 * 24  # 2 of 40 neurons in each of three layers
    assert rows["slices-1%"]["trainable_parameters"] == 3 * 3 * 1 * 24
    assert rows["lora-r16"]["trainable_parameters"] == rows["trainer"]["trainable_parameters"] == LORA
    assert_names(profile.read_text(), *benchmark.PROFILED, "aten::mm")


def test_ratios_follow_from_arithmetic():
    def step(seconds, above, peak):
        return {"step_seconds": seconds, "step_cpu_seconds": 2 * seconds, "above_model_mb": above, "peak_mb": peak}

    def scores(seconds):
        return {"seconds_per_token_wall": seconds, "seconds_per_token_cpu": seconds / 4}

    rows = {"naive": scores(3.0), "ours": scores(1.0), "floor": scores(0.8)}
    rows |= {"slices-5%": step(6.0, 300, 800), "slices-1%": step(5.0, 200, 700)}
    rows |= {"lora-r16": step(8.0, 600, 1100), "trainer": step(12.0, 3000, 3500), "full": None}
    found = benchmark.ratios(rows)
    assert {name: found[name] for name in benchmark.GOALS} == pytest.approx(
        {
            "importance_vs_naive": 3.0,
            "importance_vs_floor": 1.25,
            "step_vs_lora": 0.75,
            "memory_vs_lora": 0.5,
            "step_vs_trainer": 0.5,
            "memory_vs_trainer": 0.1,
        }
    )
    assert found["one_percent"] == pytest.approx(
        {"step_vs_lora": 5 / 8, "step_vs_trainer": 5 / 12, "memory_vs_lora": 1 / 3, "memory_vs_trainer": 1 / 15}
    )
    assert found["with_model"] == pytest.approx({"memory_vs_lora": 8 / 11, "memory_vs_trainer": 8 / 35})
    without = benchmark.ratios(rows | {"naive": None, "trainer": None})
    assert [name for name in benchmark.GOALS if without[name] is None] == [
        "importance_vs_naive",
        "step_vs_trainer",
        "memory_vs_trainer",
    ]
    worse = found | {"importance_vs_naive": 1.5, "step_vs_lora": 0.9, "memory_vs_lora": 0.2}
    both = benchmark.combined([found, worse])
    assert (both["importance_vs_naive"], both["step_vs_lora"], both["memory_vs_lora"]) == (1.5, 0.9, 0.5)
    assert both["cases"] == [found, worse]


def test_labels_stand_at_the_tokens_of_the_response_and_nowhere_else():
    batch = collate([Example((1, 5, 6), (8, 4)), Example((1,), (7, 9, 9, 4, 0))], pad=0)
    found = as_users_have_it(batch)
    ignored = -100
    assert found["labels"].tolist() == [[ignored] * 3 + [8, 4, ignored], [ignored, 7, 9, 9, 4, 0]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6]


def test_the_trainer_takes_the_step_that_ours_takes(case, monkeypatch):
    """From the same start, with the same optimizer (weight decay off), both reach the same adapters."""
    monkeypatch.setattr(subjects, "RATE", 1e-2)
    made, after = case(), {}
    for name in ("lora-r16", "trainer"):
        torch.manual_seed(0)
        subject = made.subject(name)
        for group in subject.optimizer.param_groups:
            group["weight_decay"] = 0.0
        for batch in made.batches[:2]:
            subject.step(batch)
        assert all(parameter.grad is None for parameter in subject.way.parameters())
        after[name] = [parameter.detach().clone() for parameter in subject.way.parameters()]
    for ours, theirs in zip(*after.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)
    assert any(float(ours.abs().max()) > 0.009 for ours in after["lora-r16"])  # adapters that started at 0 have moved


def test_a_trainer_with_another_loss_is_an_error(case, monkeypatch):
    real = as_users_have_it

    def with_prompt(batch):
        found = real(batch)
        return found | {"labels": found["input_ids"].where(batch.attention_mask.bool(), -100)}

    monkeypatch.setattr(subjects, "as_users_have_it", with_prompt)
    with refused("trainer", "ours"):
        benchmark.loss_difference(case())


def test_pairs_are_as_they_are_or_joined(case):
    joined, own = case(length=62), case("--max-tokens", "120", length=0)
    lengths = [len(example) for part in joined.examples for example in part]
    assert 50 < sum(lengths) / len(lengths) < 72 and max(lengths) <= 77
    assert max(len(example) for part in own.examples for example in part) <= 120
    assert len(joined.examples[0]) == len(own.examples[0]) == 4


def test_a_process_for_a_peak_runs_one_subject_of_either_part(folder, files, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "read_pairs", lambda *_: files)
    for name in ("model_only", "floor", "trainer"):
        benchmark.main(["--model", str(folder), *OPTIONS, "--only", name])
        assert last_line(capsys)["peak_mb"] > 50


def test_what_does_not_fit_leaves_the_other_ratios(case, monkeypatch):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("too large")

    monkeypatch.setattr(subjects.ByTrainer, "loss", out_of_memory)
    monkeypatch.setattr(subjects.ByTrainer, "backward", out_of_memory)
    made = case()
    assert benchmark.loss_difference(made) is None
    rows = tuning.timed(made, benchmark.parse(["--shape", "tiny", *OPTIONS]), ["slices-5%", "lora-r16", "trainer"])
    found = benchmark.ratios(tuning.with_memory(rows, {}))
    assert rows["trainer"] is None and found["step_vs_trainer"] is None and found["step_vs_lora"] > 0


@pytest.mark.parametrize("arguments", [[], ["--model", "a", "--shape", "tiny"]])
def test_one_model_must_be_named(arguments, capsys):
    with pytest.raises(SystemExit):
        benchmark.parse(arguments)
    assert_names(capsys.readouterr().err, "--model", "--shape")


def test_a_folder_without_a_model_is_an_error(tmp_path):
    with refused("--model", tmp_path, "config.json"):
        benchmark.parse(["--model", str(tmp_path)])


def test_a_folder_gives_its_own_weights_and_shape(folder, files, tokenizer):
    base = Base("small-1b", str(folder))
    model = base.model(CPU, torch.bfloat16)
    assert model.dtype == torch.bfloat16 and not any(weight.requires_grad for weight in model.parameters())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert (base.shape["intermediate_size"], base.shape["num_hidden_layers"]) == (40, 3)
    assert base.tokenizer(files).get_vocab() == tokenizer.get_vocab()
    assert base.option == ["--model", str(folder)] and Base("tiny").option == ["--shape", "tiny"]
    assert Base("tiny").shape is SHAPES["tiny"]
    small = tuning.miniature(base.shape)  # its attention types, 18 or 3, would not fit two layers
    assert tuning.exactness(small, collate([Example((1, 5, 6), (8, 4))], 0), 0.1) <= tuning.TOLERANCE
