"""Answers what Snakemake 9.27 asks conda, with rattler, the solver and installer of pixi, which reads conda's channels.

    conda info --json
    conda --version
    conda config --get channel_priority --json
    conda clean -y --tarballs
    conda env create --quiet --no-default-packages --file FILE --prefix PREFIX
    conda shell.posix activate PREFIX      asked by bin/activate, as by that of conda

As for conda, CONDA_CHANNEL_ALIAS names the place of the channels and CONDA_PKGS_DIRS that of the packages. Like conda,
it hands what the file lists for pip to the environment's own pip.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from rattler import Channel, ChannelConfig, Gateway, MatchSpec, VirtualPackage, install, solve
from rattler.exceptions import GatewayError, SolverError
from rattler.shell import ActivationVariables, activate

INFO = {"conda_prefix": str(Path(__file__).resolve().parent), "platform": "linux-64"}
ANSWERS = {
    ("info", "--json"): json.dumps(INFO),
    ("--version",): "conda 24.7.1",  # the oldest that Snakemake accepts
    ("clean", "-y", "--tarballs"): "",  # rattler keeps their content, not the tarballs
    ("config", "--get", "channel_priority", "--json"): json.dumps({"get": {"channel_priority": "strict"}}),
}


async def link(content: dict, prefix: Path) -> None:
    """Solves, and installs the solution."""
    kept = Path(os.environ["CONDA_PKGS_DIRS"])
    alias = ChannelConfig(channel_alias=os.environ["CONDA_CHANNEL_ALIAS"].rstrip("/") + "/")
    specs = [MatchSpec(spec) for spec in content["dependencies"] if isinstance(spec, str)]
    records = await solve(
        [Channel(name, alias) for name in content["channels"]],
        specs,
        gateway=Gateway(cache_dir=kept),
        virtual_packages=VirtualPackage.detect(),
    )
    await install(records, prefix, cache_dir=kept, show_progress=False)


def create(file: Path, prefix: Path) -> None:
    """Creates the environment of a file at a prefix."""
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        asyncio.run(link(content, prefix))
    except (GatewayError, SolverError) as error:
        sys.exit(f"{error}")
    for group in content["dependencies"]:
        if isinstance(group, dict):
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
                requirements.write("\n".join(group["pip"]))
                requirements.flush()
                pip = [prefix / "bin" / "python", "-m", "pip", "install", "-U", "-r", requirements.name]
                if subprocess.run([*pip, "--exists-action=b"], stdin=subprocess.DEVNULL).returncode != 0:
                    sys.exit("Pip failed")


def main() -> None:
    arguments = tuple(sys.argv[1:])
    if arguments in ANSWERS:
        print(ANSWERS[arguments])
    elif arguments[:2] == ("shell.posix", "activate"):
        print(activate(Path(arguments[2]), ActivationVariables()).script)
    elif arguments[:2] == ("env", "create"):
        parser = argparse.ArgumentParser(prog="conda env create")
        parser.add_argument("--quiet", action="store_true")
        parser.add_argument("--no-default-packages", action="store_true")
        parser.add_argument("--file", type=Path, required=True)
        parser.add_argument("--prefix", type=Path, required=True)
        args = parser.parse_args(arguments[2:])
        create(args.file, args.prefix)
    else:
        sys.exit(f"Not known here: conda {' '.join(arguments)}")


if __name__ == "__main__":
    code = 0
    try:
        main()
    except SystemExit as end:
        print(end.code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    os._exit(code)  # some normal exits of Python would crash in rattler's threads
