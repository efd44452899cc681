"""Damages a sound file in a seeded way: its bytes, or its tree if it is JSON or YAML."""

import copy
import json
import random
from typing import Any

import yaml

VALUES = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, 0.5, 1e308, float("nan"), float("inf"),
    -1e-9, "", "x", "\0", "\ud800", "../../etc/passwd", "{x}", "$(touch pwned)", "x" * 10_000, [], {}, [[]], [None],
    {"": None}, [1, "a", {}], {"format": 1}, "null", "1",
]  # fmt: skip


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


RAW = [b"", b"\0", b"\xff\xfe", b"{}", b"[]", b"null", b"\0" * 70_000, nested(100_000), b'{"a":' * 50_000, b"&a [*a]",
       b"PK\x05\x06" + b"\0" * 18, b"\x93NUMPY\x01\x00\xff\xff", b"9" * 5000,
       b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."]  # fmt: skip
FOREIGN = [
    b"version https://git-lfs.github.com/spec/v1\n", b"<!DOCTYPE html>\n", b"<?xml version='1.0'?>",
    b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"PK\x03\x04", b"\0" * 257 + b"ustar\0",
    b"a\tb\n", b'{"a": 1}\n', b'[{"a": 1}]\n', b"source\ttarget\n", b"\xef\xbb\xbf",
]  # fmt: skip
"""Beginnings of files of other kinds."""


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """A damaged copy of a sound file: one to three mutations of its bytes, one of its tree, or wholly other content."""
    if rng.random() < 0.03:
        return rng.choice(RAW)
    if kind in ("json", "jsonl", "yaml") and rng.random() < 0.7:
        return _structured(data, kind, rng)
    for _ in range(rng.randint(1, 3)):
        data = rng.choice(BYTES)(data, rng)
    return data


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _flip(data: bytes, rng: random.Random) -> bytes:
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if found else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def _insert(data: bytes, rng: random.Random) -> bytes:
    at, what = rng.randint(0, len(data)), [rng.randbytes(rng.randint(1, 9)), b"\0", b"\n", b'"', b"{", b"\xed\xa0\x80"]
    return data[:at] + rng.choice(what) + data[at:]


def _overwrite(data: bytes, rng: random.Random) -> bytes:
    at, size = rng.randint(0, len(data)), rng.randint(1, 32)
    return data[:at] + rng.choice((b"\0", b"\xff", b"9")) * size + data[at + size :]


def _duplicate(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted((rng.randint(0, len(data)), rng.randint(0, len(data))))
    return data[:stop] + data[start:]


def _reline(data: bytes, rng: random.Random) -> bytes:
    old, new = rng.choice(
        ((b"\n", b"\r"), (b"\n", b"\r\n"), (b"\n", b""), (b"\n", b"\t"), (b"\t", b"\n"), (b" ", b"\t"))
    )
    return data.replace(old, new, rng.choice((1, -1)))


def _disguise(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(FOREIGN) + data


BYTES = (_truncate, _flip, _insert, _overwrite, _duplicate, _reline, _disguise)


def _structured(data: bytes, kind: str, rng: random.Random) -> bytes:
    if kind == "yaml":
        tree = _changed(yaml.safe_load(data), rng)
        return yaml.dump(tree, sort_keys=False).encode("utf-8", "surrogatepass")
    if kind == "json":
        try:
            return json.dumps(_changed(json.loads(data), rng)).encode()
        except ValueError:  # JSON lines, with one object each
            pass
    lines = [json.loads(line) for line in data.splitlines()]
    at = rng.randrange(len(lines))
    lines[at : at + 1] = rng.choice(([_changed(lines[at], rng)], [], [lines[at]] * 2))
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _changed(tree: Any, rng: random.Random) -> Any:
    """The tree with a node replaced, deleted or doubled."""
    tree = copy.deepcopy(tree)
    places = list(_places(tree))
    if not places or rng.random() < 0.02:
        return rng.choice(VALUES)
    above, key = rng.choice(places)
    match rng.randrange(4):
        case 0:
            del above[key]
        case 1 if isinstance(above, list):
            above.insert(key, copy.deepcopy(above[key]))
        case 1:
            above[rng.choice(("x", "", "../x", "a b", str(key) + "2"))] = copy.deepcopy(above[key])
        case _:
            above[key] = rng.choice(VALUES)
    return tree


def _places(tree: Any):
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])
