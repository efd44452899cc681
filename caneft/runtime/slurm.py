"""Checks, before the first job is submitted, that a Slurm cluster has what jobs request and none of an earlier run."""

import getpass
import math
import subprocess
import time
from collections.abc import Iterable, Mapping
from typing import Any

from caneft.errors import InputError, did_you_mean

WHERE = "profiles/slurm/config.yaml"
ENDING = 120  # seconds that cancelled jobs may take to write their checkpoints and end


def check(jobs: Iterable[tuple[str, Mapping[str, Any]]], status_command: str | None) -> None:
    """Asks the cluster about partitions, account and accounting.

    jobs: name of the rule and resources of each job that would be submitted; status_command: `sacct` or `squeue`.
    Raises InputError for what Slurm would refuse job by job, and for what would keep Snakemake waiting forever.
    """
    asked: dict[str, dict[str, str]] = {"slurm_partition": {}, "slurm_account": {}}
    for rule, resources in jobs:
        if resources.get("gpus"):
            raise InputError(f"{rule} asks for the resource 'gpus', which Slurm is never told: it is called 'gpu'.")
        for name, rules in asked.items():
            if resources.get(name):
                rules.setdefault(str(resources[name]), rule)
    partitions = _ask("sinfo", "--noheader", "--format=%R")
    for partition, rule in asked["slurm_partition"].items():
        if partition not in partitions:
            raise InputError(
                f"{WHERE}: {rule} asks for the partition '{partition}', which this cluster does not have (see sinfo). "
                + did_you_mean(partition, partitions)
            )
    if status_command == "sacct":
        try:
            _ask("sacct", "--noheader", "--allocations")
        except InputError as error:
            raise InputError(
                f"{WHERE}: slurm-status-command is sacct, but {error}\n"
                "If this cluster keeps no accounts, set it to squeue: jobs would be waited for without end."
            ) from None
        user = getpass.getuser()
        accounts = _ask(
            "sacctmgr", "--noheader", "--parsable2", "list", "associations", f"user={user}", "format=account"
        )
        for account in asked["slurm_account"]:
            if accounts and account.lower() not in accounts:
                raise InputError(
                    f"{WHERE}: slurm_account is '{account}', on which {user} may not book jobs. "
                    + did_you_mean(account, accounts)
                )


def check_time(name: str, minutes: int) -> None:
    """Raises InputError if no partition allows a job this long, which Slurm would silently leave in the queue.

    name: the Slurm job's; minutes: what it requests at its first try.
    """
    limits = [_minutes(limit) for limit in _ask("sinfo", "--noheader", "--format=%l")]
    if limits and minutes > max(limits):
        raise InputError(
            f"{name} asks for {minutes} minutes, but no partition lets a job run longer than {max(limits):g} (sinfo -o"
            f" '%P %l'). Lower group-components in {WHERE}, or models.*.resources runtime and translation_runtime."
        )


def check_nodes(name: str, nodes: int) -> None:
    """Raises InputError if no partition has this many nodes, for the same reason as `check_time`.

    name: the Slurm job's; nodes: what it requests.
    """
    found = [int(number) for number in _ask("sinfo", "--noheader", "--format=%D")] if nodes > 1 else []
    if found and nodes > max(found):
        raise InputError(
            f"{name} asks for {nodes} nodes, but no partition has more than {max(found)} (sinfo -o '%P %D'). Lower"
            " models.*.resources.nodes, or methods.*.resources.nodes."
        )


def _minutes(limit: str) -> float:
    """Minutes of a time limit as sinfo writes it: `infinite`, or `[days-][[hours:]minutes:]seconds`."""
    if not limit[0].isdigit():
        return math.inf
    days, _, clock = limit.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = 60 * seconds + int(part)
    return 1440 * int(days or 0) + seconds / 60


def wait_for_earlier(run: str) -> None:
    """Returns when no job of an earlier run is left, as two jobs of the same kind would write the same files.

    run: its id, the name of its jobs. Raises InputError if they are not ending, or take longer than `ENDING` to end.
    """
    deadline = time.monotonic() + ENDING
    while states := _ask("squeue", "--noheader", f"--name={run}", "--format=%T"):
        if states != {"COMPLETING"} or time.monotonic() > deadline:
            raise InputError(
                "Jobs of an earlier run of this workflow, whose Snakemake was killed, are still in the queue.\n"
                f"Let them end, or cancel them (scancel --name={run}), and give the same command again.\n"
                "What ended well counts; tuning and importance dumps go on where they were."
            )
        time.sleep(1)


def cancel(run: str) -> None:
    """Cancels the pending, running and suspended jobs of a run, if any. run: its id, the name of its jobs."""
    if _ask("squeue", "--noheader", f"--name={run}", "--states=PENDING,RUNNING,SUSPENDED", "--format=%i"):
        _ask("scancel", f"--name={run}")


def _ask(*command: str) -> set[str]:
    """Words that a Slurm command prints. Raises InputError if it is not found, fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise InputError(
            f"The command {command[0]} is not found: --profile slurm is for the login node of a cluster with Slurm."
        ) from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} did not answer within a minute: is Slurm up?") from None
    if done.returncode != 0:
        raise InputError(f"{command[0]} says: {done.stderr.strip() or done.stdout.strip()}")
    return set(done.stdout.split())
