"""What the screen says about a run: reasons of failures, progress, and the table of a plan."""

import logging
import os
import subprocess
import sys
import time

import pytest

from caneft.runtime import machine
from caneft.runtime.failures import failure, in_log, summary
from caneft.runtime.progress import Progress, duration
from caneft.runtime.screen import Screen, plan
from tests.messages import assert_names

TRACE = """12:00:00 loading
Traceback (most recent call last):
  File "a.py", line 1, in main
    much = bytes(10**18)
MemoryError: no room
"""
LOGS = {
    "error": ("12:00:00 loading\nError: x.tsv:3: no tab\nDelete it.\n", "Error: x.tsv:3: no tab\nDelete it."),
    "the last error": ("Error: first\nError: second\n", "Error: second"),
    "error after a bar": ("  0%|  | 0/9\r 50%|# | 5/9Error: no\nError: yes\n", "Error: yes"),
    "traceback": (TRACE, "MemoryError: no room"),
    "traceback of several": (f"{TRACE}\nDuring handling\n\n{TRACE.replace('no room', 'again')}", "MemoryError: again"),
    "anything": ("12:00:00 loading\n12:00:01 tuning\n\n", "12:00:01 tuning"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("log", "reason"), LOGS.values(), ids=LOGS)
def test_the_reason_is_what_a_log_ends_with(log, reason):
    assert in_log(log) == reason


def test_each_reason_stands_once_with_the_logs_of_its_jobs(tmp_path):
    """Seven jobs met one error, one job another: the screen shows two reasons, and not all seven logs."""
    texts = ["Error: disk of the corpora is gone\n"] * 7 + ["Error: no such model\n"]
    failures = []
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.log").write_text(text)
        failures.append(failure(f"job {number}", [str(tmp_path / f"{number}.log")]))
    said = summary(failures)
    assert said.count("disk of the corpora is gone") == said.count("no such model") == 1
    assert_names(said, tmp_path / "0.log", "2 more", tmp_path / "7.log")
    assert said.endswith("Error: no such model")


@pytest.mark.parametrize(
    "said",
    [
        "Command 'set -euo pipefail;  python' died with <Signals.SIGKILL: 9>.",
        "Command 'set -euo pipefail;  python' returned non-zero exit status 137.",
        "SLURM-job '7' failed, SLURM status is: 'OUT_OF_MEMORY'.",
    ],
)
def test_a_killed_job_says_so_and_names_the_remedy(tmp_path, said):
    """Its log ends in the middle."""
    (tmp_path / "log").write_text("12:00:00 loading\n")
    reason = failure("tuning", [str(tmp_path / "log")], said).reason
    assert_names(reason, "memory", "--resources mem_mb", "models.*.resources.mem_mb")


def test_an_exit_status_that_is_no_kill_is_none(tmp_path):
    (tmp_path / "log").write_text("Error: no\n")
    assert failure("x", [str(tmp_path / "log")], "returned non-zero exit status 1.").reason == "Error: no"


def test_a_job_without_a_word_is_said_to_be_that(tmp_path):
    assert failure("x", [str(tmp_path / "missing")]).reason
    assert failure("x", [str(tmp_path / "missing")], "output files are missing").reason == "output files are missing"


def test_the_time_left_is_reckoned_by_rule_and_by_how_many_run_side_by_side():
    """Two jobs took 10 s, two at a time. Left are two like them and one unknown (10 s, the mean), so 15 s."""
    progress = Progress()
    assert progress.left(0.0) is None
    progress.plan({"score": 4, "tune": 1})
    for job in (1, 2):
        progress.start(job, "score", 100.0)
    assert progress.left(105.0) is None
    assert [progress.finish(job, 110.0) for job in (1, 2)] == [10.0, 10.0]
    assert progress.left(110.0) == pytest.approx(15.0)


def test_what_running_jobs_have_done_is_not_left():
    """One of four jobs took 10 s, and the next has run for 4 s; one at a time, 26 s are left."""
    progress = Progress()
    progress.plan({"score": 4})
    progress.start(1, "score", 0.0)
    progress.finish(1, 10.0)
    progress.start(2, "score", 10.0)
    assert progress.left(14.0) == pytest.approx(26.0)


def test_the_line_counts_jobs_done_failed_and_running():
    progress = Progress()
    progress.plan({"score": 4})
    for job in (1, 2, 3):
        progress.start(job, "score", 0.0)
    progress.finish(1, 10.0)
    progress.fail(2)
    assert_names(progress.line(10.0), "1 of 4", "1 failed", "1 running")
    progress.start(2, "score", 11.0)  # a cluster retries it
    assert "failed" not in progress.line(12.0)


def test_the_lines_of_a_run_count_its_failed_jobs(capsys, tmp_path):
    screen = Screen(list, list, {"rules"}, dry=False)
    job = {"rule_name": "tune", "rule_msg": None, "output": ["x"], "log": [str(tmp_path / "none.log")]}
    told = [
        {"event": "run_info", "stats": {"tune": 3, "total": 3}},
        *({"event": "job_info", "jobid": number} | job for number in (1, 2)),
        {"event": "job_error", "jobid": 1} | job,
        {"event": "job_finished", "job_id": 2},
    ]
    for event in told:
        screen.emit(logging.makeLogRecord(event))
    *_, last = capsys.readouterr().err.splitlines()
    assert_names(last, "done", "1 of 3", "1 failed")
    assert "running" not in last


def group_error(folder, **logs: str) -> dict:
    """Event of a group in which jobs 1, 2 ... have these logs; an empty text means no log."""
    jobs = []
    for number, (rule, text) in enumerate(logs.items(), 1):
        log = folder / f"{rule}.log"
        if text:
            log.write_text(text)
        jobs.append({"jobid": number, "rule_name": rule, "log": [str(log)]})
    return {"event": "group_error", "groupid": "trial", "job_error_info": jobs, "aux_logs": [str(folder / "slurm.log")]}


SNAKEMAKES = """Traceback (most recent call last):

  File "snakemake/io/__init__.py", line 1273, in remove
    os.remove(file)

OSError: [Errno {number}] {words}: 'out/logs/score/seen.log'
"""


@pytest.mark.parametrize(
    ("number", "words", "remedy"),
    [(30, "Read-only file system", "Make it writable"), (28, "No space left on device", "Make room")],
)
def test_what_snakemake_meets_between_two_jobs_is_one_message(capsys, tmp_path, number, words, remedy):
    """tests/faults makes folders read-only during a run. If a job met the same error, the message is not repeated."""
    screen = Screen(lambda: [], lambda: [], ["rules"], dry=False)
    said = machine.in_words(OSError(number, words, "out/scores/it.json"))
    (tmp_path / "log").write_text(f"Error: {said}\n")
    job = {"jobid": 1, "rule_msg": "scoring it", "rule_name": "score", "log": [str(tmp_path / "log")]}
    screen.emit(logging.makeLogRecord({"event": "job_error", **job}))
    capsys.readouterr()
    trace = {"event": "error", "exception": "OSError", "msg": SNAKEMAKES.format(number=number, words=words)}
    record = logging.makeLogRecord(trace)
    assert not screen.leaves(record)
    screen.emit(record)
    (line,) = capsys.readouterr().err.split("\n")[1:-1]
    assert_names(line, "out/logs/score/seen.log", remedy, "the same command")
    other = logging.makeLogRecord({"event": "error", "exception": "ValueError", "msg": "Traceback\nValueError: 30"})
    assert Screen(lambda: [], lambda: [], ["rules"], dry=False).leaves(other)


def test_of_a_group_that_failed_only_jobs_that_say_why_are_named(capsys, tmp_path):
    screen = Screen(list, list, {"rules"}, dry=False)
    event = group_error(tmp_path, tune="done\n", translate="Error: patch.safetensors is damaged\n", score="")
    for told in (event, *({"event": "job_error", "indent": True} | job for job in event["job_error_info"])):
        screen.emit(logging.makeLogRecord(told))
    screen.close_with_reasons()
    said = capsys.readouterr().err
    assert_names(said, "1 job failed", "translate", "translate.log", "patch.safetensors is damaged")
    assert "tune" not in said and "score" not in said


@pytest.mark.parametrize(
    ("slurm", "words"),
    [
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-30 DUE TO TIME LIMIT ***\n", "TIME LIMIT"),
        ("slurmstepd: error: Detected 1 oom-kill event(s) in StepId=7.0\n", "mem_mb"),
        ("", "no message"),
    ],
)
def test_a_group_without_a_word_of_its_jobs_has_that_of_slurm(capsys, tmp_path, slurm, words):
    (tmp_path / "slurm.log").write_text(slurm)
    screen = Screen(list, list, {"rules"}, dry=False)
    screen.emit(logging.makeLogRecord(group_error(tmp_path, tune="", score="")))
    screen.close_with_reasons()
    assert_names(capsys.readouterr().err, "1 job failed", "one of 2 jobs", "slurm.log", words)


def test_what_slurm_refuses_is_said_of_the_group(capsys, tmp_path):
    event = group_error(tmp_path, tune="", score="") | {"said": "SLURM sbatch failed. Invalid --time-min"}
    screen = Screen(list, list, {"rules"}, dry=False)
    screen.emit(logging.makeLogRecord(event))
    screen.close_with_reasons()
    assert_names(capsys.readouterr().err, "1 job failed", "Invalid --time-min")


def test_a_log_of_an_earlier_try_gives_no_reason(capsys, tmp_path):
    event = group_error(tmp_path, tune="Error: of yesterday\n", score="")
    yesterday = time.time() - 86400
    os.utime(tmp_path / "tune.log", (yesterday, yesterday))
    screen = Screen(list, list, {"rules"}, dry=False)
    begun = {"event": "job_info", "jobid": 1, "rule_name": "tune", "rule_msg": None, "output": ["x"]}
    for told in (begun, begun | {"jobid": 2}, event):
        screen.emit(logging.makeLogRecord(told))
    screen.close_with_reasons()
    said = capsys.readouterr().err
    assert "yesterday" not in said
    assert_names(said, "1 job failed", "no message")


def test_durations():
    said = {0.2: "0 s", 99: "99 s", 100: "2 min", 5000: "83 min", 9000: "2.5 h"}
    assert {seconds: duration(seconds) for seconds in said} == said


def test_a_plan_has_a_row_a_rule_with_its_own_reasons():
    """ "Follows from another job" is given as a reason only if there is no other."""
    missing, follows = "output files have to be generated", "input files updated by another job"
    reasons = [
        ("tune", [missing, follows]),
        ("tune", ["params have changed since last execution", follows]),
        ("tune", ["params have changed since last execution"]),
        ("score", [follows]),
        ("other", ["a reason of a later Snakemake"]),
    ]
    table = plan({"tune": 3, "score": 1, "other": 1}, reasons)
    tune, score, other, total = table.splitlines()[2:]
    assert_names(tune, 3, "settings have changed (2)", "missing (1)")
    assert tune.index("settings") < tune.index("missing") and "again" not in tune
    assert_names(score, 1, "again")
    assert_names(other, "a reason of a later Snakemake")
    assert_names(total, 5)


@pytest.mark.slow
def test_steps_draw_no_bars_of_loaded_weights_into_their_logs():
    imports = "import workflow.scripts.translate; from transformers.utils import logging"
    asked = f"{imports}; print(logging.is_progress_bar_enabled())"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "False", done.stderr
