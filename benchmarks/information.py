"""Compares mutual information with naive loops, and measures its memory on dumps as large as a 7B model's.

    python -m benchmarks.information                      # 8,000 samples of 20,000 neurons, 4 domains; then 20 GB
    python -m benchmarks.information --reference-neurons all --rounds 1 --memory-gb 53 --domains 5

The dumps are made up, but written as real files, which all subjects read. The subjects must agree to 1e-12:

    ours        both kinds of MI of all neurons, from the files: `contingency`, then `one_vs_rest` and `joint`
    joint loop  the files by np.load; for each neuron np.quantile, np.digitize and sklearn's mutual_info_score
    ovr loop    the same with one call per domain: is the sample from it or from another domain?

The loops run on some of the neurons; their time is scaled to all. `mi_vs_joint_loop` and `mi_vs_ovr_loop` are their
time over ours on one thread, more is better; `..._threads` the same with ours on --threads. Ours computes both kinds,
each loop one. Times are wall time, the least over rounds in which the subjects take turns, because other load on the
machine only adds to it. `mi_peak_mb` is the peak of resident memory of a process that does what the workflow's step
does, null and parquet file included, on sparse files of --memory-gb: zeros sort faster than scores, but take as much
memory. The last line printed is one JSON object.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.metrics import mutual_info_score
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from caneft.errors import InputError
from caneft.importance.dumps import SUMS, DumpReader
from caneft.plan.settings import InformationSettings
from caneft.selection import counting, information, information_table
from caneft.storage import records
from caneft.storage.files import write_json

BINS = 10
PERMUTATIONS = 20
TOLERANCE = 1e-12
SHIFTED = 0.3  # share of the neurons whose importance differs by domain
SPREAD = 1.5  # standard deviation of a neuron's log scores
LAYERS, SAMPLES = 28, 10_000  # of the large set; samples per domain
SETTINGS = InformationSettings(bins=BINS, null_permutations=PERMUTATIONS, error_rate=0.01, seed=0)
RATIOS = ("mi_vs_joint_loop", "mi_vs_ovr_loop")


# Made-up dumps


def generate(folder: Path, samples: int, neurons: int, domains: int, seed: int = 0) -> list[Path]:
    """Writes float16 dumps of one layer, `samples` samples in all: lognormal, some neurons shifted by domain."""
    rng = np.random.default_rng(seed)
    sizes = [len(part) for part in np.array_split(np.arange(samples), domains)]
    typical = rng.normal(0, 1, neurons).astype(np.float32)
    paths = [folder / f"domain{domain}.npy" for domain in range(domains)]
    for path, size in zip(paths, sizes, strict=True):
        shift = np.where(rng.random(neurons) < SHIFTED, rng.normal(0, 0.5, neurons), 0).astype(np.float32)
        logarithms = SPREAD * rng.standard_normal((1, size, neurons), dtype=np.float32) + typical + shift
        np.save(path, np.exp(logarithms.clip(max=11)).astype(np.float16))  # e^11 is below float16's largest
    return paths


def sparse(folder: Path, gigabytes: float, domains: int, samples: int, layers: int) -> list[Path]:
    """Writes dumps of zeros, `gigabytes` in all, that take no room on the disk, and all the files beside them."""
    neurons = max(1, round(gigabytes * 1e9 / (2 * domains * samples * layers)))
    shape, rng = (layers, samples, neurons), np.random.default_rng(0)
    model = {"id": "made up", "hidden_size": 64, "weights": {}}
    paths = [folder / f"domain{domain}.npy" for domain in range(domains)]
    for path in paths:
        with open(path, "wb") as file:
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + 2 * layers * samples * neurons)
        statistics_ = np.zeros((layers, neurons), np.float32)
        np.savez(path.with_suffix(".stats.npz"), **dict.fromkeys(SUMS, statistics_))
        listed = [{"response_tokens": int(length), "loss": 1.0} for length in rng.integers(5, 100, samples)]
        sidecar = {"domain": path.stem, "model": model, "scale_exponent": 0, "shape": shape, "samples": listed}
        write_json(path.with_suffix(".json"), sidecar)
    write_json(folder / "manifest.json", model)
    return paths


# Subjects


def ours(paths: Sequence[Path], threads: int) -> tuple[np.ndarray, np.ndarray]:
    """One-vs-rest (neurons, domains) and joint MI (neurons,)."""
    readers = {path.stem: DumpReader(path) for path in paths}
    step, neurons = information.tile_width(readers), readers[paths[0].stem].shape[2]
    found = []
    for start in range(0, neurons, step):
        tile = [reader[0, :, start : start + step] for reader in readers.values()]
        counts = counting.contingency(tile, BINS, threads)
        found.append((information.one_vs_rest(counts), information.joint(counts)))
    by_domain, over_all = zip(*found, strict=True)
    return np.concatenate(by_domain), np.concatenate(over_all)


def load(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The input of the loops: scores (samples, neurons), and the domain of each sample."""
    parts = [np.load(path, allow_pickle=False)[0] for path in paths]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def binned(scores: np.ndarray) -> np.ndarray:
    """Quantile bin of each score of one neuron."""
    scores = scores.astype(np.float64)
    edges = np.quantile(scores, np.arange(1, BINS) / BINS)
    return np.digitize(scores, edges.astype(np.float32))  # float32 removes an edge's rounding error if it is a score


