"""A change of a stage's code is noticed, so that someone decides whether old results still hold."""

import json

import pytest

from tests.stage_versions import STORED, current, reached, without_texts


def test_every_change_is_acknowledged():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    changed = [stage for stage, now in current().items() if stored.get(stage) != now]
    assert not changed, (
        f"the code behind {', '.join(changed)} has changed. If old results no longer hold, raise stage_version in its"
        " rule. Either way acknowledge: python -m tests.stage_versions"
    )
    assert set(stored) == set(current())


def test_a_stage_reaches_the_science_behind_it():
    root = STORED.parent.parent
    assert root / "caneft/importance/hooks.py" in reached(root / "workflow/scripts/dump_importance.py")
    assert root / "caneft/importance/hooks.py" not in reached(root / "workflow/scripts/score.py")


CODE = 'def f(x):\n    """Says."""\n    return x + 1\n'


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (CODE.replace("Says", "Said\n\n    more"), False),
        (CODE.replace("    return", "    # why\n\n    return"), False),
        (CODE.replace("1", "2"), True),
        (CODE.replace("x + 1", '"""1"""'), True),
    ],
)
def test_comments_and_docstrings_do_not_count_and_code_does(tmp_path, text, counts):
    for name, content in (("before.py", CODE), ("after.py", text)):
        (tmp_path / name).write_text(content)
    assert (without_texts(tmp_path / "before.py") != without_texts(tmp_path / "after.py")) is counts
