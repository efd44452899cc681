"""Finds the jobs that made a file, from the notes that Snakemake keeps in `.snakemake/metadata`."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

NAME_MAX = 254
"""Most characters of a name in Snakemake's store; longer names are split into folders that begin with `@`."""


class Job(NamedTuple):
    """A job that ran. Paths are as Snakemake knew them, relative to its working directory."""

    rule: str
    output: str
    command: str
    inputs: list[str]
    checksums: dict[str, str]
    log: list[str]
    benchmark: str | None
    started: str


class Jobs:
    """Snakemake's notes on the jobs of one results folder."""

    def __init__(self, root: Path, results_root: str):
        """root: the folder. results_root: its name in the configuration, under which Snakemake knew it."""
        places = [place / ".snakemake" / "metadata" for place in (*root.absolute().parents, Path())]
        self.folder = next((place for place in places if place.is_dir()), None)
        self.root, self.results_root = root, results_root.rstrip("/")

    def known_as(self, path: str) -> str:
        """A path below `results_root`, as Snakemake knew it."""
        return f"{self.results_root}/{path}"

    def of(self, output: str) -> Job | None:
        """The job that made a file; None if no job did, or if Snakemake's notes are gone."""
        if self.folder is None:
            return None
        name = urlsafe_b64encode(output.encode()).decode()
        parts = [name[start : start + NAME_MAX] for start in range(0, len(name), NAME_MAX)]
        note = self.folder.joinpath(*(f"@{part}" for part in parts[:-1]), parts[-1])
        try:
            return self._job(output, json.loads(note.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def _job(self, output: str, note: dict[str, Any]) -> Job:
        log, started = note.get("log") or [], note.get("starttime")
        times = [path.replace("/logs/", "/benchmarks/", 1).removesuffix(".log") + ".tsv" for path in log]
        return Job(
            rule=note["rule"] or "",
            output=output,
            command=note.get("shellcmd") or "",
            inputs=list(note.get("input") or []),
            checksums=dict(note.get("input_checksums") or {}),
            log=log,
            benchmark=next((path for path in times if self._here(path).exists()), None),
            started=datetime.fromtimestamp(started).astimezone().isoformat(timespec="seconds") if started else "",
        )

    def _here(self, path: str) -> Path:
        """The present place of a path that Snakemake knew."""
        return self.root / path.removeprefix(f"{self.results_root}/")

    def behind(self, outputs: Iterable[str]) -> list[Job]:
        """Every job that the files depend on, once each, sorted by start. A job with several outputs has the first that
        was looked up."""
        found: dict[str, Job] = {}
        waiting, seen = list(outputs), set()
        while waiting:
            output = waiting.pop()
            if output in seen:
                continue
            seen.add(output)
            if (job := self.of(output)) is not None:
                found.setdefault(job.command or output, job)
                waiting += job.inputs
        return sorted(found.values(), key=lambda job: (job.started, job.output))
