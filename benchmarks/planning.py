"""Measures what planning a large grid takes: Snakemake's time and memory before the first job, again when all jobs are
done, and after a domain is added. For comparison, it also measures the least that Snakemake takes for as many jobs.

    python -m benchmarks.planning

The DAG is the workflow's own, but its jobs do not run. A second process makes their outputs as empty files and notes
them as finished, with inputs, params and environment, as Snakemake does after a job. So later plans have to read as
much as after weeks of computing.
"""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from caneft.storage import records
from caneft.storage.files import write_json

ROOT = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "workflow", "caneft", "envs", "profiles", "config")
LANGUAGES = {"de-en": ("German", "de"), "zh-en": ("Chinese", "zh")}
BUILT_IN = {"de": "it", "zh": "education"}  # the built-in corpus behind all domains of a language
UNSEEN = 2  # number of domains in each direction that have only a test set
RATE = {"learning_rate": 1.0e-4}
BARE = """\
rule all:
    input: [f"{{n}}.d" for n in range({chains})]

rule first:
    output: "{{n}}.a"
    shell: "touch {{output}}"
"""
LINK = """
rule {name}:
    input: "{{n}}.{before}"
    output: "{{n}}.{name}"
    shell: "cp {{input}} {{output}}"
"""
METHODS = {
    "base": {"method": "base"},
    "icl": {"method": "icl", "examples": 4},
    "full": {"method": "full", **RATE},
    "lora": {"method": "lora", "rank": 16, **RATE},
    "lora-equal": {"method": "lora", "equal_to": "caneft", **RATE},
    "adapters": {"method": "adapters", "bottleneck": 16, **RATE},
    "random-layers": {"method": "random", "layers_of": "caneft", **RATE},
    **{
        name: {"method": name, **RATE} for name in ("random", "importance", "activation", "gradient", "joint", "caneft")
    },
    "caneft-5": {"method": "caneft", "fraction": 0.05, **RATE},
    "caneft-attention": {"method": "caneft-attention", "fraction": 0.05, **RATE},
}


def grid(models: int, domains: int, seeds: int) -> dict[str, Any]:
    """A configuration with these numbers of models, domains per direction and seeds, both directions, and METHODS."""
    seen = [f"domain{n:02}" for n in range(1, domains - UNSEEN + 1)]
    unseen = [f"domain{n:02}" for n in range(domains - UNSEEN + 1, domains + 1)]
    texts = [
        {"direction": direction, "corpus": {"format": "demo-pretraining", "pairs": 1000, "language": code}}
        for direction, (_, code) in LANGUAGES.items()
    ]
    for text in texts:
        text["corpus"]["domains"] = [BUILT_IN[text["corpus"]["language"]]]
    return {
        "results_root": "results",
        "models": {
            f"model{n}": {"pretrain": {"architecture": "llama", "steps": 10, "corpora": texts}}
            for n in range(1, models + 1)
        },
        "directions": {
            direction: {
                "source_language": language,
                "target_language": "English",
                "domains": {name: domain(code, True) for name in seen} | {name: domain(code, False) for name in unseen},
            }
            for direction, (language, code) in LANGUAGES.items()
        },
        "mixtures": {"all": dict.fromkeys(LANGUAGES, seen)},
        "methods": METHODS,
        "seeds": list(range(1, seeds + 1)),
        "prompt": {"instruction": "{source_language} > {target_language}:"},
        "selection": {"fraction": 0.01},
    }


def domain(language: str, trained: bool) -> dict[str, Any]:
    """A domain with train, dev and test, or with only a test set."""
    splits = {"train": 800, "dev": 100, "test": 20} if trained else {"test": 20}  # the default numbers
    corpus = {"format": "demo", "domain": BUILT_IN[language], "language": language}
    return {split: corpus | {"pairs": pairs} for split, pairs in splits.items()}


