"""tests/warm.py: a forked step ends, fails and is killed like one that is started."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests import warm

ROOT = Path(__file__).parents[2]
STEP = "workflow.scripts.overview"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def without_imports():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(warm.COLD, "1")
        yield


def run(script, cwd=ROOT):
    command = [*warm.COMMAND, "bash", "-c", script]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def told():
    """Output and exit code of a step with an unknown option, of one without a module, and of a separate Python."""
    calls = (f"-m {STEP} --nothing", "-m workflow.scripts.nothing", "-c 'import sys; sys.exit(5)'", f"-m {STEP} --help")
    return run("; ".join(f"python {call}; echo code $?" for call in calls))


def test_exit_codes_are_passed_on(told):
    codes = [line for line in told.stdout.splitlines() if line.startswith("code")]
    assert codes == ["code 2", "code 1", "code 5", "code 0"]


def test_what_a_step_writes_goes_where_it_was_sent(told):
    outputs, errors = told.stdout, told.stderr
    assert (
        "--config" in outputs
        and "the following arguments are required" in errors
        and "workflow.scripts.nothing" in errors
    )
    started = subprocess.run([sys.executable, "-m", STEP, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert started.stdout in outputs


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_step(tmp_path, number):
    """The step waits for a pipe to which nobody writes; the process that waits for the step is killed."""
    package = tmp_path / "workflow" / "scripts"
    package.mkdir(parents=True)
    (package / "sleeps.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    begun = "python -m workflow.scripts.sleeps > step & waits=$!; until [ -s step ]; do sleep 0.1; done"
    script = f"{begun}; kill -{number:d} $waits; wait $waits; echo $?"
    done = run(script, tmp_path)
    assert done.stdout.split()[-1] == str(128 + number), done.stderr
    step = int((tmp_path / "step").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(step) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(step)


def test_who_is_killed_while_it_asks_for_a_step_stops_no_other():
    """One process says nothing, and another says less than it announced."""
    script = f"""
import array, os, pathlib, re, socket, subprocess
client = subprocess.run(["sh", "-c", "command -v python"], capture_output=True, text=True).stdout.strip()
address = re.search(r"connect\\('(.*)'\\)", pathlib.Path(client).read_text())[1]
for said in (None, b"half"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.connect(address)
        if said:
            socket.send_fds(server, [(500).to_bytes(4, "big")], [0, 1, 2])
            server.sendall(said)
os.execv(client, [client, "-m", "{STEP}", "--help"])
"""
    done = subprocess.run(
        [*warm.COMMAND, sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and "--config" in done.stdout, done.stderr


def test_the_warm_process_ends_with_the_command():
    [server] = run(f"pgrep -P $PPID -f -- {warm.SERVE}").stdout.split()
    assert not psutil.pid_exists(int(server))


def test_who_ends_it_ends_the_command_and_the_warm_process():
    script = f"trap 'exit 7' TERM; pgrep -P $PPID -f -- {warm.SERVE}; while :; do sleep 0.1; done"
    with subprocess.Popen([*warm.COMMAND, "bash", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        server = int(process.stdout.readline())
        process.terminate()
        assert process.wait(30) == 7
    assert not psutil.pid_exists(server)
