"""`snakemake --use-conda` with a real solver and installer, rattler's, and a channel made from a local Python."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conda import channel
from tests.conda.conftest import REPOSITORY, WithConda, job_stats
from tests.conda.test_environment_files import pinned, versions
from tests.conda.test_use_conda import ENVIRONMENT_OF, REPORTING, change_pin

PYTHON = REPOSITORY / ".venv-rattler/bin/python"
CYCLER = "cycler==0.12.1", "cycler==0.12.0"  # a pin that no other test of this prefix changes


@dataclass(frozen=True)
class WithRattler(WithConda):
    """Like WithConda, but with rattler's client of conda's channels, and with the folder of these channels."""

    channels: Path

    @property
    def places(self) -> list[str]:
        return [str(REPOSITORY / "tests/conda/rattler/bin")]

    @property
    def variables(self) -> dict[str, str]:
        own = {"CONDA_CHANNEL_ALIAS": self.channels.as_uri(), "CONDA_PKGS_DIRS": str(self.channels / "packages")}
        return super().variables | own


@pytest.fixture(scope="module")
def channels(done, tmp_path_factory):
    """A folder with one channel, named as in the environment files."""
    if not PYTHON.exists():
        pytest.skip("`make test-conda` installs rattler, which this needs")
    folder = tmp_path_factory.mktemp("channels")
    channel.make(folder / "conda-forge", done.conda.environment("report") / "bin/python")
    return folder


def with_channels(done, channels, root):
    """A copy of the finished run with its training and COMET environments: Snakemake wants all that a plan names."""
    return WithRattler(done.conda.workspace.copy(root), done.conda.prefix, channels)


@pytest.fixture(scope="module")
def with_rattler(done, channels, tmp_path_factory):
    """The environment of reporting has another pin, and is made again."""
    conda = with_channels(done, channels, tmp_path_factory.mktemp("with_rattler"))
    change_pin(conda, "report", *CYCLER)
    said = conda.create_environments()
    assert re.findall("Creating conda environment (.*)[.]{3}", said) == ["envs/report.yaml"]
    return conda


@pytest.fixture(scope="module")
def reported(with_rattler):
    """The output of a run in it, and the environment of each step."""
    return with_rattler.watched()


def records(conda):
    """Installed packages, as recorded by the installer."""
    files = (conda.environment("report") / "conda-meta").glob("*.json")
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {record["name"]: record for record in found}


def test_its_records_are_those_of_the_solution(with_rattler, channels):
    """The channel's newest Python does not fit the file's `python =3.11`."""
    offered = json.loads((channels / "conda-forge/linux-64/repodata.json").read_text(encoding="utf-8"))["packages"]
    old, new = sorted((record["version"] for record in offered.values()), key=lambda text: int(text.split(".")[1]))
    assert old.startswith("3.11.") and new == channel.NEWER
    found = records(with_rattler)
    assert found.keys() == {"python", "pip"} and found["python"]["version"] == old
    assert found["pip"]["depends"] == ["python >=3.9"] and found["pip"]["noarch"] == "python"
    environment = with_rattler.environment("report")
    assert all((environment / file).exists() for record in found.values() for file in record["files"])


def test_its_python_is_the_solved_one_and_knows_its_place(with_rattler):
    environment = with_rattler.environment("report")
    ask = "import platform, sys, sysconfig; print(platform.python_version(), sys.prefix, sysconfig.get_path('stdlib'))"
    said = subprocess.check_output([environment / "bin/python", "-c", ask], text=True)
    version = records(with_rattler)["python"]["version"]
    assert said.split() == [version, str(environment), str(environment / "lib/python3.11")]
    (built,) = environment.glob("lib/python3.11/_sysconfigdata*.py")
    assert f"'prefix': '{environment}'" in built.read_text(encoding="utf-8")


def test_its_own_pip_installs_the_pins(with_rattler):
    pip = with_rattler.environment("report") / "bin/pip"
    found = subprocess.check_output([pip, "freeze"], text=True).splitlines()
    assert versions(found) == versions(pinned("report")) | versions(CYCLER[1:])
    assert subprocess.run([pip, "check"]).returncode == 0


def test_the_reporting_rules_run_in_it_again_to_the_same_tables(done, with_rattler, reported):
    output, told = reported
    assert job_stats(output) == REPORTING
    assert {(name, module.rpartition(".")[2]) for name, module, _ in told} == {
        ("report", step) for step in ENVIRONMENT_OF["report"]
    }
    old, new = (conda.workspace.results / "tables" for conda in (done.conda, with_rattler))
    assert {file.name for file in new.iterdir()} == {file.name for file in old.iterdir()} >= {"main.csv"}
    assert all(file.read_bytes() == (old / file.name).read_bytes() for file in new.glob("*.csv"))


def test_a_second_run_has_nothing_to_do(with_rattler, reported):
    again = with_rattler.snakemake("--cores", "2")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout
    assert "Creating conda environment" not in again.stdout


def test_a_python_that_the_channel_lacks_is_refused_in_the_solvers_words(done, channels, tmp_path):
    conda = with_channels(done, channels, tmp_path)
    change_pin(conda, "report", "python =3.11", "python =3.10")
    refused = conda.snakemake("--cores", "2")
    assert refused.returncode != 0
    assert "Cannot solve the request because of: No candidates were found for python 3.10.*." in refused.stdout
    assert "Could not create conda environment" in refused.stdout
    assert not conda.environment("report").exists()
