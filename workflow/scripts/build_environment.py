"""Build a virtual environment from a lock file, for rules that need their own packages where conda is not used.

Builds it whole or not at all: removes what a killed build left, and writes `ready` last. A second build waits.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from shutil import rmtree

from filelock import FileLock

from caneft.errors import InputError
from caneft.runtime.cli import step
from caneft.storage.files import sha256, write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", type=Path, required=True, help="pins, one a line")
    parser.add_argument(
        "--ready", type=Path, required=True, help="file in the environment's folder that says it is whole"
    )
    args = parser.parse_args()
    folder, whole = args.ready.parent, args.ready.with_name("whole.json")
    wanted = {"lock": sha256(args.lock), "python": "{}.{}".format(*sys.version_info)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not _holds(whole, wanted):
            rmtree(folder, ignore_errors=True)
            _build(folder, args.lock)
            write_json(whole, wanted)
        write_json(args.ready, wanted)


def _holds(file: Path, wanted: dict) -> bool:
    import json

    return file.is_file() and json.loads(file.read_text(encoding="utf-8")) == wanted


def _build(folder: Path, lock: Path) -> None:
    """Installs torch alone first, in its build for this machine, with what that needs; then the rest of the lock."""
    torch = [line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("torch==")]
    python = str(folder / "bin" / "python")
    steps = [[sys.executable, "-m", "venv", str(folder)]]
    steps += [[python, "-m", "pip", "install", "--quiet", *what] for what in (torch, ["--no-deps", "-r", str(lock)])]
    for command in steps:
        if subprocess.run(command).returncode != 0:
            raise InputError(
                f"{folder}: the environment could not be built; pip's words are above. It needs the package registry"
                " (`snakemake fetch` builds it where there is one). Without scoring.comet and with decoding.engine:"
                " transformers, none is needed."
            )


if __name__ == "__main__":
    main()
