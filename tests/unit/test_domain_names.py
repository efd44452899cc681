"""Domains named like splits or groups of domains: every table treats them like others."""

import io
import json

import fake_results
import pandas as pd
import pytest
from matplotlib.text import Text

from caneft import config
from caneft.plan import Plan
from caneft.reporting import tables
from caneft.reporting.contents import every_table
from caneft.reporting.gallery import every_figure
from caneft.reporting.inputs import score_files

METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": [1e-5, 1e-4]},
    "adapters": {"method": "adapters", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 5e-4},
}
ORDINARY = "dqx", "sqxx", "tqxx"
NAMED_LIKE = "dev", "seen", "test"
"""In the same order, and as long."""


def made(names, root):
    """(plan, results tree) of a mixture of the first two of these domains, and of each alone; the third is unseen."""
    first, second, third = names
    alone = {
        "one": {"de-en": {"domains": [first], "test": [second, third]}},
        "two": {"de-en": {"domains": [second], "test": [first, third]}},
    }
    mixtures = {"all": {"de-en": [first, second]}} | alone
    plan = fake_results.plan(METHODS, (1, 2, 3), seen=(first, second), unseen=(third,), mixtures=mixtures)
    fake_results.write(plan, root, flagged=lambda *_: (3, 1))
    return plan, root


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return [made(names, tmp_path_factory.mktemp(names[0])) for names in (ORDINARY, NAMED_LIKE)]


def renamed(text):
    for old, new in zip(ORDINARY, NAMED_LIKE, strict=True):
        text = text.replace(old, new)
    return text


def test_tables_are_those_of_other_names(both, tmp_path):
    texts = []
    for (plan, root), out in zip(both, (tmp_path / "a", tmp_path / "b"), strict=True):
        for name, numbers, printed, absent in every_table(plan, root):
            tables.write(out / name, numbers, printed, absent)
        texts.append({path.name: path.read_text(encoding="utf-8") for path in sorted(out.iterdir())})
    ordinary, found = texts
    assert ordinary.keys() == found.keys() and any("tqxx" in text for text in ordinary.values())
    for name, text in ordinary.items():
        if name != "corpora.csv":  # its columns are in order of name
            assert found[name] == renamed(text), name
    wanted, columns = (
        pd.read_csv(io.StringIO(text)) for text in (renamed(ordinary["corpora.csv"]), found["corpora.csv"])
    )
    assert columns.columns.is_unique
    pd.testing.assert_frame_equal(columns, wanted, check_like=True)


def test_figures_say_the_same(both):
    ordinary, found = (
        {name: [text.get_text() for text in figure.findobj(Text)] for name, figure in every_figure(plan, root)}
        for plan, root in both
    )
    assert any("tqxx" in text for texts in ordinary.values() for text in texts)
    assert found == {name: [renamed(text) for text in texts] for name, texts in ordinary.items()}


def test_their_files_are_no_others(both):
    for plan, root in both:
        for file in score_files(plan, [("tiny", "de-en", "all")]):
            assert json.loads((root / file.path).read_text())["domains"].keys() == set(file.domains)
        runs = plan.runs()
        paths = [path for run in runs for split in plan.splits(run) for path in [run.translations(split)]]
        paths += [path for run in runs for split in plan.splits(run) for path in plan.split_corpora(run, split)]
        translations = [path for path in paths if path.startswith("runs/")]
        assert len(set(translations)) == len(translations)
        corpora = {path for path in paths if not path.startswith("runs/")}
        assert len(corpora) == len(plan.all_tested("de-en")) + len({run.mixture for run in runs if run.rate})
        assert Plan(config.load(plan.config.model_dump(mode="json", exclude_unset=True), check_files=False))
