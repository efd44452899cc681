"""A few hundred damaged files by every parser; `make test-fuzz` reads ten thousand."""

import pytest

from tests.fuzz import parsers, run


@pytest.mark.parametrize("name", parsers.BY_NAME)
def test_a_damaged_file_is_refused_or_repaired_and_never_a_traceback(name):
    found = run.work(name, 15, seed=1)
    assert found["failures"] == []
    assert sum(found[outcome] for outcome in run.COLUMNS if outcome != "inputs") == 15
    assert found["accepted"] < 15