def joint_loop(scores: np.ndarray, labels: np.ndarray, neurons: Sequence[int]) -> list[float]:
    return [mutual_info_score(labels, binned(scores[:, neuron])) for neuron in tqdm(neurons, "joint loop", leave=False)]


def ovr_loop(scores: np.ndarray, labels: np.ndarray, neurons: Sequence[int]) -> list[list[float]]:
    found = []
    for neuron in tqdm(neurons, "ovr loop", leave=False):
        bins = binned(scores[:, neuron])
        found.append([mutual_info_score(labels == domain, bins) for domain in np.unique(labels)])
    return found


def whole_table(paths: Sequence[Path], threads: int) -> pd.DataFrame:
    """Computes the table of all neurons with its null."""
    dumps = {path.stem: DumpReader(path) for path in paths}
    zeros = dict.fromkeys(SUMS, np.zeros((1, dumps[paths[0].stem].shape[2])))
    stats, scales = dict.fromkeys(dumps, zeros), dict.fromkeys(dumps, 1.0)
    return information.table(dumps, stats, BINS, PERMUTATIONS, 0, scales, threads=threads)[0]


# Time


@dataclass(frozen=True)
class Seconds:
    """What a call took."""

    wall: float
    cpu: float

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def __mul__(self, factor: float) -> "Seconds":
        return Seconds(factor * self.wall, factor * self.cpu)


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Seconds]:
    """Result and time of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function(*arguments)
    return result, Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def one_round(paths: Sequence[Path], neurons: Sequence[int], threads: int) -> dict[str, Seconds]:
    """Times each subject, scaled to all neurons. Raises InputError if ours and the loops differ on `neurons`."""
    (by_domain, over_all), alone = timed(ours, paths, 1)
    _, together = timed(ours, paths, threads)
    (scores, labels), loading = timed(load, paths)
    naive_joint, looped = timed(joint_loop, scores, labels, neurons)
    naive_ovr, looped_ovr = timed(ovr_loop, scores, labels, neurons)
    for name, one, other in (("joint", over_all, naive_joint), ("one-vs-rest", by_domain, naive_ovr)):
        difference = np.abs(one[neurons] - other).max()
        if not difference <= TOLERANCE:
            raise InputError(f"{name} MI differs from that of the naive loop by up to {difference}")
    scale = len(over_all) / len(neurons)
    return {
        "ours": alone,
        "ours_threads": together,
        "joint_loop": loading + looped * scale,
        "ovr_loop": loading + looped_ovr * scale,
    }


def ratios(rounds: Sequence[dict[str, Seconds]]) -> dict[str, Any]:
    """A loop's least time over ours, in wall time; on one thread also in CPU time."""

    def ratio(name: str, subject: str, clock: str) -> float:
        return least(rounds, name.removeprefix("mi_vs_"), clock) / least(rounds, subject, clock)

    found = {name: ratio(name, "ours", "wall") for name in RATIOS}
    found |= {f"{name}_threads": ratio(name, "ours_threads", "wall") for name in RATIOS}
    return found | {"cpu_time": {name: ratio(name, "ours", "cpu") for name in RATIOS}}


def least(rounds: Sequence[dict[str, Seconds]], subject: str, clock: str) -> float:
    return min(getattr(of[subject], clock) for of in rounds)


# Memory


def peak_mb() -> float:
    """Peak of this process's resident memory, mapped pages included; unlike ru_maxrss, without its parent's."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise InputError("/proc/self/status does not say VmHWM: the peak of memory is measured on Linux only")


def measure(folder: Path, threads: int) -> dict[str, float]:
    """Does what the workflow's step does with the dumps of a folder, and returns its cost; needs its own process."""
    paths = sorted(folder.glob("*.npy"))
    progress = partial(tqdm, desc="large set", unit="tile", leave=False)
    (table, _), took = timed(information_table.measure, paths, SETTINGS, folder / "manifest.json", threads, progress)
    table.to_parquet(folder / "information.parquet", index=False)
    return {
        "mi_peak_mb": round(peak_mb(), 1),
        "large_set_seconds": round(took.wall, 1),
        "large_set_neurons": len(table),
    }


