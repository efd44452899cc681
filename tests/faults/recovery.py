"""Gives the same command again, and in between follows its messages as a user would."""

import re
import shutil
from pathlib import Path

import psutil

from tests import equal
from tests.faults.bench import Bench
from tests.faults.kinds import Done

TRIES = 6


def recover(bench: Bench, done: Done) -> tuple[bool, list[str]]:
    """Repeats the command until it finishes. Returns whether it did, and in words the remedies that it named.

    Fails if a command names no remedy, unless it was interrupted itself: then it is repeated.
    """
    code, said, taken, interrupted = done.code, done.said, [], done.interrupted
    for _ in range(TRIES):
        if code == 0 and not interrupted:
            return True, taken
        if code == 0:
            code, said = bench.snakemake()
            interrupted = False
            continue
        remedies = _remedies(bench, done, said)
        if not remedies and not interrupted:
            return False, [*taken, "nothing was named"]
        taken += remedies
        code, said = bench.snakemake()
        interrupted = False
        done.said += said
    return code == 0, taken


def _remedies(bench: Bench, done: Done, said: str) -> list[str]:
    """Follows the remedies in the output; returns them."""
    if "--unlock" in said:
        bench.snakemake("--unlock")
        return ["--unlock"]
    taken = []
    for found in re.finditer(r"end them: kill ((?:\d+ ?)+)", said):
        numbers = {int(number) for number in found[1].split()}
        for process in done.left:
            if process.pid in numbers and process.is_running():
                process.kill()
        psutil.wait_procs(done.left, timeout=30)
        taken.append("kill")
    for path in named_bad(said):
        place = bench.workspace.root / path
        if place.is_relative_to(bench.results) and place.exists():
            shutil.rmtree(place) if place.is_dir() else place.unlink()
            taken.append(f"deleted {place.relative_to(bench.results)}")
    if done.undo and re.search(r"[Mm]ake room|[Mm]ake it writable|[Rr]ebuild", said):
        done.undo()
        done.undo = None
        taken.append(re.search(r"[Mm]ake room|[Mm]ake it writable|[Rr]ebuild", said)[0])
    return taken


def named_bad(said: str) -> list[Path]:
    """Files that messages want deleted: the one at the head of the message, or those after `delete`."""
    paths = []
    for message in re.findall(r"^Error: (.+(?:\n(?!\[|Traceback|Error|Logfile|=|Full|RuleEx).+)*)", said, re.MULTILINE):
        if re.search(r"[Dd]elete (it|both|the file|the dump)\b", message):
            paths.append(Path(re.match(r"([^\s:]+)", message)[1]))
        paths += [Path(found) for found in re.findall(r"[Dd]elete ([^\s:]*/[^\s:,]*[^\s:,.])", message)]
        if "elete both" in message:
            paths.append(paths[-1].with_suffix(".json"))
    return list(dict.fromkeys(paths))


def flaws(bench: Bench, whole: Bench, done: Done) -> list[str]:
    """What is wrong after the recovery: results that differ, or a traceback in the output."""
    found = [f"differs: {name}" for name in equal.differences(bench.results, whole.results)]
    if "Traceback (most recent call last)" in done.said:
        found.append("a traceback was shown")
    return found
