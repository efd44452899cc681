"""Tests require messages to name the facts (file, key, value, remedy), never a wording."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caneft.errors import InputError, did_you_mean


def assert_names(message: object, *facts: object) -> None:
    """Fails unless the text of `message` contains each of the facts; an int must be a number of its own in it."""
    text = str(message)
    missing = [str(fact) for fact in facts if not _named(fact, text)]
    assert not missing, f"not named: {missing}\nin: {text}"


def _named(fact: object, text: str) -> bool:
    if type(fact) is int:  # not part of another number, a name or a path
        return re.search(rf"(?<![\w./,-]){fact}(?!\w|[.,]\w)", text) is not None
    return str(fact) in text


@contextmanager
def refused(*facts: object, by: type[BaseException] = InputError) -> Iterator[pytest.ExceptionInfo]:
    """Asserts that the block raises `by` with a message that names each of the facts."""
    with pytest.raises(by) as caught:
        yield caught
    assert_names(caught.value, *facts)


def suggestion(wrong: str, right: str) -> str:
    """What a message adds to the list of known names for someone who wrote `wrong` and meant `right`."""
    said = did_you_mean(wrong, [right]).removeprefix(did_you_mean("", [right])).strip()
    assert right in said
    return said
