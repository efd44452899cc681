"""What a run, a plan and a mistyped target print on the screen."""

import re
import subprocess
import sys

import pytest
import yaml

from tests.messages import assert_names

SNAKEFILE = """
import logging
from caneft.runtime.screen import Screen

SCREEN = Screen(lambda: ["all"], lambda: [], ["rules"], False)
SCREEN.attach(logging.getLogger("snakemake.logging"))
DO = {"fine": "touch fine.out", "killed": "echo loading >&2; kill -9 $$", "lost": "true"}



rule all:
    input: expand("{job}.out", job=["fine", "wrong1", "wrong2", "killed", "lost"])


rule job:
    output: "{job}.out"
    log: "{job}.log"
    message: "job {wildcards.job}"
    params: do=lambda wildcards: DO.get(wildcards.job, "echo Error: line 3 is no JSON >&2; exit 1")
    shell: "( {params.do} ) 2> {log}"

onerror:
    SCREEN.close_with_reasons(["This run ended early."])
"""


@pytest.fixture(scope="module")
def failed(pristine, tmp_path_factory):
    """A run of five jobs and its folder: one job succeeds, two fail alike, one is killed, one leaves no output."""
    folder = tmp_path_factory.mktemp("failed")
    (folder / "Snakefile").write_text(SNAKEFILE)
    command = [sys.executable, "-m", "snakemake", "--nocolor", "--cores", "1", "--keep-going", "--latency-wait", "0"]
    done = subprocess.run(
        [*command, "--quiet", "host", "rules"],
        cwd=folder,
        env=pristine.environment | {"PYTHONPATH": str(pristine.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout
    return folder, done.stdout


def test_the_last_lines_are_each_reason_once(failed):
    folder, said = failed
    head, _, last = said.partition("This run ended early.")
    assert last.count("line 3 is no JSON") == 1
    assert_names(last, 4, "job wrong1; log: wrong1.log", "job wrong2; log: wrong2.log")
    assert_names(last, "job killed; log: killed.log", "SIGKILL", "--resources mem_mb", "models.*.resources.mem_mb")
    assert "lost.out" in last
    assert "Complete log" not in last and "At least one job" not in last and "fine" not in last


def test_each_job_has_a_line_as_it_ends(failed):
    """Snakemake's own lines, which repeat the command and the whole log, do not appear."""
    said = failed[1].partition("This run ended early.")[0]
    assert_names(re.search(r"^.* job fine \(.*$", said, re.MULTILINE)[0], "done", "of 6 jobs done")
    failures = re.findall(r"^.*failed +job (\w+)", said, re.MULTILINE)
    assert sorted(failures) == ["killed", "wrong1", "wrong2"]
    assert "set -euo pipefail" not in said and "jobid" not in said


def test_the_log_of_the_run_keeps_all_that_snakemake_says(failed):
    (log,) = (failed[0] / ".snakemake/log").iterdir()
    assert_names(
        log.read_text(), "Error in rule job", "echo Error: line 3", "jobid: ", "Missing output files: fine.out"
    )


def test_the_workflow_ends_with_the_reason(pristine, tmp_path):
    """Two corpora are broken in the same way, too late in the file for the plan to notice."""
    copy, long = pristine.copy(tmp_path / "copy"), "lang " * 60
    pairs = [f'{{"source": "a{number} {long}", "target": "b{number} {long}"}}\n' for number in range(300)]
    (copy.root / "broken.jsonl").write_text("".join([*pairs, "{no\n"]))

    def edit(config):
        for domain in ("it", "law"):
            train = {"format": "jsonl", "path": str(copy.root / "broken.jsonl")}
            config["directions"]["de-en"]["domains"][domain]["train"] = train

    (copy.root / "broken.yaml").write_text(yaml.safe_dump(copy.configuration(edit)))
    done = copy.snakemake("--cores", "2", "corpora", config="broken.yaml")
    assert done.returncode == 1
    *_, first, second, reason = done.stdout.splitlines()
    assert_names(reason, "broken.jsonl:301")
    logs = {re.search(r"log: (\S+)$", line)[1] for line in (first, second)}
    assert logs == {f"out/mini/logs/prepare_corpus/de-en/{domain}.log" for domain in ("it", "law")}


def test_a_dry_run_is_one_table(pristine):
    said = pristine.snakemake_here("-n").stdout
    rows = dict(re.findall(r"^(\w+) +(\d+)\b", said, re.MULTILINE))
    assert int(rows.pop("total")) == sum(map(int, rows.values()))
    assert said.count("prepare_corpus") == 1 and "Reason" not in said
    assert len(said.splitlines()) < len(rows) + 12
    assert_names(said, "files are missing", "--quiet host")


def test_with_quiet_host_each_job_has_its_reason(pristine):
    """The docs promise this."""
    said = pristine.snakemake_here("-n", "--quiet", "host", "--", "corpora").stdout
    assert re.search(r"^Reason: Missing output files: .*out/mini/corpora/de-en/law/train.jsonl", said, re.MULTILINE)


def test_a_mistyped_target_is_answered_with_those_that_there_are(pristine):
    done = pristine.snakemake_here("-n", "tabels")
    assert done.returncode == 1
    assert_names(done.stdout, "'tabels'", "corpora", "importance", "figures", "'tables'")
    assert "input functions" not in done.stdout
