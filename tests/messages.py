"""A message is held to what it must name (file, key, value, remedy), never to its wording."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caneft.errors import InputError, did_you_mean


def assert_names(message: object, *facts: object) -> None:
    """Fails unless the text of `message` contains each of the facts; an int must stand there as a number of its own."""
    text = str(message)
    missing = [str(fact) for fact in facts if not _named(fact, text)]
    assert not missing, f"not named: {missing}\nin: {text}"


def _named(fact: object, text: str) -> bool:
    if type(fact) is int:  # neither part of another number nor of a name or path
        return re.search(rf"(?<![\w./,-]){fact}(?!\w|[.,]\w)", text) is not None
    return str(fact) in text


@contextmanager
def refused(*facts: object, by: type[BaseException] = InputError) -> Iterator[pytest.ExceptionInfo]:
    """The block must raise `by` with a message that names each of the facts."""
    with pytest.raises(by) as caught:
        yield caught
    assert_names(caught.value, *facts)


def suggestion(wrong: str, right: str) -> str:
    """What a message says, beside the list of known names, to someone who wrote `wrong` and meant `right`."""
    said = did_you_mean(wrong, [right]).removeprefix(did_you_mean("", [right])).strip()
    assert right in said
    return said
