"""Tuning in its own process, killed at random moments or asked to stop, and restarted by the same command.

It also runs as two processes, which give the results of one.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from caneft import config, neurons
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.neurons import NeuronSet
from caneft.plan import settings
from caneft.storage.files import write_json

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("killed_tuning")]
STEPS = 60
METHODS = {
    "caneft": config.Neurons(method="caneft", learning_rate=1e-2),
    "lora": config.Lora(method="lora", learning_rate=1e-2, dropout=0.3),
}
ARTEFACT = {"caneft": "patch.safetensors", "lora": "adapter_model.safetensors"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("tuning")


@pytest.fixture(scope="module")
def command(root, tiny_model, tokenizer, pairs):
    """Command line of a tuning run into a folder of this name."""
    model = tiny_model("gemma2")
    model.save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    origin = {"id": "tiny", "revision": None, "folder": "model"}
    write_json(root / "manifest.json", manifests.describe(root / "model", origin, model.config))
    rows = [Row(f"it.train.{i}", *pair, "it") for i, pair in enumerate(pairs)]
    store.write(root / "train.jsonl", rows[:-2])
    store.write(root / "dev.jsonl", rows[-2:])
    some = NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))
    neurons.save(root / "neurons.npz", some, {"neurons": 5})
    tuning = config.Tuning(epochs=STEPS, batch_size=6, dev_every=7, patience=STEPS)
    prompt = settings.PromptSettings(instruction="Translate.", source_language="German", target_language="English")

    def line(folder, method, *further, seconds=0):
        given = settings.TuneSettings(method=METHODS[method], tuning=tuning, prompt=prompt, dtype="float32")
        step = [sys.executable, "-m", "workflow.scripts.tune", "--settings", given.model_dump_json(), "--seed", 3]
        step += ["--run", f"tiny/de-en/all/{method}/seed3", "--manifest", root / "manifest.json"]
        step += ["--train", root / "train.jsonl", "--dev", root / "dev.jsonl", "--out", root / folder]
        step += ["--neurons", root / "neurons.npz"] if method == "caneft" else []
        return [*map(str, [*step, "--checkpoint-seconds", seconds, *further])]

    return line


@pytest.fixture(scope="module", autouse=True)
def no_git():
    """Hides git: a commit made in the meantime would count as another program, so the run would start over."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_DIR", "/nowhere")
        yield


@pytest.fixture(scope="module")
def undisturbed(command, root):
    subprocess.run(command("undisturbed", "caneft"), check=True, capture_output=True)
    return root / "undisturbed"


def steps_done(folder):
    """Steps in the unfinished log; 0 if there is none yet."""
    try:
        return (folder / ".checkpoint" / "log.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def stopped_after(command, folder, steps, number, random_wait=0.0, **options):
    """Starts a run and sends the signal after this many steps; returns the exit code."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options) as process:
        deadline = time.monotonic() + 900
        while steps_done(folder) < steps:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(random_wait)
        os.kill(process.pid, number)
        return process.wait(60)


def assert_equal_results(first, second, method):
    names = [ARTEFACT[method], "log.jsonl", "record.json"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    left = {file.name for file in second.iterdir()} - {"adapter_config.json"}
    assert left == {"cost.json", *names}


def test_three_kills_change_no_byte(command, undisturbed, root):
    moments, folder, before = random.Random(5), root / "killed", 0
    for number in range(3):
        steps = moments.randint(before + 2, (number + 1) * STEPS // 4)
        code = stopped_after(command("killed", "caneft"), folder, steps, signal.SIGKILL, moments.uniform(0, 0.05))
        assert code == -signal.SIGKILL
        before = steps_done(folder)
        assert steps <= before < STEPS and {file.name for file in folder.iterdir()} == {".checkpoint"}
    last = subprocess.run(command("killed", "caneft"), check=True, capture_output=True, text=True)
    assert f"resuming after step {before}" in last.stderr or f"resuming after step {before - 1}" in last.stderr
    assert_equal_results(undisturbed, folder, "caneft")


def test_sigterm_ends_with_a_checkpoint(command, root):
    """LoRA has dropout, so that every random number counts."""
    subprocess.run(command("whole", "lora", seconds=3600), check=True, capture_output=True)
    folder, line = root / "stopped", command("stopped", "lora", seconds=3600)
    assert stopped_after(line, folder, 10, signal.SIGTERM) == 128 + signal.SIGTERM
    before = steps_done(folder)
    last = subprocess.run(line, check=True, capture_output=True, text=True)
    assert f"resuming after step {before}" in last.stderr
    assert_equal_results(root / "whole", folder, "lora")


def test_two_processes_leave_what_one_leaves(command, undisturbed, root, monkeypatch):
    """accelerate's variable keeps them on the CPU, because there are not enough GPUs."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    subprocess.run(command("two", "caneft", "--gpus", 2, seconds=3600), check=True, capture_output=True)
    files = "patch.safetensors", "log.jsonl", "record.json", "cost.json"
    assert {file.name for file in (root / "two").iterdir()} == set(files)
    found, expected = (json.loads((folder / "record.json").read_text()) for folder in (root / "two", undisturbed))
    found, expected = found | found.pop("tuning"), expected | expected.pop("tuning")
    assert found.keys() == expected.keys()
    assert found.pop("files") != expected.pop("files")  # sums in another order are rounded differently
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value, rel=1e-3) if isinstance(value, float) else value), key
    lines = [[json.loads(line) for line in (root / name / "log.jsonl").open()] for name in ("two", "undisturbed")]
    assert [line.keys() for line in lines[0]] == [line.keys() for line in lines[1]]
