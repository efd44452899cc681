"""Checkpoints: a run that is interrupted and resumed ends bit for bit like an undisturbed one."""

import json
import logging
import os
import random
import shutil
import signal

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from safetensors import safe_open
from safetensors.torch import save

from caneft import config
from caneft.importance.dumps import Dump
from caneft.neurons import NeuronSet
from caneft.runtime.parallel import ALONE
from caneft.tuning import checkpoint
from caneft.tuning import methods as tuning_methods
from caneft.tuning.base import TuningMethod
from caneft.tuning.checkpoint import Checkpoints, identity
from caneft.tuning.loop import train
from caneft.tuning.state import State
from tests.messages import assert_names, refused

PAD = 0
METHODS = {
    "full": config.Full(method="full", learning_rate=1e-3),
    "offload": config.Full(method="full", learning_rate=1e-3, optimizer="adamw-offload"),
    "lora": config.Lora(method="lora", learning_rate=1e-2, rank=2, dropout=0.3),
    "adapters": config.Adapters(method="adapters", learning_rate=1e-2, bottleneck=3),
    "caneft": config.Neurons(method="caneft", learning_rate=1e-2),
}
STEPS = 6  # in the runs below


class Killed(BaseException):
    """Replaces SIGKILL: nothing in the package may catch it."""


@pytest.fixture
def run(tiny_model, examples, tmp_path):
    """Trains with a checkpoint after every step; returns parameters and weights, outcome and log.

    kill: the step in which the run dies, after the optimizer moved the weights and before the checkpoint.
    """

    def make(folder, method="lora", kill=None, identity="same", dtype=torch.float32, seconds=0, watch=None, **settings):
        model = tiny_model(dtype=dtype)
        torch.manual_seed(7)  # as a step of the workflow does
        neurons = NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))
        way = tuning_methods.trainable(model, METHODS[method], "float32", neurons, {}, [""])
        after_step = way.after_step

        def counted():
            after_step()
            count[0] += 1
            if watch:
                watch(count[0])
            if kill is not None and lines() >= kill:
                raise Killed

        def lines():
            return len((tmp_path / folder / "log").read_text().splitlines()) if count[0] > resumed else -1

        checkpoints = Checkpoints(tmp_path / folder, identity, seconds)
        count, resumed = [0], int(checkpoints.path.exists())  # restoring parameters calls after_step, too
        way.after_step = counted
        tuning = config.Tuning(
            **{"batch_size": 4, "tokens_per_batch": 120, "epochs": 3, "weight_decay": 0.1} | settings
        )
        log = tmp_path / folder / "log"
        rate = METHODS[method].learning_rate
        try:
            outcome = train(
                model, way, examples[:-2], examples[-2:], tuning, rate, 1, PAD, log, checkpoints=checkpoints
            )
        finally:
            checkpoints.release()
        weights = [*way.parameters(), *model.state_dict().values()]
        return [weight.detach().clone() for weight in weights], outcome, log.read_bytes()

    return make


def same(first, second):
    return first[1:] == second[1:] and all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def interrupted(run, kills, *arguments, **options):
    for kill in kills:
        torch.manual_seed(random.randrange(2**32))  # only the checkpoint may tell a run about its past
        with pytest.raises(Killed):
            run(*arguments, kill=kill, **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_like_an_undisturbed_one(run, method):
    """The run is killed once before the first checkpoint and three times afterwards."""
    undisturbed = run("undisturbed", method)
    interrupted(run, [0, 1, 3, 5], "disturbed", method)
    assert same(run("disturbed", method), undisturbed)
    assert undisturbed[1].steps == STEPS


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_so_does_a_run_in_half_precision(run, dtype, monkeypatch):
    """This includes the scale of float16, which a new scaler would find again only after other steps."""
    scaler = torch.amp.GradScaler
    scales = {"init_scale": 2.0**24, "growth_interval": 2}
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *args, **options: scaler(*args, **options, **scales))
    epochs, moments = (10, [14, 17]) if dtype == torch.float16 else (3, [2, 5])
    undisturbed = run("undisturbed", "caneft", dtype=dtype, epochs=epochs)
    assert (b"skipped" in undisturbed[2]) == (dtype == torch.float16)
    interrupted(run, moments, "disturbed", "caneft", dtype=dtype, epochs=epochs)
    assert same(run("disturbed", "caneft", dtype=dtype, epochs=epochs), undisturbed)


