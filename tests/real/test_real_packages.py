"""What happens if the packages of the models are missing."""

import pytest

from tests.real.conftest import REAL, REPOSITORY, require

ABSENT = "caneft_has_no_such_package"


@pytest.mark.parametrize("value, outcome", [(None, pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_missing_package_skips_a_test_and_fails_it_in_ci(monkeypatch, value, outcome):
    monkeypatch.delenv(REAL, raising=False)
    if value is not None:
        monkeypatch.setenv(REAL, value)
    with pytest.raises(outcome) as said:
        require(ABSENT)
    assert ABSENT in str(said.value) and "make real-packages" in str(said.value)


def test_ci_asks_for_the_packages():
    said = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert f"export {REAL}=1" in said and ".venv/.real" in said
