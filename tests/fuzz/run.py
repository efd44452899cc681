"""Reads thousands of damaged files, with each parser in its own processes, and prints the outcome.

    python -m tests.fuzz.run --inputs 10000

The exit code is 1 if a parser raised anything but InputError, or if it needed more than 5 s of processor time for a
file or more than 250 MB beyond what its process held after reading the sound file, including late imports.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from time import process_time

LIMIT_SECONDS, LIMIT_MB = 5.0, 250.0
HUNG = 60.0
"""Seconds after which a process is given up for a file that never ends; on top of the limit of all its others."""


def memory(what: str) -> float:
    """Resident memory of this process in MB: `VmRSS` is the memory now, `VmHWM` the most since `forget_peak`."""
    said = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(rf"{what}:\s+(\d+) kB", said)[1]) / 1024


def forget_peak() -> None:
    """Resets the peak, see proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def work(name: str, inputs: int, seed: int) -> dict:
    """Reads `inputs` damaged files with one parser. Raises anything that is no InputError, with the file's seed."""
    from caneft.errors import InputError
    from tests.fuzz import mutators, parsers

    parser, counts = parsers.BY_NAME[name], {"accepted": 0, "refused": 0, "repaired": 0}
    worst, failures = 0.0, []
    with tempfile.TemporaryDirectory() as place:
        sound = Path(place) / "sound"
        sound.mkdir()
        file = parser.make(sound)
        data = file.read_bytes()
        assert not isinstance(parser.read(sound), str), f"{name} finds flaws in the sound file"
        forget_peak()
        held = memory("VmRSS")
        for number in range(inputs):
            if parser.afresh:
                parser.make(sound)
            file.write_bytes(mutators.damaged(data, parser.kind, random.Random(f"{name} {seed} {number}")))
            started = process_time()
            try:
                found = parser.read(sound)
                counts["repaired" if isinstance(found, str) and found == "repaired" else "accepted"] += 1
            except InputError as error:
                counts["refused"] += 1
                if len(str(error)) > 4000 or not str(error).strip():
                    failures.append(f"{name} {seed} {number}: a message of {len(str(error))} characters")
            except Exception:
                said = traceback.format_exc().splitlines()
                failures.append(f"{name} {seed} {number}: " + " | ".join(line.strip()[:160] for line in said[-7:]))
            worst = max(worst, process_time() - started)
    if worst > LIMIT_SECONDS:
        failures.append(f"{name}: {worst:.1f} s for a file")
    grown = memory("VmHWM") - held
    if grown > LIMIT_MB:
        failures.append(f"{name}: {grown:.0f} MB more than for the sound file")
    return counts | {"parser": name, "inputs": inputs, "seconds": worst, "mb": grown, "failures": failures}


def report(names: list[str], inputs: int, seed: int) -> int:
    each, failures = -(-inputs // len(names)), []
    print(f"{'parser':22}{'inputs':>8}{'accepted':>9}{'refused':>9}{'repaired':>9}{'worst s':>9}{'grown MB':>9}")
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz.run", "--worker", name, "--inputs", str(each), "--seed", str(seed)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=HUNG + LIMIT_SECONDS * each)
            found = json.loads(done.stdout.splitlines()[-1])
        except (subprocess.TimeoutExpired, IndexError, ValueError) as error:
            failures.append(f"{name}: {error!r}: {done.stderr[-800:] if isinstance(error, IndexError) else ''}")
            continue
        shown = "".join(f"{found[key]:>{width}}" for key, width in COLUMNS.items())
        print(f"{name:22}{shown}{found['seconds']:>9.2f}{found['mb']:>9.0f}", flush=True)
        failures += found["failures"]
    print(f"{each * len(names)} inputs, {len(failures)} failures", *failures[:60], sep="\n")
    return bool(failures)


COLUMNS = {"inputs": 8, "accepted": 9, "refused": 9, "repaired": 9}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--inputs", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--worker", nargs="+", help="parsers that this process reads by; so many inputs for each")
    arguments.add_argument("--only", nargs="*", help="these parsers")
    given = arguments.parse_args()
    if given.worker:
        for name in given.worker:
            print(json.dumps(work(name, given.inputs, given.seed)), flush=True)
        return 0
    from tests.fuzz import parsers

    return report(given.only or list(parsers.BY_NAME), given.inputs, given.seed)


if __name__ == "__main__":
    sys.exit(main())
