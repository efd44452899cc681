"""Importance dumps on disk: written batch by batch so that a killed job resumes, read by blocks in constant memory.

A dump is a `.npy` of float16 (layers, samples, neurons), scores times 2**scale_exponent. Its units can also be
attention heads, as its sidecar says.
"""

import math
import os
import shutil
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from caneft.errors import InputError
from caneft.storage.bounded import array_header, read_arrays
from caneft.storage.files import allocate, atomic_write, sha256, sync

LARGEST = float(np.finfo(np.float16).max)
UNDERFLOW_SHARE = 0.01
SUMS = ("activation", "gradient", "positive")
COUNTED = ("positions", "largest", "positive", "vanished")
UNREADABLE = (OSError, KeyError, TypeError, ValueError)


class DumpReader:
    """Scores of a dump, read as `dump[layer, :, start:stop]` like an array of (layers, samples, neurons).

    Blocks are read with plain reads, neither mapped nor kept, so memory holds only the requested blocks.
    Raises InputError naming the file if it is not a float16 `.npy` of three axes, or not as long as its header says.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            self._file = open(path, "rb")  # noqa: SIM115 (kept open as long as the reader lives)
            self.shape, fortran, self.dtype = array_header(self._file)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable dump: {error}. Delete it and run the workflow again.") from None
        self._start = self._file.tell()
        if fortran or self.dtype != np.float16 or len(self.shape) != 3:
            raise InputError(
                f"{path}: holds {self.dtype} of shape {self.shape}, a dump is float16 of three axes in C order"
            )
        size, expected = os.fstat(self._file.fileno()).st_size, self._start + 2 * math.prod(self.shape)
        if size != expected:
            raise InputError(f"{path}: has {size} bytes where {expected} belong. Delete it and run the workflow again.")

    def __getitem__(self, key: tuple[int, slice, slice]) -> np.ndarray:
        layer, rows, columns = key
        layers, samples, neurons = self.shape
        if rows != slice(None) or not 0 <= layer < layers:
            raise IndexError(f"a dump is read as dump[layer, :, start:stop], not {key}")
        start, stop, _ = columns.indices(neurons)
        block = np.empty((samples, stop - start), np.float16)
        first = self._start + 2 * layer * samples * neurons
        if stop - start == neurons:
            self._read(block, first)
        else:
            for row in range(samples):
                self._read(block[row], first + 2 * (row * neurons + start))
        return block

    def _read(self, into: np.ndarray, offset: int) -> None:
        left = memoryview(into).cast("B")
        while left:
            got = os.preadv(self._file.fileno(), [left], offset)
            if not got:
                raise InputError(f"{self.path}: ends at byte {offset}. Delete it and run the workflow again.")
            left, offset = left[got:], offset + got

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True)
class DumpSet:
    """Dumps of a mixture's domains; each field maps domains to their part.

    scores: readers or arrays, read as `dump[layer, :, start:stop]`. statistics: arrays (layers, neurons) by name.
    """

    scores: Mapping[str, Any]
    statistics: Mapping[str, Mapping[str, np.ndarray]]
    sidecars: Mapping[str, Mapping[str, Any]]

    @property
    def scales(self) -> dict[str, float]:
        """The factor that each domain's scores were multiplied by."""
        return {domain: 2.0 ** sidecar["scale_exponent"] for domain, sidecar in self.sidecars.items()}

    @property
    def lengths(self) -> dict[str, np.ndarray]:
        """Number of response tokens of each sample."""
        return self._of_samples("response_tokens")

    @property
    def losses(self) -> dict[str, np.ndarray]:
        """Loss of each sample, summed over its response tokens, in nats."""
        return self._of_samples("loss")

    def _of_samples(self, name: str) -> dict[str, np.ndarray]:
        samples = {domain: sidecar["samples"] for domain, sidecar in self.sidecars.items()}
        return {domain: np.array([entry[name] for entry in own]) for domain, own in samples.items()}


@dataclass(frozen=True)
class Scored:
    """One batch as it is stored.

    scores: float16 (layers, samples, neurons), times 2**scale_exponent. sums: of |a|, |dL/da| and act(gate) > 0 over
    the batch's response positions, float32 (layers, neurons) each. loss: float32 (samples,) in nats. largest: the
    largest score before scaling; not finite if any score is not. positive: number of scores above 0; vanished: number
    of these that are stored as 0.
    """

    scores: np.ndarray
    sums: dict[str, np.ndarray]
    loss: np.ndarray
    positions: int
    largest: float
    positive: int
    vanished: int


