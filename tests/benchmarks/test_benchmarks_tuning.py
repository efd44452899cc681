"""The tuning benchmark: counts follow from arithmetic, ratios from the rows, and its checks can fail."""

import json
import re

import pytest
import torch

from benchmarks import subjects, ways
from benchmarks import tuning as benchmark
from benchmarks.common import SHAPES, Base
from caneft.prompts import collate
from tests.messages import assert_names, refused

CPU = torch.device("cpu")
TINY = SHAPES["tiny"]
HIDDEN, WIDTH, LAYERS, VOCABULARY = 32, 48, 2, 400
NEURONS = 12  # in each layer, at the fraction below
OPTIONS = ["--device", "cpu", "--shape", "tiny", "--fraction", "0.25", "--tokens-per-step", "280", "--threads", "1"]
SMALL = [*OPTIONS, "--steps", "2", "--warmup", "1", "--no-memory"]


@pytest.fixture(scope="module")
def files():
    return benchmark.read_pairs(None, (), 300)


@pytest.fixture
def read_once(files, monkeypatch):
    """`main` uses pairs that are read once."""
    monkeypatch.setattr(benchmark, "read_pairs", lambda *_: files)


@pytest.fixture
def make_case(files):
    """Makes a case of the tiny shape: make_case("--dtype", "bfloat16", checkpointing="on")."""

    def make(*more: str, checkpointing: str = "off") -> benchmark.Case:
        return benchmark.case_of(Base("tiny"), 140, checkpointing, files, benchmark.parse([*SMALL, *more]))

    return make


@pytest.fixture
def small_batch(examples):
    return collate(examples[:3], 0)


