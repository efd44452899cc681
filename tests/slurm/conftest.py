"""Private Slurms with and without accounts, Snakemake in them as a user types it, and a local run to compare with.

Everything is real: tests/slurm/cluster.py starts Slurm, and the repository is a copy. Slurm waits more than it
computes, so independent parts run at the same time.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import warm
from tests.conda.conftest import WithConda, registry  # noqa: F401  a fixture
from tests.slurm import faults, garden
from tests.slurm import two_nodes as over_nodes
from tests.slurm.cluster import Cluster, ClusterError, Loopback, missing, wait_for
from tests.workflow.conftest import REPOSITORY, RESULTS, Workspace, pristine  # noqa: F401  a fixture

CONFIG = "longer.yaml"
LONG = 1500  # seconds, enough for a busy machine
# Jobs here take seconds, so Snakemake looks at them sooner. All else is as a user types it.
SOONER = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10")


METHODS = ("base", "full", "lora", "random", "caneft")


def longer(config: dict) -> None:
    """Edit of mini.yaml: fewer methods, and tuning and dumps take seconds, so that they can be killed midway."""
    config["methods"] = {name: config["methods"][name] for name in METHODS}
    config["tuning"] |= {"epochs": 40, "dev_every": 120}
    config["importance"] |= {"samples": 500, "tokens_per_batch": 1}
    for name, domain in config["directions"]["de-en"]["domains"].items():
        if name in config["mixtures"]["all"]["de-en"]:
            domain["train"]["pairs"] = 600


def over_two_nodes(config: dict) -> None:
    """Edit of mini.yaml: like `longer`, but two nodes share dumps and tuning, which take less time."""
    longer(config)
    config["tuning"] |= {"epochs": 12, "dev_every": 36}
    config["importance"]["samples"] = 200
    config["models"]["mini-llama"]["resources"] = {"nodes": 2}


def running(
    name: str, accounting: bool, tmp_path_factory, network: Loopback | None = None, nodes: int = 1
) -> Iterator[Cluster]:
    if lacking := missing():
        pytest.skip(f"Slurm is not installed here: apt-get install {' '.join(lacking)}")
    cluster = Cluster(tmp_path_factory.mktemp(name), accounting, network, nodes)
    try:
        cluster.start()
        yield cluster
        print(f"\n{cluster.jobs()}")
    finally:
        cluster.stop()


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard():
    """Restores SIGINT: a shell's background processes ignore it, and so would everything that the tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def loopback() -> Iterator[Loopback | None]:
    """A network with only the loopback interface; None if only root may make one."""
    try:
        network = Loopback()
    except ClusterError as error:
        print(f"\njobs are not shut off from the network here: {error}")
        yield None
    else:
        yield network
        network.close()


@pytest.fixture(scope="session")
def with_accounts(tmp_path_factory, loopback) -> Iterator[Cluster]:
    """A Slurm without a network, whose jobs slurmdbd books, so that sacct knows them."""
    yield from running("with_accounts", True, tmp_path_factory, loopback)


@pytest.fixture(scope="session")
def without_accounts(tmp_path_factory) -> Iterator[Cluster]:
    """A Slurm with squeue only."""
    yield from running("without_accounts", False, tmp_path_factory)


@pytest.fixture(scope="session")
def two_nodes(tmp_path_factory) -> Iterator[Cluster]:
    """A Slurm with two nodes."""
    yield from running("two_nodes", False, tmp_path_factory, nodes=2)


