"""A small workflow to disturb: an undisturbed run, copies cut back to a stage, and Snakemake in these."""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tests import warm
from tests.workflow.conftest import PARTS, REPOSITORY, RESULTS, Workspace

CONFIG = "faults.yaml"
LONG = 900  # seconds, enough for a busy machine
STAGES = {
    "corpora": ("corpora/de-en", "mixtures"),
    "importance": ("importance",),
    "selection": ("neurons",),
    "tuning": ("runs",),
    "translation": ("runs/*/*/base/translations", "runs/*/*/*/*/*/translations"),
    "scoring": ("runs/*/*/base/scores", "runs/*/*/*/*/*/scores", "scores", "significance"),
    "reporting": ("tables", "figures", "overview.html", "summary.md", "examples.html", "runs.parquet", "report.html"),
}
"""What each stage leaves, in their order. The pretrained base is always there."""
ONE_RUN = "one run"
"""In a stage's place: only the runs of CANEFT, and what is made of them at the end."""


def smaller(config: dict) -> None:
    """Edit of mini.yaml: three methods on two domains, and one domain for testing only."""
    config["directions"]["de-en"]["domains"].pop("medical")
    config["mixtures"] = {"all": {"de-en": ["it", "law"]}}
    config["methods"] = {name: config["methods"][name] for name in ("base", "caneft", "lora")}
    config["methods"]["lora"]["learning_rate"] = 5e-3
    config["significance"] = {"resamples": 100}


@dataclass
class Running:
    """A running Snakemake in its own session, with its output in a file."""

    process: subprocess.Popen
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def events(self) -> int:
        """Number of jobs that have started or ended."""
        return len(re.findall(r"^[\d:]{8}  (?:start|done) ", self.said(), re.MULTILINE))

    def jobs(self) -> list[psutil.Process]:
        """Processes of the steps that run now."""
        found = []
        try:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                line = process.cmdline()
                if len(line) > 2 and line[1] == "-m" and line[2].startswith("workflow.scripts."):
                    found.append(process)
        except psutil.NoSuchProcess:
            pass
        return found

    def everything(self) -> list[psutil.Process]:
        """Processes of Snakemake and all that it started."""
        try:
            own = psutil.Process(self.process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def planned(self) -> int:
        """Number of jobs that the run will have; 0 if it ends before it says so."""
        while not (found := re.search(r"^total +(\d+)", self.said(), re.MULTILINE)):
            if self.process.poll() is not None:
                return 0
            time.sleep(0.02)
        return int(found[1])

    def until(self, share: float, milliseconds: int) -> tuple[bool, str]:
        """Waits for this share of all starts and ends of jobs, and these milliseconds more.

        Returns whether the run is still going then, and the moment in words.
        """
        all_events = 2 * self.planned() - 2  # without the job of the target itself
        wanted = 1 + int(share * all_events)
        moment = f"{milliseconds} ms after event {wanted} of {all_events}"
        while self.events() < wanted:
            if self.process.poll() is not None:
                return False, moment
            time.sleep(0.02)
        time.sleep(milliseconds / 1000)
        return self.process.poll() is None, moment

    def wait(self) -> int:
        return self.process.wait(LONG)


@dataclass
class Bench:
    """A workspace for one fault. environment: variables on top of the workspace's own."""

    workspace: Workspace
    config: str = CONFIG
    environment: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    @property
    def results(self) -> Path:
        return self.workspace.root / RESULTS

    def start(self, *arguments: str, forked: bool = False) -> Running:
        """Starts the command, always the same, in the background. forked: steps need not import torch."""
        self.runs += 1
        log = self.workspace.root / f"said-{self.runs}.log"
        environment = self.workspace.environment | {"OMP_NUM_THREADS": "1"}
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.workspace.command("--cores", "1", *arguments, config=self.config),
                cwd=self.workspace.root,
                env=(warm.forking(environment) if forked else environment) | self.environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Running(process, log)

    def snakemake(self, *arguments: str) -> tuple[int, str]:
        """Runs the same command to its end: exit code and output."""
        run = self.start(*arguments, forked=True)
        try:
            return run.wait(), run.said()
        finally:
            stop(run.everything())


def stop(processes: list[psutil.Process]) -> None:
    """Kills these processes, all of which were started here."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def prepared(root: Path) -> Bench:
    """A copy of the parts of the repository that the workflow needs, with the small configuration."""
    for part in PARTS:
        source, target = REPOSITORY / part, root / part
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copy2 if source.is_file() else shutil.copytree
        copy(source, target, **({} if source.is_file() else {"ignore": shutil.ignore_patterns("__pycache__")}))
    workspace = Workspace(root)
    (root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(smaller)), encoding="utf-8")
    return Bench(workspace)


def undisturbed(root: Path) -> Bench:
    """Makes the whole run from nothing, or continues one that an earlier call left."""
    bench = Bench(Workspace(root)) if (root / CONFIG).exists() else prepared(root)
    code, said = bench.snakemake()
    if code != 0:
        raise SystemExit(f"the undisturbed run failed:\n{said[-5000:]}")
    return bench


def cut_back(whole: Bench, root: Path, stage: str) -> Bench:
    """A copy of a finished run without the files of this stage and the later ones."""
    shutil.copytree(whole.workspace.root, root, ignore=shutil.ignore_patterns("said-*.log", "log"))
    bench = Bench(Workspace(root), whole.config)
    for pattern in left_by(stage):
        for path in bench.results.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return bench


def left_by(stage: str) -> list[str]:
    """Files of this stage and the later ones, as patterns below the results folder."""
    if stage == ONE_RUN:
        return ["runs/*/*/*/caneft", "significance", *STAGES["reporting"]]
    names = list(STAGES)
    return [pattern for name in names[names.index(stage) :] for pattern in STAGES[name]]
