"""Text files as lines: UTF-8, split at line feeds only."""

from collections.abc import Iterator
from pathlib import Path

from caneft.errors import InputError

UTF8_BOM = b"\xef\xbb\xbf"
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file with their numbers from 1, without line ends (LF, CRLF) and without a leading BOM.

    Only a line feed ends a line. str.splitlines would also split at U+2028, U+0085 and others, which stand in
    real corpora, and shift one side of aligned pairs.
    Raises InputError for a file that cannot be read and for bytes that are not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                raw = raw.removeprefix(UTF8_BOM) if number == 1 else raw
                yield number, _decoded(raw, path, number).removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Correct the path or data_root.") from None


def _decoded(raw: bytes, path: str | Path, number: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
        if number == 1 and raw.startswith(UTF16_BOMS):
            remedy = "The file is UTF-16: convert it with iconv -f UTF-16 -t UTF-8."
        else:
            remedy = (
                "Convert the file with iconv -f ENCODING -t UTF-8; ENCODING is most likely WINDOWS-1252 for western "
                "European text, GB18030 for Chinese."
            )
        raise InputError(f"{path}:{number}: not UTF-8, {byte}.\n{remedy}") from None
