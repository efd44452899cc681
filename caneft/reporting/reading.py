"""Files opened for tables and figures: one that is missing, broken or incomplete is an InputError that names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caneft import config
from caneft.config import Config
from caneft.corpora.text import lines
from caneft.errors import InputError
from caneft.storage import bounded, integrity

LARGEST_TEXT = 128_000_000


def read_json(path: Path, with_format: bool = False) -> dict[str, Any]:
    """A JSON object of format 1; `with_format`: it must say so."""
    if not path.exists():
        raise missing(path)
    found = bounded.read_json(path, f"\n{bounded.AGAIN}")
    integrity.check_format(path, found if "format" in found or not with_format else {"format": None})
    return found


@contextmanager
def opened(path: Path, with_format: bool = False) -> Iterator[dict[str, Any]]:
    """The same, and an InputError that names the file if what is read of it in the block is not there or unusable."""
    content = read_json(path, with_format)
    with naming(path):
        yield content


def read_lines(path: Path) -> list[str]:
    """Lines of a text file; only line feeds end one, since a hypothesis may hold any other separator."""
    if not path.exists():
        raise missing(path)
    if path.stat().st_size > LARGEST_TEXT:
        raise InputError(f"{path}: has more than {LARGEST_TEXT:,} bytes.\n{bounded.AGAIN}")
    return [text for _, text in lines(path)]


def read_bytes(path: Path) -> bytes:
    """A page or picture that an earlier step has made."""
    if not path.exists():
        raise missing(path)
    return path.read_bytes()


def missing(path: Path) -> InputError:
    """The error for a file that is not there."""
    return InputError(f"{path}: does not exist.\nThe workflow makes it: run `snakemake` with the same configuration.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn a missing key or a value of the wrong kind into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: has no entry {error}.\nDelete it and run the workflow again.") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
        raise InputError(f"{path}: has an unusable value: {error}.\nDelete it and run the workflow again.") from None


def checked(value: Any, *kinds: type) -> Any:
    """A value of a file if it is None or of these kinds, and fits a column of a table; else TypeError."""
    if value is None or (type(value) in kinds and not (type(value) is int and abs(value) >= 2**63)):
        return value
    raise TypeError(f"{str(value)[:40]!r} where {' or '.join(kind.__name__ for kind in kinds)} belongs")


def number(value: Any) -> float:
    """A value of a file as a float, nan where it is None; else TypeError or ValueError."""
    return float("nan") if value is None else float(value)


def text(value: Any) -> str:
    """A value of a file if it is text; else TypeError."""
    if type(value) is str:
        return value
    raise TypeError(f"{str(value)[:40]!r} where text belongs")


def read_config(argument: str) -> Config:
    """Configuration from a command line: JSON, or `@FILE` with JSON in it. Corpus files need not exist any more."""
    path = Path(argument[1:]) if argument.startswith("@") else None
    try:
        raw = bounded.parse(path.read_text(encoding="utf-8") if path else argument)
    except (OSError, ValueError) as error:
        raise InputError(f"--config{f' {path}' if path else ''}: cannot be read as JSON: {error}.") from None
    return config.load(raw, files=[path] if path else [], check_files=False)
