"""Starts the processes of a team, passes signals on to them, and ends them together.

On one machine it starts each of them itself; on the nodes of a Slurm job, srun does.
"""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed import TCPStore

from caneft.errors import InputError
from caneft.runtime.cli import SAID
from caneft.runtime.devices import cpu_wanted

GRACE = 10  # seconds that the other processes get to end by themselves after one has failed

# Gives each of srun's tasks the variables of torch's launchers. They meet at this process, where srun runs.
AS_TORCHRUN = 'export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID MASTER_ADDR=$SLURM_LAUNCH_NODE_IPADDR; exec "$@"'


def launch(module: str, arguments: Sequence[str], processes: int, what: str, nodes: int = 1, threads: int = 1) -> int:
    """Runs `python -m module arguments` in `processes` processes of one team, one GPU each; returns the exit code.

    what: the work, for messages. nodes: of the Slurm job that this process runs in, over which the processes are
    divided; threads: processors of each process, which Slurm is told. If several processes fail, the first one reports
    why.

    Does not use `accelerate launch`, which does not pass SIGUSR1 on, kills whatever still runs 30 seconds after a
    SIGTERM (a large checkpoint takes longer), and starts several CPU processes only by MPI.
    Raises InputError if there are fewer GPUs, unless accelerate's ACCELERATE_USE_CPU asks for the CPU, and for several
    nodes outside a Slurm job.
    """
    visible, here = torch.cuda.device_count(), processes // nodes
    if not cpu_wanted() and here > max(visible, int(nodes > 1)):
        raise InputError(
            f"{what} on {here} GPUs is asked for (models.*.resources.gpu), but {visible or 'none'} of them"
            f" {'are' if visible > 1 else 'is'} visible to this job"
        )
    command = [sys.executable, "-m", module, *arguments]
    if nodes > 1:
        command = _over(nodes, here, threads, command)
    # Every process must see this folder, so several nodes need one that they share.
    with tempfile.TemporaryDirectory(prefix=".caneft-", dir=None if nodes == 1 else Path.cwd()) as folder:
        # Keeps the port bound from here on: another program could take one that was merely found free.
        meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        environment = _environment(processes, here, meeting.port) | {SAID: str(Path(folder, "said"))}
        started: list[subprocess.Popen] = []
        try:
            with _passing_on(started) as passed:
                for rank in range(processes if nodes == 1 else 1):
                    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
                    # Inherits open files: a GPU's lock is freed when the last process that uses it has ended.
                    started.append(subprocess.Popen(command, env=environment | ranks, close_fds=False))
                    for number in passed:  # signals from before this process started
                        started[-1].send_signal(number)
                return _outcome(started)
        finally:
            _end(started)


def _over(nodes: int, here: int, threads: int, command: Sequence[str]) -> list[str]:
    """The command as srun runs it, `here` times on each node of the Slurm job. If one fails, srun ends all."""
    if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
        raise InputError(
            f"models.*.resources.nodes is {nodes}, but Slurm, which knows the nodes, did not start this job"
        )
    tasks = [f"--nodes={nodes}", f"--ntasks={nodes * here}", f"--ntasks-per-node={here}", f"--cpus-per-task={threads}"]
    return ["srun", *tasks, "--kill-on-bad-exit=1", "sh", "-c", AS_TORCHRUN, "sh", *command]


def _environment(processes: int, here: int, port: int) -> dict[str, str]:
    """Environment of a team whose processes meet at a port that this process has opened, as torchrun's do.

    here: number of processes on each machine.
    """
    from accelerate.utils import check_cuda_p2p_ib_support

    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    address |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(here)}
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # else accelerate sets it, with a warning
    cards = {} if cpu_wanted() or check_cuda_p2p_ib_support() else {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}
    return os.environ | address | sizes | threads | cards


@contextmanager
def _passing_on(started: Sequence[subprocess.Popen]) -> Iterator[list[int]]:
    """Within the block, passes signals that ask for a checkpoint on to every process; yields those that came."""
    passed: list[int] = []

    def pass_on(number: int, _) -> None:
        passed.append(number)
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield passed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _outcome(started: Sequence[subprocess.Popen]) -> int:
    """Exit code of the first process that fails; 0 once all have succeeded."""
    while True:
        codes = [process.poll() for process in started]
        failed = next((code for code in codes if code), None)
        if failed is not None:
            return failed if failed > 0 else 128 - failed
        if None not in codes:
            return 0
        time.sleep(0.1)


def _end(started: Sequence[subprocess.Popen]) -> None:
    """Waits a little for the processes, then kills them: they would wait forever for one that has failed."""
    deadline = time.monotonic() + GRACE
    for process in started:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            logging.getLogger(__name__).warning("ending process %d, which waits for another", process.pid)
            process.kill()
            process.wait()