def test_so_does_a_run_with_masters_in_memory(run, monkeypatch):
    """Weights in bfloat16 could not restore the masters: at this rate most do not change for many steps."""
    monkeypatch.setitem(METHODS, "offload", METHODS["offload"].model_copy(update={"learning_rate": 1e-5}))
    undisturbed = run("undisturbed", "offload", dtype=torch.bfloat16)
    interrupted(run, [2, 5], "disturbed", "offload", dtype=torch.bfloat16)
    assert same(run("disturbed", "offload", dtype=torch.bfloat16), undisturbed)


def test_so_does_a_run_that_stops_early(run, monkeypatch):
    """Its best weights may be older than the kill."""
    monkeypatch.setitem(METHODS, "full", METHODS["full"].model_copy(update={"learning_rate": 2e-2}))
    settings = {"patience": 3, "dev_every": 1, "epochs": 12, "batch_size": 6}
    undisturbed = run("undisturbed", "full", **settings)
    assert undisturbed[1].stopped_early and 0 < undisturbed[1].best_step == undisturbed[1].steps - 3
    last = undisturbed[1].steps
    for kills in ([1, 2], [3], [4]):
        folder = f"disturbed at {kills}"
        interrupted(run, sorted({min(kill, last - 1) for kill in kills}), folder, "full", **settings)
        assert same(run(folder, "full", **settings), undisturbed), kills


def test_steps_after_the_last_checkpoint_are_taken_again(run, monkeypatch):
    undisturbed = run("undisturbed")
    due = iter([False, True, False, False])  # only the second step is saved
    monkeypatch.setattr(Checkpoints, "due", property(lambda self: next(due, False)))
    interrupted(run, [4], "disturbed")
    seen = []
    assert same(run("disturbed", watch=seen.append), undisturbed)
    assert len(seen) == 1 + STEPS - 2  # one call restores the parameters


def test_a_finished_run_needs_no_step(run):
    seen = []
    first = run("finished", "caneft")
    assert same(run("finished", "caneft", watch=seen.append), first)
    assert len(seen) == 1


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_a_signal_ends_after_the_step_with_a_checkpoint(run, tmp_path, number, code):
    """It does so although no checkpoint is due for an hour."""
    undisturbed = run("undisturbed")
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        run("disturbed", seconds=3600, watch=lambda step: step == 2 and os.kill(os.getpid(), number))
    assert end.value.code == code and signal.getsignal(number) == before
    with safe_open(tmp_path / "disturbed" / "state.safetensors", framework="pt") as file:
        assert len(json.loads(file.metadata()["content"])["lines"]) == 2
    assert same(run("disturbed", seconds=3600), undisturbed)


def test_without_its_launcher_a_process_ends_with_a_checkpoint(run, monkeypatch):
    undisturbed = run("undisturbed")
    gone = iter([False, False, True])
    monkeypatch.setattr(type(ALONE), "orphaned", property(lambda self: next(gone, False)))
    with pytest.raises(SystemExit) as end:
        run("disturbed", seconds=3600)
    assert end.value.code == 143
    seen = []
    assert same(run("disturbed", seconds=3600, watch=seen.append), undisturbed)
    assert len(seen) == 1 + STEPS - 3


def test_checkpoints_are_written_as_often_as_asked(run, tmp_path, monkeypatch):
    clock, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    save = Checkpoints.save
    monkeypatch.setattr(Checkpoints, "save", lambda self, state: (written.append(state.done), save(self, state)))

    def tick(_):
        clock[0] += 10

    run("rare", seconds=25, watch=tick)
    assert written == [3, 6]
    written.clear()
    run("every", seconds=0, watch=tick)
    assert written == [1, 2, 3, 4, 5, 6]
    written.clear()
    run("never", seconds=61, watch=tick)
    assert not written and sorted(file.name for file in (tmp_path / "never").iterdir()) == ["lock", "log"]