def measured_apart(folder: Path, threads: int) -> dict[str, float]:
    """Runs `measure` in a fresh process."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.information",
        "--only-table-of",
        str(folder),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(done.stdout)


# Report


def surroundings() -> dict[str, Any]:
    """Where and with what the benchmark ran."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return {
        "device": f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": ".".join(map(str, sys.version_info[:3])),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "pandas": pd.__version__,
        },
        "sort": counting._sort_kind(),
    }


def markdown(result: dict[str, Any]) -> str:
    """The result as a table."""
    seconds, threads = result["seconds"], result["threads"]
    rows = [
        ("joint loop", seconds["joint_loop"], None),
        ("ovr loop", seconds["ovr_loop"], None),
        ("ours, both, 1 thread", seconds["ours"], RATIOS),
        (f"ours, both, threads: {threads}", seconds["ours_threads"], [f"{ratio}_threads" for ratio in RATIOS]),
        (f"whole table, {PERMUTATIONS} shuffles, 1 thread", seconds["table"], None),
        (f"whole table, {PERMUTATIONS} shuffles, threads: {threads}", seconds["table_threads"], None),
    ]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"{result['device']}; {result['date']}; {versions}. {result['samples']:,} samples of {result['neurons']:,}"
        f" neurons, {result['domains']} domains; loops on {result['reference_neurons']:,} neurons, scaled.",
        "",
        "| | wall time (s) | joint loop / this | ovr loop / this |",
        "|---|---:|---:|---:|",
    ]
    for name, took, keys in rows:
        cells = [f"{result[key]:.0f}" for key in keys] if keys else ["", ""]
        lines.append(f"| {name} | {took:.2f} | {' | '.join(cells)} |")
    if "mi_peak_mb" in result:
        lines += ["", f"Peak of memory on {result['memory_gb']:g} GB of dumps: {result['mi_peak_mb']:.0f} MB."]
    return "\n".join(lines)


# Command line


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--samples", type=int, default=8000, help="of all domains together; default: %(default)s")
    add("--neurons", type=int, default=20000, help="default: %(default)s")
    add("--domains", type=int, default=4, help="default: %(default)s")
    add("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    add("--reference-neurons", default="200", help="for the loops, or `all`; default: %(default)s")
    add("--rounds", type=int, default=5, help="default: %(default)s")
    add("--memory-gb", type=float, default=20, help="of the large set, 0: none; default: %(default)s")
    add("--memory-samples", type=int, default=SAMPLES, help="per domain of the large set; default: %(default)s")
    add("--folder", type=Path, help="for the dumps, which stay there; default: one that goes afterwards")
    add("--out", type=Path, help=".json for the result")
    add("--only-table-of", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


@contextmanager
def place(folder: Path | None) -> Iterator[Path]:
    """The given folder, or a temporary one that is removed afterwards."""
    if folder is None:
        with tempfile.TemporaryDirectory() as temporary:
            yield Path(temporary)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def compare(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Ratios, and the numbers behind them."""
    paths = generate(folder, arguments.samples, arguments.neurons, arguments.domains)
    wanted = arguments.neurons if arguments.reference_neurons == "all" else int(arguments.reference_neurons)
    neurons = np.unique(np.linspace(0, arguments.neurons - 1, wanted).round().astype(int))
    ours(paths, 1)  # warm-up: files into the page cache, choices that depend on the processor
    rounds = [one_round(paths, neurons, arguments.threads) for _ in tqdm(range(arguments.rounds), "rounds")]
    seconds = {name: least(rounds, name, "wall") for name in rounds[0]}
    for name, threads in (("table", 1), ("table_threads", arguments.threads)):
        seconds[name] = timed(whole_table, paths, threads)[1].wall
    return ratios(rounds) | {"seconds": seconds, "reference_neurons": len(neurons)}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(argv)
    if arguments.only_table_of:
        print(json.dumps(measure(arguments.only_table_of, arguments.threads)))
        return
    result = {name: getattr(arguments, name) for name in ("samples", "neurons", "domains", "threads", "memory_gb")}
    result |= surroundings()
    with place(arguments.folder) as folder, threadpool_limits(1):
        (folder / "large").mkdir(exist_ok=True)
        if arguments.memory_gb:
            sparse(folder / "large", arguments.memory_gb, arguments.domains, arguments.memory_samples, LAYERS)
            result |= measured_apart(folder / "large", arguments.threads)
        result |= compare(folder, arguments)
    print(markdown(result))
    if arguments.out:
        command = shlex.join(["python", "-m", "benchmarks.information", *(sys.argv[1:] if argv is None else argv)])
        write_json(arguments.out, result | {"command": command, "code": records.code()})
    print(json.dumps(result))


if __name__ == "__main__":
    main()