def with_another(config: dict[str, Any], name: str, grown: bool) -> dict[str, Any]:
    """The configuration with one more domain in the first direction: unseen, or in a grown mixture."""
    direction = next(iter(LANGUAGES))
    entry = config["directions"][direction]
    domains = entry["domains"] | {name: domain(LANGUAGES[direction][1], grown)}
    config = config | {"directions": config["directions"] | {direction: entry | {"domains": domains}}}
    if grown:
        mixture = config["mixtures"]["all"]
        config["mixtures"] = {"all": mixture | {direction: [*mixture[direction], name]}}
    return config


def with_another_rate(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with another learning rate for one method."""
    lora = config["methods"]["lora"] | {"learning_rate": 2.0e-4}
    return config | {"methods": config["methods"] | {"lora": lora}}


def bare(folder: Path, jobs: int) -> dict[str, float]:
    """What planning takes for about `jobs` jobs with a command, an output and at most one input: chains of four."""
    links = (LINK.format(name=name, before=before) for before, name in zip("abc", "bcd", strict=True))
    (folder / "Snakefile").write_text(BARE.format(chains=jobs // 4) + "".join(links), encoding="utf-8")
    return dry_run(folder)


def plan(folder: Path, config: dict[str, Any]) -> dict[str, float]:
    """What planning takes for the workflow with this configuration."""
    (folder / "grid.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return dry_run(folder, "--configfile", "grid.yaml")


def dry_run(folder: Path, *options: str) -> dict[str, float]:
    """Seconds and peak memory (MB) of `snakemake -n` in a folder, and the number of jobs it lists."""
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--nocolor", *options]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        said.seek(0)
        text = said.read()
    if status != 0:
        raise SystemExit(f"snakemake -n failed:\n{text[-3000:]}")
    totals = [line.split()[1] for line in text.splitlines() if line.startswith("total ")]
    jobs = int(totals[0]) if totals else 0
    return {"jobs": jobs, "seconds": round(seconds, 1), "peak_mb": round(usage.ru_maxrss / 1024)}


def pretend(folder: Path) -> None:
    """Makes the outputs of all planned jobs in `folder` as empty files, and notes the jobs as finished."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

    os.chdir(folder)
    with SnakemakeApi(OutputSettings(dryrun=True, enable_file_logging=False)) as api:
        workflow = api.workflow(
            ResourceSettings(cores=2), ConfigSettings(configfiles=[Path("grid.yaml")]), snakefile=Path("Snakefile")
        )
        workflow.dag(DAGSettings()).execute_workflow(executor="dryrun")
        dag = workflow._workflow.dag
        for level in dag.toposorted():
            for job in level:
                for path in job.output:
                    Path(path).parent.mkdir(parents=True, exist_ok=True)
                    Path(path).touch()
        asyncio.run(note_as_finished(dag))


async def note_as_finished(dag) -> None:
    """Writes Snakemake's notes for every job with outputs."""
    persistence = dag.workflow.persistence
    for job in dag.jobs:
        if job.output:
            persistence.started(job)
            await persistence.finished(job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--domains", type=int, default=12, help="of each of the two directions (%(default)s)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="writes the result, with date and command")
    parser.add_argument("--pretend", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.pretend:
        pretend(given.pretend)
        return
    config = grid(given.models, given.domains, given.seeds)
    with tempfile.TemporaryDirectory(prefix="planning-") as name:
        folder = Path(name)
        for part in PARTS:
            (folder / part).symlink_to(ROOT / part)
        result = {"first": plan(folder, config)}
        command = [sys.executable, "-m", "benchmarks.planning", "--pretend", str(folder)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        result["second"] = plan(folder, config)
        result["another rate"] = plan(folder, with_another_rate(config))
        result["unseen domain"] = plan(folder, with_another(config, "new", False))
        result["grown mixture"] = plan(folder, with_another(config, "new", True))
    with tempfile.TemporaryDirectory(prefix="planning-") as name:
        result["bare"] = bare(Path(name), result["first"]["jobs"])
    print(yaml.safe_dump(result, sort_keys=False), end="")
    if given.out:
        about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": shlex.join(["python", "-m", "benchmarks.planning", *sys.argv[1:]]),
            "code": records.code(),
            "packages": records.packages(),
        }
        write_json(given.out, result | about)


if __name__ == "__main__":
    main()
