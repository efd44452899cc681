"""Neuron tuning in other trainers, by the files in examples/: the result equals that of our own loop.

Two processes run this file, too.
"""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch.distributed import TCPStore
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from caneft import config, neurons, patch
from caneft.neurons import NeuronSet
from caneft.prompts import Example
from caneft.runtime import launching
from caneft.runtime.parallel import ALONE
from caneft.tuning.neuron_rows import NeuronRows
from caneft.tuning.passes import Passes
from caneft.tuning.trainer import NeuronTrainer, TunesNeurons
from caneft.tuning.training import Training
from tests.conftest import PAIRS
from tests.messages import refused
from tests.unit.test_neuron_rows import assert_only_selected_weights_moved, some_neurons

ROOT, MODULE = Path(__file__).parents[2], "tests.unit.test_trainer"
TRAINERS = ["transformers_trainer", "trl_sft"]
STEPS, RATE, CLIP, DECAY = 6, 1e-2, 0.1, 0.1


@pytest.fixture(params=TRAINERS)
def trainer(request) -> str:
    """Each example in turn; environments older than the pin of TRL lack it."""
    if request.param == "trl_sft":
        pytest.importorskip("trl", reason="TRL is not installed: make .venv/.ready")
    return request.param


@pytest.fixture
def folder(tmp_path, tiny_model, tokenizer):
    """The inputs of the examples: a model folder, a set of neurons, and pairs."""
    return prepared(tmp_path, tiny_model(initializer_range=0.1), tokenizer)


def prepared(folder, model, tokenizer):
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    neurons.save(folder / "neurons.npz", some_neurons(), {})
    rows = [json.dumps({"source": source, "target": target}, ensure_ascii=False) for source, target in PAIRS]
    (folder / "pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder


def run(trainer, folder, out="out", **options):
    """Runs the example and returns its trainer. Steps have four pairs, in two passes."""
    given = {"model": folder / "model", "neurons": folder / "neurons.npz", "pairs": folder / "pairs.jsonl"}
    given |= {"output_dir": folder / out, "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    given |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": STEPS}
    given |= {"learning_rate": RATE, "max_grad_norm": CLIP, "weight_decay": DECAY, "save_strategy": "no"}
    before = sys.argv
    sys.argv = [trainer, *(str(part) for name, value in (given | options).items() for part in (f"--{name}", value))]
    try:
        return runpy.run_path(str(ROOT / "examples" / f"{trainer}.py"))["main"]()
    finally:
        sys.argv = before


def base(folder):
    return AutoModelForCausalLM.from_pretrained(folder / "model").requires_grad_(False)


@pytest.fixture
def passes(monkeypatch):
    """Learning rate and examples of every pass of a trainer, as they reach its model."""
    found, step = [], Trainer.training_step

    def recorded(self, model, inputs, *rest):
        tensors = (inputs[name].tolist() for name in ("input_ids", "labels", "attention_mask"))
        rows = [list(zip(*row, strict=True)) for row in zip(*tensors, strict=True)]
        prompts = [tuple(token for token, label, seen in row if seen and label == -100) for row in rows]
        responses = [tuple(label for _, label, seen in row if seen and label != -100) for row in rows]
        found.append((self._get_learning_rate(), [*map(Example, prompts, responses)]))
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(Trainer, "training_step", recorded)
    return found


def test_it_ends_where_our_own_loop_does(trainer, folder, passes):
    """Our loop gets the same batches at the same rates, with clipping, decay, and several passes per step."""
    theirs, model = run(trainer, folder), base(folder).train()
    with NeuronRows(model, some_neurons()) as tuned:
        settings = config.Tuning(clip=CLIP, weight_decay=DECAY)
        training = Training(Passes(model, tuned, 0, 10_000), [], settings, ALONE)
        for (rate, first), (_, second) in zip(passes[::2], passes[1::2], strict=True):
            training.step([*first, *second], rate, trial=False)
            assert training.state.lines[-1]["norm"] > CLIP
        expected = [master.detach().clone() for master in tuned.parameters()]
    assert len(training.state.lines) == STEPS and len({rate for rate, _ in passes}) == STEPS
    assert {len(examples) for _, examples in passes} == {2}
    for found, master in zip(theirs.tuned.parameters(), expected, strict=True):
        torch.testing.assert_close(found.detach(), master, rtol=0, atol=1e-6)


def test_it_changes_nothing_else_and_leaves_the_patch(trainer, folder):
    theirs, before = run(trainer, folder), base(folder)
    assert assert_only_selected_weights_moved(theirs.model, before, some_neurons()) > 0.9
    assert patch.apply(folder / "out" / "patch.safetensors", before) == some_neurons()
    assert_same_weights(theirs.model, before)
    assert patch.read(folder / "out" / "patch.safetensors").base == {"id": "model"}
    assert not list((folder / "out").rglob("model*.safetensors"))


def assert_same_weights(found, expected):
    found, expected = found.state_dict(), expected.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.slow
def test_it_goes_on_from_a_checkpoint_as_if_nothing_had_happened(trainer, tmp_path, tiny_model, tokenizer):
    """The model is in bfloat16, where the patch alone has lost what the masters know."""
    folder = prepared(tmp_path, tiny_model(dtype=torch.bfloat16), tokenizer)
    saving = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-4}
    undisturbed = run(trainer, folder, **saving)
    resumed = run(trainer, folder, "resumed", resume_from_checkpoint=folder / "out" / "checkpoint-4", **saving)
    assert resumed.state.global_step == STEPS
    assert_same_weights(resumed.model, undisturbed.model)
    masters = zip(resumed.tuned.parameters(), undisturbed.tuned.parameters(), strict=True)
    assert all(torch.equal(found, expected) for found, expected in masters)
    rounded = [master.detach().to(torch.bfloat16).float() for master in resumed.tuned.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(rounded, resumed.tuned.parameters(), strict=True))


