"""Small files that unpack to gigabytes, and large ones: each gives one message, and the process stays small."""

import functools
import gzip
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import parsers

ROOT = Path(__file__).parents[2]
GIGABYTES = 2 * 2**30
MOST_MB = 600
"""Of a process, imports and all."""
pytestmark = pytest.mark.xdist_group("bombs")
CHILD = """
import json, sys
from pathlib import Path
from caneft.errors import InputError
from tests.fuzz import parsers, run
for name, bomb, folder in json.loads(sys.argv[1]):
    try:
        parsers.BY_NAME[name].read(Path(folder))
        said = None
    except InputError as error:
        said = str(error)
    print(json.dumps([name, bomb, said, run.memory("VmHWM")]), flush=True)
"""


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(GIGABYTES)


def packed(path: Path) -> None:
    """Members of 16 MB each, which are read as one stream."""
    path.write_bytes(gzip.compress(b"\0" * 2**24, 1) * (GIGABYTES // 2**24))


def inflating(path: Path) -> None:
    """An archive with correct array headers, of which two arrays hold half a gigabyte of zeros each."""
    names = ("activation", "gradient", "positive", "layer", "neuron", "layers", "width", "unit", "description")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            header = io.BytesIO()
            about = {"descr": "<f4", "fortran_order": False, "shape": (2**27,)}
            np.lib.format.write_array_header_1_0(header, about)
            with archive.open(f"{name}.npy", "w") as member:
                member.write(header.getvalue())
                for _ in range(2**29 // 2**24 if name in ("activation", "layer") else 0):
                    member.write(b"\0" * 2**24)


def declaring(path: Path) -> None:
    """A header that declares more data than any memory holds, without the data."""
    with open(path, "wb") as file:
        about = {"descr": "<f2", "fortran_order": False, "shape": (2**20, 2**20, 2**24)}
        np.lib.format.write_array_header_1_0(file, about)


@functools.cache
def million_keys() -> str:
    return "{" + ", ".join([f'"key {number}": {number}' for number in range(1_000_000)]) + "}"


def many_keys(path: Path) -> None:
    path.write_text(million_keys())


def many_lists(path: Path) -> None:
    path.write_text("[" + "[]," * 40_000_000 + "[]]")


def nested(path: Path) -> None:
    path.write_text('{"a":' * 2_000_000)


def aliases(path: Path) -> None:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path.write_text("\n".join([*lines, "seeds: *a29", "models: *a29", ""]))


JSON = ["dump sidecar", "model manifest", "choice of a rate", "run record", "scores", "cost"]
BOMBS = [
    *((name, sparse) for name in ("corpus jsonl", "corpus tsv", "corpus tmx", "corpus moses", "dump scores", "patch")),
    *((name, sparse) for name in ("translations", "neuron set", "dump statistics", "training log", *JSON)),
    ("corpus jsonl.gz", packed),
    ("dump scores", declaring),
    *((name, many_keys) for name in JSON),
    *((name, nested) for name in (*JSON, "corpus jsonl", "prepared corpus", "translations")),
    ("configuration", aliases),
]
WITH_TORCH = [bomb for bomb in BOMBS if bomb[0] in ("patch", "model manifest")]
BOMBS = [bomb for bomb in BOMBS if bomb not in WITH_TORCH]
LARGE = [("neuron set", inflating), ("dump statistics", inflating), ("corpus instruct", many_lists)]
"""They take seconds to make, or a process of their own to read."""


def read_in_one_process(bombs, place: Path) -> dict:
    """The message for each bomb, and the memory peak so far in MB, from one process that reads them all."""
    listed = []
    for number, (name, bomb) in enumerate(bombs):
        folder = place / str(number)
        folder.mkdir(parents=True)
        bomb(parsers.BY_NAME[name].make(folder))
        listed.append((name, bomb.__name__, str(folder)))
    command = [sys.executable, "-c", CHILD, json.dumps(listed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    shutil.rmtree(place)
    return {(name, bomb): outcome for name, bomb, *outcome in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return read_in_one_process(BOMBS, tmp_path_factory.mktemp("bombs"))


@pytest.mark.parametrize(("name", "bomb"), BOMBS, ids=[f"{name}, {bomb.__name__}" for name, bomb in BOMBS])
def test_a_bomb_is_one_message_of_a_small_process(outcomes, name, bomb):
    said, megabytes = outcomes[name, bomb.__name__]
    assert said and len(said) < 4000
    assert megabytes < MOST_MB


@pytest.mark.slow
@pytest.mark.parametrize("bombs", [WITH_TORCH, *([large] for large in LARGE)], ids=lambda bombs: bombs[0][0])
def test_so_is_a_large_one_and_one_for_what_needs_torch(tmp_path, bombs):
    found = read_in_one_process(bombs, tmp_path / "bombs")
    assert len(found) == len(bombs)
    for said, megabytes in found.values():
        assert said and len(said) < 4000
        assert megabytes < MOST_MB
