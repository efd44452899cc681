"""A dump as a process of its own, killed (SIGKILL) at random moments and started again by the same command."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from caneft import config, settings
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.files import write_json
from caneft.models import loading

COPIES = 60  # of each pair: hundreds of passes of one sample each


@pytest.fixture
def command(tmp_path, tiny_model, tokenizer, pairs):
    """Command line of a dump into a folder of that name."""
    model = tiny_model("gemma2", num_hidden_layers=4)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    manifest = loading.describe(tmp_path / "model", {"id": "tiny", "revision": None, "folder": "model"}, model.config)
    write_json(tmp_path / "manifest.json", manifest)
    rows = [Row(f"it.train.{i}", *pairs[i % len(pairs)]) for i in range(COPIES * len(pairs))]
    store.write(tmp_path / "train.jsonl", rows)
    importance = config.Importance(samples=len(rows), tokens_per_batch=1)
    prompt = settings.PromptSettings(instruction="Translate.", source_language="German", target_language="English")
    given = settings.DumpSettings(importance=importance, prompt=prompt, dtype="float32")

    def line(folder):
        (tmp_path / folder).mkdir(exist_ok=True)
        step = [sys.executable, "-m", "workflow.scripts.dump_importance", "--settings", given.model_dump_json()]
        step += ["--model", "tiny", "--domain", "it", "--manifest", tmp_path / "manifest.json"]
        return [*map(str, step + ["--corpus", tmp_path / "train.jsonl", "--scores", tmp_path / folder / "it.npy"])]

    return line


def finished_batches(folder):
    """As the state file tells; 0 while there is none."""
    try:
        with np.load(folder / ".it.partial" / "state.npz") as state:
            return len(state["checksums"])
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return 0


def kill_after(command, folder, batches):
    """Starts the dump and kills it once so many batches are done; returns how many it had finished."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while finished_batches(folder) < batches:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(random.uniform(0, 0.02))
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return finished_batches(folder)


def test_three_kills_change_no_byte(command, tmp_path, pairs):
    subprocess.run(command("undisturbed"), check=True, capture_output=True)
    total, moments = COPIES * len(pairs), random.Random(time.time_ns())
    folder = tmp_path / "disturbed"
    done = 0
    for _ in range(3):
        after = kill_after(command("disturbed"), folder, moments.randint(done + 1, done + total // 4))
        assert done < after < total
        assert [file.name for file in folder.iterdir()] == [".it.partial"]
        done = after
    last = subprocess.run(command("disturbed"), check=True, capture_output=True, text=True)
    assert f"going on after batch {done} of {total}" in last.stderr
    names = ["it.json", "it.npy", "it.stats.npz"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert sorted(file.name for file in folder.iterdir()) == ["it.cost.json", *names]
    assert json.loads((folder / "it.json").read_text())["shape"] == [4, total, 40]
