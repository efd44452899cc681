"""Reasons why jobs failed: each distinct one once, with the logs that give it."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caneft.errors import LINES

MOST_JOBS = 5
"""Most jobs that are named for one reason."""
TAIL = 200_000
"""Number of bytes that are read at the end of a log."""
CLOCKS = 5
"""Most seconds by which the clocks of a node and the login node may differ."""
KILLED = (
    "Killed by the system (SIGKILL), most likely because memory ran out. Let fewer jobs run at a time with"
    " --resources mem_mb=MEGABYTES, or state what the job needs: models.*.resources.mem_mb."
)


@dataclass(frozen=True)
class Failure:
    """One job that failed."""

    job: str
    logs: tuple[str, ...]
    reason: str


def failure(job: str, logs: Iterable[str], said: str = "") -> Failure:
    """The failure of a job, with the reason in its logs.

    said: what Snakemake or the cluster reports, used if it says that the job was killed, or if the logs give no reason.
    """
    logs = tuple(logs)
    if was_killed(said):
        return Failure(job, logs, KILLED)
    found = (in_log(_end_of(Path(log))) for log in logs)
    return Failure(job, logs, next((text for text in found if text), said.strip() or "It left no message."))


def group_failures(
    jobs: Mapping[int, str], logs: Mapping[int, Sequence[str]], cluster: Sequence[str], said: str = "", since: float = 0
) -> dict[int, Failure]:
    """Failures of the jobs of one Slurm job, by id: those whose logs say why, or else the Slurm job's as a whole.

    jobs: name of each; logs: of each; cluster: logs of the Slurm job; said: the executor's report on it; since: when it
    was submitted, in seconds since 1970, because logs of an earlier try do not count. Jobs that are not returned had
    succeeded or never begun.
    """
    first, told = next(iter(jobs)), "".join(map(_end_of, map(Path, cluster)))
    called = f"one of {len(jobs)} jobs, such as {jobs[first]}"
    if was_killed(told) or was_killed(said) or "oom-kill" in told:
        return {first: Failure(called, tuple(cluster), KILLED)}
    found = {}
    for job, name in jobs.items():
        fresh = [Path(log) for log in logs[job] if _changed(Path(log)) >= since - CLOCKS]
        texts = [text for text in map(_end_of, fresh) if _says_why(text)]
        if texts:
            found[job] = Failure(name, tuple(logs[job]), in_log(texts[0]))
    if found:
        return found
    words = [line for line in told.splitlines() if re.match(r"(srun|slurmstepd|sbatch): error", line)]
    reason = "\n".join(words[-1:]) or said.strip() or "It left no message."
    return {first: Failure(called, tuple(cluster), reason)}


def was_killed(said: str) -> bool:
    """Whether an exit status, in the words of Python or Slurm, means that the process was killed."""
    return re.search(r"SIGKILL|exit (?:status|code) 137\b|OUT_OF_ME", said) is not None


def _changed(log: Path) -> float:
    try:
        return log.stat().st_mtime
    except OSError:
        return -math.inf


def _says_why(text: str) -> bool:
    return re.search(r"^(Error: |Traceback \(most recent call last\))", text, re.MULTILINE) is not None


def in_log(text: str) -> str:
    """The reason in a job's log: its last `Error:` message, else what its last traceback raised, else its last line."""
    lines = [line for line in text.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    if starts:
        return "\n".join(lines[starts[-1] :][:LINES])
    traces = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    if traces:
        raised = [line for line in lines[traces[-1] + 1 :] if not line.startswith(" ")]
        return "\n".join(raised[:LINES])
    return "\n".join(lines[-1:])


def summary(failures: Sequence[Failure]) -> str:
    """Each distinct reason once, in the order of the first job with it, after its jobs and logs."""
    by_reason: dict[str, list[Failure]] = {}
    for failed in failures:
        by_reason.setdefault(failed.reason, []).append(failed)
    parts = []
    for reason, same in by_reason.items():
        named = [f"  {failed.job}{''.join(f'; log: {log}' for log in failed.logs)}" for failed in same[:MOST_JOBS]]
        more = [f"  and {len(same) - MOST_JOBS} more jobs"] if len(same) > MOST_JOBS else []
        parts.append("\n".join([*named, *more, reason]))
    return "\n\n".join(parts)


def _end_of(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
