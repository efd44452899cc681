"""Shows a run on the screen: its plan, a line for each job, and at the end why jobs failed.

Snakemake logs events. If the profile's `quiet` names `rules`, a handler beside Snakemake's own puts them into words;
Snakemake's handler for the screen then leaves them out, but the log file of the run keeps everything.
"""

import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from caneft.errors import did_you_mean
from caneft.runtime import machine
from caneft.runtime.failures import Failure, failure, group_failures, summary
from caneft.runtime.progress import Progress, duration

SAID_HERE = {"run_info", "job_started", "job_finished", "progress"}
"""Events that this module puts into words. Snakemake itself leaves out those that `quiet: rules` covers."""
FOLLOWS = "input files updated by another job"
WHY = {
    "output files have to be generated": "its files are missing",
    "incomplete output files": "its files are incomplete",
    "updated input files": "a file that it reads has changed",
    FOLLOWS: "a file that it reads is made again",
    "set of input files has changed since last execution": "it reads other files than before",
    "params have changed since last execution": "its settings have changed",
    "code has changed since last execution": "its code has changed",
    "software environment definition has changed since last execution": "its environment has changed",
}
"""Snakemake's names of the reasons for a job, in plain words."""

Reasons = Callable[[], Iterable[tuple[str, Iterable[str]]]]
"""Gives, for each planned job, its rule and Snakemake's names of its reasons."""


class Screen(logging.Handler):
    """Handler of Snakemake's events. Ignores events that it does not know."""

    def __init__(
        self,
        targets: Callable[[str], Iterable[str]],
        reasons: Reasons,
        quiet: Collection[str],
        dry: bool,
        commands: bool = False,
    ):
        """Makes a handler, which `attach` adds to a logger.

        targets: gives the names to offer for an unknown target; quiet: values of Snakemake's `quiet`; dry: whether
        nothing will run; commands: whether shell commands are shown (`-p`).
        """
        super().__init__(logging.INFO)
        self.targets, self.reasons, self.dry, self.commands = targets, reasons, dry, commands
        self.speaks = "rules" in quiet
        self.tells = self.speaks and "progress" not in quiet
        self.progress = Progress()
        self.failures: dict[int, Failure] = {}
        self.planned = self.closed = False
        self._names: dict[int, str] = {}
        self._since: dict[int, float] = {}  # when a job began, in seconds since 1970
        self._errors: list[str] = []

    def attach(self, logger: logging.Logger) -> None:
        """Adds this handler to Snakemake's. The screen then leaves out what this one shows, the log file nothing."""
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler):
                handler.filters.clear()
            elif isinstance(handler, logging.StreamHandler):
                handler.addFilter(self.leaves)
        logger.addHandler(self)

    def leaves(self, record: logging.LogRecord) -> bool:
        """Whether Snakemake's handler for the screen may show a record."""
        if self.closed:
            return False
        event = getattr(record, "event", None)
        if event == "error":
            kind = getattr(record, "exception", None)
            if kind == "MissingRuleException" or machine.in_words_of(record.getMessage()):
                return False
            return not (self.speaks and self.planned and kind == "RuleException")
        if not self.speaks:
            return True
        # After the plan of a dry run, Snakemake lists reasons by kind; the plan already has them by rule.
        chatter = event is None and record.levelno <= logging.INFO
        if chatter and self.planned and (self.dry or record.getMessage().startswith("Select jobs")):
            return False
        return event not in SAID_HERE and not hasattr(record, "provided_resources")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say = getattr(self, f"_on_{getattr(record, 'event', None)}", None)
            if say is not None and not self.closed:
                say(record, time.monotonic())
        except Exception:
            self.handleError(record)

    def close_with_reasons(self, before: Iterable[str] = ()) -> None:
        """Shows why jobs failed, and nothing of Snakemake's after that. before: lines to show first."""
        failures = [*self.failures.values(), *(Failure("Snakemake", (), said) for said in self._errors)]
        lines = [*before]
        if failures:
            count = len(failures)
            lines += [f"{count} job{'s' * (count > 1)} failed. Why:", "", summary(failures)]
        self._say("", *lines)
        self.closed = True

    def _say(self, *lines: str) -> None:
        print(*lines, sep="\n", file=sys.stderr, flush=True)

    def _tell(self, what: str) -> None:
        if self.tells:
            self._say(f"{time.strftime('%H:%M:%S')}  {what}")

    def _on_run_info(self, record: logging.LogRecord, now: float) -> None:
        if self.planned or not hasattr(record, "stats"):  # a dry run counts its jobs twice
            return
        self.planned = True
        counts = {rule: count for rule, count in record.stats.items() if rule != "total"}
        self.progress.plan(counts)
        if self.speaks:
            self._say(plan(counts, self.reasons()))
            if self.dry:
                self._say("Nothing was computed (-n). Each job with its reason:  snakemake -n --quiet host")

    def _on_job_info(self, record: logging.LogRecord, now: float) -> None:
        self._names[record.jobid] = record.rule_msg or record.rule_name
        if self.dry:
            return
        self._since[record.jobid] = time.time()
        self.progress.start(record.jobid, record.rule_name, now)
        self.failures.pop(record.jobid, None)
        if record.output:  # a target, such as `all`, does nothing itself
            self._tell(f"start   {self._names[record.jobid]}")

    def _on_resources_info(self, record: logging.LogRecord, now: float) -> None:
        given = getattr(record, "provided_resources", None)
        if self.speaks and given:
            shown = {name: getattr(value, "value", value) for name, value in given.items() if not _is_own(name)}
            self._say(f"Provided resources: {', '.join(f'{name}={value}' for name, value in shown.items())}")

    def _on_shellcmd(self, record: logging.LogRecord, now: float) -> None:
        command = getattr(record, "shellcmd", None)
        if self.speaks and self.commands and command:
            self._say(f"          {command}")

    def _on_job_finished(self, record: logging.LogRecord, now: float) -> None:
        if self.dry:
            return
        took = self.progress.finish(record.job_id, now)
        name = self._names.get(record.job_id, f"job {record.job_id}")
        self._tell(f"done    {name} ({duration(took)}): {self.progress.line(now)}")

    def _on_job_error(self, record: logging.LogRecord, now: float) -> None:
        if getattr(record, "indent", False):  # in a group, which is reported as a whole
            return
        self.progress.fail(record.jobid)
        name = self._names.get(record.jobid, record.rule_name)
        mine = [said for said in self._errors if any(log in said for log in record.log)]
        self._errors = [said for said in self._errors if said not in mine]
        failed = failure(name, record.log, "\n".join(filter(None, [record.rule_msg, *mine])))
        self.failures[record.jobid] = failed
        self._tell(f"failed  {name}: {failed.reason.splitlines()[0]}")

    def _on_group_error(self, record: logging.LogRecord, now: float) -> None:
        members = {job["jobid"]: job for job in record.job_error_info}
        for jobid in members:
            self.progress.fail(jobid)
        named = {jobid: self._names.get(jobid, job["rule_name"]) for jobid, job in members.items()}
        logs = {jobid: job["log"] for jobid, job in members.items()}
        since = min(self._since.get(jobid, 0.0) for jobid in members)
        found = group_failures(named, logs, record.aux_logs, getattr(record, "said", None) or "", since)
        self.failures |= found
        for failed in found.values():
            self._tell(f"failed  {failed.job}: {failed.reason.splitlines()[0]}")

    def _on_error(self, record: logging.LogRecord, now: float) -> None:
        said = record.getMessage()
        kind = getattr(record, "exception", None)
        wanted = re.search(r"No rule to produce (\S+)", said)
        if kind == "MissingRuleException" and wanted:
            self._say(no_target(wanted[1], self.targets(wanted[1])))
        elif words := machine.in_words_of(said):
            # Snakemake itself hit this error, between two jobs, and ends without calling a handler.
            remedy = words.partition(": ")[2]
            self.failures = {job: found for job, found in self.failures.items() if not found.reason.endswith(remedy)}
            self.close_with_reasons([f"Error: {words}"])
        elif self.planned:
            self._errors.append(said)


