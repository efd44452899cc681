"""Tables, figures and captions of a run with the metric exact match: none of them speaks of translation."""

import json
from pathlib import Path
from types import SimpleNamespace

import fake_results
import jinja2
import pytest
from matplotlib.text import Text

from caneft.reporting import figures, interference, results, tables, trials
from tests.messages import assert_names

REPORT = Path(__file__).parents[2] / "workflow/report"
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": [1e-4, 1e-3]},
    "caneft": {"method": "caneft", "learning_rate": [1e-3, 1e-2]},
}
MIXTURES = {"all": {"de-en": ["it", "law"]}, "one": {"de-en": ["it"]}}
OF_TRANSLATION = ("BLEU", "bleu", "chrF", "chrf", "ranslat")


def made(root, metrics):
    plan = fake_results.plan(METHODS, mixtures=MIXTURES, scoring={"metrics": metrics})
    fake_results.write(plan, root)
    return plan


def printed(plan, root):
    """Every printed table, by name."""
    scores, records = results.scores(plan, root), results.records(plan, root)
    costs, tried = results.costs(plan, root), results.trials(plan, root)
    main, cost = tables.main_table(plan, scores, records), tables.cost_table(plan, costs, records)
    matrix = interference.interference_table(plan, scores)
    return {
        "main": list(tables.main_tables(plan, main, scores, records, {}, {}, results.decoded(plan, root))),
        "cost": list(tables.cost_tables(plan, cost, costs)),
        "interference": list(interference.interference_tables(plan, matrix)),
        "trials": list(trials.trial_tables(plan, tried)),
    }


@pytest.fixture(scope="module")
def of_task(tmp_path_factory):
    root = tmp_path_factory.mktemp("task")
    plan = made(root, ["exact"])
    return plan, root, printed(plan, root)


def test_tables_of_a_task_speak_of_its_metric(of_task):
    found = {name: json.dumps([str(table) for table in part]) for name, part in of_task[2].items()}
    for name, text in found.items():
        assert [word for word in OF_TRANSLATION if word in text] == [], name
    main, interference, trial = (of_task[2][name][0] for name in ("main", "interference", "trials"))
    for text in (main.title, " ".join(main.notes), str(interference), trial.caption, str(trial.columns)):
        assert_names(text, "exact match (%)")
    assert_names(found["main"], "`exact|norm:strip|version:1`")


def test_the_trials_table_of_translations_keeps_its_judge(tmp_path):
    plan = made(tmp_path, ["bleu", "exact"])
    table = printed(plan, tmp_path)["trials"][0]
    assert_names(table.caption, "chrF2")
    assert [column.name for column in table.columns if column.group == "dev"] == ["chrF2", "behind"]


def test_figures_of_a_task_speak_of_its_metric(of_task):
    plan, root, _ = of_task
    scores, tried = results.scores(plan, root), results.trials(plan, root)
    for figure in (figures.scores(plan, scores, {}, {}), figures.seen_unseen(plan, scores, tried, {})):
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert any("exact match (%)" in text for text in texts)
        assert [text for text in texts if any(word in text for word in OF_TRANSLATION)] == []


def caption(name, config):
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string((REPORT / f"{name}.rst").read_text())
    return template.render(snakemake=SimpleNamespace(config=config))


@pytest.mark.parametrize("name, said", [("trials", "test sets"), ("seen_unseen", "trials"), ("unseen", "last columns")])
def test_captions_promise_no_test_sets_of_trials_that_have_none(name, said):
    assert said in caption(name, {}) and said in caption(name, {"trials": {"seeds": [0]}})
    assert said not in caption(name, {"trials": {"test_sets": False}})


@pytest.mark.parametrize("path", sorted(REPORT.glob("*.rst")), ids=lambda path: path.stem)
def test_captions_of_the_report_speak_of_no_translation(path):
    keys = ("models", "directions", "mixtures", "methods")
    text = caption(path.stem, dict.fromkeys(keys, ["dates"]) | {"scoring": {"metrics": ["exact"]}})
    assert [word for word in OF_TRANSLATION if word in text] == []
    if path.stem in ("scores", "trials"):
        assert "xact match" in text