@dataclass(frozen=True)
class Login:
    """A user on the login node of a cluster, in their own copy of the repository."""

    cluster: Cluster
    workspace: Workspace
    conda: WithConda | None = None  # then Snakemake is called with --use-conda

    @property
    def root(self) -> Path:
        return self.workspace.root

    @property
    def results(self) -> Path:
        return self.workspace.results

    def command(self, *arguments: str, target: str = "all") -> list[str]:
        own = [] if "--config" in arguments else ["--config", f"results_root={RESULTS}"]
        results = ["--configfile", CONFIG, *own]
        conda = self.conda.arguments if self.conda else []
        line = ["snakemake", target, "--profile", "slurm", "--nocolor", *SOONER, *conda, *results, *arguments]
        return self.cluster.command(line)

    @property
    def environment(self) -> dict[str, str]:
        path = [self.cluster.folder / "bin", Path(sys.executable).parent, self.cluster.environment["PATH"]]
        own = {"PATH": os.pathsep.join(map(str, path))}
        given = self.workspace.environment | self.cluster.variables | own
        if self.conda:
            given |= self.conda.variables | {"PATH": os.pathsep.join([*self.conda.places, given["PATH"]])}
            given["CANEFT_TEST_SPY"] = str(self.root / "spy.jsonl")
        return given

    def snakemake(self, *arguments: str, target: str = "all") -> subprocess.CompletedProcess:
        """Runs Snakemake to its end; stdout and stderr together in `stdout`."""
        head = self.start(*arguments, target=target)
        return subprocess.CompletedProcess(head.process.args, head.wait(), head.said())

    def start(self, *arguments: str, target: str = "all") -> "Head":
        file = self.root / f"head{len(list(self.root.glob('head*.log')))}.log"
        with file.open("wb") as log:
            process = subprocess.Popen(
                self.command(*arguments, target=target),
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Head(process, file)


@dataclass(frozen=True)
class Head:
    """The main Snakemake, on the login node."""

    process: subprocess.Popen
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait(self) -> int:
        """Its exit code. If it takes too long, it is killed, so that it submits no more jobs."""
        try:
            return self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait_for(self, condition, message: str) -> None:
        """Waits until the condition holds; an error if the head ends before."""

        def so() -> bool:
            assert self.process.poll() is None, self.said()[-5000:]
            return condition()

        try:
            wait_for(so, message, LONG)
        except ClusterError:
            self.kill()
            raise

    def press_ctrl_c(self) -> int:
        """Sends SIGINT to the whole process group, as a terminal does. Returns the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def copied(pristine: Workspace, root: Path) -> Workspace:  # noqa: F811
    workspace = pristine.copy(root)
    (root / "slurm").symlink_to(os.readlink(REPOSITORY / "slurm"))
    (root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(longer)), encoding="utf-8")
    return workspace


@pytest.fixture(scope="session")
def local_run(pristine, tmp_path_factory) -> Iterator[Head]:  # noqa: F811
    """The run on this machine, started here; it continues while other tests wait for time limits."""
    workspace = copied(pristine, tmp_path_factory.mktemp("local"))
    with (workspace.root / "head.log").open("wb") as log:
        command = [*warm.COMMAND, *workspace.command("--cores", "2", config=CONFIG)]
        started = {"cwd": workspace.root, "env": workspace.environment, "stdout": log, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(command, **started)
    yield Head(process, workspace.root / "head.log")
    if process.poll() is None:
        process.terminate()
        process.wait()


def local_end(run: Head) -> Workspace:
    """The workspace of the local run, after its end."""
    assert run.wait() == 0, run.said()[-5000:]
    return Workspace(run.log.parent)


@pytest.fixture(scope="session")
def fault_jobs(without_accounts, pristine, tmp_path_factory) -> Iterator[Future]:  # noqa: F811
    """Starts the jobs of faults.smk. A Future of a `Faults`."""
    login = Login(without_accounts, copied(pristine, tmp_path_factory.mktemp("faults")))
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(faults.run, login)


@pytest.fixture(scope="session")
def grown_jobs(without_accounts, fault_jobs, local_run, tmp_path_factory) -> Iterator[Future]:
    """Starts what garden.py runs, after the local run and the outage of faults.smk. A Future of a `Grown`."""
    place = tmp_path_factory.mktemp("grown")

    def run() -> garden.Grown:
        fault_jobs.result()
        workspace = local_end(local_run).copy(place)
        edited = workspace.configuration(lambda config: (longer(config), garden.add(config)))
        return garden.run(Login(without_accounts, workspace), CONFIG, edited)

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(run)


@pytest.fixture(scope="session")
def two_node_jobs(two_nodes, local_run, tmp_path_factory) -> Iterator[Future]:
    """Starts what two_nodes.py runs, after the local run. A Future of a `Spread`."""
    places = [tmp_path_factory.mktemp(name) for name in ("alone", "spread")]

    def run() -> over_nodes.Spread:
        alone, spread = (local_end(local_run).copy(place) for place in places)
        return over_nodes.run(Login(two_nodes, spread), alone, CONFIG, alone.configuration(over_two_nodes))

    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(run)


@pytest.fixture(scope="session")
def local_results(local_run) -> Path:
    """The results of the local run."""
    return local_end(local_run).results
