"""A real Slurm under one folder: munge, slurmctld and a slurmd for each node; with accounting mariadbd and slurmdbd.

    python -m tests.slurm.cluster start FOLDER [--accounting] [--nodes N]
                                                  prints what to export; then sbatch and the rest work
    python -m tests.slurm.cluster stop FOLDER     cancels its jobs and ends its daemons by their pids

As root or as a user, beside any other Slurm of the machine: keys, sockets, ports and pid files are its own. Each node
claims more processors and memory than the machine has, so that what rules ask for can be scheduled, and two GPUs that
are links to /dev/null and are scheduled like real ones. All nodes are this machine, at a port each. Jobs of the
partition `urgent` have right of way: others go back into the queue for them. The tests can shut it off from every
network, with all that runs in it.
"""

import argparse
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {  # and the Debian packages that have them
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}
SEARCHED = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
USER = pwd.getpwuid(os.geteuid()).pw_name
CPUS, MEMORY_MB, GPUS = 8, 64_000, 2
ACCOUNT = "translation"
PATIENCE = 120  # seconds for a daemon to answer or to end

SLURM_CONF = """\
ClusterName=caneft
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# A requeued job waits until its credential has expired, two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=20
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.own.pid
SlurmdPidFile={folder}/%n.own.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
# squeue tells of ended jobs for as long.
MinJobAge=7200
KillWait=10
# There are no cgroups: memory is looked at every two seconds, and a job that has more than it asked for is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=ALL Default=YES MaxTime=2-00:00:00 State=UP
PartitionName=gpu Nodes=ALL MaxTime=1-00:00:00 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=1:00:00 State=UP
"""

NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}"
    " State=UNKNOWN"
)

WITHOUT_ACCOUNTING = "AccountingStorageType=accounting_storage/none\n"

WITH_ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=associations
"""

SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting_port}
SlurmUser={user}
PidFile={folder}/slurmdbd.own.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm_accounting
"""

# The executor plugin drops SLURM_CONF from the environment of the srun inside a job.
SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


class ClusterError(Exception):
    """A part of the private Slurm did not do what it should; the message has its words."""


