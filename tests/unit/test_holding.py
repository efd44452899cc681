"""Only one Snakemake at a time works on a results folder, and none while jobs of a killed one still write."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from caneft.runtime import holding
from tests.messages import assert_names

ROOT = Path(__file__).parents[2]
HEAD = (
    "from pathlib import Path; from caneft.runtime import holding; holding.hold(Path({0!r}) / 'logs', Path({0!r})); {1}"
)
JOB = "import workflow.scripts; print('works', flush=True); import time; time.sleep(600)"
WAIT = "print('holds', flush=True); import time; time.sleep(600)"


@contextmanager
def process(code, word, **variables):
    """A Python process that has printed a word; it is killed at the end."""
    started = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | variables, stdout=subprocess.PIPE, text=True
    )
    try:
        assert started.stdout.readline().strip() == word
        yield started
    finally:
        started.kill()
        started.wait()


def tried(folder):
    """The message for a Snakemake that comes next; '' if it may work."""
    code = HEAD.format(str(folder), "print('holds')")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    return "" if done.stdout.strip() == "holds" else done.stderr.strip().splitlines()[-1]


def test_the_second_is_told_who_is_first_and_a_kill_frees_the_folder(tmp_path):
    with process(HEAD.format(str(tmp_path), WAIT), "holds") as first:
        said = tried(tmp_path)
        assert_names(said, f"{tmp_path}:", first.pid, socket.gethostname(), ROOT, "results_root")
        assert tried(tmp_path / "other") == ""
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert tried(tmp_path) == ""


def test_jobs_that_outlive_their_snakemake_are_named(tmp_path):
    lock = str(tmp_path / "logs/jobs.lock")
    (tmp_path / "logs").mkdir()
    with process(JOB, "works", CANEFT_JOBS_LOCK=lock) as one, process(JOB, "works", CANEFT_JOBS_LOCK=lock) as two:
        said = tried(tmp_path)
        assert_names(said, f"{tmp_path}:", f"kill {' '.join(map(str, sorted((one.pid, two.pid))))}")
        for job in (one, two):
            job.kill()
            job.wait()
        assert tried(tmp_path) == ""


def test_a_job_that_ends_while_it_is_looked_for_is_none(tmp_path, monkeypatch):
    """A message could not name it; nobody could end it, and nobody has to wait for it."""
    (tmp_path / "logs").mkdir()
    look = holding._left
    with process(JOB, "works", CANEFT_JOBS_LOCK=str(tmp_path / "logs/jobs.lock")) as job:

        def too_late(*arguments):
            job.kill()
            job.wait()
            return look(*arguments)

        monkeypatch.setattr(holding, "_left", too_late)
        holding.hold(tmp_path / "logs", tmp_path, local=False)
        assert job.poll() is not None
        assert_names(tried(tmp_path), os.getpid())
    holding._held.pop().close()
    assert tried(tmp_path) == ""


def test_children_of_the_first_do_not_keep_the_folder(tmp_path):
    """Such a child is, say, a shell."""
    code = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True); import time; time.sleep(600)"
    started = subprocess.Popen(
        [sys.executable, "-c", HEAD.format(str(tmp_path), code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = int(started.stdout.readline())
    try:
        started.kill()
        started.wait()
        assert tried(tmp_path) == ""
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_job_without_a_snakemake_of_its_own_holds_nothing(tmp_path):
    with process(JOB.replace("import time; time.sleep(600)", "pass"), "works") as job:
        assert job.wait() == 0
    assert list(tmp_path.iterdir()) == []
