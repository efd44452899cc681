"""Finished results copied into a fresh clone: what must be copied with them, and what a message says if it was not."""

import shutil

import pytest
import yaml

from tests.messages import assert_names
from tests.workflow import job_sets as jobs
from tests.workflow.conftest import RESULTS, Workspace

NOTES = ".snakemake"


@pytest.fixture(params=[shutil.copy2, shutil.copyfile], ids=["cp -a", "cp -r"])
def clone(pristine, finished, tmp_path, request):
    """A fresh clone with new files, and the results of another clone with their old or with mixed time stamps."""
    place = Workspace(tmp_path / "clone")
    shutil.copytree(pristine.root, place.root, copy_function=shutil.copyfile, ignore=shutil.ignore_patterns(NOTES))
    shutil.copytree(finished.results, place.results, copy_function=request.param)
    return place


def test_without_snakemakes_notes_all_is_made_again_and_the_way_out_is_said(clone, pristine, finished, request):
    if request.node.callspec.id == "cp -a":
        assert clone.plan() == pristine.plan()  # with mixed times, the plan may be anything
    assert_names(clone.snakemake_here("-n").stdout, NOTES, "--touch", f"{RESULTS}/config.yaml")
    for known in (finished, pristine):  # the first has notes, the second has no results
        assert "--touch" not in known.snakemake_here("-n").stdout


def test_with_snakemakes_notes_nothing_is_made_again(clone, finished):
    shutil.copytree(finished.root / NOTES, clone.root / NOTES)
    assert clone.plan() == set()
    assert "--touch" not in clone.snakemake_here("-n").stdout


@pytest.mark.slow
def test_after_a_touch_nothing_is_made_again_and_a_change_is_seen(clone):
    """The command uses the results' own configuration, as the warning says."""
    done = clone.snakemake("--cores", "1", "--touch", "--forceall", config=f"{RESULTS}/config.yaml")
    assert done.returncode == 0, done.stdout
    assert clone.plan() == set()
    assert clone.plan(clone.configuration(jobs.change_epochs)) == jobs.TUNED_AGAIN


def neural(found):
    """Jobs of a plan that score by neural metrics, or prepare for it."""
    rules = ("build_environment", "resolve_metric", "score_neural", "score_neural_copy")
    return {job for job in found if job.split()[0] in rules}


@pytest.mark.slow
def test_the_environment_of_neural_metrics_is_built_first_on_another_machine(finished, tmp_path, monkeypatch):
    """If `fetch`, which needs no score, builds it, old scores stay; if a job needs it, all scores are made again."""
    copy = finished.copy(tmp_path / "copy")
    monkeypatch.setitem(type(finished).copy.__globals__, "REPOSITORY", tmp_path)  # in the module that pytest loaded
    ready = tmp_path / ".venvs/comet/ready.json"
    scores = [f"runs/{jobs.M}/{run}/scores/neural/comet.json" for run in jobs.FINAL_RUNS]
    files = "metrics/comet/manifest.json", "scores/copy/de-en/neural/comet.json", *scores
    made = [copy.results / path for path in files]
    for path in (ready, *made):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (copy.root / "comet.yaml").write_text(yaml.safe_dump(copy.configuration(jobs.add_comet), sort_keys=False))
    done = copy.snakemake_here("--cores", "1", "--touch", "--forceall", config="comet.yaml")
    assert done.returncode == 0, done.stdout

    def grown(config):
        jobs.add_comet(config)
        jobs.add_method(config)

    [method] = copy.configuration(grown)["methods"].keys() - copy.configuration()["methods"].keys()
    new = {f"score_neural {jobs.M}/all/{method}/seed1/comet"}
    old = {f"score_neural {jobs.M}/{run}/comet" for run in jobs.FINAL_RUNS} | {"score_neural_copy de-en/comet"}
    assert neural(copy.plan(copy.configuration(grown))) == new

    ready.unlink()
    assert copy.plan(copy.configuration(jobs.add_comet)) == set()
    assert neural(copy.plan(copy.configuration(grown))) == new | old | {"build_environment comet"}
    assert "`snakemake fetch`" in copy.snakemake_here("-n", config="comet.yaml").stdout
    assert copy.plan(copy.configuration(grown), ["fetch"]) == {"build_environment comet", "fetch"}
    ready.write_text("{}")  # as from `fetch`: the same pins give the same content
    assert neural(copy.plan(copy.configuration(grown))) == new
    assert "`snakemake fetch`" not in copy.snakemake_here("-n", config="comet.yaml").stdout
    ready.write_text('{"lock": "others"}')
    assert neural(copy.plan(copy.configuration(jobs.add_comet))) == old
