"""The workflow runs in any folder, and as a module of another workflow."""

import json
import re

import pytest
import yaml

from tests.workflow.conftest import MINI, REPOSITORY, Workspace

OUTER = """
configfile: "outer.yaml"

module caneft:
    snakefile: {snakefile!r}
    config: config["caneft"]

use rule * from caneft as caneft_*

rule outer:
    default_target: True
    input: "out/mini/corpora/de-en/it/test.jsonl", "out/mini/corpora/de-en/koran/test.jsonl"
    output: "counted.txt"
    shell: "cat {{input}} | wc -l > {{output}}"
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A folder without a clone."""
    return Workspace(tmp_path)


def test_a_plan_is_the_same_from_another_folder(pristine, elsewhere):
    mini = str(pristine.root / MINI)
    done = elsewhere.snakemake("-s", str(pristine.root / "Snakefile"), "--cores", "1", "-n", config=mini)
    here = pristine.snakemake("--cores", "1", "-n")
    assert done.returncode == here.returncode == 0, done.stdout
    counts = [jobs(run.stdout) for run in (done, here)]
    assert counts[0] == counts[1]
    assert counts[0]["translate"] > 1


def jobs(said):
    """Number of jobs by rule."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+) ", said, re.MULTILINE)}


@pytest.mark.parametrize("by", ["snakefile", "module"])
def test_jobs_run_in_another_folder(elsewhere, by):
    """Their programs are in the clone, their results where they run."""
    snakefile = str(REPOSITORY / "Snakefile")
    wanted = [f"out/mini/corpora/de-en/{domain}/test.jsonl" for domain in ("it", "koran")]
    if by == "module":
        mini = yaml.safe_load((REPOSITORY / MINI).read_text(encoding="utf-8"))
        (elsewhere.root / "outer.yaml").write_text(yaml.safe_dump({"caneft": mini | {"results_root": "out/mini"}}))
        (elsewhere.root / "Snakefile").write_text(OUTER.format(snakefile=snakefile))
        done = elsewhere.snakemake("--cores", "2", config="outer.yaml")
    else:
        done = elsewhere.snakemake("-s", snakefile, "--cores", "2", *wanted, config=REPOSITORY / MINI)
    assert done.returncode == 0, done.stdout
    pairs = {path: (elsewhere.root / path).read_text(encoding="utf-8").splitlines() for path in wanted}
    assert all(json.loads(line)["target"] for lines in pairs.values() for line in lines)
    if by == "module":
        assert int((elsewhere.root / "counted.txt").read_text()) == sum(map(len, pairs.values())) > 0