@dataclass
class Progress:
    """Totals over the finished batches, and a checksum of each batch."""

    sums: dict[str, np.ndarray]
    loss: np.ndarray
    positions: int = 0
    largest: float = 0.0
    positive: int = 0
    vanished: int = 0
    checksums: list[int] = field(default_factory=list)

    def add(self, batch: Scored, samples: Sequence[int]) -> None:
        for name, total in self.sums.items():
            total += batch.sums[name]
        self.loss[samples] = batch.loss
        self.positions += batch.positions
        self.largest = max(self.largest, batch.largest)
        self.positive += batch.positive
        self.vanished += batch.vanished
        self.checksums.append(_checksum(batch.scores))

    @property
    def lost(self) -> float:
        """Share of the positive scores that float16 stored as 0; 0 if it is too small to matter."""
        return self.vanished / self.positive if self.vanished > UNDERFLOW_SHARE * self.positive else 0.0

    def statistics(self) -> dict[str, np.ndarray]:
        """Mean |a|, mean |dL/da| and share of positive gates over response positions, float32 (layers, neurons)."""
        return {name: (total / max(self.positions, 1)).astype(np.float32) for name, total in self.sums.items()}


class Part:
    """One process's part of a dump: the scores of its batches, and a record of each until the `Dump` takes it over.

    folder: that of the `Dump`, made by another process of the same job. batches: the samples of each batch of the dump.
    mine: the batches that this process still has to write, in order. name: the model's name, for messages.
    Raises InputError for scores that are not finite or saturate float16; the message names the remedy.
    """

    def __init__(
        self,
        folder: Path,
        batches: Sequence[Sequence[int]],
        mine: Sequence[int],
        scale_exponent: int,
        name: str,
        identity: str,
    ):
        self.folder, self.batches, self.mine, self.identity = folder, batches, list(mine), identity
        self.scale, self.name, self.largest = 2.0**scale_exponent, name, 0.0
        self._memory = self._opened()

    def write(self, batch: Scored) -> None:
        """Stores the batch that is first in `mine`."""
        if not np.isfinite(batch.largest):
            raise InputError(f"{self.name}: importance is not finite; is the model's loss finite in its dtype?")
        self.largest = max(self.largest, batch.largest)
        if self.largest * self.scale > LARGEST:  # fail now, not after hours
            raise InputError(f"{self.name}: the score {self.largest:.3g} saturates float16. {self._remedy()}")
        index = self.mine.pop(0)
        self._store(index, batch.scores)
        self._keep(index, batch)

    def _store(self, index: int, scores: np.ndarray) -> None:
        self._memory[:, self.batches[index], :] = scores

    def _keep(self, index: int, batch: Scored) -> None:
        """Writes a batch's record without waiting for the disk, as there are many.

        If the process dies, the record stays whole; after a power cut, the checksums show what is damaged.
        """
        known = {name: value for name, value in vars(batch).items() if name not in ("scores", "sums")}
        checksum = np.array(_checksum(batch.scores))
        with atomic_write(self._record(index), durable=False) as beside:
            np.savez(beside, identity=np.array(self.identity), checksum=checksum, **known, **_named(batch.sums))

    def _opened(self) -> np.memmap:
        return np.lib.format.open_memmap(self._scores, mode="r+")

    def _remedy(self) -> str:
        """Advice to set an exponent that puts the largest score at least a factor of 16 below float16's largest."""
        fitting = int(np.floor(np.log2(LARGEST / 16 / self.largest))) if self.largest > 0 else 0
        return f"Set models.{self.name}.scale_exponent to {fitting}; it is one constant per model."

    def _record(self, index: int) -> Path:
        return self.folder / f"batch-{index}.npz"

    def _sent(self, index: int) -> Path:
        """Path of the scores of a batch that another machine has sent."""
        return self.folder / f"batch-{index}.npy"

    @property
    def _scores(self) -> Path:
        return self.folder / "scores.npy"


