"""Jobs of one machine share GPUs: processes and locks are real, and a double of nvidia-smi lists the devices."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caneft.runtime import lease
from tests.messages import assert_names, refused

ROOT = Path(__file__).parents[2]
# A job notes when it has which devices. O_APPEND keeps the lines whole.
JOB = (
    "import os, sys, time\n"
    "file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
    "mine = os.environ['CUDA_VISIBLE_DEVICES']\n"
    "say = lambda word: os.write(file, f'{word} {os.getpid()} {mine}\\n'.encode())\n"
    "say('got'); time.sleep(float(sys.argv[2])); say('left')\n"
)


@pytest.fixture
def environment(three_gpus):
    """Environment for this process and those it starts."""
    return os.environ


def start(notes, count=1, seconds=0.0, **more):
    command = [sys.executable, "-m", "caneft.runtime.lease", "--gpus", str(count), "--"]
    command += [sys.executable, "-c", JOB, str(notes), str(seconds)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **more)


def wait_for(notes, word, number):
    """Seconds until this number of lines begins with the word."""
    begun = time.monotonic()
    while not notes.exists() or sum(line.startswith(word) for line in notes.read_text().splitlines()) < number:
        assert time.monotonic() < begun + 60
        time.sleep(0.005)
    return time.monotonic() - begun


def held_in_order(notes):
    """Asserts from the notes that nobody gets a device that another one has. Returns who got how many."""
    holders, got = {}, {}
    for word, process, devices in (line.split() for line in notes.read_text().splitlines()):
        for device in devices.split(","):
            if word == "got":
                assert device not in holders, f"{device} is held by {holders[device]} and got by {process}"
                holders[device] = process
            else:
                assert holders.pop(device) == process
        if word == "got":
            got[process] = len(devices.split(","))
    assert not holders
    return got


@pytest.mark.parametrize("trials", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_contended_trials_never_share_a_device(environment, tmp_path, trials):
    notes, chance = tmp_path / "notes", random.Random(5)
    sizes = [chance.choice((1, 1, 1, 2, 3)) for _ in range(trials)]
    assert {1, 2, 3} == set(sizes)
    left, running = list(sizes), []
    while left or running:
        while left and len(running) < 8:
            running.append(start(notes, left.pop(), chance.uniform(0, 0.01)))
        for process in [process for process in running if process.poll() is not None]:
            assert process.returncode == 0, process.stderr.read()
            process.stderr.close()
            running.remove(process)
        time.sleep(0.01)
    assert sorted(held_in_order(notes).values()) == sorted(sizes)


def test_the_device_of_a_killed_holder_is_free_within_a_second(environment, tmp_path):
    notes = tmp_path / "notes"
    with start(notes, 3, 60) as holder:
        wait_for(notes, "got", 1)
        with start(notes, 1) as waiting:
            assert_names(waiting.stderr.readline(), "0, 1, 2", holder.pid, sys.executable)
            assert waiting.poll() is None and len(notes.read_text().splitlines()) == 1
            os.kill(holder.pid, signal.SIGKILL)
            assert wait_for(notes, "got", 2) < 1
            assert waiting.wait(30) == 0


def test_many_small_requests_do_not_keep_a_large_one_waiting(environment, tmp_path):
    """All three devices are in use when the large request comes; no later small request overtakes it."""
    notes = tmp_path / "notes"
    first = [start(notes, 1, seconds) for seconds in (1.5, 2.0, 2.5)]
    wait_for(notes, "got", 3)
    large = start(notes, 2)
    said = large.stderr.readline()
    assert_names(said, "2 ", "0, 1, 2")
    assert any(str(process.pid) in said for process in first)
    later = [start(notes, 1) for _ in range(4)]
    for process in (*first, large, *later):
        assert process.wait(60) == 0
        process.stderr.close()
    held_in_order(notes)
    got = [line.split()[1] for line in notes.read_text().splitlines() if line.startswith("got")]
    assert got.index(str(large.pid)) == 3


def test_a_child_of_a_killed_launcher_keeps_the_device(environment, tmp_path):
    """Tuning on several GPUs starts its processes like this, with the open files."""
    notes = tmp_path / "notes"
    code = "import subprocess, sys; subprocess.Popen(sys.argv[1:], close_fds=False).wait()"
    command = [sys.executable, "-m", "caneft.runtime.lease", "--gpus", "3", "--", sys.executable, "-c", code]
    with subprocess.Popen([*command, sys.executable, "-c", JOB, str(notes), "2"], cwd=ROOT) as launcher:
        wait_for(notes, "got", 1)
        launcher.kill()
    with start(notes) as other:
        assert other.wait(30) == 0
    held_in_order(notes)


UNTOUCHED = {}
FIRST = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("count", "variables", "expected"),
    [
        (1, {}, FIRST),
        (2, {}, FIRST | {"CUDA_VISIBLE_DEVICES": "0,1"}),
        (0, {}, {"CUDA_VISIBLE_DEVICES": ""}),
        (0, {"CUDA_VISIBLE_DEVICES": "1"}, UNTOUCHED),
        (1, {"CUDA_VISIBLE_DEVICES": "2"}, UNTOUCHED),
        (1, {"CUDA_VISIBLE_DEVICES": "GPU-11-ab"}, UNTOUCHED),
        (1, {"CUDA_VISIBLE_DEVICES": ""}, UNTOUCHED),
        (1, {"CUDA_VISIBLE_DEVICES": "2,1"}, FIRST | {"CUDA_VISIBLE_DEVICES": "2"}),
        (1, {"CUDA_VISIBLE_DEVICES": "GPU-22,GPU-11-ab"}, FIRST | {"CUDA_VISIBLE_DEVICES": "GPU-22"}),
        (1, {"CUDA_VISIBLE_DEVICES": "1,-1,2"}, UNTOUCHED),  # CUDA, too, sees one
        (1, {"SLURM_JOB_ID": "7"}, UNTOUCHED),
        (0, {"SLURM_JOB_ID": "7"}, UNTOUCHED),
        (2, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1"}, UNTOUCHED),
        (1, {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "1,2"}, FIRST | {"CUDA_VISIBLE_DEVICES": "1"}),
        (1, {"ACCELERATE_USE_CPU": "1"}, UNTOUCHED),
    ],
)
def test_what_is_set(environment, monkeypatch, count, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert lease.lease(count, environment) == expected


def test_an_index_and_a_uuid_of_one_device_exclude_each_other(environment, tmp_path):
    notes = tmp_path / "notes"
    with start(notes, 1, 60, env=environment | {"CUDA_VISIBLE_DEVICES": "1,2"}) as holder:
        wait_for(notes, "got", 1)
        found = lease.lease(1, environment | {"CUDA_VISIBLE_DEVICES": "GPU-11,GPU-00"})
        holder.kill()
    assert notes.read_text().split()[2] == "1"
    assert found["CUDA_VISIBLE_DEVICES"] == "GPU-00"


def test_more_than_the_machine_has_is_one_message(environment):
    with refused(4, 3, "models.*.resources.gpu", "CUDA_VISIBLE_DEVICES"):
        lease.lease(4, environment)


def test_a_machine_without_gpus_is_left_alone(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lease.lease(1, environment) == lease.lease(0, environment) == {}
    assert not (tmp_path / "leases").exists()


def test_a_python_that_an_environment_lacks_is_named_with_its_folder(tmp_path):
    gone = tmp_path / "comet/bin/python"
    command = [sys.executable, "-m", "caneft.runtime.lease", "--gpus", "0", "--", str(gone), "-m", "x"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert_names(done.stderr, f"{gone}:", f"{tmp_path / 'comet'} ")
