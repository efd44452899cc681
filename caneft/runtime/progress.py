"""The progress of a run: jobs done, failed and running, and the time that the others will take."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Progress:
    """The jobs of one run. Times are in seconds, by any clock that all calls share."""

    planned: Counter[str] = field(default_factory=Counter)
    """Jobs by rule."""
    done: int = 0
    failed: set[int] = field(default_factory=set)
    running: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Rule and start of each running job."""
    first: float | None = None
    """When the first job started."""
    took: dict[str, list[float]] = field(default_factory=dict)
    """Times of the finished jobs, by rule."""

    def plan(self, jobs: Mapping[str, int]) -> None:
        self.planned = Counter(jobs)

    def start(self, job: int, rule: str, now: float) -> None:
        """Counts a job as running, and no longer as failed if it is tried again."""
        self.failed.discard(job)
        self.running[job] = rule, now
        self.first = now if self.first is None else self.first

    def finish(self, job: int, now: float) -> float:
        """Counts a job as done; returns how long it took."""
        rule, since = self.running.pop(job, ("", now))
        self.took.setdefault(rule, []).append(now - since)
        self.done += 1
        return now - since

    def fail(self, job: int) -> None:
        self.running.pop(job, None)
        self.failed.add(job)

    def left(self, now: float) -> float | None:
        """Seconds that the remaining jobs will take; None until a job has finished.

        Expects a job to take the mean of its rule's finished jobs, or of all finished jobs if the rule has none, and as
        many jobs to run at a time as so far. Counts jobs that wait for a failed one as if they could run.
        """
        times = [time for of_rule in self.took.values() for time in of_rule]
        if not times:
            return None
        overall = sum(times) / len(times)
        expected = {rule: sum(of_rule) / len(of_rule) for rule, of_rule in self.took.items()}
        ended = Counter({rule: len(of_rule) for rule, of_rule in self.took.items()})
        work = sum(expected.get(rule, overall) * count for rule, count in (self.planned - ended).items())
        already = [(expected.get(rule, overall), now - since) for rule, since in self.running.values()]
        busy = sum(times) + sum(spent for _, spent in already)
        side_by_side = max(1.0, busy / (now - self.first)) if now > self.first else 1.0
        return max(0.0, work - sum(min(pair) for pair in already)) / side_by_side

    def line(self, now: float) -> str:
        """`12 of 96 jobs done, 1 failed, 2 running, about 4 min left`."""
        parts = [f"{self.done} of {self.planned.total()} jobs done"]
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{len(self.running)} running"] if self.running else []
        left = self.left(now)
        if left is not None and self.done < self.planned.total():
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """`32 s`, `4 min` or `3.2 h`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.1f} h"
