"""Guards a results folder: one Snakemake at a time, and no job that outlived an earlier one.

Snakemake's own lock covers its working folder, but two of these may use the same results. Both locks here are flocks,
which the kernel frees when their process ends, however it ends. File systems without flock lack this guard.
"""

import errno
import fcntl
import os
import re
import socket
from pathlib import Path
from typing import IO

from caneft.errors import InputError

HEAD, JOBS = "running.lock", "jobs.lock"
VARIABLE = "CANEFT_JOBS_LOCK"
"""Environment variable: the file that a local job keeps locked while it works."""
BUSY = {errno.EWOULDBLOCK, errno.EACCES}
_held: list[IO[str]] = []
"""Files that stay open as long as the process lives."""


def hold(folder: Path, root: Path, local: bool = True) -> None:
    """Locks the results folder `root` for this process, by files in `folder`.

    local: whether jobs run as its children, which find their shared lock in the environment; a cluster knows its own
    jobs.

    Raises InputError while another Snakemake has it, or jobs that outlived their Snakemake still write to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head = open(folder / HEAD, "a+", encoding="utf-8")  # noqa: SIM115  held
    if not _lock(head, fcntl.LOCK_EX):
        head.seek(0)
        who = head.read().strip() or "unknown"
        raise InputError(
            f"{root}: another Snakemake works on these results ({who}). Wait until it has ended, stop it, or name"
            " another results_root."
        )
    with open(folder / JOBS, "a+", encoding="utf-8") as jobs:
        if not _lock(jobs, fcntl.LOCK_EX):
            left = _left(root, os.fstat(jobs.fileno()).st_ino)
            if not _lock(jobs, fcntl.LOCK_EX):  # else the last one has just ended
                raise InputError(left)
    head.truncate(0)
    head.write(f"process {os.getpid()} on {socket.gethostname()}, in {Path.cwd()}\n")
    head.flush()
    _held.append(head)
    os.environ.pop(VARIABLE, None)
    if local:
        os.environ[VARIABLE] = str((folder / JOBS).absolute())


def join() -> None:
    """In a job: holds the jobs' lock until the job ends, if its Snakemake named one in the environment."""
    if VARIABLE not in os.environ:
        return
    try:
        jobs = open(os.environ[VARIABLE], "a+", encoding="utf-8")  # noqa: SIM115  held
    except OSError:
        return  # the first step that writes to the folder reports what is wrong with it
    _lock(jobs, fcntl.LOCK_SH)
    _held.append(jobs)


def _lock(file: IO[str], kind: int) -> bool:
    """Whether this process got the lock; also True if the file system has no locks."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in BUSY
    return True


def _left(root: Path, inode: int) -> str:
    """Message about jobs that still run, with their process ids if they run on this machine."""
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        locks = ""
    numbers = sorted(
        {int(n) for n, i in re.findall(r"FLOCK +\w+ +READ +(\d+) \w+:\w+:(\d+)", locks) if int(i) == inode}
    )
    which = f"end them: kill {' '.join(map(str, numbers))}" if numbers else "end them, on the machine where they run"
    return (
        f"{root}: jobs of an earlier run, which was killed, still write to these results. Wait until they have ended,"
        f" or {which}"
    )
