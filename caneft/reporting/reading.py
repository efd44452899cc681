"""Opens files for tables and figures. A missing, broken or incomplete file raises an InputError that names it."""

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
    """Reads a JSON object of format 1. with_format: whether it must name its format."""
    if not path.exists():
        raise missing(path)
    found = bounded.read_json(path, f"\n{bounded.AGAIN}")
    integrity.check_format(path, found if "format" in found or not with_format else {"format": None})
    return found


@contextmanager
def opened(path: Path, with_format: bool = False) -> Iterator[dict[str, Any]]:
    """Reads the same; in the block, a missing entry or unusable value raises an InputError that names the file."""
    content = read_json(path, with_format)
    with naming(path):
        yield content


def read_lines(path: Path) -> list[str]:
    """Lines of a text file. Only line feeds end a line, since a hypothesis may contain any other separator."""
    if not path.exists():
        raise missing(path)
    if path.stat().st_size > LARGEST_TEXT:
        raise InputError(f"{path}: has more than {LARGEST_TEXT:,} bytes.\n{bounded.AGAIN}")
    return [text for _, text in lines(path)]


def read_bytes(path: Path) -> bytes:
    """Reads a page or picture that an earlier step made."""
    if not path.exists():
        raise missing(path)
    return path.read_bytes()


def missing(path: Path) -> InputError:
    """The error for a missing file."""
    return InputError(f"{path}: does not exist.\nThe workflow makes it: run `snakemake` with the same configuration.")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns a missing key or a value of the wrong kind into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: has no entry {error}.\nDelete it and run the workflow again.") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as error:
        raise InputError(f"{path}: has an unusable value: {error}.\nDelete it and run the workflow again.") from None


def checked(value: Any, *kinds: type) -> Any:
    """Returns a file's value if it is None, or of these kinds and not too large for a column; else raises TypeError."""
    if value is None or (type(value) in kinds and not (type(value) is int and abs(value) >= 2**63)):
        return value
    raise TypeError(f"{str(value)[:40]!r} where {' or '.join(kind.__name__ for kind in kinds)} belongs")


def number(value: Any) -> float:
    """A file's value as a float, nan if it is None. Raises TypeError or ValueError if it is no number."""
    return float("nan") if value is None else float(value)


def text(value: Any) -> str:
    """Returns a file's value if it is text; else raises TypeError."""
    if type(value) is str:
        return value
    raise TypeError(f"{str(value)[:40]!r} where text belongs")


def read_config(argument: str) -> Config:
    """Reads a configuration from the command line: JSON, or `@FILE` for a file of JSON. Corpus files may be gone."""
    path = Path(argument[1:]) if argument.startswith("@") else None
    try:
        raw = bounded.parse(path.read_text(encoding="utf-8") if path else argument)
    except (OSError, ValueError) as error:
        raise InputError(f"--config{f' {path}' if path else ''}: cannot be read as JSON: {error}.") from None
    return config.load(raw, files=[path] if path else [], check_files=False)
