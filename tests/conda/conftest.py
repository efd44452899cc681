"""A stand-in for conda, first on PATH; the three environments that Snakemake makes with it; and one run in them."""

import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from uv import find_uv_bin

from tests.workflow.conftest import REPOSITORY, Workspace, pristine  # noqa: F401  a fixture
from tests.workflow.test_comet import TRAIN

CONFIG = "conda.yaml"
SPY = """
import json, os, sys
if "CANEFT_TEST_SPY" in os.environ and sys.orig_argv[1:2] == ["-m"]:
    with open(os.environ["CANEFT_TEST_SPY"], "a") as file:
        print(json.dumps([sys.prefix, sys.orig_argv[2], os.environ.get("PYTHONPATH")]), file=file)
"""


def small(config: dict) -> None:
    """Edit of mini.yaml: few jobs, but some of each rule that pretrained models and COMET need."""
    config["models"]["mini-llama"]["pretrain"]["steps"] = 60
    del config["directions"]["de-en"]["domains"]["medical"]
    config["mixtures"]["all"]["de-en"] = ["it", "law"]
    config["methods"] = {name: config["methods"][name] for name in ("base", "lora", "caneft")}
    config["scoring"] = {"comet": {"train": TRAIN | {"epochs": 1}}}


def uv(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess:
    """Runs uv with these tests' cache; `stdout` has stdout alone."""
    command = [find_uv_bin(), *map(str, arguments)]
    return subprocess.run(command, input=stdin or "", capture_output=True, text=True, env=os.environ | cache())


def cache() -> dict[str, str]:
    """Where uv keeps downloads: the folder that the user names, else one beside pytest's folders."""
    place = Path(tempfile.gettempdir(), f"caneft-uv-{os.getuid()}")
    return {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(place)), "UV_PYTHON_DOWNLOADS": "never"}


@pytest.fixture(scope="session")
def registry() -> None:
    """Skips tests that need the package registry if it cannot be reached."""
    asked = uv("pip", "compile", "--no-cache", "--no-deps", "-", stdin="filelock")
    if asked.returncode != 0:
        pytest.skip(f"The package registry cannot be reached: {asked.stderr.strip().splitlines()[0]}")


@dataclass(frozen=True)
class WithConda:
    """A copy of the repository whose Snakemake runs with --use-conda and the stand-in for conda."""

    workspace: Workspace
    prefix: Path

    @property
    def root(self) -> Path:
        return self.workspace.root

    @property
    def places(self) -> list[str]:
        """The folders that come first on PATH."""
        return [str(REPOSITORY / "tests/conda/bin")]

    @property
    def arguments(self) -> list[str]:
        return ["--use-conda", "--conda-prefix", str(self.prefix)]

    @property
    def variables(self) -> dict[str, str]:
        """Differences from `workspace.environment`, with the stand-in's folder in front of PATH.

        uv leaves compiling to a module's first import; without permission for it, every job would compile torch.
        """
        path = os.pathsep.join([*self.places, self.workspace.environment["PATH"]])
        own = {"PATH": path, "PYTHONDONTWRITEBYTECODE": ""}
        return cache() | own | {"CANEFT_VENVS": "none"}  # COMET's environment from there must not be used

    def copy(self, root: Path) -> "WithConda":
        return replace(self, workspace=self.workspace.copy(root))

    def snakemake(self, *arguments: str, config: str | Path = CONFIG, **variables: str) -> subprocess.CompletedProcess:
        """Snakemake as a user calls it; stdout and stderr together in `stdout`."""
        return call(self.workspace, *self.arguments, *arguments, config=config, **self.variables | variables)

    def create_environments(self, config: str | Path = CONFIG) -> str:
        """Makes the missing environments, and lets each Python in them tell the spy that it started."""
        done = self.snakemake("--cores", "2", "--conda-create-envs-only", config=config)
        assert done.returncode == 0, done.stdout[-5000:]
        for place in self.prefix.glob("*/lib/python3*/site-packages"):
            (place / "sitecustomize.py").write_text(SPY)
        return done.stdout

    def environments(self) -> dict[str, Path]:
        """Folders of the environments that exist, by the names of their files in envs/."""
        made = {file.read_bytes(): file.with_suffix("") for file in self.prefix.glob("*.yaml")}
        wanted = {file.stem: file.read_bytes() for file in (self.root / "envs").glob("*.yaml")}
        return {name: made[content] for name, content in wanted.items() if content in made}

    def environment(self, name: str) -> Path:
        return self.environments()[name]

    def watched(self, *arguments: str, **variables: str) -> tuple[str, list[tuple[str, str, str | None]]]:
        """Runs Snakemake; returns its output, and each `python -m` of its jobs as (environment, module, PYTHONPATH)."""
        spy = self.root / "spy.jsonl"
        spy.write_text("")
        done = self.snakemake("--cores", "2", *arguments, CANEFT_TEST_SPY=str(spy), **variables)
        assert done.returncode == 0, done.stdout[-5000:]
        names = {str(folder): name for name, folder in self.environments().items()}
        told = map(json.loads, spy.read_text().splitlines())
        return done.stdout, [(names[prefix], module, path) for prefix, module, path in told]


def call(workspace: Workspace, *arguments: str, config: str | Path = CONFIG, **variables: str):
    """Snakemake in a copy of the repository; stdout and stderr together in `stdout`."""
    return subprocess.run(
        workspace.command(*arguments, config=config),
        cwd=workspace.root,
        env=workspace.environment | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
    )


def job_stats(output: str) -> Counter:
    """Number of jobs by rule in the plan's table, without the total; empty if nothing is to be done."""
    tables = re.findall(r"^rule +jobs +why\n-[- ]*\n((?:\w+ +\d+.*\n)+)", output, re.MULTILINE)
    stats = Counter()
    for line in tables[0].splitlines() if tables else ():
        rule, count = line.split()[:2]
        stats[rule] = int(count)
    assert stats.pop("total", 0) == stats.total()
    return stats


@pytest.fixture(scope="session")
def with_conda(registry, pristine, tmp_path_factory) -> WithConda:  # noqa: F811
    """The environments exist, but nothing has run yet."""
    workspace = pristine.copy(tmp_path_factory.mktemp("with_conda"))
    (workspace.root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(small)), encoding="utf-8")
    ours = WithConda(workspace, tmp_path_factory.mktemp("conda_prefix"))
    ours.create_environments()
    return ours


@dataclass(frozen=True)
class Done:
    """The finished run, which tests share."""

    conda: WithConda
    output: str
    told: list[tuple[str, str, str | None]]


@pytest.fixture(scope="session")
def done(with_conda, tmp_path_factory) -> Done:
    """Runs with a useless PYTHONPATH. Do not change it: take a copy."""
    ours = with_conda.copy(tmp_path_factory.mktemp("done"))
    return Done(ours, *ours.watched(PYTHONPATH=str(tmp_path_factory.mktemp("elsewhere"))))
