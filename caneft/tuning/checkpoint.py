"""Checkpoints of training, without pickle: a killed job resumes from one and ends as if nothing had happened."""

import hashlib
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from caneft.errors import InputError
from caneft.prompts import Example
from caneft.runtime.parallel import ALONE, Team
from caneft.storage.files import atomic_write
from caneft.tuning.state import State

logger = logging.getLogger(__name__)
SIGNALS = signal.SIGTERM, signal.SIGUSR1
MOST_OF_TIME = 0.1
"""Largest share of the time that checkpoints may take: a large model's is copied, hashed and synced."""


def identity(content: Mapping[str, Any], *examples: Sequence[Example]) -> str:
    """Hash of everything that training depends on. content: JSON; examples: those to train and measure on."""
    tokens = [[[e.prompt, e.response, e.domain] for e in part] for part in examples]
    return hashlib.sha256(json.dumps([content, tokens], sort_keys=True).encode()).hexdigest()


class Checkpoints:
    """The newest checkpoint of a run, in its own folder. Only the main process of a team writes there.

    seconds: time between two checkpoints, or longer, so that slow ones take at most `MOST_OF_TIME`; 0: after every
    step. A run resumes only from a checkpoint of the same `identity` whose content matches its checksum. Raises
    InputError while another process works in the folder.
    """

    def __init__(self, folder: Path, identity: str, seconds: float, team: Team = ALONE):
        self.folder, self.identity, self.seconds, self.team = folder, identity, seconds, team
        self.path, self._written, self._took = folder / "state.safetensors", time.monotonic(), 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / "lock")
        if team.main:
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InputError(f"{folder}: another process is training this run; wait for it, or stop it") from None
            self._tidy()
        team.wait()

    @property
    def due(self) -> bool:
        pause = max(self.seconds, self._took * (1 / MOST_OF_TIME - 1)) if self.seconds else 0
        return self.team.main and time.monotonic() - self._written >= pause

    def save(self, state: State) -> None:
        """Replaces the last checkpoint; every process of the team must call it."""
        started = time.monotonic()
        tensors = state.tensors(self.team)
        if self.team.main:
            values = {name: value.detach().cpu().contiguous() for name, value in sorted(tensors.items())}
            content = json.dumps({"identity": self.identity, **state.content()})
            about = {"content": content, "sha256": _checksum(content, values)}
            with atomic_write(self.path) as beside:
                save_file(values, beside, metadata=about)
        self._written = time.monotonic()
        self._took = self._written - started

    def after_step(self, state: State, stop: "Stop") -> None:
        """Saves if a checkpoint is due, and ends the process if any process of the team was asked to end."""
        ending, due = self.team.sum([stop.number is not None or self.team.orphaned, self.due])
        if ending or due:
            self.save(state)
        if ending:
            self.team.wait()  # a process that ends early takes the others with it
            raise stop.raised()

    def resume(self, state: State) -> bool:
        """Restores a state from the checkpoint; returns False, without changing anything, if none fits."""
        if not self.path.exists():
            return False
        try:
            with safe_open(self.path, framework="pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
            whole = about["sha256"] == _checksum(about["content"], tensors)
        except (OSError, KeyError, TypeError, SafetensorError):
            whole = False
        if not whole:
            logger.warning("%s is damaged; training starts over", self.path)
            return False
        content = json.loads(about["content"])
        if content["identity"] != self.identity:
            logger.info("%s is of a run with other settings, data or code; training starts over", self.path)
            return False
        state.restore(content, tensors, self.team)
        logger.info("resuming after step %d", state.done)
        return True

    def discard(self) -> None:
        """Removes the folder, as nothing is left to do, and only then unlocks it."""
        if self.team.main:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Unlocks the folder for a job that resumes the work."""
        self._lock.release()

    def _tidy(self) -> None:
        """Removes what a killed process had begun to write."""
        for file in self.folder.iterdir():
            if file not in (self.path, Path(self._lock.lock_file)):
                file.unlink()


def _checksum(content: str, tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(content.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


class Stop:
    """Whether a signal has asked the process to end at the next step, and which signal."""

    number: int | None = None

    def raised(self) -> SystemExit:
        """The exception that ends the process: exit code 128 plus the signal's number, as in a shell."""
        return SystemExit(128 + (self.number or signal.SIGTERM))


@contextmanager
def stopping() -> Iterator[Stop]:
    """Within the block, SIGTERM and SIGUSR1 do not end the process; the `Stop` that it yields records them."""
    stop, before = Stop(), {}

    def remember(number: int, _) -> None:
        stop.number = number
        os.write(2, b"stopping at the next step\n")  # logging is not safe in a signal handler

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
