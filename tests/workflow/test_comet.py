"""A real COMET through the workflow: trained small, scoring segments, found again in another place."""

import json
import shutil

import pandas as pd
import pytest
import yaml

KEPT = ("base", "caneft")
TRAIN = {
    "corpora": [{"direction": "de-en", "corpus": {"format": "demo", "domain": d, "pairs": 300}} for d in ("it", "law")],
    "hidden_size": 32,
    "vocabulary": 400,
    "epochs": 3,
}
RUNS = ("runs/mini-llama/de-en/base", "runs/mini-llama/de-en/all/caneft/seed1")


def with_comet(config, **comet):
    """mini.yaml with two methods and a COMET."""
    config["methods"] = {name: method for name, method in config["methods"].items() if name in KEPT}
    config["scoring"] = {"comet": comet or {"train": TRAIN}}


def scores(results, run, testset, metric="comet"):
    return json.loads((results / run / "scores" / f"{testset}.{metric}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scored(finished, tmp_path_factory):
    """The finished mini run, with COMET added."""
    workspace = finished.copy(tmp_path_factory.mktemp("comet"))
    (workspace.root / "comet.yaml").write_text(yaml.safe_dump(workspace.configuration(with_comet)), encoding="utf-8")
    done = workspace.snakemake("--cores", "2", config="comet.yaml")
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace


def test_adding_comet_runs_its_own_jobs_and_the_aggregates(finished):
    """Beside what the two methods alone would run anew."""
    without = finished.plan(finished.configuration(lambda config: with_comet(config) or config.pop("scoring")))
    ours = finished.plan(finished.configuration(with_comet)) - without - {"comet_environment"}  # may be there already
    copies = {f"score_neural_copy de-en/{domain}/comet" for domain in ("it", "law", "medical", "koran")}
    of_base = {f"score_neural mini-llama/de-en/base/{domain}/comet" for domain in ("it", "law", "medical", "koran")}
    of_caneft = {f"score_neural mini-llama/de-en/all/caneft/seed1/{testset}/comet" for testset in ("seen", "koran")}
    assert ours == copies | of_base | of_caneft | {"prepare_metric_pairs comet", "train_comet comet"}
    assert {job.partition(" ")[0] for job in without} == {"score_without_overlap", "tabulate", "plot", "all"}


def test_every_segment_has_a_score_and_the_domain_their_mean(scored):
    for run in RUNS:
        found = scores(scored.results, run, "koran")
        (entry,) = found["domains"].values()
        assert (found["metric"], len(entry["segments"])) == ("comet", 20)
        assert entry["score"] == pytest.approx(sum(entry["segments"]) / 20)
        assert entry["signature"].startswith("comet|checkpoint:trained-here|sha256:")
        assert all(0 <= value <= 1 for value in entry["segments"])
    assert scores(scored.results, RUNS[0], "koran") != scores(scored.results, RUNS[1], "koran")


def test_it_tells_spoilt_translations_from_good_ones(scored):
    """On pairs that it was not trained on; the untrained encoder of the same size does not."""
    training = json.loads((scored.results / "metrics/comet/manifest.json").read_text(encoding="utf-8"))["training"]
    assert (training["pairs"], training["held_out"]) == (540, 60)
    assert training["comet"]["pearson"] > 0.3 and training["chrf"]["pearson"] > 0.6


def test_the_table_has_its_column_and_says_what_it_is(scored):
    table = pd.read_csv(scored.results / "tables/main.csv").query("metric == 'comet'").set_index("variant")
    assert list(table.index) == ["base", "caneft", "copy"]
    assert table.loc["caneft", "koran_mean"] == pytest.approx(
        100 * scores(scored.results, RUNS[1], "koran")["domains"]["koran"]["score"], abs=1e-3
    )
    printed = (scored.results / "tables/main.md").read_text(encoding="utf-8")
    assert "COMET (demonstration)" in printed and "This COMET is no published one" in printed


def test_a_checkpoint_that_moved_gives_the_same_scores(scored, tmp_path_factory):
    """As `path:`, from another folder, by another manifest; with the old one gone."""
    workspace = scored.copy(tmp_path_factory.mktemp("moved"))
    shutil.move(workspace.results / "metrics/comet", workspace.root / "checkpoint")
    (workspace.root / "checkpoint/manifest.json").unlink()
    before = {run: scores(workspace.results, run, "koran") for run in RUNS}
    config = workspace.configuration(lambda config: with_comet(config, path=str(workspace.root / "checkpoint")))
    (workspace.root / "path.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    targets = [f"out/mini/{run}/scores/koran.comet.json" for run in RUNS]
    done = workspace.snakemake("--cores", "2", *targets, config="path.yaml")
    assert done.returncode == 0, done.stdout[-5000:]
    for run in RUNS:
        after = scores(workspace.results, run, "koran")["domains"]["koran"]
        assert after["segments"] == before[run]["domains"]["koran"]["segments"]
        assert after["signature"] != before[run]["domains"]["koran"]["signature"]  # it has another name now


def test_losing_one_runs_scores_rebuilds_these_and_the_aggregates(scored, tmp_path_factory):
    workspace = scored.copy(tmp_path_factory.mktemp("lost"))
    (workspace.results / RUNS[1] / "scores/koran.comet.json").unlink()
    jobs = workspace.plan(workspace.configuration(with_comet))
    jobs -= {"comet_environment"}
    aggregates = {"tabulate", "plot", "all"}
    assert jobs == {"score_neural mini-llama/de-en/all/caneft/seed1/koran/comet", *aggregates}