def missing() -> list[str]:
    """Debian packages that are needed and not installed."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program, path=SEARCHED) is None]


@dataclass(frozen=True)
class Cluster:
    """The private Slurm in a folder; `accounting`: whether slurmdbd books its jobs in a database.

    nodes: how many it has;
    network: a `Loopback` that all of it is to live in; its users too have to be inside (`command`).
    """

    folder: Path
    accounting: bool = False
    network: "Loopback | None" = None
    nodes: int = 1

    @property
    def names(self) -> list[str]:
        """Of the nodes."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def command(self, line: Sequence[str]) -> list[str]:
        """A command line, so that it runs where this Slurm can be reached."""
        return [*(self.network.inside if self.network else ()), *line]

    @property
    def daemons(self) -> dict[str, list[str]]:
        """Command line of each daemon, in the order in which they start."""
        folder = self.folder
        munged = ["munged", "--foreground", "--force", "--key-file", folder / "munge.key"]
        munged += ["--socket", folder / "munge.socket", "--pid-file", folder / "munged.own.pid"]
        munged += ["--log-file", folder / "munged.own.log", "--seed-file", folder / "munge.seed"]
        mariadbd = ["mariadbd", "--no-defaults", "--skip-networking", "--datadir", folder / "database"]
        mariadbd += ["--socket", folder / "database.socket", "--pid-file", folder / "mariadbd.own.pid"]
        mariadbd += ["--user", USER, "--innodb-buffer-pool-size=64M"]
        booking = {"mariadbd": mariadbd, "slurmdbd": ["slurmdbd", "-D"]} if self.accounting else {}
        slurm = {"slurmctld": ["slurmctld", "-D", "-f", folder / "slurm.conf"]}
        slurm |= {name: ["slurmd", "-D", "-N", name, "-f", folder / "slurm.conf"] for name in self.names}
        return {name: [*map(str, command)] for name, command in ({"munged": munged} | booking | slurm).items()}

    @property
    def variables(self) -> dict[str, str]:
        """What is set for those who use the cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), SEARCHED])
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path, "USER": USER}

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with `variables`, and without what a job of another Slurm has set."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return kept | self.variables

    def run(self, command: str) -> str:
        """Output of one of Slurm's commands; a failure is a ClusterError."""
        line = self.command(shlex.split(command))
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise ClusterError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def jobs(self) -> str:
        """What Slurm knows of its jobs: a line each, of what sacct has booked or squeue still remembers."""
        if self.accounting:
            return self.run("sacct --duplicates --allocations --format=JobID,State,ReqMem,Timelimit,Elapsed,Comment%80")
        return self.run("squeue --states=all --format='%.8i %.12T %.8m %.10l %.9P %.8M %k'")

    def start(self) -> None:
        """Writes the configuration and starts everything; returns when the node takes jobs."""
        self._write_configuration()
        for name in self.daemons:
            self.start_daemon(name)
        wait_for(lambda: self.run("sinfo -h -p cpu -o %T").strip() == "idle", "the node does not become idle")

    def stop(self) -> None:
        """Cancels all jobs, waits until they are gone, and ends the daemons, the last one first."""
        try:
            self.run(f"scancel --full --user={USER}")
            wait_for(lambda: not self.run("squeue --noheader").strip(), "jobs do not end")
        finally:
            for name in reversed(self.daemons):
                self.stop_daemon(name)

    def start_daemon(self, name: str) -> None:
        """Starts one daemon and returns when it answers."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as words:
            process = subprocess.Popen(
                self.command(self.daemons[name]),
                env=self.environment | {"MYSQL_UNIX_PORT": str(self.folder / "database.socket")},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                cwd=self.folder,
                start_new_session=True,
            )
        (self.folder / f"{name}.pid").write_text(str(process.pid))

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}: {log.read_text()[-2000:]}")
            return ANSWERS[name](self) if name in ANSWERS else self._has(name)

        wait_for(answers, f"{name} does not answer; its log is {log}")

    def stop_daemon(self, name: str) -> None:
        """Ends one daemon by its pid; nothing if it was not started."""
        file = self.folder / f"{name}.pid"
        if file.exists():
            pid = int(file.read_text())
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: _has_ended(pid), f"{name} does not end")
            file.unlink()

    def _has(self, node: str) -> bool:
        """Whether a node answers."""
        return not self.run(f"sinfo --noheader --nodes={node} --format=%T").startswith("down")

    def _write_configuration(self) -> None:
        for name in ("state", "bin", "devices", *(f"spool/{node}" for node in self.names)):
            (self.folder / name).mkdir(parents=True)
        controller, accounting, *nodes = free_ports(2 + self.nodes)
        ports = {"controller_port": controller, "accounting_port": accounting}
        host, user = socket.gethostname().partition(".")[0], USER
        values = {"folder": self.folder, "host": host, "user": user, **ports}
        values |= {"cpus": CPUS, "memory": MEMORY_MB, "gpus": GPUS, "last_gpu": GPUS - 1}
        named = zip(self.names, nodes, strict=True)
        values["nodes"] = "\n".join(NODE.format(name=name, port=port, **values) for name, port in named)
        values["srun"] = shutil.which("srun", path=f"/usr/bin:{SEARCHED}")
        texts = {"slurm.conf": SLURM_CONF + (WITH_ACCOUNTING if self.accounting else WITHOUT_ACCOUNTING)}
        # "Count=" without a device drains the node, and of a plain file no job is told that it has it.
        texts["gres.conf"] = "Name=gpu File={folder}/devices/nvidia[0-{last_gpu}]\n"
        texts["bin/srun"] = SRUN
        if self.accounting:
            texts["slurmdbd.conf"] = SLURMDBD_CONF
        for name, text in texts.items():
            (self.folder / name).write_text(text.format(**values))
            (self.folder / name).chmod(0o700 if name == "bin/srun" else 0o600)
        for number in range(GPUS):
            (self.folder / f"devices/nvidia{number}").symlink_to("/dev/null")
        (self.folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.folder / "munge.key").chmod(0o600)
        if self.accounting:
            install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.folder}/database", f"--user={user}"]
            install += ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}", "--skip-test-db"]
            done = subprocess.run(install, env=self.environment, capture_output=True, text=True)
            if done.returncode != 0:
                raise ClusterError(f"mariadb-install-db: {done.stdout[-1000:]}{done.stderr[-1000:]}")


class Loopback:
    """A network namespace with nothing but the loopback interface: what runs inside can reach nobody else.

    Lives as long as the process that holds it. Raises ClusterError where this user may not make one. The interface has
    a second address, one that is reserved for examples: Slurm resolves no name on a machine that has 127.0.0.1 only.
    """

    def __init__(self):
        holder = "import sys; print('up', flush=True); sys.stdin.read()"
        up = 'ip link set lo up && ip address add 192.0.2.1/32 dev lo && exec "$0" -c "$1"'
        command = ["unshare", "--net", "sh", "-c", up, sys.executable, holder]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            self._holder = subprocess.Popen(command, text=True, env=os.environ | {"PATH": SEARCHED}, **pipes)
        except FileNotFoundError as error:
            raise ClusterError(str(error)) from None
        if self._holder.stdout.readline() != "up\n":
            raise ClusterError(f"no network namespace: {self._holder.communicate()[1].strip()}")

    @property
    def inside(self) -> list[str]:
        """Beginning of a command line that runs inside, as the process that it is started as."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    @property
    def interfaces(self) -> set[str]:
        lines = Path(f"/proc/{self._holder.pid}/net/dev").read_text().splitlines()[2:]
        return {line.partition(":")[0].strip() for line in lines}

    def close(self) -> None:
        self._holder.communicate()


