"""How many samples an importance dump needs: the pilot of `importance.samples: auto`.

The samples of a mixture's domains are doubled until the neurons that their disjoint halves select agree hardly better
than before. Nothing is scored twice: a larger dump begins with the smaller one, and the workflow's with the pilot's.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from caneft import dumping, integrity, measuring, stability
from caneft.bounded import read_arrays
from caneft.config import Importance
from caneft.corpora.store import read_json
from caneft.dumping import Samples
from caneft.dumps import SUMS, DumpReader, save_statistics
from caneft.errors import InputError
from caneft.files import replacing, sha256, write_json
from caneft.parallel import ALONE, Team
from caneft.prompts import Prompts
from caneft.settings import PilotSettings
from caneft.stability import Point

logger = logging.getLogger(__name__)

SUFFIXES = (".stats.npz", ".json", ".npy")
"""Of a dump's files; the one that makes it a dump comes last."""


def place(scores: Path) -> Path:
    """Where the pilot keeps a domain's dump, given the workflow's."""
    return scores.parent / ".pilot" / scores.name


@dataclass(frozen=True)
class Source:
    """What the dumps of one domain are made of: the arguments of `dumping.write`. samples: all that there are.

    team: processes that share the scoring, all of which call the methods; the main one works on the files.
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
        """Leaves the dump of the first `count` samples at `path`, and scores those only that a dump there lacks."""
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
        """How many samples the dump at `path` holds; 0 unless it is whole and of the first of them, made alike."""
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
    with replacing(path) as beside:
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
    """Makes the workflow's dump of `count` samples at `path`, beginning with what the pilot kept of it."""
    kept = place(path)
    source.grow(kept, count)
    for suffix in SUFFIXES if source.team.main else ():
        os.replace(kept.with_suffix(suffix), path.with_suffix(suffix))


def decide(
    sources: Mapping[str, Source], dumps: Mapping[str, Path], settings: PilotSettings, team: Team = ALONE
) -> dict[str, Any]:
    """Content of `samples.json`: the number of samples per domain, and the agreement that led to it.

    Of a team, all processes score, and the main one compares and knows the content.

    By domain: what dumps are made of, and where the pilot keeps its own. Raises InputError if a domain has fewer
    samples than the pilot begins with.
    """
    auto, points, flat = settings.auto, [], False
    most = min(auto.largest, *(len(source.samples.ids) for source in sources.values()))
    if most < auto.smallest:
        raise InputError(f"a domain has {most} pairs only, but importance.auto.smallest is {auto.smallest}; lower it")
    count = auto.smallest
    while True:
        for domain, source in sources.items():
            source.grow(dumps[domain], count)
        if team.main:
            points.append(_agreement(list(dumps.values()), count, settings))
            flat = stability.flat(points, auto.gain) is not None
        (enough,) = team.sum([flat or count == most if team.main else False])
        if enough:
            break
        count = min(2 * count, most)
    return {
        "format": integrity.FORMAT,
        "samples": count,
        "flat": flat,
        "domains": sorted(sources),
        "points": [asdict(point) for point in points],
        "settings": settings.model_dump(mode="json"),
    }


def _agreement(dumps: Sequence[Path], count: int, settings: PilotSettings) -> Point:
    """The curve at the halves of all samples so far."""
    table, about = measuring.measure(dumps, settings.information)
    halves = [count // 2]
    (point,) = stability.agreement(measuring.open_dumps(dumps), table, about, halves, settings.stability)
    logger.info("%d samples: Jaccard %.3f, noise %.3f", count, np.mean(point.jaccard), np.mean(point.noise_jaccard))
    return point
