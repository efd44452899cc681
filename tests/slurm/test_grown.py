"""An unseen domain is added to finished results, on a Slurm without accounts: what runs, and what stays."""

import json
import re
from collections import Counter

import pytest

AGGREGATES = re.compile(
    r"(tables|figures|significance|logs|benchmarks)/.*|(overview|examples|report)\.html|summary\.md|runs\.parquet|config\.yaml"
)
EVALUATED = re.compile(
    r"runs/.*/(translations/\.?test\.(jsonl|cost\.json)|scores/test\.json|trials\.json)|scores/(copy|without-overlap)/.*"
)
"""Files that have a part for each domain."""


@pytest.fixture(scope="module")
def grown(grown_jobs):
    return grown_jobs.result()


def test_its_own_jobs_run_and_those_of_the_tables(grown):
    """`base`, four runs and the two trials of lora translate it in five allocations, and the trials are scored."""
    once = ["prepare_test_corpus", "shared_flag_overlap_score_copy", "overlap_score_without_overlap"]
    once += ["significance_test_significance", "tabulate", "plot", "overview", "show_examples"]
    once += ["trial_translate", "choice_score_trials", "translation_score_translate"]
    once += [f"runs_mini-llama_de-en_all_{variant}_seed1_score_translate" for variant in ("lora", "random", "caneft")]
    assert grown.jobs == Counter(once)


def test_no_other_file_is_written_anew(grown):
    _, before, after = grown
    changed = {name for name in before if after.get(name) != before[name]}
    assert {name for name in changed if not AGGREGATES.fullmatch(name) and not EVALUATED.fullmatch(name)} == set()
    assert "tables/main.csv" in changed
    own = {name for name in after.keys() - before.keys() if not AGGREGATES.fullmatch(name)}
    assert own and all("garden" in name for name in own)


def test_what_was_translated_before_stays(grown):
    """Lines stay, and what the cost file says about each domain's translation, its seconds included."""
    _, before, after = grown
    lines = [name for name in before if name.endswith("/translations/test.jsonl")]
    assert len(lines) == 1 + 4 + 2
    for name in lines:
        (_, old), (_, new) = before[name], after[name]
        assert [line for line in new.splitlines() if json.loads(line)["domain"] != "garden"] == old.splitlines()
        cost = name.replace(".jsonl", ".cost.json")
        old, new = (json.loads(content[cost][1])["domains"] for content in (before, after))
        assert new.keys() - old.keys() == {"garden"} and old.items() <= new.items()
