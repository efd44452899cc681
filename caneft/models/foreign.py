"""Files of a model that are something else than their name says, known by how they begin."""

from pathlib import Path

from caneft.corpora.recognising import LFS, UTF8_BOM

BEGINNING = 512
"""Bytes that are looked at."""


def foreign(path: str | Path) -> str | None:
    """What a file of weights or JSON is instead, and what to do; None if it does not look like anything else.

    Known are pointers of Git LFS, web pages, answers of a server in XML, empty files and files of zeros.
    """
    with open(path, "rb") as file:
        begin = file.read(BEGINNING).removeprefix(UTF8_BOM)
    text = begin.lstrip().lower()
    if begin.startswith(LFS):
        return "is a pointer of Git LFS, not the file itself: run `git lfs pull` where it was cloned"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page (HTML), not the file itself: download the file, not the page about it"
    if text.startswith((b"<?xml", b"<error")):
        return "is XML, such as a server answers when it refuses a file: download the file again"
    if not text.strip(b"\0"):
        return "is empty, or begins with nothing but zeros: download the file again"
    return None
