"""The importance benchmark: its reference computes what the package does, and it reports what it promises."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import common
from benchmarks import importance as benchmark
from caneft.prompts import Example
from tests.messages import refused

ARCHITECTURES = ["llama", "qwen2", "gemma2", "phi3"]  # phi3 has gate and up in one Linear
CPU = torch.device("cpu")
SMALL = ["--device", "cpu", "--samples", "6", "--naive-samples", "2", "--rounds", "1", "--threads", "1", "--no-memory"]
LONG, SHORT = Example((1, 5, 6, 7), (8, 9, 10, 4)), Example((1, 5), (4,))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_naive_reference_computes_what_the_package_does(tiny_model, architecture, examples):
    model = tiny_model(architecture)
    differences = benchmark.exactness(model, examples, pad=0)
    assert 0 < max(differences.values()) <= benchmark.TOLERANCE  # not 0, because the numbers are computed in two ways
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_reference_hooks_every_linear_of_the_ffns(tiny_model, architecture, examples):
    model = tiny_model(architecture)
    with benchmark.Naive(model) as naive:
        naive.scores(examples[:1])
        expected = sum(isinstance(m, torch.nn.Linear) for layer in model.model.layers for m in layer.mlp.modules())
        assert len(naive.activations) == len(naive.gradients) == expected
        for key, activation in naive.activations.items():
            assert naive.gradients[key].shape == activation.shape
        assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_difference_to_the_reference_is_an_error(tiny_model, examples, monkeypatch):
    real = benchmark.importance

    def wrong(model, batches, taps):
        for scores in real(model, batches, taps):
            yield replace(scores, importance=scores.importance * 1.001)

    monkeypatch.setattr(benchmark, "importance", wrong)
    with refused("importance", "loss", benchmark.TOLERANCE):
        benchmark.exactness(tiny_model(), examples, pad=0)


@pytest.mark.parametrize("engine", [benchmark.run_floor, benchmark.run_floor_embeddings])
def test_the_floors_go_through_the_model_without_a_trace(tiny_model, engine):
    model, seen = tiny_model("llama"), []
    watch = model.model.layers[1].register_full_backward_hook(lambda *_: seen.append("backward"))
    engine(model, iter([benchmark.collate([LONG, SHORT], 0)]))
    watch.remove()
    assert seen == ["backward"]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(("engine", "expected"), [("run_floor", []), ("run_floor_embeddings", ["backward"])])
def test_the_strict_floor_spares_the_first_layers_attention(tiny_model, engine, expected):
    model, seen = tiny_model("llama"), []
    watch = model.model.layers[0].self_attn.o_proj.register_full_backward_hook(lambda *_: seen.append("backward"))
    getattr(benchmark, engine)(model, iter([benchmark.collate([LONG], 0)]))
    watch.remove()
    assert seen == expected


def test_main_prints_ratios_in_one_json_object_and_writes_what_it_is_asked_for(capsys, tmp_path):
    out, profile = tmp_path / "out.json", tmp_path / "profile.txt"
    benchmark.main([*SMALL, "--shape", "tiny", "--out", str(out), "--profile", str(profile)])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    for clock in (result, result["cpu_time"]):
        assert all(clock[ratio] > 0 for ratio in benchmark.RATIOS)
    speed, time = result["tokens_per_second"], result["seconds_per_round"]["wall"]
    assert speed.keys() == time.keys() == set(benchmark.SUBJECTS)
    assert result["importance_vs_naive"] == pytest.approx(speed["ours"] / speed["naive"], rel=1e-3)
    assert result["importance_vs_floor"] == pytest.approx(time["ours"][0] / time["floor"][0], rel=1e-3)
    assert result["tokens_per_second"]["ours"] == pytest.approx(result["tokens"] / time["ours"][0], rel=1e-3)
    expected = {"shape": "tiny", "device": "cpu", "dtype": "float32", "samples": 6, "threads": 1, "peak_mb": {}}
    assert expected.items() <= result.items()
    assert abs(result["tokens_per_sample"] - 140) < 30
    written = json.loads(out.read_text())
    assert result.items() <= written.items()
    assert (
        written["command"].startswith("python -m benchmarks.importance --device cpu") and "torch" in written["packages"]
    )
    assert "aten::mm" in profile.read_text()


def test_main_takes_several_shapes_and_files(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(common.SHAPES, "other", {**common.SHAPES["tiny"], "model_type": "qwen2"})
    jsonl, tsv = tmp_path / "a.jsonl", tmp_path / "b.tsv"
    jsonl.write_text("".join(json.dumps({"t": {"de": f"Satz {i}", "en": f"Clause {i}"}}) + "\n" for i in range(9)))
    tsv.write_text("".join(f"Haus {i}\thouse {i}\n" for i in range(9)))
    options = ["--shape", "tiny", "other", "--corpus", str(jsonl), str(tsv), "--fields", "t.de", "t.en"]
    benchmark.main([*SMALL, *options, "--tokens-per-sample", "0", "--samples", "18"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(result["shapes"]) == result["shape"] == ["tiny", "other"]
    assert {shape["architecture"] for shape in result["shapes"].values()} == {"llama", "qwen2"}
    for ratio, worst in zip(benchmark.RATIOS, (min, max, max), strict=True):
        assert result[ratio] == worst(shape[ratio] for shape in result["shapes"].values())


def test_only_one_subject_prints_the_peak_of_its_process(capsys):
    benchmark.main([*SMALL, "--shape", "tiny", "--only", "ours"])
    assert json.loads(capsys.readouterr().out)["peak_mb"] > 50


def test_a_naive_reference_that_runs_out_of_memory_leaves_the_other_ratios():
    def out_of_memory():
        raise torch.OutOfMemoryError("too large")

    turns = []
    subjects = {name: benchmark.Subject(10, lambda: turns.append(1), lambda: None) for name in benchmark.SUBJECTS}
    subjects["naive"] = benchmark.Subject(10, out_of_memory, lambda: None)
    spent = benchmark.rounds(subjects, 3, CPU)
    assert len(turns) == 9 and spent["naive"] == [] and len(spent["ours"]) == 3
    found = benchmark.ratios(benchmark.seconds_per_token(subjects, spent, "wall"))
    assert found["importance_vs_naive"] is None and found["importance_vs_floor"] > 0
    assert benchmark.combined({"a": found, "b": found})["importance_vs_naive"] is None
    subjects["ours"] = subjects["naive"]
    with pytest.raises(torch.OutOfMemoryError):
        benchmark.rounds(subjects, 3, CPU)


def test_samples_for_naive_have_the_same_lengths():
    examples = [Example((1,) * length) for length in (*range(100, 0, -1),)]
    chosen = [len(example) for example in benchmark.spread(examples, 10)]
    assert chosen == sorted(chosen) and sum(chosen) / 10 == pytest.approx(50.5, abs=1)
    assert len(benchmark.spread(examples, 1000)) == 100


def test_joined_pairs_are_consecutive_and_of_the_length_asked_for(prompts, pairs):
    assert list(benchmark.joined(pairs, prompts, 0)) == pairs
    found = list(benchmark.joined(pairs * 50, prompts, 300))
    lengths = [len(prompts.encode(source, target)) for source, target in found]
    assert 280 < sum(lengths) / len(lengths) < 320
    assert " ".join(source for source, _ in pairs * 50).startswith(" ".join(source for source, _ in found))


@pytest.mark.parametrize(
    ("shape", "millions"), [("88m-llama", 88.1), ("qwen2.5-7b", 7616), ("llama-2-7b", 6738), ("gemma-2-9b", 9242)]
)
def test_shapes_have_the_parameters_of_their_models(shape, millions):
    model = common.build_model(common.SHAPES[shape], torch.device("meta"), torch.bfloat16)
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.5)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
