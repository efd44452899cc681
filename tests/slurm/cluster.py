"""A real Slurm in one folder: munge, slurmctld and a slurmd for each node; with accounting also mariadbd and slurmdbd.

    python -m tests.slurm.cluster start FOLDER [--accounting] [--nodes N]
                                                  prints what to export; then sbatch and the rest work
    python -m tests.slurm.cluster stop FOLDER     cancels its jobs and ends its daemons by their pids

It runs as root or as a user, beside any other Slurm of the machine, because keys, sockets, ports and pid files are its
own. Each node claims more processors and memory than the machine has, so that the requests of the rules can be
scheduled, and two GPUs, which are links to /dev/null but are scheduled like real ones. All nodes are on this machine,
with a port each. Jobs of the partition `urgent` preempt others, which go back into the queue. The tests can shut Slurm
and everything in it off from every network.
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

PROGRAMS = {  # each with its Debian package
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
PATIENCE = 120  # seconds in which a daemon must answer or end

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

# The executor plugin removes SLURM_CONF from the environment of the srun inside a job.
SRUN = """\
#!/bin/sh
SLURM_CONF={folder}/slurm.conf exec {srun} "$@"
"""


class ClusterError(Exception):
    """A part of the private Slurm failed; the message has that part's words."""


def missing() -> list[str]:
    """Debian packages that are needed and not installed."""
    return [package for program, package in PROGRAMS.items() if shutil.which(program, path=SEARCHED) is None]


@dataclass(frozen=True)
class Cluster:
    """The private Slurm in a folder.

    accounting: whether slurmdbd books its jobs in a database. nodes: number of nodes. network: a `Loopback` in which
    all of it runs; its users must be inside, too (`command`).
    """

    folder: Path
    accounting: bool = False
    network: "Loopback | None" = None
    nodes: int = 1

    @property
    def names(self) -> list[str]:
        """Names of the nodes."""
        return [f"node{number}" for number in range(1, self.nodes + 1)]

    def command(self, line: Sequence[str]) -> list[str]:
        """The command line in a form that reaches this Slurm."""
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
        """Variables for users of the cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), SEARCHED])
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path, "USER": USER}

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment with `variables`, and without the variables of another Slurm's job."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return kept | self.variables

    def run(self, command: str) -> str:
        """Output of one of Slurm's commands; raises ClusterError if it fails."""
        line = self.command(shlex.split(command))
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise ClusterError(f"{command}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def jobs(self) -> str:
        """What Slurm knows about its jobs, one per line: what sacct has booked or squeue remembers."""
        if self.accounting:
            return self.run("sacct --duplicates --allocations --format=JobID,State,ReqMem,Timelimit,Elapsed,Comment%80")
        return self.run("squeue --states=all --format='%.8i %.12T %.8m %.10l %.9P %.8M %k'")

    def start(self) -> None:
        """Writes the configuration and starts everything; returns when the node accepts jobs."""
        self._write_configuration()
        for name in self.daemons:
            self.start_daemon(name)
        wait_for(lambda: self.run("sinfo -h -p cpu -o %T").strip() == "idle", "the node does not become idle")

    def stop(self) -> None:
        """Cancels all jobs, waits until they are gone, and ends the daemons in reverse order."""
        try:
            self.run(f"scancel --full --user={USER}")
            wait_for(lambda: not self.run("squeue --noheader").strip(), "jobs do not end")
        finally:
            for name in reversed(self.daemons):
                self.stop_daemon(name)

    def start_daemon(self, name: str) -> None:
        """Starts a daemon and returns when it answers."""
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
        """Ends a daemon by its pid; does nothing if it was not started."""
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
        # "Count=" without a device drains the node, and jobs are not told about a device that is a plain file.
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
    """A network namespace with only the loopback interface: what runs inside cannot reach anything else.

    It lives as long as the process that holds it. Raises ClusterError if this user may not make one. The interface has
    a second address, reserved for examples, because Slurm resolves no name on a machine that has only 127.0.0.1.
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
        """The words before a command line that make it run inside, as the same process."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--"]

    @property
    def interfaces(self) -> set[str]:
        lines = Path(f"/proc/{self._holder.pid}/net/dev").read_text().splitlines()[2:]
        return {line.partition(":")[0].strip() for line in lines}

    def close(self) -> None:
        self._holder.communicate()


def _books(cluster: Cluster) -> bool:
    """Whether slurmdbd answers; on the first call, registers the cluster, an account and this user."""
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
    """Waits until a condition holds; a ClusterError in it means no. Raises one with the message at the deadline."""
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
    """Ports on which nothing listens now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _has_ended(pid: int) -> bool:
    """Whether a process is gone; reaps it if it is a child."""
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
