"""Finished results to which an unseen domain is added, on a Slurm without accounts: what runs, and what stays."""

import json
import re
from collections import Counter

import pytest
import yaml

from tests.slurm.conftest import CONFIG, Login, longer
from tests.slurm.faults import OPTIONS, rule_of
from tests.workflow.conftest import Workspace

AGGREGATES = re.compile(
    r"(tables|figures|significance|logs|benchmarks)/.*|(overview|examples|report)\.html|summary\.md|runs\.parquet|config\.yaml"
)
EVALUATED = re.compile(
    r"runs/.*/(translations/\.?test\.(jsonl|cost\.json)|scores/test\.json|trials\.json)|scores/(copy|without-overlap)/.*"
)
"""Files that have a part for each domain."""


def with_garden(config: dict) -> None:
    longer(config)
    corpus = {"format": "demo", "domain": "garden", "pairs": 20}
    config["directions"]["de-en"]["domains"]["garden"] = {"test": corpus}


def files(results):
    return {
        path.relative_to(results).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in results.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def grown(without_accounts, fault_jobs, local_results, tmp_path_factory):
    """Jobs by rule, and the files before and after. The jobs of faults.smk have begun, and their outage is over."""
    fault_jobs.result()
    workspace = Workspace(local_results.parents[1]).copy(tmp_path_factory.mktemp("grown"))
    login = Login(without_accounts, workspace)
    (login.root / CONFIG).write_text(yaml.safe_dump(workspace.configuration(with_garden)), encoding="utf-8")
    before = files(login.results)
    done = login.snakemake(*OPTIONS)
    assert done.returncode == 0, done.stdout[-5000:]
    run = re.search(r"SLURM run ID: ([\w-]+)", done.stdout)[1]
    comments = without_accounts.run(f"squeue -h --states=all --name={run} --format=%k").splitlines()
    return Counter(map(rule_of, comments)), before, files(login.results)


def test_its_own_jobs_run_and_those_of_the_tables(grown):
    """`base`, four runs and the two trials of lora are translated on it in five allocations, and the trials scored."""
    once = ["prepare_test_corpus", "shared_flag_overlap_score_copy", "overlap_score_without_overlap"]
    once += ["significance_test_significance", "tabulate", "plot", "overview", "show_examples"]
    once += ["trial_translate", "choice_score_trials", "translation_score_translate"]
    once += [f"runs_mini-llama_de-en_all_{variant}_seed1_score_translate" for variant in ("lora", "random", "caneft")]
    assert grown[0] == Counter(once)


def test_no_other_file_is_written_anew(grown):
    _, before, after = grown
    changed = {name for name in before if after.get(name) != before[name]}
    assert {name for name in changed if not AGGREGATES.fullmatch(name) and not EVALUATED.fullmatch(name)} == set()
    assert "tables/main.csv" in changed
    own = {name for name in after.keys() - before.keys() if not AGGREGATES.fullmatch(name)}
    assert own and all("garden" in name for name in own)


def test_what_was_translated_before_stays(grown):
    """Lines, and what is known of each domain's translation, with its seconds."""
    _, before, after = grown
    lines = [name for name in before if name.endswith("/translations/test.jsonl")]
    assert len(lines) == 1 + 4 + 2
    for name in lines:
        (_, old), (_, new) = before[name], after[name]
        assert [line for line in new.splitlines() if json.loads(line)["domain"] != "garden"] == old.splitlines()
        cost = name.replace(".jsonl", ".cost.json")
        old, new = (json.loads(content[cost][1])["domains"] for content in (before, after))
        assert new.keys() - old.keys() == {"garden"} and old.items() <= new.items()