def of_neurons(folder, model, **options):
    """A trainer on single tokens, whose target is one and the same token."""
    args = {"output_dir": folder / "out", "use_cpu": True, "report_to": "none", "disable_tqdm": True}
    rows = [{"input_ids": [5, 9 + place], "labels": [-100, 9]} for place in range(8)]
    args = TrainingArguments(
        **args | {"learning_rate": RATE, "max_steps": 3, "per_device_train_batch_size": 4} | options
    )
    return NeuronTrainer(model=model, neurons=some_neurons(), args=args, train_dataset=rows, eval_dataset=rows)


def test_the_best_checkpoint_comes_back(tmp_path, tiny_model):
    """Here the best checkpoint is the one with the highest loss, which is the first."""
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    options |= {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": True}
    trained = of_neurons(tmp_path, tiny_model(), **options)
    trained.train()
    losses = [line["eval_loss"] for line in trained.state.log_history if "eval_loss" in line]
    assert losses[0] > 1.01 * max(losses[1:])
    assert trained.evaluate()["eval_loss"] == pytest.approx(losses[0], rel=1e-6)
    trained.save_model()
    model = tiny_model()
    patch.apply(tmp_path / "out" / "patch.safetensors", model)
    assert_same_weights(trained.model, model)


def test_a_tuned_model_is_an_ordinary_one(tmp_path, tiny_model):
    trained = of_neurons(tmp_path, tiny_model(), save_strategy="no")
    trained.train()
    trained.model.save_pretrained(tmp_path / "whole")
    assert_same_weights(AutoModelForCausalLM.from_pretrained(tmp_path / "whole"), trained.model)
    trained.model.load_state_dict(trained.model.state_dict())
    model = trained.detach()
    assert not any("forward" in vars(module) for module in model.modules())
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in tiny_model().named_parameters()]


def test_a_checkpoint_of_other_neurons_or_of_another_base_is_refused(tmp_path, tiny_model):
    of_neurons(tmp_path, tiny_model(), save_strategy="steps", save_steps=3).train()
    checkpoint = tmp_path / "out" / "checkpoint-3"
    with refused(checkpoint / "patch.safetensors", 7):
        of_neurons(tmp_path, tiny_model(seed=1)).train(checkpoint)
    others = NeuronSet(3, 40, (np.array([0]), np.array([1]), np.array([2])))
    args = TrainingArguments(tmp_path / "out", use_cpu=True, report_to="none")
    with refused(checkpoint / "patch.safetensors", "neurons"):
        NeuronTrainer(model=tiny_model(), neurons=others, args=args, train_dataset=[{}]).train(checkpoint)


def refuses(folder, model, *facts, kind=NeuronTrainer, set_to=None, **options):
    args = TrainingArguments(folder / "out", use_cpu=True, report_to="none", **options)
    for name, value in (set_to or {}).items():
        setattr(args, name, value)
    with refused(*facts):
        kind(model=model, neurons=some_neurons(), args=args)


