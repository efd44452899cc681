"""One real run of mini.yaml in a copy of the repository, which all tests of this folder share, and plans on it."""

import contextlib
import importlib
import io
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from snakemake import cli
from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.resources import Resources
from snakemake.settings.enums import RerunTrigger
from snakemake.settings.types import ConfigSettings, DAGSettings, GroupSettings, OutputSettings, ResourceSettings

from tests import offline, warm

REPOSITORY = Path(__file__).parents[2]
PARTS = (
    "Snakefile",
    "rules",
    "workflow",
    "caneft",
    "config",
    "envs",
    "profiles",
    "tests/workflow/mini.yaml",
    "tests/workflow/mini-zh.yaml",
)
MINI = "tests/workflow/mini.yaml"
RESULTS = "out/mini"  # given by --config, so that it overrides the key of mini.yaml
SECRETS = dict.fromkeys(
    ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"), "hf_planted7secret"
)
OVERRIDES = {"results_root": RESULTS}
MOST_LINES = 10
NOT_OURS = ("Using workflow specific profile", "WorkflowError", "  File ")  # Snakemake's frame around a message


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups, whenever this file was loaded
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Makes tests that share the run one group for one worker of pytest-xdist, so that the run is made once."""
    for item in items:
        if "first_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("workflow"))


@dataclass(frozen=True)
class Workspace:
    """A copy of the parts of the repository that the workflow needs, and the results made in it."""

    root: Path

    @property
    def results(self) -> Path:
        return self.root / RESULTS

    def configuration(self, edit: Callable[[dict], Any] = lambda config: None) -> dict:
        """mini.yaml as a dict, with this workspace's results folder, edited."""
        config = yaml.safe_load((self.root / MINI).read_text(encoding="utf-8")) | OVERRIDES
        edit(config)
        return config

    def copy(self, root: Path) -> "Workspace":
        """A copy with its metadata and time stamps, whose files a test may change."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        return Workspace(root)

    def command(self, *arguments: str, config: str | Path = MINI, own: bool = True) -> list[str]:
        """Command line of Snakemake. own: results go to this workspace, not where the configuration says."""
        overrides = ["--config", *(f"{key}={value}" for key, value in OVERRIDES.items())] if own else []
        command = [sys.executable, "-m", "snakemake", "--nocolor", "--configfile", str(config), *overrides]
        return command + list(arguments)

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with its Python first on PATH and without variables for users' own data."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        left_out = ("CANEFT_DATA", "CANEFT_COMET_PYTHON", "SNAKEMAKE_PROFILE", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        venvs = str(REPOSITORY / ".venvs")  # built once, by the first that needs it
        # Slurm's own commands, which the executor runs at every start, would otherwise look for their cluster by DNS.
        slurm = {"SLURM_CONF": os.devnull}
        return kept | SECRETS | {"PATH": path, "HF_HUB_OFFLINE": "1", "CANEFT_VENVS": venvs} | slurm

    def snakemake(
        self, *arguments: str, config: str | Path = MINI, before: Sequence[str] = (), forked: bool = False
    ) -> subprocess.CompletedProcess:
        """Runs Snakemake like a user; stdout and stderr together in `stdout`. before: a command that starts it.
        forked: steps need not import torch (tests/warm.py)."""
        return subprocess.run(
            [*before, *self.command(*arguments, config=config)],
            cwd=self.root,
            env=warm.forking(self.environment) if forked else self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3000,
        )

    def snakemake_here(
        self, *arguments: str, config: str | Path = MINI, own: bool = True, **variables: str
    ) -> subprocess.CompletedProcess:
        """Like `snakemake`, with further variables, but in this process and without hooks, which saves a second."""
        said, code, environment = io.StringIO(), 0, self.environment | variables
        with untouched_interpreter(), contextlib.chdir(self.root), _writing_to(said):
            os.environ.clear()
            os.environ.update(environment)
            command = self.command(*arguments, config=config, own=own)
            try:
                cli.main(command[command.index("snakemake") + 1 :])
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(command, code, said.getvalue())

    @contextmanager
    def planned(
        self,
        config: dict | None = None,
        targets: Iterable[str] = (),
        resources: dict[str, int] | None = None,
        nodes: int | None = None,
    ) -> Iterator[DAG]:
        """Snakemake's plan, by a dry run through its API. resources: as `--resources`. nodes: as a cluster's `--jobs`.

        The API does not read profiles, so this reads what decides about reruns from profiles/default, and what a
        cluster groups from profiles/slurm.
        """
        profile = yaml.safe_load((self.root / "profiles/default/config.yaml").read_text(encoding="utf-8"))
        settings = DAGSettings(
            targets=frozenset(targets),
            rerun_triggers=frozenset(RerunTrigger.parse_choice(choice) for choice in profile["rerun-triggers"]),
            max_checksum_file_size=profile["max-checksum-file-size"],
        )
        output = OutputSettings(dryrun=True, enable_file_logging=False)
        with untouched_interpreter(), SnakemakeApi(output) as api:
            os.environ["CANEFT_VENVS"] = self.environment["CANEFT_VENVS"]
            asked, groups = ResourceSettings(cores=2, resources=resources or {}), GroupSettings()
            if nodes:
                slurm = yaml.safe_load((self.root / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
                asked = ResourceSettings(
                    nodes=nodes,
                    resources=resources or {},
                    default_resources=Resources.from_mapping(slurm["default-resources"]),
                )
                groups = GroupSettings(group_components=_pairs(slurm["group-components"]))
            workflow = api.workflow(
                asked,
                ConfigSettings(config=self.configuration() if config is None else OVERRIDES | config),
                snakefile=self.root / "Snakefile",
                workdir=self.root,
            )
            workflow.dag(settings).execute_workflow(executor="dryrun", group_settings=groups)
            yield workflow._workflow.dag

    def plan(self, config: dict | None = None, targets: Iterable[str] = ()) -> set[str]:
        """Jobs that must run, as `rule wildcard/wildcard/...`."""
        with self.planned(config, targets) as dag:
            jobs = dag.needrun_jobs(exclude_finished=False)
            return {f"{job.rule.name} {'/'.join(job.wildcards)}".strip() for job in jobs}

    def commands(self, config: dict | None = None, targets: Iterable[str] = ()) -> dict[str, str]:
        """Shell commands of all jobs in a plan, whether they must run or not, by each of their output files."""
        with self.planned(config, targets) as dag:
            return {str(file): job.shellcmd for job in dag.jobs if job.shellcmd for file in job.output}

    def step_here(self, command: str) -> subprocess.CompletedProcess:
        """Runs the step of a job's shell command in this process, without its log, which saves seconds of imports."""
        words = shlex.split(command)
        module = next(n for n, word in enumerate(words) if word.startswith("workflow.scripts."))
        arguments = words[module : words.index(">", module)]
        said, code = io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(self.root), _writing_to(said):
            patch.setattr(sys, "argv", arguments)
            try:
                importlib.import_module(arguments[0]).main()
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(command, code or 0, said.getvalue())


