"""Text files as lines: UTF-8, split at line feeds only, decompressed on the way."""

import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from caneft.corpora import recognising
from caneft.corpora.recognising import HEAD, UTF8_BOM
from caneft.errors import InputError
from caneft.storage.files import split_archive

LONGEST_LINE = 4_000_000
"""Bytes of the longest line that is read: a million characters in any script."""

UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
BROKEN = (
    UnicodeDecodeError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    NotImplementedError,  # a zip archive that needs a later version of the format
)
LISTED = 20
PACKED = tuple(recognising.NAMED.values())


def lines(path: str | Path, form: str | None = None, longest: int = LONGEST_LINE) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 file with their numbers from 1, without line ends (LF, CRLF) and without a BOM before them.

    Only a line feed ends a line. str.splitlines would also split at U+2028, U+0085 and others, which occur in real
    corpora, and so shift one side of aligned pairs. In files that were joined, a BOM can begin any line.
    path, form: as for `opened`. longest: the most bytes in a line; more are an error, so that no file fills the memory.
    Raises InputError if a file cannot be read, and with the line if its bytes are not UTF-8.
    """
    with opened(path, form) as file:
        for number, raw in enumerate(iter(lambda: file.readline(longest + 1), b""), start=1):
            if number == 1 and form != "instruct":  # in JSON, a carriage return is a blank like any other
                recognising.check_line_end(raw, not file.peek(1), path)
            if len(raw) > longest:
                raise InputError(
                    f"{path}:{number}: a line of more than {longest:,} bytes.\n"
                    "No sentence is so long: is it one of the corpus formats, and are its line ends line feeds?"
                )
            yield number, _decoded(raw.removeprefix(UTF8_BOM), path, number).removesuffix("\n").removesuffix("\r")


@contextmanager
def opened(path: str | Path, form: str | None = None) -> Iterator[io.BufferedReader]:
    """The bytes of a file, decompressed as they are read if it is named .gz, .xz or .zip.

    path: `archive.zip::member` is a file in an archive; an archive that holds a single file needs no member.
    form: name of the corpus format that it should have; None for a file that the workflow wrote.
    Raises InputError if the file cannot be opened, begins like something else (`recognising`), or fails while being
    read.
    """
    file, member = split_archive(path)
    try:
        with ExitStack() as stack:
            stream, name = stack.enter_context(open(file, "rb", buffering=HEAD)), file.name
            if name.lower().endswith(PACKED):
                recognising.check_packed(stream.peek(HEAD), path, name)
            if file.suffix.lower() == ".zip":
                stream, name = _member(stack.enter_context(zipfile.ZipFile(stream)), file, member)
            if name.lower().endswith((".gz", ".xz")):
                stream = (gzip.open if name.lower().endswith(".gz") else _Xz)(stream)
            whole = io.BufferedReader(stream, HEAD)
            recognising.check(whole.peek(HEAD), path, form)
            yield whole
    except BROKEN as error:
        raise InputError(f"{path}: broken or incomplete archive ({error}). Download it again.") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}). Correct the path or data_root.") from None


class _Xz(io.RawIOBase):
    """The text of the streams of an .xz file, with zero bytes between and after them as padding.

    `lzma.open` takes anything else there for the end of the file. Here it is an error: streams may follow.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._stream = file, lzma.LZMADecompressor()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        text = b""
        while not text:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data.lstrip(b"\0")
                while not packed and (more := self._file.read(HEAD)):
                    packed = more.lstrip(b"\0")
                if not packed:
                    return 0
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            elif self._stream.needs_input and not (packed := self._file.read(HEAD)):
                raise EOFError("it ends within a stream")
            text = self._stream.decompress(packed, len(buffer))
        buffer[: len(text)] = text
        return len(text)


def head(path: str | Path, form: str | None = None) -> bytes:
    """The first bytes of a file, unpacked; arguments and errors are as for `opened`."""
    with opened(path, form) as file:
        return file.peek(HEAD)


def _member(archive: zipfile.ZipFile, path: Path, member: str | None) -> tuple[BinaryIO, str]:
    """A file of a zip archive and its name."""
    entries = [entry.filename for entry in archive.infolist() if entry.filename.rstrip("/") == entry.filename != ""]
    names = [name for name in entries if not name.startswith("__MACOSX/")]  # macOS adds the others, which hold no text
    if member not in names and (member or len(names) != 1):
        more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
        wrong = f"has no file '{member}'" if member else f"holds {len(names)} files, of which one must be named"
        raise InputError(f"{path}: {wrong}, as {path.name}::FILE.\nFiles: {', '.join(names[:LISTED])}{more}.")
    name = member or names[0]
    try:
        return io.BufferedReader(archive.open(name)), name
    except RuntimeError as error:  # a password, or an unusual method of compression
        raise InputError(f"{path}: {name} cannot be unpacked ({error}). Unpack it by hand.") from None


def _decoded(raw: bytes, path: str | Path, number: int) -> str:
    # ASCII in UTF-16 without a BOM would pass for UTF-8.
    if b"\0" in raw and len(raw) > 4 and not (raw[::2].strip(b"\0") and raw[1::2].strip(b"\0")):
        raise InputError(f"{path}:{number}: every other byte is NUL, as in UTF-16.\n{FROM_UTF16}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line"
        if number == 1 and raw.startswith(UTF16_BOMS):
            remedy = f"The file is UTF-16. {FROM_UTF16}"
        else:
            remedy = (
                "Convert the file with iconv -f ENCODING -t UTF-8; ENCODING is most likely WINDOWS-1252 for western "
                "European text, GB18030 for Chinese."
            )
        raise InputError(f"{path}:{number}: not UTF-8, {byte}.\n{remedy}") from None


FROM_UTF16 = "Convert it with iconv -f UTF-16 -t UTF-8."