@pytest.mark.parametrize("name", ["bf16_full_eval", "fp16_full_eval", "use_liger_kernel"])
def test_arguments_that_do_not_go_with_neurons_are_refused(tmp_path, tiny_model, name):
    refuses(tmp_path, tiny_model(), f"{name}=True", set_to={name: True})


def test_mixed_precision_is_refused_whoever_asks_for_it(tmp_path, tiny_model, monkeypatch):
    refuses(tmp_path, tiny_model(), "bf16=False", "float32", bf16=True)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as `accelerate launch` sets it
    refuses(tmp_path, tiny_model(), "bf16", "accelerate launch --mixed_precision no")


def test_several_gpus_in_one_process_are_refused(tmp_path, tiny_model):
    refuses(tmp_path, tiny_model(), 2, "torchrun", "CUDA_VISIBLE_DEVICES", set_to={"_n_gpu": 2})


class InParts(TunesNeurons, Trainer):
    """A trainer that believes it was started with FSDP."""

    def create_accelerator_and_postprocess(self):
        super().create_accelerator_and_postprocess()
        self.is_fsdp_enabled = True


def test_a_model_in_parts_is_refused(tmp_path, tiny_model):
    refuses(tmp_path, tiny_model(), "FSDP", kind=InParts)


def test_what_is_no_loaded_model_is_refused(tmp_path):
    refuses(tmp_path, "a/name", "str")


def test_a_lora_beside_the_neurons_is_refused(folder):
    trl = pytest.importorskip("trl", reason="TRL is not installed: make .venv/.ready")
    from peft import LoraConfig

    class NeuronSFTTrainer(TunesNeurons, trl.SFTTrainer):
        pass

    args = trl.SFTConfig(folder / "out", use_cpu=True, bf16=False, report_to="none")
    rows = Dataset.from_list([{"prompt": "a", "completion": "b"}])
    options = {"args": args, "train_dataset": rows, "peft_config": LoraConfig(target_modules=["q_proj"])}
    with refused("peft_config"):
        NeuronSFTTrainer(model=base(folder), neurons=some_neurons(), **options)


@pytest.mark.slow
def test_two_processes_end_like_one(trainer, folder):
    """Each process makes one of a step's two passes."""
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = launching._environment(2, 2, meeting.port)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", MODULE, trainer, str(folder)],
            cwd=ROOT,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    alone = run(trainer, folder).model.state_dict()
    first, second = (load_file(folder / f"{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys() == alone.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name, weight in alone.items():
        torch.testing.assert_close(first[name], weight, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


def test_the_commands_of_the_guide_run(trainer, tmp_path, tiny_model, tokenizer, command_line, monkeypatch):
    """Runs those of docs/trainers.md on the demo's files, with the set that the page's Python draws."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "trainers.md").read_text(encoding="utf-8")
    wide = tiny_model(intermediate_size=384)
    folder = prepared(tmp_path, wide, tokenizer)
    exec(re.findall(r"```python\n(.+?)```", text, re.DOTALL)[-1], {})
    for found, there in (
        ("model", "models/tiny-llama"),
        ("SET.npz", "neurons/tiny-llama/de-en/all/caneft/draw0.npz"),
        ("pairs.jsonl", "mixtures/de-en/all/train.jsonl"),
    ):
        Path("results", there).parent.mkdir(parents=True)
        (folder / found).rename(Path("results", there))
    blocks = [block.splitlines() for block in re.findall(r"```sh\n(.+?)```", text, re.DOTALL)]
    (block,) = (block for block in blocks if f"examples/{trainer}.py" in block[0])
    first, *others = (line.split() for line in block)
    quietly = ["--use_cpu", "--report_to", "none", "--disable_tqdm", "yes"]
    monkeypatch.setattr(sys, "argv", [*first[1:], *quietly])
    ended = runpy.run_path(str(ROOT / first[1]))["main"]()
    for line in others:
        assert line[:3] == ["python", "-m", "caneft"]
        assert command_line(*line[3:])[0] == 0, line
    merged = AutoModelForCausalLM.from_pretrained("merged") if others else ended.model
    chosen = patch.read(Path(ended.args.output_dir, "patch.safetensors")).neurons
    assert len(chosen) == 115
    assert assert_only_selected_weights_moved(merged, wide, chosen) > 0.9


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    ended = run(name, folder, gradient_accumulation_steps=1)
    save_file(ended.model.state_dict(), folder / f"{ended.args.process_index}.safetensors")
