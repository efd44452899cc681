"""A killed translation resumes at the domain it was in, ends with the same bytes, and never passes for finished."""

import json
import shutil
import signal

import pytest
import yaml

from tests.workflow import job_sets as jobs

pytestmark = pytest.mark.slow
RUN = "all/caneft/seed1"
FOLDER = f"runs/{jobs.M}/{RUN}"
TARGET = f"out/mini/{FOLDER}/scores/test.json"
FILES = ("translations/test.jsonl", "scores/test.json")
SPY = """
import os, sys

name, number, whom = os.environ["KILL_AT"].split(":")
seen = 0

def hook(event, args):
    global seen
    if event == "os.rename" and os.path.basename(os.fsdecode(args[1])) == name:
        seen += 1
        if seen == int(number):
            (os.kill if whom == "job" else os.killpg)(os.getpid() if whom == "job" else os.getpgid(0), 9)

sys.addaudithook(hook)
"""
"""As `sitecustomize`: the process dies before a file of that name takes its place for that time; so can Snakemake."""


def killed(workspace, tmp_path, moment, config=None, target=TARGET):
    """Runs until the given moment, `file:time:whom`, and kills."""
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy/sitecustomize.py").write_text(SPY)
    before = ["setsid", "--wait", "env", f"PYTHONPATH={tmp_path}/spy", f"KILL_AT={moment}"]
    more = {"config": config} if config else {}
    done = workspace.snakemake("--cores", "1", target, before=before, **more)
    assert done.returncode != 0, done.stdout
    if moment.endswith(":all"):
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stdout
        assert workspace.snakemake("--unlock").returncode == 0


def finish(workspace, config=None):
    """Runs the same command undisturbed; returns the log of the translation."""
    given = {"config": config} if config else {}
    done = workspace.snakemake("--cores", "1", TARGET, forked=True, **given)
    assert done.returncode == 0, done.stdout[-5000:]
    return (workspace.results / f"logs/translate/{jobs.M}/{RUN}/test.log").read_text(encoding="utf-8")


def domains(workspace):
    """The cost file's entry for each domain."""
    return json.loads((workspace.results / FOLDER / "translations/test.cost.json").read_text())["domains"]


@pytest.mark.parametrize(
    ("moment", "whom", "kept"),
    [
        (".test.jsonl:3", "job", "it, law"),
        (".test.cost.json:3", "all", ""),
        ("test.cost.json:1", "all", "it, law, medical, koran"),
    ],
    ids=["in a domain", "between lines and cost of a domain", "between the two files"],
)
def test_a_killed_translation_goes_on_and_ends_with_the_same_bytes(finished, tmp_path, moment, whom, kept):
    copy = finished.copy(tmp_path / "copy")
    for part in ("translations", "scores"):
        shutil.rmtree(copy.results / FOLDER / part)
    killed(copy, tmp_path, f"{moment}:{whom}")
    begun = {domain: entry["wall_seconds"] for domain, entry in hidden(copy).items()}
    log = finish(copy)
    assert ("translated before, and kept" in log) == bool(kept)
    assert f"kept: {kept}\n" in log or not kept
    for name in FILES:
        assert (copy.results / FOLDER / name).read_bytes() == (finished.results / FOLDER / name).read_bytes()
    now = domains(copy)
    assert now.keys() == domains(finished).keys()
    assert {domain: now[domain]["made_from"] for domain in now} == {
        domain: entry["made_from"] for domain, entry in domains(finished).items()
    }
    assert all(now[domain]["wall_seconds"] == begun[domain] for domain in kept.split(", ") if domain)


def hidden(workspace):
    """What is kept for each domain."""
    file = workspace.results / FOLDER / "translations/.test.cost.json"
    return json.loads(file.read_text())["domains"] if file.exists() else {}


def test_a_job_that_is_killed_at_a_new_domain_loses_none_of_the_old(finished, tmp_path):
    copy = finished.copy(tmp_path / "copy")
    (copy.root / "garden.yaml").write_text(yaml.safe_dump(copy.configuration(jobs.add_unseen), sort_keys=False))
    killed(copy, tmp_path, ".test.jsonl:1:job", "garden.yaml")
    assert "kept: it, law, medical, koran\n" in finish(copy, "garden.yaml")
    before, now = domains(finished), domains(copy)
    assert now.keys() - before.keys() == {"garden"} and before.items() <= now.items()
    lines = (copy.results / FOLDER / FILES[0]).read_text(encoding="utf-8").splitlines()
    old = [line for line in lines if json.loads(line)["domain"] != "garden"]
    assert old == (finished.results / FOLDER / FILES[0]).read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(old) + 20


@pytest.mark.parametrize("whom", ["job", "all"])
def test_translations_of_what_was_tuned_before_do_not_pass_for_those_of_the_new(finished, tmp_path, whom):
    """The job that would translate again is killed: no translations are left, and the same command makes them."""
    copy = finished.copy(tmp_path / "copy")
    for name in ("patch.safetensors", "record.json"):
        shutil.copy(copy.results / f"runs/{jobs.M}/all/random/seed1" / name, copy.results / FOLDER / name)
    translations = f"out/mini/{FOLDER}/{FILES[0]}"
    killed(copy, tmp_path, f".test.jsonl:1:{whom}", target=translations)
    assert not (copy.root / translations).exists()
    assert copy.plan(targets=[translations]) == {f"translate {jobs.M}/{RUN}/test"}
    done = copy.snakemake("--cores", "1", translations, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    other = finished.results / f"runs/{jobs.M}/all/random/seed1" / FILES[0]
    assert (copy.results / FOLDER / FILES[0]).read_bytes() == other.read_bytes()


def test_tables_of_before_do_not_pass_for_new_after_a_failure(finished, tmp_path):
    """A setting changes, and each translation is killed: the same command makes them, and all that follows."""

    def of_two_methods(config):
        jobs.change_decoding(config)
        config["methods"] = {name: config["methods"][name] for name in ("base", "caneft")}

    copy = finished.copy(tmp_path / "copy")
    config = copy.configuration(of_two_methods)
    (copy.root / "changed.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    killed(copy, tmp_path, ".test.jsonl:1:job", "changed.yaml", "all")
    assert (copy.results / "tables/main.csv").exists()
    of_both = [job for job in jobs.DECODED if "/base" in job or "/caneft/" in job]
    ended = {job for job in of_both if job.split()[0] in ("translate", "score")}
    assert len(ended) > 3
    assert {job for job in copy.plan(config) if job.split()[0] in ("translate", "score")} == {
        job for job in ended if not job.endswith("/dev")
    }
