"""Makes seeded faults in a run of the workflow; the same command must recover from each to the same bytes."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from tests.faults import bench, kinds, recovery

WEIGHTS = {
    "job": 4,
    "head": 3,
    "all": 3,
    "preempted": 3,
    "corrupt": 6,
    "disk": 2,
    "read-only": 2,
    "turned": 2,
    "environment": 2,
}
MOUNTS = {"disk", "read-only", "turned"}


def in_a_mount_namespace() -> bool:
    """Whether this process can mount what no other process sees; restarts it in its own mount namespace if possible."""
    if os.environ.get("CANEFT_FAULTS_NAMESPACE"):
        return os.environ["CANEFT_FAULTS_NAMESPACE"] == "own"
    possible = shutil.which("unshare") and os.system("unshare --mount --map-root-user true 2> /dev/null") == 0
    os.environ["CANEFT_FAULTS_NAMESPACE"] = "own" if possible else "none"
    if possible:
        own = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
        os.execvp("unshare", ["unshare", *own, sys.executable, "-m", "tests.faults", *sys.argv[1:]])
    return False


def planned(seed: int, number: int, names: Sequence[str]) -> list[str]:
    """The kinds of `number` faults: each as often as its weight says, in a seeded order."""
    random, weights = Random(seed), [WEIGHTS[name] for name in names]
    least = [name for name, weight in zip(names, weights, strict=True) for _ in range(number * weight // sum(weights))]
    order = least + random.choices(list(names), weights, k=number - len(least))
    random.shuffle(order)
    return order


def fault(
    whole: bench.Bench, root: Path, seed: int, kind: str, stages: Sequence[str] = tuple(bench.STAGES)
) -> tuple[bool, str]:
    """Makes one fault and recovers from it. Returns whether all is well, and the line of the list.

    stages: the run is cut back to one of these, chosen by the seed.
    """
    random, started = Random(f"{seed} {kind}"), time.monotonic()
    stage = random.choice([stage for stage in stages if kind != "corrupt" or stage in kinds.CORRUPTIONS])
    own = bench.cut_back(whole, root, stage)
    done = kinds.KINDS[kind](own, random, stage)
    first = "finished" if done.code == 0 else f"exit {done.code}"
    well, taken = recovery.recover(own, done)
    flaws = recovery.flaws(own, whole, done) if well else ["not recovered"]
    (root / "said.txt").write_text(done.said, encoding="utf-8")
    seconds = time.monotonic() - started
    words = f"{kind:<11} from {stage:<11} {done.moment}; {first}; {', '.join(taken) or 'again'}"
    return not flaws, f"{seconds:4.0f} s  {'recovered' if not flaws else 'FAILED: ' + ', '.join(flaws)}  {words}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, default=50)
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="of the list these, such as those that failed")
    parser.add_argument("--kinds", nargs="+", choices=kinds.KINDS, default=list(kinds.KINDS))
    parser.add_argument("--stages", nargs="+", choices=bench.STAGES, default=list(bench.STAGES), help="to begin at")
    parser.add_argument("--at-once", type=int, default=2, help="faults that run side by side, a core each")
    parser.add_argument("--folder", type=Path, help="where; what failed is left there. Default: a temporary one")
    args = parser.parse_args()
    mounts = in_a_mount_namespace()
    names = [name for name in args.kinds if mounts or name not in MOUNTS]
    if left_out := set(args.kinds) - set(names):
        print(f"not possible here, for want of mount namespaces: {', '.join(sorted(left_out))}")
    folder = args.folder or Path(tempfile.mkdtemp(prefix="caneft-faults-"))
    started = time.monotonic()
    whole = bench.undisturbed(folder / "whole")
    print(f"undisturbed run: {time.monotonic() - started:.0f} s, in {folder}", flush=True)
    order, failed = planned(args.seed, args.number, names), 0
    numbers = args.only or range(1, len(order) + 1)

    def one(number: int) -> tuple[bool, str]:
        root = folder / f"fault{number}"
        shutil.rmtree(root, ignore_errors=True)
        well, line = fault(whole, root, args.seed * 1000 + number, order[number - 1], args.stages)
        print(f"{number:3}  {line}", flush=True)
        if well:
            release(root)
        return well, line

    with ThreadPoolExecutor(args.at_once) as pool:
        failed = sum(not well for well, _ in pool.map(one, numbers))
    seconds = time.monotonic() - started
    print(f"{len(numbers) - failed} of {len(numbers)} faults: recovered to the same bytes; {seconds:.0f} s")
    sys.exit(failed > 0)


def release(root: Path) -> None:
    """Removes a bench and what is mounted in it."""
    for line in reversed(Path("/proc/mounts").read_text().splitlines()):
        if line.split()[1].startswith(f"{root.resolve()}/"):
            os.system(f"umount '{line.split()[1]}'")
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