def last_line(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_main_prints_ratios_of_its_rows_in_one_json_object_and_writes_what_it_is_asked_for(capsys, tmp_path):
    out, profile = tmp_path / "out.json", tmp_path / "profile.txt"
    benchmark.main([*SMALL, "--out", str(out), "--profile", str(profile)])
    result = last_line(capsys)
    rows = result["subjects"]
    assert tuple(rows) == benchmark.SUBJECTS
    for row in rows.values():
        assert len(row["seconds"]["wall"]) == len(row["seconds"]["cpu"]) == 2
        assert row["step_seconds"] == pytest.approx(sum(row["seconds"]["wall"]) / 2, rel=1e-3)
        assert row["tokens_per_second"] == pytest.approx(result["tokens_of_a_step"] / row["step_seconds"], rel=0.2)
    for ratio, key, other in (
        ("step_vs_lora", "step_seconds", "lora-r16"),
        ("step_vs_floor", "step_seconds", "floor"),
        ("optimizer_vs_masked", "optimizer_bytes", "masked-full"),
    ):
        assert result[ratio] == pytest.approx(rows["slices"][key] / rows[other][key], rel=1e-3)
    assert result["memory_vs_lora"] is result["memory_vs_masked"] is result["model_mb"] is None
    assert result["memory_vs_masked_is"] == "measured" and result["out_of_memory"] == []
    assert 0 <= result["exactness"]["difference"] <= benchmark.TOLERANCE
    assert result["exactness"]["in_model"] == "this model"
    expected = {"shape": "tiny", "device": "cpu", "dtype": "float32", "steps": 2, "samples_per_step": 2}
    assert expected.items() <= result.items()
    written = json.loads(out.read_text())
    assert result.items() <= written.items() and written["command"].startswith("python -m benchmarks.tuning --device")
    described = profile.read_text()
    assert_names(described, *benchmark.PROFILED, "aten::mm")
    assert re.search(r"^ +\d+\.\d  \(\d+, \d+", described, re.MULTILINE)  # MB of each shape that is kept


def test_counts_follow_from_arithmetic(make_case):
    case = make_case()
    ffn = 3 * HIDDEN * WIDTH
    full = 2 * VOCABULARY * HIDDEN + LAYERS * (4 * HIDDEN**2 + ffn + 2 * HIDDEN) + HIDDEN, 2 + 9 * LAYERS + 1
    shira_rank = 5  # 2,304 weights of the slices / 480 per rank = 4.8
    expected = {  # numbers of parameters and tensors
        "slices": (LAYERS * NEURONS * 3 * HIDDEN, 3 * LAYERS),
        "lora-r16": (LAYERS * 3 * 16 * (HIDDEN + WIDTH), 6 * LAYERS),
        "lora-r32": (LAYERS * 3 * 32 * (HIDDEN + WIDTH), 6 * LAYERS),
        "shira": (LAYERS * 3 * shira_rank * (HIDDEN + WIDTH), 3 * LAYERS),
        "full": full,
        "masked-full": full,
        "floor": (0, 0),
    }
    for name, (parameters, tensors) in expected.items():
        subject = case.subject(name)
        subject.step(case.batches[0])
        assert subject.trainable == parameters, name
        assert subject.optimizer_bytes() == 2 * 4 * parameters + 4 * tensors, name
        indices = {"slices": 4 * LAYERS * NEURONS, "shira": 8 * parameters}.get(name, 0)
        header = 0 if name in ("full", "masked-full", "floor") else 8192
        assert 0 <= subject.saved_bytes() - 4 * parameters - indices <= header, name
    parts = benchmark.needed(TINY, torch.bfloat16, True)
    assert parts.pop("total") == sum(parts.values()) == 16 * full[0] + 4 * full[1] + LAYERS * ffn
    assert benchmark.needed(TINY, torch.float32, False)["total"] == 16 * full[0] + 4 * full[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_masked_full_moves_the_selected_weights_only(make_case, dtype):
    case = make_case("--dtype", dtype)
    subject, base = case.subject("masked-full"), case.model()
    for _ in range(2):
        subject.step(case.batches[0])
    selected = ways.masks(base, case.neurons)
    assert sum(int(mask.sum()) for mask in selected.values()) == LAYERS * NEURONS * 3 * HIDDEN
    moved = 0
    for (name, before), (_, after) in zip(base.named_parameters(), subject.model.named_parameters(), strict=True):
        changed = before != after
        mask = selected.get(name, torch.zeros_like(changed))
        assert not (changed & ~mask).any()
        moved += int(changed.sum())
        assert torch.equal(after, subject.way.masters[name].to(after.dtype))
    assert {master.dtype for master in subject.way.parameters()} == {torch.float32}
    assert moved > 0.1 * LAYERS * NEURONS * 3 * HIDDEN  # most steps of 1e-4 are too small for bfloat16


@pytest.mark.parametrize("shape", ["llama-2-7b", "qwen2.5-7b", "gemma-2-9b"])
def test_slices_are_masked_adam_in_every_architecture(shape, small_batch):
    small = benchmark.miniature(SHAPES[shape] | {"vocab_size": VOCABULARY})
    assert benchmark.exactness(small, small_batch, 0.1) <= benchmark.TOLERANCE


def one_bit_elsewhere(weight: torch.Tensor, selected: int, other: int) -> None:
    weight[other, 0] = weight[other, 0].nextafter(torch.ones(()))


def decay(weight: torch.Tensor, selected: int, other: int) -> None:
    weight[selected] *= 0.999


def not_a_number(weight: torch.Tensor, selected: int, other: int) -> None:
    weight[selected] = torch.nan


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (None, "masked-full"),
        (one_bit_elsewhere, "model.layers.0.mlp.gate_proj.weight"),
        (decay, "masked-full"),
        (not_a_number, "nan"),
    ],
)
def test_slices_that_are_not_masked_adam_are_an_error(small_batch, monkeypatch, change, fact):
    """change: what happens to a weight after each step of slices; None: slices do not even write their own weights."""
    real = benchmark.way_of

    def broken(name, model, neurons):
        weight, chosen = model.model.layers[0].mlp.gate_proj.weight, set(neurons.indices[0].tolist())
        way = real(name, model, neurons)
        proper, other = way.after_step, min(set(range(WIDTH)) - chosen)

        def after_step() -> None:
            if change:
                proper()
                change(weight, min(chosen), other)

        if name == "slices":
            way.after_step = torch.no_grad()(after_step)
        return way

    monkeypatch.setattr(benchmark, "way_of", broken)
    with refused(fact):
        benchmark.exactness(TINY, small_batch, 0.25)


