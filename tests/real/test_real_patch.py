"""Tunes few neurons of a real model by the step: killed and resumed, and the patch in every form that is served."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from caneft import config, neurons, patch
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.neurons import NeuronSet
from caneft.plan import settings
from caneft.translation.decoding import translate
from tests.real.conftest import PROMPT, REPOSITORY, SOURCES, TARGETS, command

LAYERS, WIDTH = 30, 1536
STEPS, RATE = 4, 3e-2
PAIRS = 4
"""As many make one step."""
DECODING = config.Decoding(length_factor=0, length_offset=16)
"""So many tokens of each sentence, whether it ends by then or not."""


@pytest.fixture(scope="module")
def tuning(smollm, disk):
    """Command line of a run into a folder of this name: one neuron in each layer, a checkpoint after each step."""
    rows = [Row(f"it.train.{n}", *pair, "it") for n, pair in enumerate(zip(SOURCES, TARGETS, strict=True))]
    store.write(disk / "train.jsonl", rows[:PAIRS])
    store.write(disk / "dev.jsonl", rows[PAIRS : PAIRS + 1])
    drawn = np.random.default_rng(1).integers(WIDTH, size=(LAYERS, 1))
    neurons.save(disk / "neurons.npz", NeuronSet(LAYERS, WIDTH, tuple(drawn)), {"neurons": LAYERS})
    given = settings.TuneSettings(
        method=config.Neurons(method="caneft", learning_rate=RATE),
        tuning=config.Tuning(epochs=STEPS, batch_size=PAIRS, dev_every=STEPS, warmup=0),
        prompt=PROMPT,
        dtype="float32",
    ).model_dump_json()
    files = ["--manifest", smollm, "--neurons", disk / "neurons.npz"]
    files += ["--train", disk / "train.jsonl", "--dev", disk / "dev.jsonl"]

    def line(name):
        run = ["--run", "smollm/de-en/all/caneft/seed1", "--seed", 1, "--settings", given, "--out", disk / name]
        return command("tune", *run, *files, "--checkpoint-seconds", 0)

    return line


@pytest.fixture(scope="module")
def tuned(tuning, disk):
    """The folder of the finished run."""
    subprocess.run(tuning("undisturbed"), cwd=REPOSITORY, env=without_git(), check=True, capture_output=True)
    return disk / "undisturbed"


def without_git():
    """Hides git: a commit made in the meantime would count as another program, so the run would start over."""
    return os.environ | {"GIT_DIR": "/nowhere"}


def test_a_killed_run_goes_on_to_the_same_bytes(tuning, tuned, disk):
    folder, checkpoint = disk / "killed", disk / "killed" / ".checkpoint"
    log = checkpoint / "log.jsonl"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(tuning("killed"), cwd=REPOSITORY, env=without_git(), **quiet) as process:
        deadline = time.monotonic() + 600
        while not (checkpoint / "state.safetensors").exists() or log.read_bytes().count(b"\n") < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
    assert {file.name for file in folder.iterdir()} == {".checkpoint"}
    done = log.read_bytes().count(b"\n")
    assert 2 <= done < STEPS
    last = subprocess.run(
        tuning("killed"), cwd=REPOSITORY, env=without_git(), check=True, capture_output=True, text=True
    )
    # the kill may come between a line of the log and its checkpoint
    assert any(f"resuming after step {step}\n" in last.stderr for step in (done - 1, done)), last.stderr
    lines = [json.loads(line) for line in (folder / "log.jsonl").open(encoding="utf-8")]
    assert [line["step"] for line in lines] == list(range(STEPS))
    for name in ("patch.safetensors", "log.jsonl", "record.json"):
        assert (folder / name).read_bytes() == (tuned / name).read_bytes(), name


def same_weights(model, weights):
    found = model.state_dict()
    return all(torch.equal(found[name], weight) for name, weight in weights.items())


def sentences(model, prompts):
    return [found.text for found in translate(model, prompts, SOURCES, DECODING)]


def test_patched_merged_and_adapted_model_translate_alike(tuned, smollm, smol, smol_prompts, command_line, room):
    path, base = tuned / "patch.safetensors", load_file(smollm.parent / "model.safetensors")
    untouched = sentences(smol, smol_prompts)
    undo = patch.swap(smol, patch.read(path))
    try:
        patched = sentences(smol, smol_prompts)
        for verb in ("merge", "to-lora"):
            assert command_line("patch", verb, smollm, path, room / verb)[0] == 0
        merged = AutoModelForCausalLM.from_pretrained(room / "merge").requires_grad_(False)
        assert all(
            torch.equal(weight, dict(smol.named_parameters())[name]) for name, weight in merged.named_parameters()
        )
    finally:
        patch.swap(smol, undo)
    assert same_weights(smol, base)
    assert patched != untouched
    assert sentences(merged, smol_prompts) == patched
    del merged
    adapted = PeftModel.from_pretrained(smol, room / "to-lora")
    try:
        assert sentences(adapted, smol_prompts) == patched
    finally:
        adapted.unload()
    assert sentences(smol, smol_prompts) == untouched


def test_a_folder_gets_its_bytes_back(tuned, smollm, command_line, room):
    def sums():
        return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.is_file()}

    folder = shutil.copytree(smollm.parent, room / "model")
    before = sums()
    assert command_line("patch", "apply", folder, tuned / "patch.safetensors")[0] == 0
    changed = sums()
    assert {name for name in before if changed[name] != before[name]} == {"model.safetensors"}
    assert command_line("patch", "revert", folder)[0] == 0
    assert sums() == before