class Dump(Part):
    """A dump in the making, filled batch by batch in its own folder, from which a killed job resumes.

    folder: holds `scores.npy`, a memory map, and `state.npz`, the progress over the first batches, up to a gap. Each
    later batch that a `Part` has written has a record, `batch-{index}.npz`. Records enter the progress in order, so
    that its sums are the same to the last bit, whichever process scored the batches. A folder with another `identity`,
    or with scores that do not match their checksums (after a power cut), starts over.
    `mine` starts as the list of missing batches.
    Raises InputError as `Part` does, if another job works in the folder, and if more than 1 % of the positive scores
    vanish in float16.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int, int],
        batches: Sequence[Sequence[int]],
        scale_exponent: int,
        name: str,
        identity: str,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        self._shape, self._lock = shape, FileLock(folder / "lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{folder}: another process is writing this dump; wait for it, or stop it") from None
        super().__init__(folder, batches, [], scale_exponent, name, identity)
        self.largest = self.progress.largest
        self.take()
        self.mine = [index for index in range(self.finished, len(batches)) if self._recorded(index) is None]

    @property
    def finished(self) -> int:
        """Number of batches in the progress: the first ones, without a gap."""
        return len(self.progress.checksums)

    def take(self, patience: float = 0) -> None:
        """Adds other processes' batches to the progress, as long as the next one in order is there.

        patience: seconds to wait for missing batches, which may still arrive through a network file system.
        """
        first, deadline = self.finished, time.monotonic() + patience
        while self.finished < len(self.batches):
            if (batch := self._recorded(self.finished)) is not None:
                self.progress.add(batch, self.batches[self.finished])
            elif time.monotonic() > deadline:
                break
            else:
                time.sleep(0.1)
        if self.finished > first:
            self._save()
            for index in range(first, self.finished):
                self._record(index).unlink()

    def check(self) -> None:
        """Raises InputError if the dump lost too many of its scores, or lacks a batch."""
        if share := self.progress.lost:
            self.largest = self.progress.largest
            raise InputError(f"{self.name}: {share:.1%} of the positive scores vanish in float16. {self._remedy()}")
        if self.finished < len(self.batches):
            raise InputError(f"{self._record(self.finished)}: was lost or changed meanwhile; run the workflow again")

    def checksum(self) -> str:
        """SHA-256 of the file with all scores."""
        self._memory.flush()
        return sha256(self._scores)

    def finish(self, path: Path) -> None:
        """Moves the finished scores to `path` and removes the folder."""
        self._memory.flush()
        sync(self._scores)
        os.replace(self._scores, path)
        self.discard()

    def discard(self) -> None:
        """Removes the folder, and only then unlocks it, so that nothing is removed that another job begins there."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Unlocks the folder for a job that resumes the work."""
        self._lock.release()

    def _keep(self, index: int, batch: Scored) -> None:
        """Adds the batch to the progress at once if it is next in order (always, with one process), else records it."""
        if index == self.finished:
            self.progress.add(batch, self.batches[index])
            self._save()
        else:
            super()._keep(index, batch)
        self.take()

    @property
    def _state(self) -> Path:
        return self.folder / "state.npz"

    def _opened(self) -> np.memmap:
        """The folder's scores, with their progress, if they belong to this dump and are whole; else new ones."""
        found = self._resumed()
        if found is None:
            for file in (self._state, self._scores, *self.folder.glob("batch-*")):
                file.unlink(missing_ok=True)  # scores too: a process of a killed job may still write into them
            sums = {name: np.zeros((self._shape[0], self._shape[2])) for name in SUMS}
            self.progress = Progress(sums, np.zeros(self._shape[1], np.float32))
            found = np.lib.format.open_memmap(self._scores, mode="w+", dtype=np.float16, shape=self._shape)
            allocate(self._scores)
            self._save()
        return found

    def _save(self) -> None:
        """Writes the progress without waiting for the disk, as in `Part._keep`."""
        known = {name: value for name, value in vars(self.progress).items() if name != "sums"}
        with atomic_write(self._state, durable=False) as beside:
            np.savez(beside, identity=np.array(self.identity), **known, **_named(self.progress.sums))

    def _resumed(self) -> np.memmap | None:
        """Restores the progress. Returns the folder's scores; None unless they belong to this dump and are whole."""
        try:
            state = read_arrays(self._state, ["identity", "loss", "checksums", *COUNTED, *(f"sum_{n}" for n in SUMS)])
            if str(state["identity"]) != self.identity:
                return None
            numbers = {name: state[name].item() for name in COUNTED}
            checksums = state["checksums"].astype(int).tolist()
            self.progress = Progress(_sums(state), state["loss"], **numbers, checksums=checksums)
            shapes = {total.shape for total in self.progress.sums.values()}
            if shapes != {self._shape[::2]} or self.progress.loss.shape != self._shape[1:2]:
                return None
            memory = super()._opened()
        except UNREADABLE:
            return None
        whole = memory.shape == self._shape and all(
            _checksum(memory[:, samples, :]) == checksum
            for samples, checksum in zip(self.batches, self.progress.checksums, strict=False)
        )
        return memory if whole else None

    def _recorded(self, index: int) -> Scored | None:
        """A batch that another process has finished; None unless it belongs to this dump and is whole."""
        try:
            names = ["identity", "loss", "checksum", *COUNTED, *(f"sum_{name}" for name in SUMS)]
            record = read_arrays(self._record(index), names)
            if str(record["identity"]) != self.identity:
                return None
            if (sent := self._sent(index)).exists():
                self._store(index, np.load(sent, allow_pickle=False))
                sent.unlink()
            scores = self._memory[:, self.batches[index], :]
            if record["checksum"].item() != _checksum(scores):
                return None
            numbers = {name: record[name].item() for name in COUNTED}
            return Scored(scores, _sums(record), record["loss"], **numbers)
        except UNREADABLE:
            return None


def _named(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"sum_{name}": total for name, total in sums.items()}


def _sums(archive: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: archive[f"sum_{name}"] for name in SUMS}


def _checksum(scores: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(scores))


def save_statistics(path: Path, statistics: dict[str, np.ndarray]) -> None:
    """Writes `.stats.npz`, atomically."""
    with atomic_write(path) as beside:
        np.savez(beside, **statistics)
