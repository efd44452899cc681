"""A dump in separate processes, killed at random moments and restarted with as many processes or with others."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from caneft import config
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.plan import settings
from caneft.storage.files import write_json

pytestmark = pytest.mark.slow
COPIES = 20  # of each pair: more than a hundred passes with one sample each


@pytest.fixture
def command(tmp_path, tiny_model, tokenizer, pairs, monkeypatch):
    """Command line of a dump into a folder of this name, with this number of processes on the CPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    model = tiny_model("gemma2", num_hidden_layers=4)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    manifest = manifests.describe(tmp_path / "model", {"id": "tiny", "revision": None, "folder": "model"}, model.config)
    write_json(tmp_path / "manifest.json", manifest)
    rows = [Row(f"it.train.{i}", *pairs[i % len(pairs)]) for i in range(COPIES * len(pairs))]
    store.write(tmp_path / "train.jsonl", rows)
    importance = config.Importance(samples=len(rows), tokens_per_batch=1)
    prompt = settings.PromptSettings(instruction="Translate.", source_language="German", target_language="English")
    given = settings.DumpSettings(importance=importance, prompt=prompt, dtype="float32")

    def line(folder, gpus=0, settings=given):
        (tmp_path / folder).mkdir(exist_ok=True)
        step = [sys.executable, "-m", "workflow.scripts.dump_importance", "--settings", settings.model_dump_json()]
        step += ["--model", "tiny", "--domain", "it", "--manifest", tmp_path / "manifest.json"]
        step += ["--corpus", tmp_path / "train.jsonl", "--gpus", gpus, "--scores", tmp_path / folder / "it.npy"]
        return [*map(str, step)]

    line.settings = given
    return line


def finished_batches(folder):
    """Batches in the state file, plus those with a record beside it; 0 if there are none yet."""
    try:
        with np.load(folder / ".it.partial" / "state.npz") as state:
            first = len(state["checksums"])
        return first + sum(int(file.stem[6:]) >= first for file in (folder / ".it.partial").glob("batch-*.npz"))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return 0


def kill_after(command, folder, batches, kill=lambda process: os.killpg(process.pid, signal.SIGKILL)):
    """Starts the dump and kills it after this many batches; returns the batches by then, and the exit code."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, start_new_session=True, **quiet)
    deadline = time.monotonic() + 900
    while finished_batches(folder) < batches:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(random.uniform(0, 0.02))
    kill(process)
    code = process.wait(900)
    return finished_batches(folder), code


def test_three_kills_change_no_byte(command, tmp_path, pairs):
    subprocess.run(command("undisturbed"), check=True, capture_output=True)
    total, moments = COPIES * len(pairs), random.Random(time.time_ns())
    folder = tmp_path / "disturbed"
    done = 0
    for _ in range(3):
        after, code = kill_after(command("disturbed"), folder, moments.randint(done + 1, done + total // 4))
        assert done < after < total and code == -signal.SIGKILL
        assert [file.name for file in folder.iterdir()] == [".it.partial"]
        done = after
    last = subprocess.run(command("disturbed"), check=True, capture_output=True, text=True)
    assert f"resuming after batch {done} of {total}" in last.stderr
    names = ["it.json", "it.npy", "it.stats.npz"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert sorted(file.name for file in folder.iterdir()) == ["it.cost.json", *names]
    assert json.loads((folder / "it.json").read_text())["shape"] == [4, total, 40]


def processes_of(launcher):
    """Ids of the processes that a launcher started."""
    return [int(number) for number in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]


def terminate(process):
    process.send_signal(signal.SIGTERM)


def kill_one(process):
    os.kill(processes_of(process.pid)[-1], signal.SIGKILL)


def test_several_processes_leave_the_bytes_of_one_however_they_end(command, tmp_path, pairs):
    """Three processes are killed as a group, two asked to end, one of three killed, then one, and then two again."""
    subprocess.run(command("alone"), check=True, capture_output=True)
    total, folder, done = COPIES * len(pairs), tmp_path / "shared", 0
    group = lambda process: os.killpg(process.pid, signal.SIGKILL)  # noqa: E731
    for count, kill, expected in (
        (3, group, -signal.SIGKILL),
        (2, terminate, 128 + signal.SIGTERM),
        (3, kill_one, 128 + signal.SIGKILL),
        (0, group, -signal.SIGKILL),
    ):
        after, code = kill_after(command("shared", count), folder, done + total // 12, kill)
        assert done < after < total and code == expected
        assert [file.name for file in folder.iterdir()] == [".it.partial"]
        done = after
    last = subprocess.run(command("shared", 2), check=True, capture_output=True, text=True)
    assert last.stderr.count(f"resuming after batch {done} of {total}") == 1
    names = ["it.json", "it.npy", "it.stats.npz"]
    for name in names:
        assert (folder / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
    assert sorted(file.name for file in folder.iterdir()) == ["it.cost.json", *names]


def test_processes_that_fail_say_why_once(command):
    """First a score exceeds what float16 holds, in one process; then the corpus is too small, in all."""
    settings = command.settings
    for changed, words in (
        ({"scale_exponent": 60}, "saturates float16. Set models.tiny"),
        ({"samples": 9999}, "9999;"),
    ):
        importance = settings.importance.model_copy(update=changed)
        line = command("failing", 2, settings.model_copy(update={"importance": importance}))
        failed = subprocess.run(line, capture_output=True, text=True)
        assert failed.returncode == 1
        assert failed.stderr.count("Error: ") == 1 and words in failed.stderr and "Traceback" not in failed.stderr


def test_a_second_job_on_the_same_dump_is_refused(command, tmp_path):
    seen = []

    def start_another(process):
        os.killpg(process.pid, signal.SIGSTOP)  # else it may finish before the other has begun
        seen.append(subprocess.run(command("same", 2), capture_output=True, text=True))
        os.killpg(process.pid, signal.SIGCONT)
        terminate(process)

    kill_after(command("same", 2), tmp_path / "same", 1, start_another)
    assert seen[0].returncode == 1 and seen[0].stderr.count("Error: ") == 1
    assert ".it.partial: another process is writing this dump" in seen[0].stderr
