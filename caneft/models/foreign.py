"""Recognises, by their first bytes, files of a model that are not what their name says."""

from pathlib import Path

from caneft.corpora import recognising

BEGINNING = 512
"""Number of bytes that are examined."""
GGUF = b"GGUF"
"""The first bytes of a GGUF file."""


def foreign(path: str | Path) -> str | None:
    """What a supposed file of weights or JSON really is, and what to do; None if it does not look like anything else.

    It recognises stand-ins for any file (`recognising`), HTML and XML, folders, broken links and empty files.
    """
    if Path(path).is_dir():
        return "is a folder, not the file itself: name the folder that holds the model's files"
    if not Path(path).exists():
        return "is a link to a file that is not there: copy the files that the links name (cp -rL)"
    with open(path, "rb") as file:
        begin = file.read(BEGINNING)
    text = begin.removeprefix(recognising.UTF8_BOM).lstrip().lower()
    if said := recognising.instead(begin):
        return said
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page (HTML), not the file itself: download the file, not the page about it"
    if text.startswith((b"<?xml", b"<error")):
        return "is XML, such as a server answers when it refuses a file: download the file again"
    if not text.strip(b"\0"):
        return "is empty, or begins with nothing but zeros: download the file again"
    return None


def no_gguf(path: str | Path) -> str | None:
    """What a supposed GGUF file really is, and what to do; None if it begins like one."""
    with open(path, "rb") as file:
        begin = file.read(len(GGUF))
    if begin == GGUF:
        return None
    return foreign(path) or f"is not a GGUF file: it begins with {begin!r} instead of {GGUF!r}. Download it again"
