"""Completes the pins of a conda environment: adds all dependencies of the packages that are pinned by hand.

    python envs/complete.py envs/train.yaml requirements.txt     writes both lists with the lock's versions
    python envs/complete.py envs/comet.yaml                      prints the list that is kept by hand

Run it with the Python of an environment in which the lock is installed (as `make lock` does), because it reads the
dependencies from installed metadata. Some packages are never pinned: torch's CUDA packages, which differ with the
machine; pip and what conda installs; and torch's companions for pictures and sound, which vLLM asks for but does not
need, and which load only beside the build of torch that they were made for.
"""

import re
import sys
from importlib.metadata import requires
from pathlib import Path

PIN = re.compile(r"(?P<indent> *)- (?P<name>[A-Za-z0-9._-]+)==(?P<version>[0-9][A-Za-z0-9.]*)(?P<rest>.*)")
MARK = "# What these need in turn, by envs/complete.py:"
OF_THE_MACHINE = re.compile(r"nvidia|triton|cuda|torch(vision|audio|codec)$")


def canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Lines `name==version` of a lock, by canonical name."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return {canonical(line.partition("==")[0]): line for line in lines}


def by_hand(text: str) -> list[re.Match]:
    """Pins that are kept by hand in an environment's file."""
    return [match for line in text.partition(MARK)[0].splitlines() if (match := PIN.fullmatch(line))]


def closure(names: list[str]) -> set[str]:
    """Canonical names of these packages and all their dependencies, as installed here, without CUDA's."""
    from packaging.requirements import Requirement  # here, because an empty environment lacks it

    found, seen, waiting = set(), set(), [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        if OF_THE_MACHINE.match(name) or (key := (name, *sorted(requirement.extras))) in seen:
            continue
        seen.add(key)
        found.add(name)
        for line in requires(name) or []:
            further = Requirement(line)
            extras = {"", *requirement.extras}
            if further.marker is None or any(further.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(further)
    return found


def completed(text: str, lock: dict[str, str]) -> str:
    """The environment's file with the lock's versions and, below the pins kept by hand, all their dependencies.

    Raises KeyError if the lock lacks a package.
    """
    head, pins = text.partition(MARK)[0].rstrip(), by_hand(text)
    for match in pins:
        pin = lock[canonical(match["name"])]
        head = head.replace(match[0].strip(), f"- {pin}{match['rest']}")
    direct = {canonical(match["name"]) for match in pins}
    in_turn = sorted(closure([match["name"] for match in pins]) - direct)
    indent = pins[0]["indent"]
    return "\n".join([head, indent + MARK, *(f"{indent}- {lock[name]}" for name in in_turn)]) + "\n"


def main() -> None:
    path, *lock = map(Path, sys.argv[1:])
    text = path.read_text(encoding="utf-8")
    if lock:
        path.write_text(completed(text, locked(lock[0].read_text(encoding="utf-8"))), encoding="utf-8")
    else:
        print(*(f"{match['name']}=={match['version']}" for match in by_hand(text)), sep="\n")


if __name__ == "__main__":
    main()
