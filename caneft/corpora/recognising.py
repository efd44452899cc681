"""Recognises what a corpus file is by its first bytes, before any of its pairs is used.

Only certain cases are refused: bytes with which no text begins, stand-ins for a file (a pointer, a web page), and files
of another corpus format than the configured one.
"""

import re
from pathlib import Path

from caneft.errors import InputError

HEAD = 2**16
"""Number of bytes of a file that are examined."""

UTF8_BOM = b"\xef\xbb\xbf"
LFS = b"version https://git-lfs.github.com/spec/"
"""The first bytes of a Git LFS pointer."""

UNPACK = "Unpack it, or pack it as .gz, .xz or .zip: these are unpacked as they are read."
RENAME = "Name it with {} at its end, and it is unpacked as it is read{}."
EXPORT = "Write its pairs as jsonl or tsv."
PROLOG = rb"(<\?xml\b[^>]*>\s*)?(<!--[\s\S]{0,2000}?-->\s*)?"
NO_CORPUS = {
    "gzip": (rb"\x1f\x8b\x08", "compressed by gzip", RENAME.format(".gz", "; of a .tgz, unpack the files (tar -xzf)")),
    "xz": (rb"\xfd7zXZ\0", "compressed by xz", RENAME.format(".xz", "; of a .txz, unpack the files (tar -xJf)")),
    "zip": (
        rb"PK(\x03\x04|\x05\x06)",
        "a zip archive",
        RENAME.format(".zip", "; of a spreadsheet (.xlsx, .ods), save tab-separated text"),
    ),
    "bzip2": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "compressed by bzip2", UNPACK),
    "zstd": (rb"\x28\xb5\x2f\xfd", "compressed by zstd", UNPACK),
    "lz4": (rb"\x04\x22\x4d\x18", "compressed by lz4", UNPACK),
    "compress": (rb"\x1f\x9d", "compressed by compress (.Z)", UNPACK),
    "7z": (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    "rar": (rb"Rar!\x1a\x07", "a rar archive", UNPACK),
    "tar": (rb"[\s\S]{257}ustar[\0 ]", "a tar archive", "Unpack it (tar -xf) and name a file that was in it."),
    "parquet": (rb"PAR1\x15", "a Parquet file", EXPORT),
    "arrow": (rb"ARROW1\0\0", "an Arrow file", EXPORT),
    "office": (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document", "Save it as tab-separated text in UTF-8."),
    "pdf": (rb"%PDF-\d", "a PDF document", "Name the file that holds the pairs as text."),
    "lfs": (
        re.escape(LFS),
        "a pointer of Git LFS, not the file itself",
        "Run `git lfs pull` in the folder that was cloned.",
    ),
    "annex": (rb"/annex/objects/\w+-", "a pointer of git-annex, not the file itself", "Run `git annex get` for it."),
    "html": (
        rb"(?i)\s*" + PROLOG + rb"(<!doctype\s+html\b|<html\b[\s\S]{0,2000}?<(head|body)\b"
        rb"|<head\b[^>]*>\s*<(title|meta|link|script|style|base)\b)",
        "a web page (HTML), not the file itself",
        "Download the file that the page is about.",
    ),
    "refusal": (
        rb"(?i)\s*(" + PROLOG + rb"<error\b[^>]*>\s*<(code|message)\b|(404: not found|entry not found)\s*\Z)",
        "a server's answer (XML, or a line) that it has no such file, or does not give it away",
        "Download the file again.",
    ),
    "xliff": (
        rb"(?i)\s*" + PROLOG + rb"<xliff\b",
        "an XLIFF file",
        "Export it as TMX, or write its pairs as jsonl or tsv.",
    ),
    "subtitles": (
        rb"WEBVTT\b|\s*\d+\r?\n\d\d:\d\d:\d\d[,.]\d{3} --> ",
        "a file of subtitles, whose lines are not aligned",
        EXPORT,
    ),
    "gettext": (
        rb'(#[^\n]*\n|[ \t\r]*\n)*(msgctxt "[^\n]*\n)?msgid "[\s\S]{0,4000}?\nmsgstr\b',
        "a catalogue of messages (PO)",
        EXPORT,
    ),
    "rtf": (rb"\{\\rtf\d", "a document in RTF", "Save it as tab-separated text in UTF-8."),
    "zeros": (rb"\0{64}", "zero bytes at its beginning, as half a download leaves them", "Download it again."),
}
"""Files that are not a corpus in any format: how they begin, what they are, what to do."""

INSTEAD = {"lfs", "annex", "html", "refusal"}
"""Those of NO_CORPUS that may be a stand-in for any file."""

NAMED = {"gzip": ".gz", "xz": ".xz", "zip": ".zip"}
"""Kinds of files that are unpacked as they are read, and the ends of their names."""

KEY = rb'"(?:[^"\\\n]|\\.)*"\s*:'
LAYOUTS = {
    "json list": (
        rb"\s*\[\s*\{\s*" + KEY + rb"(?!.*\n\s*\[\s*\{)",  # not if the next line is a list too: then each line is one
        "a JSON list",
        "format: instruct",
    ),
    "json object": (rb"\s*\{\s*\n\s*" + KEY, "a JSON object", "another file, one of JSON lines say (format: jsonl)"),
    "xml": (rb"(?i)\s*<(\?xml\b|tmx\b|!doctype\s+tmx\b)", "XML", "format: tmx, if it is a translation memory"),
    "sgml": (
        rb"(?i)\s*(<!doctype\s[^>]*>\s*)?<(srcset|refset|tstset|mteval|doc\s+docid|seg\s+id)\b",
        "a test set with SGML marks",
        "its plain text, or format: sacrebleu",
    ),
}
"""Layouts that are recognised by how they begin: the pattern, what it is, what to use."""

JSON_LINE = re.compile(rb"\s*\{\s*" + KEY + rb"[^\t]*\}\s*")  # its tabs are written \t; a line with real tabs is TSV
FOREIGN = {
    "moses": {"json list", "json object", "xml", "sgml"},
    "tsv": {"json lines", "json list", "json object", "xml", "sgml"},
    "alternating": {"json lines", "json list", "json object", "xml", "sgml", "tsv"},
    "jsonl": {"json list", "xml", "sgml", "tsv"},
    "instruct": {"xml", "sgml", "tsv"},
    "tmx": {"json lines", "json list", "json object", "tsv"},
}
"""By format, the layouts that its files never have. One of two aligned files may well hold JSON (the output of a task,
an object or a list per line) or columns."""


def check(head: bytes, path: str | Path, form: str | None) -> None:
    """Raises InputError if a file with this head is not a corpus, or one of another format.

    head: the first `HEAD` bytes of the file, unpacked. form: name of the configured format; None for a file that the
    workflow wrote.
    """
    if kind := _kind(head):
        raise _refusal(path, kind)
    layouts = FOREIGN[form] if form else set()
    begins, lines = head.removeprefix(UTF8_BOM), _whole_lines(head)
    for name, (pattern, what, remedy) in LAYOUTS.items():
        if name in layouts and re.match(pattern, begins):
            raise _other_format(path, what, form, remedy)
    if "json lines" in layouts and has_json_lines(head):
        raise _other_format(path, "JSON, an object a line", form, "format: jsonl")
    if "tsv" in layouts and _is_tsv(lines):
        raise _other_format(path, "tab-separated text", form, "format: tsv")


def check_packed(head: bytes, path: str | Path, name: str) -> None:
    """Raises InputError if a file named like an archive begins like another known kind of file."""
    kind = _kind(head)
    if kind and not (kind in NAMED and name.lower().endswith(NAMED[kind])):
        raise _refusal(path, kind)


def check_line_end(first: bytes, is_all: bool, path: str | Path) -> None:
    """Raises InputError if the first line is the whole file, or has no end in sight, and holds carriage returns.

    Older systems, and some spreadsheets, end lines with a carriage return alone; an editor may add a line feed.
    """
    if (is_all or not first.endswith(b"\n")) and b"\r" in first.rstrip(b"\r\n"):
        raise InputError(
            f"{path}:1: no line feed, but carriage returns: the lines end as on an old Macintosh.\n"
            "Convert the file: tr '\\r' '\\n' < FILE > NEW."
        )


def format_of(head: bytes) -> str | None:
    """Name of the format in which a file with this head can be read, without further knowledge; None for plain text.

    head: as for `check`, which must have passed it with form None.
    """
    begins = head.removeprefix(UTF8_BOM)
    layouts = {"instruct": "json list", "tmx": "xml"}
    for name, layout in layouts.items():
        if re.match(LAYOUTS[layout][0], begins):
            return name
    if has_json_lines(head):
        return "jsonl"
    return "tsv" if _is_tsv(_whole_lines(head)) else None


def has_tabs(head: bytes) -> bool:
    """Whether most lines of this head have tabs, as in TSV with some faulty lines."""
    lines = _whole_lines(head)
    return 2 * sum(b"\t" in line for line in lines) > len(lines)


def instead(head: bytes) -> str | None:
    """What a stand-in with this head is, and what to do; None if it may be the file itself."""
    kind = _kind(head)
    return "is {1}: {2}".format(*NO_CORPUS[kind]) if kind in INSTEAD else None


def has_json_lines(head: bytes) -> bool:
    """Whether every line of this head is a JSON object."""
    lines = _whole_lines(head)
    return bool(lines) and all(map(JSON_LINE.fullmatch, lines))


def _kind(head: bytes) -> str | None:
    begins = head.removeprefix(UTF8_BOM)
    return next((kind for kind, (pattern, *_) in NO_CORPUS.items() if re.match(pattern, begins)), None)


def _refusal(path: str | Path, kind: str) -> InputError:
    _, what, remedy = NO_CORPUS[kind]
    return InputError(f"{path}: is {what}.\n{remedy}")


def _other_format(path: str | Path, what: str, form: str | None, remedy: str) -> InputError:
    return InputError(f"{path}:1: is {what}, not what format: {form} reads.\nUse {remedy}.")


def _whole_lines(head: bytes) -> list[bytes]:
    """Lines that are not blank, without the last one, which may be cut off, unless it is the only one."""
    lines = head.removeprefix(UTF8_BOM).split(b"\n")
    return [line for line in (lines[:-1] or lines) if line.strip()]


def _is_tsv(lines: list[bytes]) -> bool:
    """Whether all lines have the same number of columns, at least two, and the first does not look like JSON or XML."""
    tabs = {line.count(b"\t") for line in lines}
    return len(tabs) == 1 and 0 not in tabs and lines[0].lstrip()[:1] not in b"{[<" and b"\0" not in lines[0]
