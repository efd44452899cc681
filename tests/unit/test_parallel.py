"""Data parallel training with two processes on the CPU ends like one process. These processes run this file, too.

Importing all that training needs takes longer than the training here. In `make test`, the second process is therefore
forked from the first after the imports, and the launcher itself is tested with processes that import nothing.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.distributed import TCPStore

from caneft import config
from caneft.neurons import NeuronSet
from caneft.prompts import Example
from caneft.runtime import launching, parallel
from caneft.runtime.devices import prepare, processes
from caneft.runtime.parallel import ALONE, Processes, Team, pieces
from caneft.tuning import checkpoint
from caneft.tuning import methods as tuning_methods
from caneft.tuning.checkpoint import Checkpoints
from caneft.tuning.loop import train
from caneft.tuning.passes import Passes
from caneft.tuning.training import Training
from tests.messages import refused

ROOT, MODULE = Path(__file__).parents[2], "tests.unit.test_parallel"
METHODS = {
    "full": config.Full(method="full", learning_rate=1e-3),
    "lora": config.Lora(method="lora", learning_rate=1e-2, rank=2, dropout=0.3),
    "adapters": config.Adapters(method="adapters", learning_rate=1e-2, bottleneck=3),
    "caneft": config.Neurons(method="caneft", learning_rate=1e-2),
}

ALIKE = [name for name in METHODS if name != "lora"]  # its dropout differs between processes


def tuned(folder, method, team, watch=lambda step: None, seconds=3600.0):
    """Trains on all but three of the examples in `folder`, in steps of 4 and 1; in the latter, one process has no work.

    Writes `{method}.{rank}.safetensors`, the outcome beside it, and the main process's log.
    """
    from transformers import AutoModelForCausalLM

    prepare(1, 5)
    model = AutoModelForCausalLM.from_pretrained(folder / "model").requires_grad_(False).eval()
    examples = [Example(*map(tuple, ids), domain) for *ids, domain in json.loads((folder / "examples").read_text())]
    neurons = NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))
    way = tuning_methods.trainable(model, METHODS[method], "float32", neurons, {}, sorted({e.domain for e in examples}))
    after_step, count = way.after_step, [0]

    def counted():
        after_step()
        count[0] += 1
        watch(count[0])

    way.after_step = counted
    checkpoints = Checkpoints(folder / f"{method}.{team.count}", "same", seconds, team)
    tuning = config.Tuning(batch_size=4, tokens_per_batch=150, epochs=3, weight_decay=0.1, dev_every=1, patience=5)
    rate, log = METHODS[method].learning_rate, folder / f"{method}.{team.count}.log"
    outcome = train(
        model, way, examples[:-3], examples[-3:], tuning, rate, 5, 0, log, checkpoints=checkpoints, team=team
    )
    checkpoints.discard()
    values = {str(i): value.detach().clone() for i, value in enumerate(way.parameters())}
    name = f"{method}.{team.count}.{team.rank}"
    save_file(values | {f"model.{k}": v for k, v in model.state_dict().items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(asdict(outcome)))


def worker(task, folder, *arguments):
    team = parallel.join(2)
    assert isinstance(team, Processes) and team.count == 2
    if task == "methods":
        for method in ALIKE:
            tuned(folder, method, team)
    if task == "lora":
        signalled = arguments == ("stop",) and not team.main  # only one of the two
        save = checkpoint.save_file
        checkpoint.save_file = lambda *args, **options: (time.sleep(2), save(*args, **options))

        def watch(step):
            if signalled and step == 2:
                os.kill(os.getpid(), signal.SIGUSR1)

        tuned(folder, "lora", team, watch)
    team.leave()


def split(*arguments):
    """Forks this process, as if `launch` had started two, and runs the worker in both."""
    child = os.fork()
    os.environ |= {"RANK": str(int(child == 0)), "LOCAL_RANK": str(int(child == 0))}
    worker(*arguments)
    if child and os.waitpid(child, 0)[1] != 0:
        sys.exit("the second process failed")


@pytest.fixture
def folder(tmp_path, tiny_model, examples, monkeypatch):
    """A model, eight examples of two domains, and an environment in which processes stay on the CPU."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    tiny_model().save_pretrained(tmp_path / "model")
    ids = [[e.prompt, e.response, "law" if i == 4 else "it"] for i, e in enumerate(examples)]
    (tmp_path / "examples").write_text(json.dumps(ids))
    return tmp_path


def launched(*arguments, processes=2):
    return launching.launch(MODULE, [str(argument) for argument in arguments], processes, "tuning")


def results(folder, name):
    return load_file(folder / f"{name}.safetensors"), json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
