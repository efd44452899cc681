"""Checks whether the unit tests notice mutants of the package's core: `make test-mutants`. See docs/testing.md.

It writes every mutant into a copy of the repository. There it runs the tests that tests/mutants/map.yaml names for its
module, in a fork of this process, which has loaded the heavy libraries. A mutant is killed if a test fails, or if the
tests take far more processor time than without it.
"""

import argparse
import compileall
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from importlib import import_module
from itertools import chain
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest
import yaml
from hypothesis import Phase, settings

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent.parent
OUTPUT = "output.txt"  # of the latest tests, in the copy
HEAVY = (
    "torch transformers.models.llama.modeling_llama peft pandas pyarrow.parquet sacrebleu bm25s ftfy sklearn.metrics"
)
FAST, SLOW = "not slow and not demo", "slow and not demo"
# These test the sources themselves, and would notice any change.
OF_SOURCES = ("test_stage_versions", "test_architecture", "test_reference", "test_security")
SLACK = 20  # processor seconds allowed beyond twice the usual ones
WANTED = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("sample", type=argparse.FileType(), help="what tests.mutants.sample printed")
    parser.add_argument("--area", help="mutants of one area of the map only; no report is written")
    parser.add_argument(
        "--further", action="store_true", help="survivors meet all other unit tests, and their slow ones"
    )
    args = parser.parse_args()
    areas = yaml.safe_load((HERE / "map.yaml").read_text(encoding="utf-8"))
    mutants = [mutant for mutant in map(json.loads, args.sample) if args.area in (None, mutant["area"])]
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    for name in HEAVY.split():
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        _copy(Path(folder))
        usual: dict[str, float] = {}
        for mutant in mutants:
            mutant["tests"] = areas[mutant["area"]]["modules"][mutant["module"]]
        for file in dict.fromkeys(chain.from_iterable(mutant["tests"] for mutant in mutants)):
            usual[file] = _usual(Path(folder), file)
        for mutant in filter(lambda mutant: not mutant["equivalent"], mutants):
            _try(Path(folder), mutant, usual, args.further)
            print(_told(mutant), flush=True)
    text = report(mutants)
    print(text)
    if args.area is None:
        (HERE / "result.md").write_text(text, encoding="utf-8")
    outcomes = Counter(mutant["outcome"] for mutant in mutants if not mutant["equivalent"])
    sys.exit(outcomes["survived"] > (1 - WANTED) * outcomes.total())


def _copy(folder: Path) -> None:
    """A compiled copy of the working tree, for which Python compares sources by content and not by time."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(command, cwd=ROOT, text=True).split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    compileall.compile_dir(folder / "caneft", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


def _usual(folder: Path, file: str) -> float:
    """Processor seconds of a file's tests without any mutant. The tests must pass."""
    failed, seconds = _run(folder, file, FAST, 600)
    if failed:
        sys.exit(f"{file} fails without any mutant: {(folder / OUTPUT).read_text(encoding='utf-8')[-2000:]}")
    return seconds


def _try(folder: Path, mutant: dict, usual: dict[str, float], further: bool) -> None:
    """Adds the outcome of the mutant, and the test that killed it."""
    tests = mutant["tests"]
    others = [path.stem for path in sorted((ROOT / "tests" / "unit").glob("test_*.py"))]
    others = [file for file in others if file not in (*tests, *OF_SOURCES)]
    rounds = [("killed", file, FAST) for file in tests]
    if further:
        rounds += [("killed by other tests", file, FAST) for file in others]
        rounds += [("killed by slow tests", file, SLOW) for file in tests]
    module = folder / mutant["module"]
    original = module.read_text(encoding="utf-8")
    module.write_text(mutant["source"], encoding="utf-8")
    found: dict[str, str] = {}
    for name, file, marker in rounds:
        if not found.keys() & {"killed", name}:
            failed, seconds = _run(folder, file, marker, 2 * usual[file] + SLACK if name == "killed" else 600)
            found |= {name: f"{name} in {seconds:.1f} s: {failed}"} if failed else {}
    mutant["outcome"], mutant["by"] = "killed" if "killed" in found else "survived", list(found.values())
    module.write_text(original, encoding="utf-8")


def _run(folder: Path, file: str, marker: str, limit: float) -> tuple[str, float]:
    """The failing test of a file, "" if none fails; and its processor seconds, at most `limit`."""
    child = os.fork()
    if child == 0:
        _test(folder, file, marker, int(limit))
    waited, done = 0.0, 0
    while not done:
        time.sleep(0.05)
        waited += 0.05  # not by the clock, because this process may have been stopped
        if waited > 10 * limit:  # the tests hang without using processor time
            os.killpg(child, 9)
        done, status, usage = os.wait4(child, os.WNOHANG)
    seconds, status = usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)
    if status in (0, 5):  # 5: no test has this marker
        return "", seconds
    lines = (folder / OUTPUT).read_text(encoding="utf-8", errors="replace").split("\n")
    failed = [line.split(" - ")[0] for line in lines if line.startswith(("FAILED", "ERROR"))]
    return failed[0] if failed and status > 0 else f"TIME or crash, exit status {status}", seconds


def _test(folder: Path, file: str, marker: str, limit: int) -> None:
    """Runs a file's tests in the fork, and exits."""
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "caneft")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    with open(OUTPUT, "wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    phases = (Phase.explicit, Phase.generate)  # any failure will do, it need not be shrunk
    settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
    settings.load_profile("mutants")
    options = ["-x", "-q", "--tb=short", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", marker]
    status = pytest.main([*options, f"tests/unit/{file}.py"])
    sys.stdout.flush()
    os._exit(int(status))


def report(mutants: list[dict]) -> str:
    """Writes tests/mutants/result.md."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    names = "killed", "survived", "equivalent"
    counts = Counter(
        (mutant["area"], "equivalent" if mutant["equivalent"] else mutant["outcome"]) for mutant in mutants
    )
    counts.update(("all", name) for _, name in list(counts.elements()))
    killed, counted = counts["all", "killed"], counts["all", "killed"] + counts["all", "survived"]
    left = [f"- {_told(mutant)}" for mutant in mutants if not mutant["equivalent"] and mutant["outcome"] == "survived"]
    lines = [
        "<!-- mutants:begin, written by `make test-mutants` -->",
        f"{killed} of {counted} mutants are killed by the tests of their module: **{killed / counted:.0%}**. Equivalent"
        f" ones are not counted. Seed {mutants[0]['seed']}, commit {commit}, {datetime.now(UTC):%Y-%m-%d},"
        f" {sum(os.times()[:4]):.0f} s of processor time.",
        "",
        "| area | drawn | killed | survived | equivalent |",
        "|---|---:|---:|---:|---:|",
    ]
    for area in dict.fromkeys([*(mutant["area"] for mutant in mutants), "all"]):
        found = [counts[area, name] for name in names]
        lines.append(f"| {area} | {sum(found)} | {' | '.join(map(str, found))} |")
    return "\n".join(
        [*lines, "", "Survivors:" if left else "No mutant survived.", "", *left, "<!-- mutants:end -->", ""]
    )


def _told(mutant: dict) -> str:
    return "; ".join(
        [f"`{mutant['module']}`, {mutant['function']}: `{mutant['before']}` -> `{mutant['after']}`", *mutant["by"]]
    )


if __name__ == "__main__":
    main()
