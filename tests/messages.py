"""A message is held to what it must name (file, key, value, remedy), never to its wording."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from caneft.errors import InputError


def assert_names(message: object, *facts: object) -> None:
    """Fails unless the text of `message` contains each of the facts."""
    text = str(message)
    missing = [str(fact) for fact in facts if str(fact) not in text]
    assert not missing, f"not named: {missing}\nin: {text}"


@contextmanager
def refused(*facts: object, by: type[BaseException] = InputError) -> Iterator[pytest.ExceptionInfo]:
    """The block must raise `by` with a message that names each of the facts."""
    with pytest.raises(by) as caught:
        yield caught
    assert_names(caught.value, *facts)
