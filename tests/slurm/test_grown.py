"""Finished results to which an unseen domain is added, on a Slurm without accounts: what runs, and what stays."""

import re
from collections import Counter

import pytest

from tests.slurm.grown import Grown

AGGREGATES = re.compile(
    r"(tables|figures|significance|logs|benchmarks)/.*|(overview|examples|report)\.html|summary\.md|runs\.parquet|config\.yaml"
)


@pytest.fixture(scope="module")
def grown(grown_jobs) -> Grown:
    return grown_jobs.result()


def test_its_own_jobs_run_and_those_of_the_tables(grown):
    """`base`, three runs and the two trials of lora are translated and scored on it."""
    once = ("prepare_test_corpus", "flag_overlap", "score_copy", "score_without_overlap", "test_significance")
    once += ("tabulate", "plot", "overview", "show_examples")
    assert grown.jobs == Counter(once) + Counter(translate=6, score=6)


def test_no_other_file_is_written_anew(grown):
    _, before, after = grown
    changed = {name for name in before if after.get(name) != before[name]}
    assert {name for name in changed if not AGGREGATES.fullmatch(name)} == set()
    assert "tables/main.csv" in changed
    own = {name for name in after.keys() - before.keys() if not AGGREGATES.fullmatch(name)}
    assert own and all("garden" in name for name in own)