def _books(cluster: Cluster) -> bool:
    """Whether slurmdbd answers; the first time it learns of the cluster, an account and this user."""
    if "caneft" not in cluster.run("sacctmgr --noheader list cluster format=cluster"):
        cluster.run("sacctmgr --immediate add cluster caneft")
        cluster.run(f"sacctmgr --immediate add account {ACCOUNT} cluster=caneft")
        cluster.run(f"sacctmgr --immediate add user {USER} account={ACCOUNT} defaultaccount={ACCOUNT}")
    return True


ANSWERS: dict[str, Callable[[Cluster], bool]] = {
    "munged": lambda cluster: (cluster.folder / "munge.socket").exists(),
    "mariadbd": lambda cluster: (cluster.folder / "database.socket").exists(),
    "slurmdbd": _books,
    "slurmctld": lambda cluster: "is UP" in cluster.run("scontrol ping"),
}
"""How one sees that a daemon answers; a node's: `Cluster._has`."""


def wait_for(condition: Callable[[], bool], message: str, seconds: float = PATIENCE) -> None:
    """Returns when a condition holds; a ClusterError in it is a no, and one with the message is raised in the end."""
    deadline, said = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except ClusterError as error:
            said = f" ({error})"
        time.sleep(0.05)
    raise ClusterError(f"after {seconds:.0f} s {message}{said}")


def free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _has_ended(pid: int) -> bool:
    """Whether a process is gone; of a child, its exit code is taken."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return not Path(f"/proc/{pid}").exists()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("start", "stop"))
    parser.add_argument("folder", type=lambda path: Path(path).resolve(), help="made by start")
    parser.add_argument("--accounting", action="store_true", help="with slurmdbd and a database of its own")
    parser.add_argument("--nodes", type=int, default=1)
    given = parser.parse_args()
    if given.command == "stop":
        nodes = len(list(given.folder.glob("node*.own.pid")))
        Cluster(given.folder, (given.folder / "slurmdbd.conf").exists(), nodes=nodes).stop()
        return
    if lacking := missing():
        parser.exit(1, f"Slurm is not installed here: apt-get install {' '.join(lacking)}\n")
    cluster = Cluster(given.folder, given.accounting, nodes=given.nodes)
    cluster.start()
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in cluster.variables.items()))


if __name__ == "__main__":
    main()
