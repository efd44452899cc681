"""Translations to score: those of a run, or the sources in their place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from caneft.corpora.store import Row
from caneft.corpora.text import lines
from caneft.errors import InputError
from caneft.storage import integrity
from caneft.storage.bounded import parse


def copies(references: Mapping[str, Sequence[Row]]) -> dict[str, list[dict[str, Any]]]:
    """The sources as hypotheses."""
    return {
        domain: [{"id": row.id, "hypothesis": row.source, "flags": []} for row in rows]
        for domain, rows in references.items()
    }


def read(path: Path, references: Mapping[str, Sequence[Row]]) -> dict[str, list[dict[str, Any]]]:
    """Lines of a translations file by domain, without those of domains that the references lack.

    Raises InputError unless their ids are those of the references, in order, and the file is what was written.
    """
    integrity.verify_beside(path, Path(path).with_suffix(".cost.json"))
    found: dict[str, list[dict[str, Any]]] = {domain: [] for domain in references}
    try:
        for _, text in lines(path):
            line = parse(text)
            if not (isinstance(line["hypothesis"], str) and isinstance(line["flags"], list)):
                raise TypeError("a hypothesis is a string, its flags are a list")
            if line["domain"] in found:
                found[line["domain"]].append(line)
        for entries in found.values():
            _check_alternatives(entries)
        aligned = all([line["id"] for line in found[d]] == [row.id for row in rows] for d, rows in references.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a translations file ({error!r}); delete it and run the workflow again") from None
    if not aligned:
        raise InputError(
            f"{path}: its ids are not those of the test sets, in order; delete it and run the workflow again"
        )
    return found


def hypotheses(path: Path, references: Mapping[str, Sequence[Row]]) -> dict[str, list[str]]:
    """Like `read`, but returns only the hypotheses."""
    found = read(path, references)
    return {domain: [line["hypothesis"] for line in of_domain] for domain, of_domain in found.items()}


def _check_alternatives(entries: Sequence[dict[str, Any]]) -> None:
    """Raises KeyError or TypeError unless all lines of a domain have the same adapters, or none has any."""
    if not any("alternatives" in line for line in entries):
        return
    first = entries[0]
    for line in entries:
        if line["adapter"] != first["adapter"] or line["alternatives"].keys() != first["alternatives"].keys():
            raise TypeError("all lines of a domain have the same adapters")
        if line["alternatives"][line["adapter"]] != line["hypothesis"]:
            raise TypeError("the hypothesis is that of the adapter")
        if not all(isinstance(text, str) for text in line["alternatives"].values()):
            raise TypeError("a hypothesis is a string")