def test_two_processes_end_like_one(folder):
    command = [sys.executable, "-m", MODULE, "split", "methods", str(folder)]
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    subprocess.run(command, cwd=ROOT, env=launching._environment(2, 2, meeting.port), check=True, timeout=600)
    both_end_like_one(folder)


@pytest.mark.slow
def test_two_processes_that_are_launched_end_like_one(folder, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert launched("methods", folder) == 0
    both_end_like_one(folder)


def both_end_like_one(folder):
    for method in ALIKE:
        tuned(folder, method, ALONE)
        (first, outcome), (second, same_outcome) = (results(folder, f"{method}.2.{rank}") for rank in range(2))
        alone, expected = results(folder, f"{method}.1.0")
        assert first.keys() == second.keys() == alone.keys()
        assert all(torch.equal(first[name], second[name]) for name in first), method
        for name in first:
            torch.testing.assert_close(first[name], alone[name], rtol=1e-4, atol=2e-5, msg=f"{method} {name}")
        assert outcome == same_outcome
        assert outcome.pop("diverged_at") is expected.pop("diverged_at") is None
        assert outcome == pytest.approx(expected, rel=1e-4)
        logs = [(folder / f"{method}.{count}.log").read_text().splitlines() for count in (1, 2)]
        for line, other in zip(*(map(json.loads, log) for log in logs), strict=True):
            assert line == pytest.approx(other, rel=1e-3)
        assert len(logs[0]) == outcome["steps"] == 6


@pytest.mark.slow
def test_processes_go_on_where_one_was_told_to_stop(folder, monkeypatch):
    """The random numbers of both are those of an undisturbed run; neither ends before the checkpoint is written."""
    monkeypatch.chdir(ROOT)
    assert launched("lora", folder) == 0
    undisturbed = [results(folder, f"lora.2.{rank}") for rank in range(2)]
    log = (folder / "lora.2.log").read_bytes()
    for file in folder.glob("lora.2.*"):
        file.unlink()
    monkeypatch.setattr(launching, "GRACE", 0.5)  # less than writing the checkpoint takes
    code = launched("lora", folder, "stop")
    assert code in (128 + signal.SIGTERM, 128 + signal.SIGUSR1)
    assert not list(folder.glob("lora.2.*.json"))
    assert (folder / "lora.2" / "state.safetensors").exists()
    assert launched("lora", folder) == 0
    for rank, (values, outcome) in enumerate(undisturbed):
        found, same_outcome = results(folder, f"lora.2.{rank}")
        assert all(torch.equal(found[name], values[name]) for name in values) and same_outcome == outcome
    assert (folder / "lora.2.log").read_bytes() == log


@pytest.fixture
def light(tmp_path, monkeypatch):
    """Launches two processes that run this code without importing torch; returns their exit code."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.chdir(tmp_path)

    def run(code):
        (tmp_path / "light.py").write_text(f"import os, signal, sys, time\nrank = os.environ['RANK']\n{code}")
        return launching.launch("light", [], 2, "tuning")

    return run


def test_one_that_fails_ends_the_others(light, monkeypatch, capfd):
    monkeypatch.setattr(launching, "GRACE", 0.5)
    start = time.monotonic()
    assert light("time.sleep(120) if rank == '0' else sys.exit('something in one process')") == 1
    assert "something in one process" in capfd.readouterr().err
    assert time.monotonic() - start < 90


REACHED = """
def reached(number, _):
    open(f"reached.{rank}", "w").close()
    os._exit(number)
signal.signal(signal.SIGUSR1, reached)
open(f"ready.{rank}", "w").close()
time.sleep(120)
"""


def test_signals_reach_every_process(light, tmp_path):
    ours, ended, start = signal.signal(signal.SIGUSR1, signal.SIG_IGN), threading.Event(), time.monotonic()

    def ask():
        while not ended.wait(0.05):
            if len(list(tmp_path.glob("ready.*"))) == 2:
                os.kill(os.getpid(), signal.SIGUSR1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert light(REACHED) == signal.SIGUSR1  # their exit code
    finally:
        ended.set()
        asking.join()
        signal.signal(signal.SIGUSR1, ours)
    assert sorted(file.name for file in tmp_path.glob("reached.*")) == ["reached.0", "reached.1"]
    assert time.monotonic() - start < 90  # long before their sleep would end


def test_a_signal_while_they_are_started_reaches_them_all(light, monkeypatch):
    """The signal comes after the first process has started and before the second."""
    start, ours = subprocess.Popen, signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def started(*arguments, **named):
        process = start(*arguments, **named)
        if named["env"]["RANK"] == "0":
            os.kill(os.getpid(), signal.SIGUSR1)
        return process

    monkeypatch.setattr(launching.subprocess, "Popen", started)
    monkeypatch.setattr(launching, "GRACE", 20)
    try:
        before = time.monotonic()
        assert light("time.sleep(60)") == 128 + signal.SIGUSR1
        assert time.monotonic() - before < 15  # the second did not wait for its kill
    finally:
        signal.signal(signal.SIGUSR1, ours)


def test_processes_that_are_started_end_with_one_that_is_not(light, monkeypatch, tmp_path):
    start, processes = subprocess.Popen, []

    def started(*arguments, **named):
        if processes:
            raise OSError("no more processes")
        processes.append(start(*arguments, **named))
        return processes[0]

    monkeypatch.setattr(launching.subprocess, "Popen", started)
    monkeypatch.setattr(launching, "GRACE", 0.1)
    with pytest.raises(OSError, match="no more processes"):
        light("time.sleep(60)")
    assert processes[0].poll() is not None


def test_one_that_a_signal_ends_has_the_exit_code_of_a_shell(light):
    assert light("os.kill(os.getpid(), signal.SIGUSR1) if rank == '1' else None") == 128 + signal.SIGUSR1


def test_more_gpus_than_there_are_is_an_error(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    for visible, shown in ((0, "none"), (1, 1), (2, 2)):
        monkeypatch.setattr(torch.cuda, "device_count", lambda visible=visible: visible)
        with refused(3, "models.*.resources.gpu", shown):
            launched("methods", processes=3)


@pytest.mark.parametrize("inside", [False, True])
def test_several_nodes_are_those_of_a_slurm_job(monkeypatch, tmp_path, inside):
    """Without a Slurm job or without srun, a message says so. tests/slurm has two nodes."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    if inside:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("PATH", str(tmp_path))
    with refused("models.*.resources.nodes", 2, "Slurm"):
        launching.launch(MODULE, [], 2, "tuning", nodes=2)


def test_processes_are_counted_over_nodes():
    assert [processes(*asked) for asked in ((0, "none"), (3, "none"), (3, "auto"))] == [1, 3, 1]
    assert [processes(*asked) for asked in ((0, "none", 2), (6, "none", 2))] == [2, 6]


def test_a_process_on_its_own_touches_nothing_distributed(monkeypatch, examples):
    assert parallel.join(1) is parallel.join(0) is ALONE
    monkeypatch.setenv("WORLD_SIZE", "2")  # left over from some cluster
    monkeypatch.setenv("RANK", "1")
    assert parallel.join(1) is ALONE
    assert ALONE.main and ALONE.part(examples) is examples and ALONE.sum([1, 2.5]) == [1, 2.5]
    assert torch.equal(ALONE.gather(torch.arange(3)), torch.tensor([[0, 1, 2]]))
    assert not torch.distributed.is_initialized()


def test_every_process_has_random_numbers_of_its_own(tiny_model, examples):
    """Only the first, or a single one, continues with its present random numbers."""
    model = tiny_model()
    way = tuning_methods.trainable(model, METHODS["full"], "float32")
    for rank, expected in ((0, 3), (1, 6), (2, 7)):
        team = Team()
        team.rank = rank
        torch.manual_seed(3)
        Training(Passes(model, way, 0, 150), examples[:2], config.Tuning(), team).begin(seed=5)
        assert torch.initial_seed() == expected


def test_a_process_notices_that_its_launcher_is_gone():
    team = Processes.__new__(Processes)
    team._parent = os.getppid()
    assert not team.orphaned
    team._parent = 0
    assert team.orphaned


@given(st.lists(st.integers(1, 30), max_size=20), st.integers(1, 5))
def test_parts_are_a_partition_of_about_the_same_length(lengths, count):
    examples = [Example((1,) * length, (), str(i)) for i, length in enumerate(lengths)]
    parts = []
    for rank in range(count):
        team = Processes.__new__(Processes)
        team.rank, team.count = rank, count
        parts.append(team.part(examples))
    assert sorted(e.domain for part in parts for e in part) == sorted(e.domain for e in examples)
    totals = [sum(map(len, part)) for part in parts]
    assert max(totals) - min(totals) <= max(lengths, default=0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([torch.float32, torch.float16])), min_size=1),
    st.integers(1, 20),
)
def test_pieces_hold_every_parameter_once_and_are_small(sizes, largest):
    parameters = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size, dtype in sizes]
    found = list(pieces(parameters, largest))
    assert sorted(id(p) for piece in found for p in piece) == sorted(map(id, parameters))
    for piece in found:
        assert len({p.dtype for p in piece}) == 1
        assert len(piece) == 1 or sum(p.numel() for p in piece) <= largest


if __name__ == "__main__":
    run, arguments = (split, sys.argv[2:]) if sys.argv[1] == "split" else (worker, sys.argv[1:])
    run(arguments[0], Path(arguments[1]), *arguments[2:])
