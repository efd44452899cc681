"""Runs the demo twice, in two folders, and compares the results byte by byte: `make repro`.

    python -m tests.repro [--configfile FILE] [--cores N] [--keep FOLDER]

It leaves out what records times: costs and their figure, logs, Snakemake's benchmarks, the HTML report and its first
page.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests import equal

REPOSITORY = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "workflow", "caneft", "config", "envs", "profiles")


def run(folder: Path, cores: str, config: list[str]) -> Path:
    """Runs the workflow in a copy of the repository; returns its results folder."""
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / part)
    venvs = os.environ.get("CANEFT_VENVS", str(REPOSITORY / ".venvs"))  # built once
    command = [sys.executable, "-m", "snakemake", "--cores", cores, "--config", "results_root=results", *config]
    subprocess.run(command, cwd=folder, env=os.environ | {"CANEFT_VENVS": venvs}, check=True)
    return folder / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, help="another configuration than the demo's")
    parser.add_argument("--cores", default="all", help="(%(default)s)")
    parser.add_argument("--keep", type=Path, help="folder for both runs, which are kept; by default they are deleted")
    given = parser.parse_args()
    config = ["--configfile", str(given.configfile.resolve())] if given.configfile else []
    with tempfile.TemporaryDirectory(prefix="repro-") as temporary:
        folders = [(given.keep or Path(temporary)).resolve() / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir(parents=True)
        results = [run(folder, given.cores, config) for folder in folders]
        different = equal.differences(*results)
        kinds = Counter(Path(name).suffix for name in equal.files(results[0]))
    print("compared: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    if different:
        print(f"{len(different)} files differ:", *different, sep="\n  ")
        sys.exit(1)
    print(f"Two runs, the same bytes in all {kinds.total()} files.")


if __name__ == "__main__":
    main()