def _is_own(resource: str) -> bool:
    """Whether a resource is internal to Snakemake or the workflow: `turn` is what jobs of one Slurm job take."""
    return resource.startswith("_") or resource == "turn"


def plan(counts: Mapping[str, int], reasons: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Table of the rules, in their order: how many jobs, and why."""
    why: dict[str, Counter[str]] = {}
    for rule, names in reasons:
        names = list(names)
        for name in [name for name in names if name != FOLLOWS] or names:
            why.setdefault(rule, Counter())[WHY.get(name, name)] += 1
    width = max(map(len, [*counts, "total"]))
    rows = [("rule", "jobs", "why"), ("-" * width, "-" * 5, "-" * 5)]
    for rule, count in counts.items():
        found = why.get(rule, Counter()).most_common()
        rows.append((rule, str(count), ", ".join(f"{word} ({n})" if n < count else word for word, n in found)))
    rows.append(("total", str(sum(counts.values())), ""))
    return "\n".join(f"{rule:<{width}}  {count:>5}  {words}".rstrip() for rule, count, words in rows)


def no_target(name: str, targets: Iterable[str]) -> str:
    """Message for a target that is neither a name nor a file that a rule makes."""
    return (
        f"Error: there is no rule to ask for as '{name}', and none makes a file of that name. Ask for one of the names"
        f" below, or for a file of the results folder.\n{did_you_mean(name, targets)}"
    )
