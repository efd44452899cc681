"""Files that are something else than their name says, known by how they begin."""

from pathlib import Path

BEGINNING = 512
"""Bytes that are looked at."""
LFS = b"version https://git-lfs.github.com/spec/"


def foreign(path: str | Path) -> str | None:
    """What a file of weights or JSON is instead, and what to do; None if it does not look like anything else.

    It is told by the file's first bytes: a pointer of Git LFS, a page of HTML or an answer in XML, nothing at all.
    """
    with open(path, "rb") as file:
        begin = file.read(BEGINNING).removeprefix(b"\xef\xbb\xbf")
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