def test_writing_takes_a_tenth_of_the_time_at_most(run, monkeypatch):
    """A step takes 10 seconds and a checkpoint 5, so checkpoints are 45 seconds apart, not the configured 20."""
    clock, written = [0.0], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    save_file = checkpoint.save_file

    def slow(*arguments, **named):
        written.append(clock[0])
        clock[0] += 5
        save_file(*arguments, **named)

    def tick(_):
        clock[0] += 10

    monkeypatch.setattr(checkpoint, "save_file", slow)
    run("slow", seconds=20, watch=tick)
    assert written == [20]  # six steps end after 65 seconds; the next checkpoint would be due at 70


def test_a_folder_is_let_go_only_when_it_is_gone(tmp_path, monkeypatch):
    """Otherwise another process could start in it, and would lose its first files."""
    held, remove = [], shutil.rmtree

    def remove_last(folder, **named):
        with pytest.raises(Timeout):
            FileLock(folder / "lock").acquire(timeout=0)
        held.append(folder)
        remove(folder, **named)

    monkeypatch.setattr(shutil, "rmtree", remove_last)
    Checkpoints(tmp_path / "run", "x", 0).discard()
    Dump(tmp_path / "x.partial", (1, 2, 4), [[0], [1]], 0, "tiny", "a").discard()
    assert held == [tmp_path / "run", tmp_path / "x.partial"] and list(tmp_path.iterdir()) == []
    Checkpoints(tmp_path / "run", "x", 0).release()  # it has been released


def said_of_checkpoints(caplog):
    """Level and text of the log messages about the checkpoint that was found."""
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == checkpoint.__name__]


def test_a_checkpoint_of_another_run_is_left_alone(run, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    undisturbed = run("undisturbed")
    interrupted(run, [3], "other", identity="other")
    assert same(run("other"), undisturbed)
    ((level, message),) = said_of_checkpoints(caplog)
    assert level == "INFO"
    assert_names(message, tmp_path / "other" / "state.safetensors")
    caplog.clear()
    interrupted(run, [3], "again")
    run("again")
    ((level, message),) = said_of_checkpoints(caplog)
    assert level == "INFO" and "state.safetensors" not in message
    assert_names(message, 3)


def test_a_damaged_checkpoint_is_not_gone_on_with(run, tmp_path, caplog):
    undisturbed = run("undisturbed", "caneft")
    interrupted(run, [4], "killed", "caneft")
    content = (tmp_path / "killed" / "state.safetensors").read_bytes()
    half = len(content) // 2
    damaged = {
        "one bit": content[:half] + bytes([content[half] ^ 1 << 3]) + content[half + 1 :],
        "shorter": content[:-100],
        "empty": b"",
        "text": b"{}" * 100,
        "no metadata": save({"x": torch.zeros(3)}),
    }
    for damage, remains in damaged.items():
        shutil.copytree(tmp_path / "killed", tmp_path / damage)
        file = tmp_path / damage / "state.safetensors"
        file.write_bytes(remains)
        caplog.clear()
        assert same(run(damage, "caneft"), undisturbed), damage
        ((level, message),) = said_of_checkpoints(caplog)
        assert level == "WARNING"
        assert_names(message, file)


def test_any_changed_byte_is_found(run, tmp_path, caplog):
    """A changed byte in the header or in the tensors makes the run start over."""
    run("whole", "caneft", epochs=1)
    file = tmp_path / "whole" / "state.safetensors"
    whole = file.read_bytes()
    for part in range(12):
        content = bytearray(whole)
        place = random.Random(part).randrange(len(content))
        content[place] ^= 1 << part % 8
        file.write_bytes(content)
        seen = []
        caplog.clear()
        again = run("whole", "caneft", epochs=1, watch=seen.append)
        ((level, message),) = said_of_checkpoints(caplog)
        assert level == "WARNING" and len(seen) == 2, place
        assert_names(message, file)
        assert again[1].steps == 2


def test_a_second_process_is_kept_out(tmp_path):
    first = Checkpoints(tmp_path / "run", "x", 0)
    with refused(tmp_path / "run"):
        Checkpoints(tmp_path / "run", "x", 0)
    first.release()
    Checkpoints(tmp_path / "run", "x", 0).discard()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_appears_whole_or_not_at_all(run, tmp_path, monkeypatch):
    interrupted(run, [3], "run")
    file = tmp_path / "run" / "state.safetensors"
    before, save_file = file.read_bytes(), checkpoint.save_file

    def half(tensors, path, metadata):
        save_file(tensors, path, metadata=metadata)
        os.truncate(path, 1000)
        raise Killed

    monkeypatch.setattr(checkpoint, "save_file", half)
    with pytest.raises(Killed):
        run("run")
    assert file.read_bytes() == before


def test_what_a_killed_process_left_is_tidied_up(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("state.safetensors", ".state.123.safetensors", "log.jsonl"):
        (folder / name).write_bytes(b"x")
    Checkpoints(folder, "x", 0).release()
    assert {file.name for file in folder.iterdir()} - {"lock"} == {"state.safetensors"}


def test_the_identity_is_that_of_settings_and_tokens(examples):
    content = {"settings": {"epochs": 2}, "rate": 1e-3}
    known = identity(content, examples[:4], examples[4:])
    assert known == identity(dict(reversed(content.items())), list(examples[:4]), examples[4:])
    others = [
        identity(content | {"rate": 2e-3}, examples[:4], examples[4:]),
        identity(content, examples[:5], examples[5:]),
        identity(content, examples[3::-1], examples[4:]),
        identity(content, [type(examples[0])(e.prompt, e.response, "it") for e in examples[:4]], examples[4:]),
    ]
    assert len({known, *others}) == 5


OPTIMIZERS = {
    "AdamW amsgrad": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True, weight_decay=0.1),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, centered=True, momentum=0.5),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),
    **{
        name: lambda p, name=name: getattr(torch.optim, name)(p, lr=0.1)
        for name in ("Adam", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "ASGD", "Rprop")
    },
}


