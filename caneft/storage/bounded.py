"""Reads JSON and arrays that anyone may have written, within bounds, and reports any fault as one kind of exception.

A file that is truncated, damaged or malicious must neither fill the memory nor end in a library's traceback.
"""

import json
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from caneft.errors import InputError

LARGEST_JSON = 16_000_000
"""Most bytes of a JSON file; as Python objects they take up to twenty times that."""
LARGEST_ARRAYS = 128_000_000
"""Most bytes of all arrays that are read from one archive."""
LONGEST_NUMBER = 40
AGAIN = "Delete it and run the workflow again."
BROKEN_ARCHIVE = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


def parse(text: str | bytes) -> Any:
    """Content of a JSON text.

    Raises ValueError, also for numbers that are not finite or have over 40 digits, for nesting thousands of levels
    deep, and for halves of surrogate pairs, which could not be written again.
    """
    try:
        found = json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    escape = b"\\ud" if isinstance(text, bytes) else "\\ud"
    if escape in text.lower():
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("it holds half of a surrogate pair") from None
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"{text[:20]}... is a number of {len(text)} digits")
    return int(text)


def read_json(path: str | Path, remedy: str = AGAIN, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """The object of a JSON file of at most `largest` bytes. Raises InputError that ends with `remedy`."""
    try:
        with open(path, "rb") as file:
            raw = file.read(largest + 1)
        if len(raw) > largest:
            raise InputError(f"{path}: has more than {largest:,} bytes, which no such file has. {remedy}")
        found = parse(raw.decode("utf-8"))
    except InputError:
        raise
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not JSON: {error.msg}. {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). {remedy}") from None
    except ValueError as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}. {remedy}") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no JSON object. {remedy}")
    return found


def array_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, whether the order is Fortran's, and dtype of a `.npy` file, which is then at the end of its header.

    Raises ValueError if it is no such file, or one of Python objects.
    """
    import numpy as np

    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"version {version} of the format .npy")
        shape, fortran, dtype = readers[version](file)
    except (SyntaxError, tokenize.TokenError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"its header cannot be read: {error}") from None
    if dtype.hasobject or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"it declares {dtype} of shape {shape}")
    return shape, fortran, dtype


def read_arrays(path: str | Path, names: Iterable[str], largest: int = LARGEST_ARRAYS) -> dict[str, Any]:
    """Arrays of an `.npz` archive by name, of at most `largest` bytes together. Unpickles nothing.

    Raises FileNotFoundError for a missing file, ValueError for anything else that is wrong.
    """
    found, left = {}, largest
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                left -= archive.getinfo(f"{name}.npy").file_size
                if left < 0:
                    raise ValueError(f"its arrays have more than {largest:,} bytes")
                with archive.open(f"{name}.npy") as member:
                    found[name] = _array(member, archive.getinfo(f"{name}.npy").file_size)
    except FileNotFoundError:
        raise
    except KeyError as error:
        raise ValueError(str(error.args[0]).replace("the archive", "it")) from None
    except BROKEN_ARCHIVE as error:
        raise ValueError(str(error) or type(error).__name__) from None
    return found


def _array(member: Any, size: int) -> Any:
    import numpy as np

    shape, fortran, dtype = array_header(member)
    expected = size - member.tell()
    if math.prod(shape) * dtype.itemsize != expected:  # before allocating that size
        raise ValueError(f"it declares {dtype} of shape {shape} and holds {expected} bytes")
    flat = np.frombuffer(member.read(), dtype) if expected else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C").copy()