def test_two_ways_that_both_do_nothing_are_an_error(small_batch, monkeypatch):
    monkeypatch.setattr(subjects, "RATE", 0.0)
    with refused("masked-full", f"{0:.1e}"):
        benchmark.exactness(TINY, small_batch, 0.25)


def test_the_floor_goes_back_to_the_embeddings_and_leaves_no_gradient(make_case):
    case, seen = make_case(), []
    subject = case.subject("floor")
    subject.model.model.layers[0].input_layernorm.register_full_backward_hook(lambda *_: seen.append("backward"))
    subject.step(case.batches[0])
    assert seen == ["backward"]
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_what_a_forward_pass_keeps_grows_with_the_rank_by_the_low_rank_activations(make_case):
    case = make_case()
    kept = {name: sum(case.subject(name).kept(case.batches[0]).values()) for name in benchmark.SUBJECTS}
    positions = case.batches[0].input_ids.numel()
    assert kept["lora-r32"] - kept["lora-r16"] == 4 * 16 * positions * 3 * LAYERS
    assert kept["slices"] < kept["lora-r16"]
    assert kept["full"] == kept["masked-full"] > kept["slices"]


OFTEN = ("slices", "lora-r16", "full")  # one for each way to train; `make test-all` has the others


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in benchmark.SUBJECTS]
)
def test_checkpointing_computes_layers_twice_and_changes_no_step(make_case, name):
    after = []
    for checkpointing, times in (("off", 1), ("on", 2)):
        case, calls = make_case(checkpointing=checkpointing), []
        torch.manual_seed(0)
        subject = case.subject(name)
        subject.model.model.layers[1].input_layernorm.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        subject.step(case.batches[0])
        assert len(calls) == times
        after.append([value.detach().clone() for value in subject.way.parameters()])
    for once, twice in zip(*after, strict=True):
        torch.testing.assert_close(once, twice, rtol=0, atol=0.02 * subjects.RATE)


def test_on_the_cpu_subjects_take_turns_on_the_same_batches(make_case, monkeypatch):
    steps, case = [], make_case()
    real, names = benchmark.Case.subject, {}

    def named(self, name):
        subject = real(self, name)
        names[id(subject)] = name
        return subject

    monkeypatch.setattr(benchmark.Case, "subject", named)
    monkeypatch.setattr(benchmark.Subject, "step", lambda self, batch: steps.append((names[id(self)], id(batch))))
    benchmark.timed(case, benchmark.parse([*OPTIONS, "--steps", "5", "--warmup", "1"]))
    batches = [case.batches[i] for i in (3, 0, 1, 2, 3, 0)]
    assert steps == [(name, id(batch)) for batch in batches for name in benchmark.SUBJECTS]
    widths = [batch.input_ids.numel() for batch in case.batches]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("when", ["while it is built", pytest.param("in its second step", marks=pytest.mark.slow)])
def test_what_does_not_fit_has_no_row_and_is_computed(read_once, capsys, monkeypatch, when):
    def out_of_memory(*_):
        raise torch.OutOfMemoryError("too large")

    real_step = benchmark.Subject.step

    def step(self, batch):
        if isinstance(self.way, ways.Everything | ways.Shira) and self.optimizer.state:
            out_of_memory()
        real_step(self, batch)

    monkeypatch.setattr(benchmark, "exactness", lambda *_: 0.0)
    if when == "while it is built":
        for way in (ways.Everything, ways.Shira):
            monkeypatch.setattr(way, "__init__", out_of_memory)
    else:
        monkeypatch.setattr(benchmark.Subject, "step", step)
    benchmark.main(SMALL)
    result = last_line(capsys)
    rows = result["subjects"]
    assert result["out_of_memory"] == ["shira", "full", "masked-full"] == [name for name in rows if rows[name] is None]
    assert result["memory_vs_masked_is"] == "computed"
    computed = result["needed_bytes"]["masked-full"]["optimizer"]
    assert result["optimizer_vs_masked"] == pytest.approx(rows["slices"]["optimizer_bytes"] / computed, rel=1e-3)
    assert result["step_vs_lora"] > 0


