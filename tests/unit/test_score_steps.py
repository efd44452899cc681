"""The steps that score translations: what they write, and that a trial is scored like a run."""

import json
import random
import sys

import pytest

from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.scoring.surface import score as scored
from tests.messages import assert_names
from workflow.scripts import score, score_trials

DOMAINS = ["it", "law", "koran"]
WORDS = ["the", "dog", "doesn't", "sleep", "often", "and", "7.5%", "of", "it's", "cats", "purr", "."]
SETTINGS = {"metrics": ["bleu", "chrf"], "target_language": "en"}
TRIALS = ["lr0.001-seed0", "lr0.001-seed100", "lr0.01-seed0"]


@pytest.fixture
def given(tmp_path):
    """Test sets of three domains, and each trial's translations, with flags, empty ones and a removed domain."""
    rng = random.Random(0)
    rows = {}
    for domain in DOMAINS:
        said = [" ".join(rng.choices(WORDS, k=8)) for _ in range(12)]
        rows[domain] = [Row(f"{domain}.test.{n}", f"Quelle {n}", text) for n, text in enumerate(said)]
        store.write(tmp_path / f"{domain}.jsonl", rows[domain])
    lines = {}
    for trial in TRIALS:
        lines[trial] = {
            domain: [
                {
                    "id": row.id,
                    "domain": domain,
                    "hypothesis": " ".join(w if rng.random() < 0.7 else "x" for w in row.target.split()),
                    "flags": ["truncated"] if rng.random() < 0.2 else [],
                }
                for row in own
            ]
            for domain, own in rows.items()
        }
        gone = {"id": "garden.test.1", "domain": "garden", "hypothesis": "", "flags": ["empty"]}
        written = [*(line for domain in DOMAINS for line in lines[trial][domain]), gone]
        (tmp_path / f"{trial}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))
    return rows, lines


@pytest.fixture
def run(tmp_path, monkeypatch, given):
    """Runs a step; returns what it wrote."""

    def call(step, *words):
        corpora = [tmp_path / f"{domain}.jsonl" for domain in DOMAINS]
        words = ["--settings", json.dumps(SETTINGS), "--domains", *DOMAINS, "--corpora", *corpora, *words]
        monkeypatch.setattr(sys, "argv", [step.__name__, *map(str, words), "--scores", str(tmp_path / "out.json")])
        step.main()
        return json.loads((tmp_path / "out.json").read_text())

    return call


def test_a_run_is_scored_on_all_its_domains(run, given, tmp_path):
    rows, lines = given
    trial = TRIALS[0]
    about = "--about", "tiny", "de-en", "all/caneft/seed1", "--seen", "it", "law"
    found = run(score, *about, "--translations", tmp_path / f"{trial}.jsonl")
    expected = {domain: scored(lines[trial][domain], rows[domain], "en", ["bleu", "chrf"]) for domain in DOMAINS}
    assert found == {
        **{"format": 1, "model": "tiny", "direction": "de-en", "run": "all/caneft/seed1"},
        **{"seen": ["it", "law"], "domains": json.loads(json.dumps(expected))},
    }


def test_copied_sources_and_the_base_have_seen_nothing(run, given):
    """The rules pass --seen without a word after it, or no --seen."""
    rows, _ = given
    for seen in ([], ["--seen"]):
        found = run(score, "--about", "-", "de-en", "copy", *seen, "--copy")
        assert found["seen"] == [] and list(found["domains"]) == sorted(DOMAINS)
    sources = [{"hypothesis": row.source, "flags": []} for row in rows["it"]]
    assert found["domains"]["it"]["chrf"] == scored(sources, rows["it"], "en", ["chrf"])["chrf"]


def test_trials_get_the_scores_that_runs_get(run, tmp_path):
    alone = {}
    for trial in TRIALS:
        about = "--about", "tiny", "de-en", f"all/caneft/{trial}"
        alone[trial] = run(score, *about, "--translations", tmp_path / f"{trial}.jsonl")["domains"]
    files = [tmp_path / f"{trial}.jsonl" for trial in TRIALS]
    about = "--about", "tiny", "de-en", "all", "caneft", "--trials", *TRIALS
    found = run(score_trials, *about, "--translations", *files)
    about = {"format": 1, "model": "tiny", "direction": "de-en", "mixture": "all", "variant": "caneft"}
    assert found == about | {"trials": alone}
    assert len({json.dumps(domains) for domains in alone.values()}) == len(TRIALS)


def test_translations_of_a_trial_that_do_not_fit_are_named(run, tmp_path, capsys):
    broken = tmp_path / f"{TRIALS[1]}.jsonl"
    broken.write_text("".join(broken.read_text().splitlines(keepends=True)[1:]))
    files = [tmp_path / f"{trial}.jsonl" for trial in TRIALS]
    about = "--about", "tiny", "de-en", "all", "caneft", "--trials", *TRIALS
    with pytest.raises(SystemExit) as ended:
        run(score_trials, *about, "--translations", *files)
    assert ended.value.code == 1 and not (tmp_path / "out.json").exists()
    assert_names(capsys.readouterr().err, broken, "ids")
