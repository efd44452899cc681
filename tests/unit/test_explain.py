"""`python -m caneft explain`: from a table's cell to its runs, files and jobs."""

import hashlib
import json
import os
import sys
from types import SimpleNamespace

import fake_results
import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.persistence.file import FilePersistence

from caneft import __main__
from caneft.commands import cells
from caneft.commands.cells import FILTERS
from caneft.commands.jobs import Jobs
from caneft.reporting import inputs, listing, tables
from caneft.reporting.contents import every_table
from tests.messages import assert_names

MIXTURES = {
    "all": {"de-en": ["it", "law"]},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law", "koran"]}},
}
METHODS = {
    "base": {"method": "base"},
    "lora": {"method": "lora", "learning_rate": [1e-3, 1e-2]},
    "importance": {"method": "importance", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": 5e-4},
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A finished folder with all tables."""
    return finished(tmp_path_factory.mktemp("explain") / "out")


def finished(root, **sections):
    mixtures = MIXTURES | {"only-it": {"de-en": MIXTURES["only-it"]["de-en"] | {"select_on": "all"}}}
    plan = fake_results.plan(
        METHODS, (1, 2), mixtures=mixtures, results_root="out", scoring={"comet": {"path": "tiny"}}, **sections
    )
    fake_results.write(plan, root, flagged=lambda *_: (3, 2))
    raw = plan.config.model_dump(mode="json", exclude_unset=True)
    (root / "config.yaml").write_text(yaml.safe_dump(raw))
    (root / "tables").mkdir()
    for name, numbers, printed, absent in every_table(plan, root):
        tables.write(root / "tables" / name, numbers, printed, absent)
    for file in inputs.score_files(plan):
        translations = root / file.path.replace("/scores/", "/translations/").replace(".json", ".jsonl")
        translations.parent.mkdir(parents=True, exist_ok=True)
        translations.write_text(f"{file.variant} {file.seed}\n")
    return root


@pytest.fixture
def call(monkeypatch, capsys, root):
    """Runs the command line on a table; returns its output, as JSON unless it failed."""

    def run(table, *arguments, form="--json", root=root):
        path = root / "tables" / table
        extra = [form] if form else []
        monkeypatch.setattr(sys, "argv", ["caneft", "explain", str(path), *map(str, arguments), *extra])
        try:
            __main__.main()
        except SystemExit:
            return capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if form == "--json" else out

    return run


def score(root, run, domain, metric="bleu"):
    entries = json.loads((root / f"runs/tiny/de-en/{run}/scores/test.json").read_text())["domains"]
    return entries[domain][metric]["score"]


def test_a_cell_is_the_mean_of_the_scores_that_are_named(root, call):
    found = call("main.csv", "--row", "caneft", "--column", "law")
    scores = [score(root, f"all/caneft/seed{seed}", "law") for seed in (1, 2)]
    assert found["value"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert [run["scores"][0]["score"] for run in found["runs"]] == scores
    assert_names(found["made"], "2 seeds", "law")
    assert found["block"] == ["tiny", "de-en", "all"], "the mixture that printed tables show"
    assert found["metric"] == "bleu"


def test_files_stand_with_their_checksums(root, call):
    (run, _) = call("main.csv", "--row", "caneft", "--column", "law")["runs"]
    folder = "runs/tiny/de-en/all/caneft/seed1"
    path = f"{folder}/translations/test.jsonl"
    assert run["files"][path] == hashlib.sha256((root / path).read_bytes()).hexdigest()
    assert run["files"][f"{folder}/patch.safetensors"] is None, "what is gone is said to be"
    assert "neurons/tiny/de-en/all/caneft/draw0.npz" in run["files"]
    assert run["record"]["code"]["commit"] == "c0ffee"
    assert run["cost"]["device"] == "cpu"


def test_a_set_that_was_selected_again_since_the_run_is_said_to_have_changed(tmp_path, call):
    root = finished(tmp_path / "out")
    path, chosen = root / "runs/tiny/de-en/all/caneft/seed1/record.json", "neurons/tiny/de-en/all/caneft/draw0.npz"
    record, now = json.loads(path.read_text()), hashlib.sha256((root / chosen).read_bytes()).hexdigest()
    said = []
    for sha in (now, "0" * 64, None):  # None: an older version wrote the record
        path.write_text(json.dumps(record | {"data": {"neurons_sha256": sha} if sha else {}}))
        said.append(call("main.csv", "--row", "caneft", "--column", "law", root=root)["runs"][0]["data"][chosen])
    assert "changed" in said[1] and "changed" not in said[0] + said[2] and len(set(said)) == 3
    assert chosen in call("main.csv", "--row", "caneft", "--column", "law", form=None, root=root).split("data  ")[3]
    lora = call("main.csv", "--row", "lora", "--column", "law", root=root)["runs"][0]
    assert [*lora["data"]] == [f"mixtures/de-en/all/{split}.jsonl" for split in ("train", "dev")]


@pytest.mark.parametrize(
    "column, domains",
    [("average_seen", ["it", "law"]), ("average_unseen", ["koran"]), ("average_all", ["it", "law", "koran"])],
)
def test_averages_name_their_domains(root, call, column, domains):
    found = call("main.csv", "--row", "lora", "--column", column, "--metric", "chrf")
    means = []
    for run in found["runs"]:
        assert [entry["domain"] for entry in run["scores"]] == domains
        means.append(np.mean([entry["score"] for entry in run["scores"]]))
    assert found["value"] == pytest.approx(np.mean(means), abs=1e-4)


def test_one_seed_alone(call):
    found = call("main.csv", "--row", "lora", "--column", "law", "--seed", 2)
    assert [run["run"] for run in found["runs"]] == ["tiny/de-en/all/lora/seed2"]


def test_base_and_copy_have_no_seeds(call):
    base = call("main.csv", "--row", "base", "--column", "koran")
    assert [run["run"] for run in base["runs"]] == ["tiny/de-en/base"] and "record" not in base["runs"][0]
    copy = call("main.csv", "--row", "copy", "--column", "average_seen")
    assert list(copy["files"]) == ["scores/copy/de-en/test.json"]


def test_costs_are_those_of_the_processes_that_are_named(root, call):
    found = call("cost.csv", "--row", "caneft", "--column", "peak_memory_mb", "--stage", "tuning", "--mixture", "all")
    costs = [json.loads((root / path).read_text())["peak_memory_mb"] for path in found["files"]]
    assert len(costs) == 2 and found["value"] == max(costs)
    shared = call("cost.csv", "--row", "importance", "--column", "wall_seconds", "--stage", "importance")
    assert all(path.startswith("importance/tiny/de-en/") for path in shared["files"]), "the stage, not the variant"


def test_interference_is_a_difference_of_two_runs(root, call):
    found = call("interference.csv", "--row", "caneft", "--column", "law", "--mixture", "only-it")
    own = [score(root, f"only-it/caneft/seed{seed}", "law") for seed in (1, 2)]
    assert found["value"] == pytest.approx(np.mean(own) - score(root, "base", "law"), abs=1e-4)
    assert [run["run"] for run in found["runs"]][-1] == "tiny/de-en/base"


def test_trials_and_overlap(call):
    trial = call("trials.csv", "--row", "lora", "--column", "average_seen", "--learning-rate", "0.01")
    assert [run["run"] for run in trial["runs"]] == [f"tiny/de-en/all/lora/lr0.01-seed{seed}" for seed in (0, 100)]
    assert list(trial["files"]) == ["runs/tiny/de-en/all/lora/choice.json"]
    assert [entry["domain"] for entry in trial["runs"][0]["scores"]] == ["it", "law"]
    judged = call("trials.csv", "--row", "lora", "--column", "dev", "--learning-rate", "0.01")
    assert [run["scores"] for run in judged["runs"]] == [[], []], "no test set has a part in dev"
    overlap = call("overlap.csv", "--row", "lora", "--column", "koran", "--mixture", "all")
    assert list(overlap["files"]) == ["scores/without-overlap/tiny/de-en/all.json"]


def test_trials_without_test_sets_have_their_records_and_no_scores(call, tmp_path):
    untested = finished(tmp_path / "out", trials={"test_sets": False})
    cell = ("trials.csv", "--row", "lora", "--learning-rate", "0.01", "--column")
    found = call(*cell, "dev", root=untested)
    assert [run["run"] for run in found["runs"]] == [f"tiny/de-en/all/lora/lr0.01-seed{seed}" for seed in (0, 100)]
    assert [run["scores"] for run in found["runs"]] == [[], []] and found["value"] is not None
    average = call(*cell, "average_seen", root=untested)
    assert average["value"] is None
    assert_names(average["made"], "trials.test_sets")


def test_tests_of_significance_name_both_variants(call):
    found = call("significance.csv", "--row", "caneft", "--column", "average_seen", "--against", "lora")
    assert found["value"] == 1.0, "the difference of all tests of fake_results"
    assert_names(found["row"], "caneft", "lora")
    names = [f"tiny/de-en/all/{variant}/seed{seed}" for variant in ("caneft", "lora") for seed in (1, 2)]
    assert [run["run"] for run in found["runs"]] == names
    assert [entry["domain"] for entry in found["runs"][0]["scores"]] == ["it", "law"]
    assert list(found["files"]) == ["significance/tiny/de-en/all.json"]
    p = call("significance.csv", "--row", "caneft", "--column", "p", "--domain", "law", "--against", "base")
    assert p["value"] == 0.2 and [entry["domain"] for entry in p["runs"][0]["scores"]] == ["law"]


def test_unseen_scores_and_their_differences_to_the_base(root, call):
    own = [score(root, f"all/lora/seed{seed}", "koran") for seed in (1, 2)]
    base = score(root, "base", "koran")
    found = call("unseen.csv", "--row", "lora", "--column", "koran")
    assert found["value"] == pytest.approx(np.mean(own), abs=1e-4) and len(found["runs"]) == 2
    gain = call("unseen.csv", "--row", "lora", "--column", "difference", "--domain", "koran")
    assert gain["value"] == pytest.approx(np.mean(own) - base, abs=1e-4)
    assert [run["run"] for run in gain["runs"]][-1] == "tiny/de-en/base"


def test_counts_of_bad_outputs_are_those_of_the_score_files(call):
    """fake_results says that 2 outputs of base are cut in each domain."""
    found = call("health.csv", "--row", "base", "--column", "truncated", "--domain", "koran")
    assert found["value"] == 2 == found["runs"][0]["scores"][0]["health"]["truncated"]


def test_what_is_told_of_sets_names_the_sets(call):
    found = call("criteria.csv", "--row", "importance", "--column", "jaccard")
    folder = "neurons/tiny/de-en/all"
    assert sorted(found["files"]) == [f"{folder}/caneft/draw0.npz", f"{folder}/importance/draw0.npz"]
    assert None not in found["files"].values()


def test_a_neural_metric_has_files_of_its_own(root, call):
    found = call("main.csv", "--row", "lora", "--column", "law", "--metric", "comet")
    folder = "runs/tiny/de-en/all/lora/seed1"
    stored = json.loads((root / f"{folder}/scores/neural/comet.json").read_text())["domains"]["law"]["score"]
    other = json.loads((root / f"{folder.replace('seed1', 'seed2')}/scores/neural/comet.json").read_text())
    assert found["runs"][0]["scores"][0]["score"] == stored
    assert found["value"] == pytest.approx(50 * (stored + other["domains"]["law"]["score"]), abs=1e-3)
    assert f"{folder}/translations/test.jsonl" in found["runs"][0]["files"]
    copy = call("main.csv", "--row", "copy", "--column", "koran", "--metric", "comet")
    assert list(copy["files"]) == ["scores/copy/de-en/neural/comet.json"]


def test_intervals_come_from_the_file_of_significance(call):
    found = call("main.csv", "--row", "lora", "--column", "law_low")
    assert list(found["files"]) == ["significance/tiny/de-en/all.json"]


def test_columns_that_no_score_is_behind_get_no_account_of_scores(call):
    """The same holds for a column that is newer than this command."""
    of_domain = {"main.csv": [], "health.csv": ["--domain", "it"], "unseen.csv": ["--domain", "koran"]}
    for table, domain in of_domain.items():
        for column, value in (("n_seeds", 2), ("method", "caneft")):
            found = call(table, "--row", "caneft", "--column", column, "--mixture", "all", *domain)
            assert found["value"] == value and "score" not in found["made"]
    counted = call("main.csv", "--row", "caneft", "--column", "empty", "--mixture", "all")
    assert "of what the score files" in counted["made"]
    assert_names(cells._aggregated("brand_new", {}), "no account", "brand_new")


def test_every_table_is_explained(root, call):
    """Takes the first row with a value in its last column of numbers, by all keys that tell it from other rows."""
    for name in listing.TABLES:
        frame = pd.read_csv(root / "tables" / f"{name}.csv")
        if frame.empty:
            continue
        column = frame.select_dtypes("number").dropna(axis=1, how="all").columns[-1]
        row = frame[frame[column].notna()].iloc[0]
        key = next(
            key for key in ("variant", "stage", "a", "criterion", "domain", "mixture") if isinstance(row.get(key), str)
        )
        names = {"b": "against", "column": "domain"} | {name: name for name in FILTERS}
        own = {names[k]: f"{v:g}" if isinstance(v, float) else str(v) for k, v in row.items() if k in names and v == v}
        options = [part for option, value in own.items() for part in (f"--{option.replace('_', '-')}", value)]
        found = call(f"{name}.csv", "--row", row[key], "--column", column, *options)
        assert not isinstance(found, str), (name, found)
        assert found["value"] == row[column] and found["made"], name
        assert found["runs"] or found["files"], name


@pytest.mark.parametrize(
    "arguments, facts",
    [
        (["main.csv", "--row", "canef", "--column", "law"], ("main.csv:", "'canef'", "'caneft'")),
        (["main.csv", "--row", "caneft", "--column", "lw"], ("main.csv:", "'lw'", "'law'")),
        (["main.csv", "--row", "caneft", "--column", "law", "--metric", "blue"], ("main.csv:", "'blue'", "'bleu'")),
        (["main.csv", "--row", "caneft", "--column", "law", "--stage", "tuning"], ("main.csv:", "--stage")),
        (["main.csv", "--row", "caneft", "--column", "law", "--seed", 9], ("9", "1, 2")),
        (["cost.csv", "--row", "caneft", "--column", "wall_seconds"], ("cost.csv:", "--stage", "tuning, translation")),
        (["mian.csv", "--row", "caneft", "--column", "law"], ("mian.csv:", "'main'")),
        (["main.tex", "--row", "caneft", "--column", "law"], ("main.tex:", "main.csv")),
    ],
)
def test_what_is_not_there_is_said(call, arguments, facts):
    assert_names(call(*arguments), *facts)


def note(folder, output, content):
    """Writes a note on a job where Snakemake would."""
    length = os.pathconf(folder, "PC_NAME_MAX")
    path = FilePersistence._record_path(SimpleNamespace(_fetch_max_len=lambda _: length), str(folder), output)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump(content, file)


def test_jobs_are_found_in_snakemakes_notes(root, call):
    """Scores come from a translation, and that from a tuning job whose name is too long for one file name."""
    folder = root.parent / ".snakemake/metadata"
    folder.mkdir(parents=True)
    long = "out/" + "x" * 300
    scored, translated = (f"out/runs/tiny/de-en/all/caneft/seed1/{name}" for name in ("scores/test.json", "t.jsonl"))
    for number, (output, rule, needs) in enumerate(
        [(long, "tune", []), (translated, "translate", [long]), (scored, "score", [translated, "corpus.jsonl"])]
    ):
        content = {"rule": rule, "shellcmd": f"run {rule}", "input": needs, "starttime": 1e9 + number}
        note(folder, output, content | {"log": [f"out/logs/{rule}.log"]})
    (root / "benchmarks").mkdir()
    (root / "benchmarks/score.tsv").write_text("s\n")
    found = call("main.csv", "--row", "caneft", "--column", "law", "--seed", 1)
    assert [job["command"] for job in found["jobs"]] == ["run tune", "run translate", "run score"]
    assert [job["benchmark"] for job in found["jobs"]] == [None, None, "out/benchmarks/score.tsv"]
    text = call("main.csv", "--row", "caneft", "--column", "law", "--seed", 1, form=None)
    for part in ("run translate", "log       out/logs/score.log", "nrefs:1", "commit c0ffee", "numpy 2.0.0"):
        assert part in text


def test_without_notes_no_command_is_made_up(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    jobs = Jobs(tmp_path / "elsewhere", "out")
    assert jobs.behind(["out/x"]) == []
