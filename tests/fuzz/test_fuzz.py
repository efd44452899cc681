"""All parsers on a few hundred damaged files; `make test-fuzz` reads ten thousand."""

import pytest

from tests.fuzz import parsers, run

EACH = 15


def check(found):
    assert found["failures"] == []
    assert sum(found[outcome] for outcome in run.COLUMNS if outcome != "inputs") == EACH
    assert found["accepted"] < EACH


@pytest.mark.parametrize("name", parsers.BY_NAME)
def test_a_damaged_file_is_refused_or_repaired_and_never_a_traceback(name):
    check(run.work(name, EACH, 1))
