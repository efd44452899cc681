"""The mini workflow through a Slurm with accounts, with everything that can come between, and as if nothing had."""

import re
import time
from dataclasses import dataclass

import pytest

from tests import equal
from tests.slurm.cluster import wait_for
from tests.slurm.conftest import Login, copied

RUNS = "runs/mini-llama/de-en/all"
CANCELLED, REQUEUED = "caneft/seed1", "lora/lr0.01"  # tuning jobs
OUTAGE = 5  # seconds
STEPS = 10  # of tuning, before it is killed


@dataclass
class Story:
    """What was seen on the way."""

    login: Login
    ctrl_c: tuple[int, float, str]  # exit code, seconds, what was left in the queue
    locked: str
    left_running: str
    steps: dict[str, int]
    number: dict[str, str]
    during_outage: set[str]
    code: int
    output: str


def steps_done(login, run):
    """Of tuning, as its log in the making tells."""
    try:
        return (login.results / RUNS / run / ".checkpoint/log.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def comment(run):
    """What the executor writes at a tuning job."""
    variant, attempt = run.split("/")
    rule = "tune_lora" if variant == "lora" else "tune_neurons"
    return f"rule_{rule}_wildcards_mini-llama_de-en_all_{variant}_{attempt}"


@pytest.fixture(scope="module")
def story(with_accounts, pristine, tmp_path_factory) -> Story:
    login = Login(with_accounts, copied(pristine, tmp_path_factory.mktemp("slurm")))

    def queue(states="running", fields="%k"):
        return with_accounts.run(f"squeue --noheader --states={states} --format='{fields}'").splitlines()

    def number_of(run):
        return next((line.split()[0] for line in queue(fields="%i %k") if line.endswith(comment(run))), None)

    head = login.start()
    head.wait_for(queue, "no job runs")
    began = time.monotonic()
    code = head.press_ctrl_c()
    ctrl_c = code, time.monotonic() - began, " ".join(queue("pending,running"))

    head = login.start()
    head.wait_for(lambda: "rule_pretrain_model_wildcards_mini-llama" in queue(), "pretraining does not run")
    with_accounts.run(f"scontrol suspend {queue(fields='%i')[0]}")  # so that it is there for sure when we come back
    head.kill()
    locked = login.snakemake().stdout
    assert login.snakemake("--unlock").returncode == 0
    left_running = login.snakemake().stdout
    with_accounts.run(re.search(r"scancel --name=[\w-]+", left_running)[0])

    head = login.start()
    steps, number, open_faults = {}, {}, {CANCELLED: "scancel", REQUEUED: "scontrol requeue"}
    while open_faults:
        head.wait_for(lambda: any(steps_done(login, run) >= STEPS for run in open_faults), "no tuning begins")
        for run in [run for run in open_faults if steps_done(login, run) >= STEPS]:
            number[run] = number_of(run)
            with_accounts.run(f"{open_faults.pop(run)} {number[run]}")
            steps[run] = steps_done(login, run)
    wait_for(lambda: len(queue()) > 1, "nothing runs")
    during_outage = set(queue(fields="%i"))
    for daemon in ("slurmdbd", "slurmctld"):
        with_accounts.stop_daemon(daemon)
    time.sleep(OUTAGE)
    for daemon in ("slurmdbd", "slurmctld"):
        with_accounts.start_daemon(daemon)
    code = head.wait()
    return Story(login, ctrl_c, locked, left_running, steps, number, during_outage, code, head.said())


def booked(story, number, fields="State"):
    """Of each allocation that a job has had."""
    lines = story.login.cluster.run(f"sacct --duplicates -n -P -X --format={fields} -j {number}").splitlines()
    return [line.split(" ")[0] if fields == "State" else line.split("|") for line in lines]


def test_ctrl_c_takes_the_jobs_along(story):
    code, seconds, left = story.ctrl_c
    assert code != 0 and seconds < 120 and left == ""


def test_after_a_kill_the_same_command_says_what_is_to_be_done(story):
    assert "--unlock" in story.locked
    assert "are still in the queue" in story.left_running and "Traceback" not in story.left_running


def test_the_run_comes_to_its_end(story):
    assert story.code == 0, story.output[-5000:]
    assert "table    out/mini/tables/main.md" in story.output


@pytest.mark.parametrize("run", [CANCELLED, REQUEUED])
def test_tuning_that_was_killed_went_on_at_its_checkpoint(story, run):
    """None is due by time within these seconds: it was written after SIGTERM."""
    log = (story.login.results / "logs/tune/mini-llama/de-en/all" / f"{run}.log").read_text(encoding="utf-8")
    assert int(re.search(r"going on after step (\d+)", log)[1]) >= story.steps[run] >= STEPS


def test_a_cancelled_job_was_submitted_again_with_more_memory(story):
    assert booked(story, story.number[CANCELLED]) == ["CANCELLED"]
    lines = story.login.cluster.run("sacct -n -P -X --format=State,ReqMem,Timelimit,Comment").splitlines()
    of_run = [line.split("|")[:3] for line in lines if line.endswith(comment(CANCELLED))]
    assert of_run[-1] == ["COMPLETED", "8000M", "02:00:00"], of_run  # no more time: it goes on where it was
    assert of_run[0][1:] == ["4000M", "02:00:00"], of_run


def test_a_requeued_job_is_the_same_job(story):
    assert booked(story, story.number[REQUEUED]) == ["REQUEUED", "COMPLETED"]


def test_jobs_outlive_an_outage_of_slurm(story):
    assert story.during_outage
    for number in story.during_outage:
        assert booked(story, number)[-1] == "COMPLETED", number


def test_the_end_is_that_of_a_local_run(story, local_results):
    """All files but logs, and what tells of times."""
    assert equal.differences(story.login.results, local_results) == []
    here = equal.files(story.login.results)
    kinds = ("tables/main.csv", "record.json", "patch.safetensors", "translations/koran.jsonl", "figures/scores.svg")
    assert all(any(name.endswith(kind) for name in here) for kind in kinds)


def test_a_second_run_has_nothing_to_do(story):
    again = story.login.snakemake()
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout
