"""A stand-in for conda first on PATH, the three environments as Snakemake makes them with it, and one run in them."""

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
    """Edit of mini.yaml: few jobs, but of each of the workflow's rules for models that are pretrained, COMET's too."""
    config["models"]["mini-llama"]["pretrain"]["steps"] = 60
    del config["directions"]["de-en"]["domains"]["medical"]
    config["mixtures"]["all"]["de-en"] = ["it", "law"]
    config["methods"] = {name: config["methods"][name] for name in ("base", "lora", "caneft")}
    config["scoring"] = {"comet": {"train": TRAIN | {"epochs": 1}}}


def uv(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess:
    """uv, with the cache of these tests; stdout alone in `stdout`."""
    command = [find_uv_bin(), *map(str, arguments)]
    return subprocess.run(command, input=stdin or "", capture_output=True, text=True, env=os.environ | cache())


def cache() -> dict[str, str]:
    """Where uv keeps what it downloads: the user's place, if they name one, else beside pytest's folders."""
    place = Path(tempfile.gettempdir(), f"caneft-uv-{os.getuid()}")
    return {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(place)), "UV_PYTHON_DOWNLOADS": "never"}


@pytest.fixture(scope="session")
def registry() -> None:
    """Skips what needs the package registry where it cannot be reached."""
    asked = uv("pip", "compile", "--no-cache", "--no-deps", "-", stdin="filelock")
    if asked.returncode != 0:
        pytest.skip(f"The package registry cannot be reached: {asked.stderr.strip().splitlines()[0]}")


@dataclass(frozen=True)
class WithConda:
    """A copy of the repository in which Snakemake is called with --use-conda and the stand-in for conda."""

    workspace: Workspace
    prefix: Path

    @property
    def root(self) -> Path:
        return self.workspace.root

    @property
    def places(self) -> list[str]:
        """What comes first on PATH."""
        return [str(REPOSITORY / "tests/conda/bin")]

    @property
    def arguments(self) -> list[str]:
        return ["--use-conda", "--conda-prefix", str(self.prefix)]

    @property
    def variables(self) -> dict[str, str]:
        """What differs from `workspace.environment`; PATH as it is there, after the double's folder.

        uv leaves it to the first import to compile a module, so that has to be allowed, or every job compiles torch.
        """
        path = os.pathsep.join([*self.places, self.workspace.environment["PATH"]])
        own = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
        return cache() | own | {"CANEFT_VENVS": "none"}  # COMET's own is not to be of help

    def copy(self, root: Path) -> "WithConda":
        return replace(self, workspace=self.workspace.copy(root))

    def snakemake(self, *arguments: str, config: str | Path = CONFIG, **variables: str) -> subprocess.CompletedProcess:
        """Snakemake as a user calls it; stdout and stderr together in `stdout`."""
        return call(self.workspace, *self.arguments, *arguments, config=config, **self.variables | variables)

    def create_environments(self, config: str | Path = CONFIG) -> str:
        """Makes those that are not there, and lets each Python in them tell the spy that it was started."""
        done = self.snakemake("--cores", "2", "--conda-create-envs-only", config=config)
        assert done.returncode == 0, done.stdout[-5000:]
        for place in self.prefix.glob("*/lib/python3*/site-packages"):
            (place / "sitecustomize.py").write_text(SPY)
        return done.stdout

    def environments(self) -> dict[str, Path]:
        """Folders of the environments that were made, by the names of their files in envs/."""
        made = {file.read_bytes(): file.with_suffix("") for file in self.prefix.glob("*.yaml")}
        wanted = {file.stem: file.read_bytes() for file in (self.root / "envs").glob("*.yaml")}
        return {name: made[content] for name, content in wanted.items() if content in made}

    def environment(self, name: str) -> Path:
        return self.environments()[name]

    def watched(self, *arguments: str, **variables: str) -> tuple[str, list[tuple[str, str, str | None]]]:
        """A run: what it said, and of each `python -m` of its jobs the environment, module and PYTHONPATH."""
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
    """Jobs of each rule by the plan's table, without the total; none where nothing is to be done."""
    tables = re.findall(r"^rule +jobs +why\n-[- ]*\n((?:\w+ +\d+.*\n)+)", output, re.MULTILINE)
    stats = Counter()
    for line in tables[0].splitlines() if tables else ():
        rule, count = line.split()[:2]
        stats[rule] = int(count)
    assert stats.pop("total", 0) == stats.total()
    return stats


@pytest.fixture(scope="session")
def with_conda(registry, pristine, tmp_path_factory) -> WithConda:  # noqa: F811
    """Nothing is run yet, but the environments are there."""
    workspace = pristine.copy(tmp_path_factory.mktemp("with_conda"))
    (workspace.root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(small)), encoding="utf-8")
    ours = WithConda(workspace, tmp_path_factory.mktemp("conda_prefix"))
    ours.create_environments()
    return ours


@dataclass(frozen=True)
class Done:
    """The one run."""

    conda: WithConda
    output: str
    told: list[tuple[str, str, str | None]]


@pytest.fixture(scope="session")
def done(with_conda, tmp_path_factory) -> Done:
    """With a PYTHONPATH that is of use to nobody. Not to be changed: take a copy."""
    ours = with_conda.copy(tmp_path_factory.mktemp("done"))
    return Done(ours, *ours.watched(PYTHONPATH=str(tmp_path_factory.mktemp("elsewhere"))))
