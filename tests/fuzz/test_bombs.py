"""Small files that stand for gigabytes, and large ones: one message, in a process that stays small."""

import gzip
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import parsers

GIGABYTES = 2 * 2**30
CHILD = """
import sys
from pathlib import Path
from caneft.errors import InputError
from tests.fuzz import parsers, run
parser = parsers.BY_NAME[sys.argv[1]]
sound = Path(sys.argv[2]) / "whole"
sound.mkdir()
parser.make(sound)
parser.read(sound)
before = run.peak()
try:
    parser.read(Path(sys.argv[2]))
    print("accepted")
except InputError as error:
    print(f"refused: {error}")
print(f"{run.peak() - before:.0f}")
"""


def sparse(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(GIGABYTES)


def packed(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(GIGABYTES // 2**24):
            file.write(b"\0" * 2**24)


def inflating(path: Path) -> None:
    """An archive whose arrays are as they should be, and half a gigabyte of zeros."""
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
    """A header of a shape that no memory holds, and no data."""
    with open(path, "wb") as file:
        about = {"descr": "<f2", "fortran_order": False, "shape": (2**20, 2**20, 2**24)}
        np.lib.format.write_array_header_1_0(file, about)


def many_keys(path: Path) -> None:
    path.write_text(json.dumps({f"key {number}": number for number in range(1_000_000)}))


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
    ("neuron set", inflating),
    ("dump statistics", inflating),
    ("dump scores", declaring),
    *((name, many_keys) for name in JSON),
    *((name, nested) for name in (*JSON, "corpus jsonl", "prepared corpus", "translations")),
    ("corpus instruct", many_lists),
    ("configuration", aliases),
]


@pytest.mark.parametrize(("name", "bomb"), BOMBS, ids=[f"{name}, {bomb.__name__}" for name, bomb in BOMBS])
def test_a_bomb_is_one_message_of_a_small_process(tmp_path, name, bomb):
    bomb(parsers.BY_NAME[name].make(tmp_path))
    command = [sys.executable, "-c", CHILD, name, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr[-2000:]
    *said, megabytes = done.stdout.splitlines()
    assert said[0].startswith("refused: "), said
    assert len("\n".join(said)) < 4000
    assert float(megabytes) < 500
