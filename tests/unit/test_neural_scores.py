"""A file of neural scores that is made again: scores from the same inputs are kept, everything else is scored."""

import copy
import sys

import pytest

from caneft.corpora.store import Row
from caneft.scoring import neural
from tests.messages import assert_names
from workflow.scripts import score_neural

MANIFEST = {"class": "regression_metric", "checkpoint": "tiny", "revision": None, "sha256": "a" * 64}
REFERENCES = {
    "it": [Row("it.test.1", "Datei", "file"), Row("it.test.2", "Maus", "mouse")],
    "law": [Row("law.test.1", "Anlage", "annex")],
}
HYPOTHESES = {"it": ["file", "rat"], "law": ["annex"]}
SCORES = {"it": [0.75, 0.25], "law": [0.5]}


@pytest.fixture
def scored(monkeypatch):
    """Runs `score_domains`; returns its result, the domains that the metric scored, and the loads.

    The checkpoint and the library live in another environment, so the test replaces both.
    """
    asked, loads = [], []

    def score(model, manifest, rows, hypotheses, batch_size, gpus):
        (domain,) = {row.id.partition(".")[0] for row in rows}
        asked.append(domain)
        return list(SCORES[domain])

    monkeypatch.setattr(neural, "load", lambda manifest: loads.append(manifest) or "model")
    monkeypatch.setattr(neural, "score", score)
    monkeypatch.setattr(neural, "signature", lambda manifest: f"comet|{manifest['checkpoint']}")

    def run(stored=None, references=REFERENCES, hypotheses=HYPOTHESES, manifest=MANIFEST, version=1):
        asked.clear()
        loads.clear()
        found = neural.score_domains(stored or {}, references, hypotheses, manifest, 16, version)
        return found, list(asked), len(loads)

    return run


def test_a_first_run_scores_all_domains_by_one_model(scored):
    found, asked, loads = scored()
    assert (asked, loads) == (["it", "law"], 1)
    assert {domain: entry["segments"] for domain, entry in found.items()} == SCORES
    assert (found["it"]["score"], found["law"]["score"]) == (0.5, 0.5)
    assert found["it"]["signature"] == "comet|tiny"


def test_a_second_run_loads_nothing_and_finds_the_same(scored):
    found, *_ = scored()
    assert scored(copy.deepcopy(found)) == (found, [], 0)


def test_a_new_domain_costs_only_itself(scored):
    it_alone = {"it": REFERENCES["it"]}
    found, *_ = scored(references=it_alone)
    both, asked, loads = scored(found)
    assert (asked, loads) == (["law"], 1) and both["it"] == found["it"]


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"hypotheses": HYPOTHESES | {"it": ["file", "mouse"]}}, ["it"]),
        ({"references": REFERENCES | {"law": [Row("law.test.1", "Anlage", "appendix")]}}, ["law"]),
        ({"references": REFERENCES | {"law": [Row("law.test.1", "Anhang", "annex")]}}, ["law"]),
        ({"manifest": MANIFEST | {"sha256": "b" * 64}}, ["it", "law"]),
        ({"manifest": MANIFEST | {"checkpoint": "other"}}, ["it", "law"]),
        ({"version": 2}, ["it", "law"]),
    ],
    ids=["output", "reference", "source", "weights", "checkpoint", "version"],
)
def test_what_is_made_from_something_else_is_scored_again(scored, change, again):
    found, *_ = scored()
    assert scored(found, **change)[1] == again


@pytest.mark.parametrize("segments", [None, [0.75], [0.75, float("nan")], [0.75, "0.25"], [0.75, 0.25, 0.5]], ids=str)
def test_a_damaged_entry_is_scored_again(scored, segments):
    found, *_ = scored()
    damaged = copy.deepcopy(found)
    damaged["it"]["segments"] = segments
    assert scored(damaged)[:2] == (found, ["it"])


def test_the_mean_is_that_of_the_segments_and_no_stored_number(scored):
    found, *_ = scored()
    damaged = copy.deepcopy(found)
    damaged["it"]["score"] = 0.99
    assert scored(damaged) == (found, [], 0)


def test_a_folder_in_the_way_of_what_is_kept_is_named_before_anything_is_read(tmp_path, monkeypatch, capsys):
    scores = tmp_path / "comet.json"
    (tmp_path / ".comet.json").mkdir()
    words = ["--manifest", "m", "--metric", "comet", "--about", "m", "de-en", "base", "--domains", "it"]
    monkeypatch.setattr(sys, "argv", ["score_neural", *words, "--corpora", "c", "--copy", "--scores", str(scores)])
    with pytest.raises(SystemExit):
        score_neural.main()
    assert_names(capsys.readouterr().err, tmp_path / ".comet.json", "is a folder", "Move it away")
