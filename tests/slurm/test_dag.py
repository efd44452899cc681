"""Interrupts the mini workflow in every way, on a Slurm with accounts; the end must be as without interruptions."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests import equal
from tests.conda.conftest import WithConda
from tests.slurm.conftest import CONFIG, Head, Login, copied

RUNS = "runs/mini-llama/de-en/all"
TUNING = ("full/seed1", "random/seed1", "caneft/seed1", "lora/seed1")
DUMPS = ("it", "law", "medical")
STEPS = 10  # of tuning, before the kill
OUTAGE = 5  # seconds
RIGHT_OF_WAY = "sbatch --partition=urgent --cpus-per-task=8 --mem=100 --output=/dev/null --wrap 'sleep 3'"


@dataclass
class Story:
    """What happened on the way. Faults: dump cancelled, cancelled, requeued, preempted, cancelled later."""

    login: Login
    ctrl_c: tuple[int, str] = (0, "")  # exit code, and what was left in the queue
    locked: str = ""
    left_running: str = ""
    hit: dict[str, str] = field(default_factory=dict)  # by fault: the dump or run that it hit
    number: dict[str, str] = field(default_factory=dict)  # of that job
    steps: dict[str, int] = field(default_factory=dict)  # done by tuning by then
    record: bytes = b""  # of the run that is `cancelled later`, as tuning left it
    during_outage: set[str] = field(default_factory=set)
    code: int = -1
    output: str = ""

    def queue(self, states: str = "running", fields: str = "%k") -> list[str]:
        return self.login.cluster.run(f"squeue --noheader --states={states} --format='{fields}'").splitlines()

    def running(self, comment: str) -> str | None:
        """Number of the running job whose comment begins like this; the executor gives every job a comment."""
        lines = self.queue(fields="%i %k")
        return next((line.split()[0] for line in lines if line.split()[1].startswith(comment)), None)

    def booked(self, number: str) -> list[str]:
        """States of all allocations that a job has had."""
        lines = self.login.cluster.run(f"sacct --duplicates -n -P -X --format=State -j {number}").splitlines()
        return [line.split()[0] for line in lines]

    def log(self, name: str) -> str:
        return (self.login.results / f"logs/{name}.log").read_text(encoding="utf-8")


def tuning_comment(run: str) -> str:
    """Start of the comment of the job that tunes a run: `full` has its own job, others share it with later steps."""
    variant, attempt = run.split("/")
    kind = "rule_tune_full_wildcards" if variant == "full" else "rule_runs"
    return f"{kind}_mini-llama_de-en_all_{variant}_{attempt}"


def dump_comment(domain: str) -> str:
    return f"rule_dump_importance_wildcards_importance_mini-llama_de-en_{domain}"


def steps_done(story: Story, run: str) -> int:
    """Steps of tuning so far, by its unfinished log."""
    try:
        return (story.login.results / RUNS / run / ".checkpoint/log.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def dump_begun(story: Story, domain: str) -> bool:
    """Whether some batches of a dump are finished, but not all."""
    folder = story.login.results / "importance/mini-llama/de-en"
    return any(folder.glob(f".{domain}.partial/**/*.npz"))


def press_ctrl_c(story: Story) -> None:
    head = story.login.start()
    head.wait_for(story.queue, "no job runs")
    story.ctrl_c = head.press_ctrl_c(), " ".join(story.queue("pending,running"))


def kill_the_head(story: Story) -> None:
    """Kills the head with SIGKILL, records what the same command then says, twice, and does what it asks for."""
    cluster, head = story.login.cluster, story.login.start()
    head.wait_for(lambda: story.running("rule_pretrain_model_wildcards_mini-llama"), "pretraining does not run")
    # suspended, so that it is certainly there when Snakemake comes back
    cluster.run(f"scontrol suspend {story.running('rule_pretrain_model_wildcards_mini-llama')}")
    head.kill()
    story.locked = story.login.snakemake().stdout
    assert story.login.snakemake("--unlock").returncode == 0
    story.left_running = story.login.snakemake().stdout
    cluster.run(re.search(r"scancel --name=[\w-]+", story.left_running)[0])


def hit(story: Story, head: Head, fault: str, command: str, ready: Callable[[], str | None], comment: Callable) -> None:
    """Waits until one of several jobs is midway, and does this to it."""
    found = ""

    def one_runs() -> bool:
        nonlocal found
        found = ready()
        return bool(found) and story.running(comment(found)) is not None

    head.wait_for(one_runs, f"no job is in the middle, to be {fault}")
    number = story.running(comment(found))
    if number is None:  # it has just ended
        return hit(story, head, fault, command, ready, comment)
    story.login.cluster.run(command.format(number))
    story.hit[fault], story.number[fault], story.steps[fault] = found, number, steps_done(story, found)
    # Preemption takes a moment: an outage before it would let tuning finish first.
    head.wait_for(lambda: story.running(comment(found)) != number, f"job {number} was not {fault}")


def in_the_middle(story: Story) -> str | None:
    """A run in the middle of tuning that no fault has hit yet; the first is `full`."""
    runs = TUNING if story.hit.keys() & {"cancelled"} else TUNING[:1]
    found = (run for run in runs if run not in story.hit.values() and steps_done(story, run) >= STEPS)
    return next(found, None)


def translates(story: Story) -> str | None:
    """The last run, once its tuning is over and its translations are not."""
    run, folder = TUNING[-1], story.login.results / RUNS / TUNING[-1]
    tuned = (folder / ".kept/kept.json").exists() and not (folder / "translations/test.cost.json").exists()
    return run if tuned else None


def outage(story: Story, head: Head) -> None:
    """Stops both daemons while a run is tuned. A job that just starts then would fail: it asks Slurm for its step."""
    first: dict[str, int] = {}
    goes_on: list[str] = []

    def one_goes_on() -> bool:
        for run in TUNING:
            number = story.running(tuning_comment(run)) if steps_done(story, run) >= STEPS else None
            if number and steps_done(story, run) > first.setdefault(number, steps_done(story, run)):
                goes_on.append(number)
        return bool(goes_on)

    head.wait_for(one_goes_on, "nothing is tuned")
    story.during_outage = set(goes_on)
    for act in (story.login.cluster.stop_daemon, story.login.cluster.start_daemon):
        for daemon in ("slurmdbd", "slurmctld"):
            act(daemon)
        time.sleep(OUTAGE)


@pytest.fixture(scope="module")
def story(with_accounts, pristine, tmp_path_factory, local_run, grown_jobs, two_node_jobs, registry) -> Story:
    """The whole story, with --use-conda and ready environments; the local run and other clusters work meanwhile."""
    workspace = copied(pristine, tmp_path_factory.mktemp("slurm"))
    conda = WithConda(workspace, tmp_path_factory.mktemp("conda_prefix"))
    conda.create_environments(CONFIG)
    story = Story(Login(with_accounts, workspace, conda))
    press_ctrl_c(story)
    kill_the_head(story)
    head = story.login.start()
    begun_dump = lambda: next((domain for domain in DUMPS if dump_begun(story, domain)), None)  # noqa: E731
    hit(story, head, "dump cancelled", "scancel {}", begun_dump, dump_comment)
    tuned = {"cancelled": "scancel {}", "requeued": "scontrol requeue {}", "preempted": RIGHT_OF_WAY}
    for fault, command in tuned.items():
        hit(story, head, fault, command, lambda: in_the_middle(story), tuning_comment)
    outage(story, head)
    hit(story, head, "cancelled later", "scancel {}", lambda: translates(story), tuning_comment)
    story.record = (story.login.results / RUNS / TUNING[-1] / ".kept/record.json").read_bytes()
    story.code, story.output = head.wait(), head.said()
    return story


def test_ctrl_c_takes_the_jobs_along(story):
    code, left = story.ctrl_c
    assert code != 0 and left == ""


def test_after_a_kill_the_same_command_says_what_is_to_be_done(story):
    assert "--unlock" in story.locked
    assert "are still in the queue" in story.left_running and "Traceback" not in story.left_running


def test_the_run_comes_to_its_end(story):
    assert story.code == 0, story.output[-5000:]
    assert "out/mini/tables/" in story.output


@pytest.mark.parametrize("fault", ["cancelled", "requeued", "preempted"])
def test_tuning_that_was_killed_went_on_at_its_checkpoint(story, fault):
    """The checkpoint was written after SIGTERM: none is due by time within these seconds."""
    log = story.log(f"tune/mini-llama/de-en/all/{story.hit[fault]}")
    assert int(re.search(r"resuming after step (\d+)", log)[1]) >= story.steps[fault] >= STEPS


def test_tuning_that_was_over_is_not_done_again(story):
    """If an allocation fails, Snakemake removes the results of all its jobs and makes all of them again."""
    run, results = story.hit["cancelled later"], story.login.results
    assert story.booked(story.number["cancelled later"]) == ["CANCELLED"]
    log = story.log(f"tune/mini-llama/de-en/all/{run}")
    assert "finished before" in log and "step/s" not in log
    assert (results / RUNS / run / "record.json").read_bytes() == story.record
    assert not list(results.rglob(".kept"))  # removed after a complete run


def test_a_dump_that_was_cancelled_went_on_after_its_last_batch(story):
    log = story.log(f"dump_importance/importance/mini-llama/de-en/{story.hit['dump cancelled']}")
    assert 0 < int(re.search(r"resuming after batch (\d+) of 500", log)[1]) < 500
    assert story.booked(story.number["dump cancelled"]) == ["CANCELLED"]


def test_a_cancelled_job_was_submitted_again_with_more_memory(story):
    assert story.booked(story.number["cancelled"]) == ["CANCELLED"]
    lines = story.login.cluster.run("sacct -n -P -X --format=State,ReqMem,Timelimit,Comment").splitlines()
    of_run = [line.split("|")[:3] for line in lines if tuning_comment(story.hit["cancelled"]) in line]
    megabytes = [int(memory.removesuffix("M")) for _, memory, _ in of_run]
    assert megabytes[-1] == 2 * megabytes[0] > 0, of_run
    assert of_run[-1][0] == "COMPLETED", of_run
    assert {limit for *_, limit in of_run} == {"02:00:00"}, of_run  # no more time, because it resumed where it was


@pytest.mark.parametrize(("fault", "state"), [("requeued", "REQUEUED"), ("preempted", "PREEMPTED")])
def test_a_job_that_gave_way_is_the_same_job(story, fault, state):
    """A job with priority may have preempted it more than once."""
    *before, last = story.booked(story.number[fault])
    assert state in before and set(before) <= {"REQUEUED", "PREEMPTED"} and last == "COMPLETED"


def test_jobs_outlive_an_outage_of_slurm(story):
    assert story.during_outage
    for number in story.during_outage:
        assert story.booked(number)[-1] == "COMPLETED", number


def test_jobs_ran_in_the_environment_of_their_rule(story):
    """Each Python in these environments reports when it starts a step."""
    told = (story.login.root / "spy.jsonl").read_text().splitlines()
    names = {str(story.login.conda.environment(name)): name for name in ("train", "report")}
    steps = {(names[prefix], module.rpartition(".")[2]) for prefix, module, _ in map(json.loads, told)}
    assert {("train", "tune"), ("train", "translate"), ("report", "tabulate"), ("report", "plot")} <= steps
    assert not {("report", "tune"), ("train", "plot")} & steps


def test_jobs_had_no_network(loopback):
    if loopback is None:
        pytest.skip("only root may make a network namespace here")
    assert loopback.interfaces == {"lo"}


def test_the_end_is_that_of_a_local_run(story, local_results):
    """All files are equal, except logs and what records times."""
    assert equal.differences(story.login.results, local_results) == []
    here = equal.files(story.login.results)
    kinds = ("tables/main.csv", "record.json", "patch.safetensors", "translations/test.jsonl", "figures/scores.svg")
    assert all(any(name.endswith(kind) for name in here) for kind in kinds)


def test_a_second_run_has_nothing_to_do(story):
    again = story.login.snakemake()
    assert again.returncode == 0 and "Nothing to be done" in again.stdout, again.stdout


def test_fetching_submits_nothing(story, local_results):
    """Fetching runs on the login node, which has a network; here the fetched model is a folder."""
    before = story.login.cluster.jobs()
    models = {"given": {"path": str(local_results / "models/mini-llama")}}
    results = ("--config", f"models={models}", "results_root=out/fetched")
    done = story.login.snakemake(*results, target="fetch")
    assert done.returncode == 0, done.stdout
    assert (story.login.root / "out/fetched/models/given/manifest.json").exists()
    assert story.login.cluster.jobs() == before