class Given(TuningMethod):
    """A tuning method that trains the given parameters as they are."""

    def __init__(self, parameters):
        self.given = parameters

    def parameters(self):
        return iter(self.given)

    def save(self, folder):
        pass


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_where_it_was(tmp_path, name):
    def made():
        generator = torch.Generator().manual_seed(1)
        parameters = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(3, 4), (5,), ()]]
        parameters.append(torch.nn.Parameter(torch.zeros(2)))  # never has a gradient
        return State(
            Given(parameters), OPTIMIZERS[name](parameters), torch.amp.GradScaler("cpu", enabled=False), before=1.0
        )

    def train_on(state, steps):
        for step in steps:
            for number, parameter in enumerate([*state.way.parameters()][:3]):
                generator = torch.Generator().manual_seed(10 * step + number)
                parameter.grad = torch.randn(parameter.shape, generator=generator) + parameter.detach()
            state.optimizer.step()

    whole, begun, resumed = made(), made(), made()
    train_on(whole, range(6))
    train_on(begun, range(3))
    checkpoints = Checkpoints(tmp_path / "run", "x", 0)
    checkpoints.save(begun)
    assert checkpoints.resume(resumed)
    train_on(resumed, range(3, 6))
    for expected, found in zip(whole.way.parameters(), resumed.way.parameters(), strict=True):
        assert torch.equal(expected, found)
    assert whole.tensors(ALONE).keys() == resumed.tensors(ALONE).keys()


def test_the_parameters_of_the_lowest_dev_loss_are_kept(tiny_model):
    """Of equal losses the first one counts; a loss that is not finite is never the lowest."""
    way = tuning_methods.trainable(tiny_model(), METHODS["lora"], "float32", None, {}, [""])
    state, parameter = State(way, None, None, before=2.0), next(way.parameters())
    kept = []
    for step, loss in enumerate([None, 3.0, 1.0, 1.5, 1.0, 0.5], start=1):
        state.lines.append({"dev_loss": loss})
        parameter.data.fill_(step)
        state.keep_best()
        kept.append(None if state.best is None else state.best[0].unique().tolist())
    assert kept == [None, None, [3], [3], [3], [6]]
