"""Whether the unit tests notice mutants of the package's core: `make test-mutants`. See docs/testing.md.

Every mutant is written into a copy of the repository, and the tests that tests/mutants/map.yaml names for its module
run there in a process forked from this one, which has loaded the heavy libraries. A mutant is killed if a test fails,
or if the tests take far more processor time than they do without it.
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
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest
import yaml
from hypothesis import Phase, settings

HERE, ROOT = Path(__file__).parent, Path(__file__).parent.parent.parent
REPORT = ROOT / "docs" / "testing-mutants.md"
WARM = "torch transformers.models.llama.modeling_llama peft pandas pyarrow.parquet sacrebleu bm25s ftfy sklearn.metrics"
WARM += (
    " matplotlib.pyplot snakemake.utils hypothesis pytest safetensors.torch tokenizers datasets transformers.trainer"
)
# They hold every change of a source, so they would kill every mutant.
SOURCES = ("test_stage_versions", "test_architecture", "test_reference", "test_security")
OUTPUT = "output.txt"  # of the last run, in the copy
SLACK = 30  # seconds that tests may take beyond four times what they take without a mutant


def main() -> None:
    args = _arguments()
    began, spent = time.monotonic(), os.times()
    areas = yaml.safe_load((HERE / "map.yaml").read_text(encoding="utf-8"))
    mutants = [json.loads(line) for line in args.sample]
    mutants = [mutant for mutant in mutants if args.area in (None, mutant["area"])]
    for name in WARM.split():
        import_module(name)
    with tempfile.TemporaryDirectory() as folder:
        _copy(Path(folder))
        usual = {}
        for number, mutant in enumerate(mutants, 1):
            if mutant["equivalent"]:
                continue
            tests = areas[mutant["area"]]["modules"][mutant["module"]]
            for file in tests:
                if file not in usual:
                    usual[file] = _passes(folder, [file], args.markers)
            mutant |= _tried(Path(folder), mutant, tests, args.markers, sum(usual[file] for file in tests))
            if not mutant["killed"] and args.wide:
                mutant |= {"wide": _tried(Path(folder), mutant, _others(tests), args.markers, 600)["killed"]}
            if not mutant["killed"] and args.slow:
                mutant |= {"slow": _tried(Path(folder), mutant, tests, "slow and not demo", 600)["killed"]}
            print(f"{number}/{len(mutants)} {_told(mutant)}", flush=True)
    seconds = sum(os.times()[:4]) - sum(spent[:4])
    text = report(mutants, args.seed, time.monotonic() - began, seconds)
    print(text)
    if args.area is None and args.markers == _DEFAULT:
        REPORT.write_text(text, encoding="utf-8")
    counted = [mutant for mutant in mutants if not mutant["equivalent"]]
    sys.exit(sum(mutant["killed"] for mutant in counted) < 0.9 * len(counted))


_DEFAULT = "not slow and not demo"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.split("\n")[0])
    parser.add_argument("sample", type=argparse.FileType(), help="what tests.mutants.sample printed")
    parser.add_argument("--seed", type=int, required=True, help="the seed of the sample, for the report")
    parser.add_argument("--area", help="mutants of one area only; no report is written")
    parser.add_argument("--markers", default=_DEFAULT, help="which of the mapped tests run; another choice: no report")
    parser.add_argument("--wide", action="store_true", help="try survivors against all other unit tests")
    parser.add_argument("--slow", action="store_true", help="try survivors against the slow ones of their tests")
    return parser.parse_args()


def _copy(folder: Path) -> None:
    """The working tree, compiled so that Python compares a module with its source's content and not with its time."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in filter(None, subprocess.check_output(command, cwd=ROOT, text=True).split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    mode = PycInvalidationMode.CHECKED_HASH
    compileall.compile_dir(folder / "caneft", quiet=1, invalidation_mode=mode)


def _others(tests: list[str]) -> list[str]:
    files = sorted(path.stem for path in (ROOT / "tests" / "unit").glob("test_*.py"))
    return [file for file in files if file not in (*tests, *SOURCES)]