def row(**changes) -> dict:
    return {"step_seconds": 2.0, "step_cpu_seconds": 4.0, "optimizer_bytes": 100, "peak_mb": 500.0} | changes


def test_memory_on_the_cpu_is_above_the_model_and_on_cuda_with_it():
    rows = {name: row(peak_mb=None) for name in benchmark.SUBJECTS}
    peaks = {"model_only": 300.0, "slices": 400.0, "lora-r16": 500.0, "masked-full": 700.0}
    rows = benchmark.with_memory(rows, peaks)
    masked = {"total": 800 * 2**20, "weights": 300 * 2**20, "optimizer": 5000}
    found = benchmark.summary(rows, masked, CPU)
    assert (found["memory_vs_lora"], found["memory_vs_masked"]) == (0.5, 0.25)
    assert found["with_model"] == pytest.approx({"memory_vs_lora": 400 / 500, "memory_vs_masked": 400 / 700})
    found = benchmark.summary(rows, masked, torch.device("cuda"))
    assert found["memory_vs_lora"] == 400 / 500
    found = benchmark.summary(rows | {"masked-full": None}, masked, torch.device("cuda"))
    assert (found["memory_vs_masked"], found["memory_vs_masked_is"]) == (0.5, "computed")
    assert found["optimizer_vs_masked"] == 100 / 5000
    assert (
        benchmark.summary(rows | {"masked-full": None}, masked, CPU)["memory_vs_masked"] == 100 / 500
    )  # 300 are the weights
    assert benchmark.summary(rows | {"lora-r16": None}, masked, CPU)["step_vs_lora"] is None


def test_several_cases_show_their_worst_ratios(read_once, capsys, monkeypatch):
    """In each case, every number is its length in hundreds, or None."""

    def compare(base, length, checkpointing, *_):
        masked = None if checkpointing == "on" else length / 100
        case = dict.fromkeys(benchmark.RATIOS, length / 100) | {"memory_vs_masked": masked, "step_vs_floor": None}
        about = {"memory_vs_masked_is": "measured" if length == 100 else "computed", "memory_is": "what it is"}
        return case | about | {"length": length, "checkpointing": checkpointing}

    monkeypatch.setattr(benchmark, "compare", compare)
    benchmark.main([*SMALL, "--lengths", "200", "100", "--gradient-checkpointing", "off", "on"])
    result = last_line(capsys)
    cases = [(case["length"], case["checkpointing"]) for case in result["cases"]]
    assert cases == [(200, "off"), (200, "on"), (100, "off"), (100, "on")]
    assert result["step_vs_lora"] == result["memory_vs_lora"] == result["memory_vs_masked"] == 2
    assert result["memory_vs_masked_is"] == "computed" and result["step_vs_floor"] is None


def test_only_one_subject_prints_the_peak_of_its_process(read_once, capsys):
    benchmark.main([*SMALL, "--only", "slices"])
    assert json.loads(capsys.readouterr().out)["peak_mb"] > 50


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fraction", "0"],
        ["--fraction", "1.5"],
        ["--steps", "0"],
        ["--lengths", "-3"],
        ["--threads", "0"],
        ["--gradient-checkpointing", "maybe"],
        ["--shape", "gpt-2"],
    ],
)
def test_bad_arguments_are_errors(capsys, arguments):
    with pytest.raises(SystemExit):
        benchmark.parse(arguments)
    assert_names(capsys.readouterr().err.splitlines()[-1], *arguments)


def test_neurons_are_spread_evenly_over_the_layers():
    drawn = ways.some_neurons(SHAPES["88m-llama"], 0.01)
    assert drawn.per_layer().tolist() == [20] * 8
    assert drawn == ways.some_neurons(SHAPES["88m-llama"], 0.01)
    assert len({tuple(indices) for indices in drawn.indices}) == 8
