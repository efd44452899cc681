"""Importance dumps that grow without scoring a sample twice: a larger dump begins with the smaller one."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from caneft.config import Importance
from caneft.corpora.store import read_json
from caneft.importance import dumping
from caneft.importance.dumping import Samples
from caneft.importance.dumps import SUMS, DumpReader, save_statistics
from caneft.prompts import Prompts
from caneft.runtime.parallel import ALONE, Team
from caneft.storage import integrity
from caneft.storage.bounded import read_arrays
from caneft.storage.files import atomic_write, sha256, write_json

SUFFIXES = (".stats.npz", ".json", ".npy")
"""Suffixes of a dump's files. The scores, without which there is no dump, come last."""


def place(scores: Path) -> Path:
    """Path of the pilot's dump of a domain, given the path of the workflow's."""
    return scores.parent / ".pilot" / scores.name


@dataclass(frozen=True)
class Source:
    """The arguments of `dumping.write` for the dumps of one domain. samples: all samples of the domain.

    team: the processes that share the scoring. All must call the methods; only the main one joins and moves dumps.
    """

    model: nn.Module
    samples: Samples
    prompts: Prompts
    settings: Importance
    about: dict[str, Any]
    team: Team = ALONE

    def write(self, path: Path, samples: Samples) -> None:
        dumping.write(path, self.model, samples, self.prompts, self.settings, self.about, self.team)

    def grow(self, path: Path, count: int) -> None:
        """Writes the dump of the first `count` samples at `path`, scoring only those that a dump there lacks."""
        (held,) = map(int, self.team.sum([self._held(path) if self.team.main else 0]))
        wanted = self.samples.part(held, count)
        if held == 0:
            self.write(path, wanted)
        elif held < count:
            more = path.with_name(f"{path.stem}.more{path.suffix}")
            self.write(more, wanted)
            if self.team.main:
                _join(path, more, dumping.described(self.about, self.samples.part(0, count)))

    def _held(self, path: Path) -> int:
        """Number of samples in the dump at `path`; 0 unless it is whole, of the first samples and made alike."""
        try:
            sidecar = read_json(path.with_suffix(".json"))
            ids = [entry["id"] for entry in sidecar["samples"]]
            whole = list(DumpReader(path).shape) == sidecar["shape"] and path.with_suffix(".stats.npz").exists()
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        first = self.samples.part(0, len(ids))
        alike = first.ids == ids and dumping.described(self.about, first).items() <= sidecar.items()
        return len(ids) if whole and alike else 0


def _join(path: Path, more: Path, described: dict[str, Any]) -> None:
    """Appends the samples of a second dump to those of the first, and removes the second."""
    parts = [DumpReader(file) for file in (path, more)]
    sidecars = [read_json(file.with_suffix(".json")) for file in (path, more)]
    samples = [entry for sidecar in sidecars for entry in sidecar["samples"]]
    layers, _, neurons = parts[0].shape
    statistics = _joined_statistics([path, more], sidecars)
    with atomic_write(path) as beside:
        shape = (layers, len(samples), neurons)
        joined = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float16, shape=shape)
        for layer in range(layers):
            joined[layer] = np.concatenate([part[layer, :, :neurons] for part in parts])
        joined.flush()
        stats = path.with_suffix(".stats.npz")
        save_statistics(stats, statistics)
        sums = {path.name: sha256(beside)} | integrity.sums(stats)
        about = described | {"samples": samples, "shape": list(shape), integrity.KEY: sums}
        write_json(path.with_suffix(".json"), sidecars[0] | about)
    for suffix in SUFFIXES:
        more.with_suffix(suffix).unlink()


def _joined_statistics(paths: Sequence[Path], sidecars: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Means over the response positions of both dumps."""
    positions = [sum(entry["response_tokens"] for entry in sidecar["samples"]) for sidecar in sidecars]
    loaded = [read_arrays(path.with_suffix(".stats.npz"), SUMS) for path in paths]
    means = {name: [archive[name].astype(np.float64) for archive in loaded] for name in SUMS}
    return {name: np.average(both, axis=0, weights=positions).astype(np.float32) for name, both in means.items()}


def take_over(path: Path, source: Source, count: int) -> None:
    """Makes the workflow's dump of `count` samples at `path`: grows the pilot's dump and moves it there."""
    kept = place(path)
    source.grow(kept, count)
    for suffix in SUFFIXES if source.team.main else ():
        os.replace(kept.with_suffix(suffix), path.with_suffix(suffix))