def _passes(folder: str, tests: list[str], markers: str) -> float:
    """Processor seconds of tests without a mutant. They must pass."""
    status, seconds, _ = _run(Path(folder), tests, markers, 600)
    if status not in (0, 5):  # 5: no test has these markers
        sys.exit(f"{tests} fail without any mutant: {(Path(folder) / OUTPUT).read_text(encoding='utf-8')[-2000:]}")
    return seconds


def _tried(folder: Path, mutant: dict, tests: list[str], markers: str, usual: float) -> dict:
    original = (folder / mutant["module"]).read_text(encoding="utf-8")
    (folder / mutant["module"]).write_text(mutant["source"], encoding="utf-8")
    try:
        status, seconds, by = _run(folder, tests, markers, 4 * usual + SLACK)
    finally:
        (folder / mutant["module"]).write_text(original, encoding="utf-8")
    return {"killed": status not in (0, 5), "late": status < 0, "seconds": seconds, "by": by}


def _run(folder: Path, tests: list[str], markers: str, limit: float) -> tuple[int, float, str]:
    """(exit status, negative if it took too long; processor seconds; the test that failed) of tests, in a fork."""
    output = folder / OUTPUT
    child = os.fork()
    if child == 0:
        _child(folder, tests, markers, limit, output)
    began = time.monotonic()
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() - began > 10 * limit:  # it waits for something: processor time alone would not end it
            os.killpg(child, 9)
        time.sleep(0.05)
    failed = [
        line
        for line in output.read_text(encoding="utf-8", errors="replace").split("\n")
        if line[:6] in ("FAILED", "ERROR ")
    ]
    return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, (failed or [""])[0].split(" - ")[0]


def _child(folder: Path, tests: list[str], markers: str, limit: float, output: Path) -> None:
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", str(ROOT)))]
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "caneft")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    phases = (Phase.explicit, Phase.generate)  # a failure is enough, it need not be a small one
    settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)
    settings.load_profile("mutants")
    files = [f"tests/unit/{file}.py" for file in tests]
    command = ["-x", "-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", markers]
    status = pytest.main([*command, *files])
    sys.stdout.flush()
    os._exit(int(status))


def report(mutants: list[dict], seed: int, wall: float, seconds: float) -> str:
    """docs/testing-mutants.md."""
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
    counts = Counter()
    for mutant in mutants:
        outcome = "equivalent" if mutant["equivalent"] else "killed" if mutant["killed"] else "survived"
        counts.update([(mutant["area"], outcome), ("all", outcome)])
    killed, survived = counts["all", "killed"], counts["all", "survived"]
    rows = [
        f"| {area} | {sum(found)} | {found[0]} | {found[1]} | {found[2]} |"
        for area in [*dict.fromkeys(mutant["area"] for mutant in mutants), "all"]
        for found in [[counts[area, outcome] for outcome in ("killed", "survived", "equivalent")]]
    ]
    late = sum(mutant.get("late", False) for mutant in mutants)
    left = [f"- {_told(mutant)}" for mutant in mutants if not mutant["equivalent"] and not mutant["killed"]]
    return "\n".join(
        [
            "<!-- mutants:begin -->",
            "<!-- Written by `make test-mutants`. -->",
            f"{killed} of {killed + survived} mutants that are not equivalent are killed by the mapped tests of"
            f" `make test`: **{killed / max(1, killed + survived):.0%}** ({late} of them by their time). Seed {seed},"
            f" commit {commit}, {datetime.now(UTC):%Y-%m-%d}, {seconds:.0f} s of processor time, {wall:.0f} s in all.",
            "",
            "| area | drawn | killed | survived | equivalent |",
            "|---|---:|---:|---:|---:|",
            *rows,
            "",
            *(["Survivors:", "", *left] if left else ["No mutant survived."]),
            "<!-- mutants:end -->",
            "",
        ]
    )


def _told(mutant: dict) -> str:
    where = f"`{mutant['module']}`, {mutant['function']}: `{mutant['before']}` -> `{mutant['after']}`"
    if mutant["killed"]:
        return f"{where} killed in {mutant['seconds']:.1f} s {mutant['by'] or '(time)'}"
    tried = {name: mutant[name] for name in ("wide", "slow") if name in mutant}
    return where + "".join(f"; {name}: {'killed' if killed else 'survived'}" for name, killed in tried.items())


if __name__ == "__main__":
    main()