def _pairs(given: list[str]) -> dict[str, int]:
    """The `name=number` items of a profile."""
    return {name: int(number) for name, number in (item.split("=") for item in given)}


@contextmanager
def _writing_to(said: io.StringIO) -> Iterator[None]:
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield


def message(done: subprocess.CompletedProcess) -> str:
    """Our part of the output of a failed Snakemake call: a few lines, and no traceback."""
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(NOT_OURS)]
    assert 1 <= len(lines) <= MOST_LINES, done.stdout
    return "\n".join(lines)


@contextmanager
def untouched_interpreter() -> Iterator[None]:
    """Unloads caneft, so that the Snakefile imports its own copy; restores everything afterwards."""
    path, environment = sys.path.copy(), os.environ.copy()
    loaded = _forget_caneft()
    try:
        yield
    finally:
        _forget_caneft()
        sys.modules.update(loaded)
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)


def _forget_caneft() -> dict[str, ModuleType]:
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "caneft"}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Workspace:
    """The copy before any run."""
    root = tmp_path_factory.mktemp("pristine")
    for part in PARTS:
        source, target = REPOSITORY / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    return Workspace(root)


@dataclass(frozen=True)
class FinishedRun:
    workspace: Workspace
    code: int
    output: str
    seconds: float
    sent: int | None
    """Attempts to reach anything but this machine, as the kernel counts them; None where it could not be asked."""


@pytest.fixture(scope="session")
def first_run(pristine, tmp_path_factory) -> FinishedRun:
    """The one real run, to the report, whether or not it succeeded; without a network if the machine allows that, and
    without each step's imports (tests/warm.py)."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        made_by = tmp_path_factory.getbasetemp().parent / "finished.made-by"
        try:
            made_by.open("x").write(worker)
        except FileExistsError:
            pytest.fail(f"{made_by.read_text()} makes the run as well: pytest-xdist keeps no groups (its issue 1386)")
    workspace = pristine.copy(tmp_path_factory.mktemp("finished"))
    counted = tmp_path_factory.mktemp("network") / "sent"
    started = time.perf_counter()
    done = workspace.snakemake("--cores", "2", before=[*offline.command(counted), *warm.COMMAND])
    seconds = time.perf_counter() - started
    sent = int(counted.read_text()) if counted.exists() else None
    return FinishedRun(workspace, done.returncode, done.stdout, seconds, sent)


@pytest.fixture(scope="session")
def finished(first_run) -> Workspace:
    """The workspace after the real run. Do not change it: take a copy."""
    assert first_run.code == 0, first_run.output[-5000:]
    return first_run.workspace
