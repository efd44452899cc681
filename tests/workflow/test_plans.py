"""What runs again, in addition to docs/incremental.md: a renamed model, and parts that are touched alone."""

import os

import pytest
from snakemake.io import is_flagged

from tests.workflow import job_sets


def test_a_new_name_for_old_weights_is_another_model(finished):
    def rename(config):
        config["models"]["other"] = config["models"].pop("mini-llama")

    jobs = finished.plan(finished.configuration(rename))
    assert not any("mini-llama" in job for job in jobs)
    assert not any(job.startswith(("prepare_corpus", "draw_mixture", "score_copy")) for job in jobs)


@pytest.mark.parametrize("place", ["workflow/scripts", "out/mini/importance", "out/mini"])
def test_time_stamps_alone_rerun_nothing(finished, tmp_path, place):
    copy = finished.copy(tmp_path)
    touched = [file for file in (copy.root / place).rglob("*") if file.is_file()]
    assert touched
    for file in touched:
        os.utime(file)
    assert copy.plan() == set()


def test_a_failed_job_leaves_nothing_that_passes_for_new(pristine):
    """After a failure, an output with `update()` is restored with a new time stamp, so that its inputs look older."""
    with pristine.planned(pristine.configuration(job_sets.add_comet)) as dag:
        outputs = [path for job in dag.jobs for path in job.output]
    assert any("neural" in path for path in outputs)
    assert [path for path in outputs if is_flagged(path, "update")] == []


def test_lint_finds_nothing(pristine):
    linted = pristine.snakemake_here("--lint")
    assert linted.returncode == 0, linted.stdout
