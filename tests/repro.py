"""Runs the demo twice, in two folders, and compares what is left byte by byte: `make repro`.

    python -m tests.repro [--configfile FILE] [--cores N] [--keep FOLDER]

What tells of times is left out: costs and their figure, logs, Snakemake's benchmarks, the HTML report and its first
page.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "workflow", "caneft", "config", "envs", "profiles")
TIMED = re.compile(
    r"(logs|benchmarks)/.*|.*cost\.(json|csv|md|tex|html)|figures/quality_cost\..*|(report|overview)\.html"
)


def files(results: Path) -> dict[str, Path]:
    """Files of a results folder by their names below it, but for those that tell of times."""
    found = {path.relative_to(results).as_posix(): path for path in sorted(results.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if not TIMED.fullmatch(name)}


def differing(one: Path, other: Path) -> list[str]:
    """Names of files that differ, or that only one of two results folders has."""
    here, there = files(one), files(other)
    return sorted(
        name
        for name in here.keys() | there.keys()
        if name not in here or name not in there or here[name].read_bytes() != there[name].read_bytes()
    )


def run(folder: Path, cores: str, config: list[str]) -> Path:
    """The workflow in a copy of the repository; returns its results folder."""
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
        different = differing(*results)
        kinds = Counter(Path(name).suffix for name in files(results[0]))
    print("compared: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    if different:
        print(f"{len(different)} files differ:", *different, sep="\n  ")
        sys.exit(1)
    print(f"Two runs, the same bytes in all {kinds.total()} files.")


if __name__ == "__main__":
    main()
