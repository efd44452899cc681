"""What can go wrong, by name. Each kind disturbs a bench and leaves an ended run, and words for the list."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import psutil

from tests.faults import environment
from tests.faults.bench import Bench, Running, left_by, stop

GRACE = 5  # seconds between SIGTERM and SIGKILL
BENIGN = "the run had ended before"


@dataclass
class Done:
    """The fault that was made.

    moment: when, and to what. said: the output of the command that met it, with its exit code. interrupted: a process
    was killed, so the command need not name a remedy. left: processes that outlived it. undo: removes the fault, if it
    lasts.
    """

    moment: str
    said: str = ""
    code: int | None = None
    interrupted: bool = False
    left: list[psutil.Process] = field(default_factory=list)
    undo: Callable[[], None] | None = None


def _moment(run: Running, random: Random) -> tuple[bool, str]:
    return run.until(random.random(), random.randint(0, 2000))


def _a_job(run: Running, random: Random) -> psutil.Process | None:
    """Waits for a running step and returns one at random; None if the run ends first."""
    while run.process.poll() is None:
        if jobs := run.jobs():
            return random.choice(sorted(jobs, key=lambda job: job.pid))
        time.sleep(0.02)
    return None


def _name(job: psutil.Process) -> str:
    try:
        return job.cmdline()[2].removeprefix("workflow.scripts.")
    except (psutil.Error, IndexError):
        return "a job"


def kill_job(bench: Bench, random: Random, stage: str) -> Done:
    """Sends SIGKILL to one job; Snakemake lives."""
    run = bench.start()
    there, moment = _moment(run, random)
    job = _a_job(run, random) if there else None
    name = _name(job) if job else BENIGN
    if job:
        stop([job])
    return Done(f"{moment}: {name}", code=run.wait(), said=run.said(), interrupted=True)


def kill_head(bench: Bench, random: Random, stage: str) -> Done:
    """Sends SIGKILL to Snakemake alone; its jobs outlive it."""
    run = bench.start()
    _, moment = _moment(run, random)
    everything, jobs = run.everything(), run.jobs()
    stop(everything[:1])
    names = " and ".join(map(_name, jobs)) or "no job"
    return Done(
        f"{moment}: Snakemake, over {names}", code=run.wait(), said=run.said(), interrupted=True, left=everything[1:]
    )


def kill_all(bench: Bench, random: Random, stage: str) -> Done:
    """Sends SIGKILL to Snakemake and all jobs, as when a machine goes down."""
    run = bench.start()
    _, moment = _moment(run, random)
    names = " and ".join(map(_name, run.jobs())) or "no job"
    stop(run.everything())
    return Done(f"{moment}: Snakemake and {names}", code=run.wait(), said=run.said(), interrupted=True)


def preempt(bench: Bench, random: Random, stage: str) -> Done:
    """Sends SIGTERM to all and, after the grace period, SIGKILL to those that remain."""
    run = bench.start()
    _, moment = _moment(run, random)
    everything, names = run.everything(), " and ".join(map(_name, run.jobs())) or "no job"
    for process in everything:
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(everything, timeout=GRACE)
    stop(alive)
    return Done(
        f"{moment}: SIGTERM to {names}, {len(alive)} killed", code=run.wait(), said=run.said(), interrupted=True
    )


def fill_disk(bench: Bench, random: Random, stage: str) -> Done:
    """Puts the results on a disk that has room for only a part of what is to come."""
    results, beside = bench.results, bench.results.with_name("beside")
    size = sum(path.stat().st_blocks * 512 for path in results.rglob("*") if path.is_file())
    files = sum(1 for _ in results.rglob("*"))
    room = random.randint(4, 300)
    results.rename(beside)
    results.mkdir()
    options = f"size={size // 1024 + 4 * files // 10 + room}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", results], check=True)
    shutil.copytree(beside, results, dirs_exist_ok=True)
    shutil.rmtree(beside)

    def undo() -> None:
        subprocess.run(["mount", "-o", "remount,size=1g", results], check=True)

    code, said = bench.snakemake()
    free = shutil.disk_usage(results).free // 1024
    return Done(f"room for {room} kB, {free} kB left", said, code, undo=undo)


def make_read_only(bench: Bench, random: Random, stage: str) -> Done:
    """Makes a folder that the run writes to read-only."""
    patterns = (pattern.split("/")[0] for pattern in left_by(stage))
    folder = bench.results / random.choice([".", "logs", *sorted({name for name in patterns if "." not in name})])
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", folder, folder], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
    code, said = bench.snakemake()
    name = folder.relative_to(bench.results)
    return Done(f"{name}", said, code, undo=lambda: subprocess.run(["umount", folder], check=True))


def turn_read_only(bench: Bench, random: Random, stage: str) -> Done:
    """Makes a folder that the run writes to read-only during the run.

    A mount with files open for writing cannot be made read-only. So a read-only mount of the same folder replaces it:
    open files stay writable, but opening one for writing by name is refused from now on.
    """
    folder = random.choice([bench.results, bench.results / "logs", bench.workspace.root])
    beside = bench.workspace.root.with_name(f"{bench.workspace.root.name}-read-only")
    beside.mkdir()
    subprocess.run(["mount", "--bind", folder, beside], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", beside], check=True)
    run = bench.start()
    there, moment = _moment(run, random)
    subprocess.run(["mount", "--bind", beside, folder], check=True)
    code = run.wait()

    def undo() -> None:
        subprocess.run(["umount", folder], check=True)
        subprocess.run(["umount", beside], check=True)
        beside.rmdir()

    name = f"{folder.relative_to(bench.workspace.root)}, {moment}" if there else BENIGN
    return Done(name, run.said(), code, undo=undo)


def spoil_environment(bench: Bench, random: Random, stage: str) -> Done:
    """Removes a file of the environment."""
    prefix = environment.build(bench.workspace.root / "environment")
    bench.environment["PATH"] = f"{prefix / 'bin'}{os.pathsep}{bench.workspace.environment['PATH']}"
    gone = random.choice(environment.own_files(prefix))
    gone.unlink()
    code, said = bench.snakemake()
    name = gone.relative_to(prefix / environment.PACKAGES)
    return Done(f"{name}", said, code, undo=lambda: environment.build(prefix))


CORRUPTIONS: dict[str, tuple[str, ...]] = {
    "importance": ("corpora/de-en/it/train.jsonl", "models/*/model.safetensors", "models/*/tokenizer.json"),
    "selection": (
        "importance/*/*/*.npy",
        "importance/*/*/*.stats.npz",
        "importance/*/*/it.json",
        "importance/*/*/law.json",
    ),
    "tuning": (
        "neurons/**/draw0.npz",
        "neurons/**/information.parquet",
        "neurons/**/information.json",
        "mixtures/de-en/all/*.jsonl",
        "models/*/model.safetensors",
        "models/*/manifest.json",
    ),
    "translation": ("runs/**/*.safetensors", "runs/**/adapter_config.json", "corpora/de-en/*/test.jsonl"),
    "scoring": ("runs/**/translations/*.jsonl", "corpora/de-en/*/test.jsonl", "mixtures/de-en/all/overlap/*.json"),
    "reporting": (
        "runs/**/scores/*.json",
        "runs/**/trials.json",
        "runs/**/record.json",
        "neurons/**/information.parquet",
        "significance/**/*.json",
    ),
}
"""What the jobs of a stage, and of those before it no more, read."""


def corrupt(bench: Bench, random: Random, stage: str) -> Done:
    """Cuts a finished artefact that the next jobs read in half, or changes one of its bytes."""
    while stage not in CORRUPTIONS:
        stage = "importance"
    found = sorted({path for pattern in CORRUPTIONS[stage] for path in bench.results.glob(pattern)})
    path = random.choice([path for path in found if not path.name.endswith("cost.json")])
    content = bytearray(path.read_bytes())
    if path.suffix == ".json" or random.random() < 0.4:
        del content[len(content) // 2 :]
        how = "cut in half"
    else:
        place = random.randrange(len(content))
        content[place] ^= 1 << random.randrange(8)
        how = f"another bit in byte {place}"
    kept = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # like a faulty disk, which changes no time stamp
    code, said = bench.snakemake()
    return Done(f"{path.relative_to(bench.results)}: {how}", said, code)


KINDS: dict[str, Callable[[Bench, Random, str], Done]] = {
    "job": kill_job,
    "head": kill_head,
    "all": kill_all,
    "preempted": preempt,
    "corrupt": corrupt,
    "disk": fill_disk,
    "read-only": make_read_only,
    "turned": turn_read_only,
    "environment": spoil_environment,
}
