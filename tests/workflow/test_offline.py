"""After fetching, no job uses a network: the one real run has none, and the kernel counts the attempts."""

import subprocess
import sys

import pytest

from tests import offline

HERE = pytest.mark.skipif(not offline.unshare(), reason="this machine permits no network namespaces (unshare --net)")
# These addresses are reserved for examples, so no machine has them.
CALLS = {
    "a connection": "socket.create_connection(('192.0.2.1', 80), 5)",
    "a connection by IPv6": "socket.create_connection(('2001:db8::1', 80), 5)",
    "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('192.0.2.1', 53))",
}
LOCAL = "server = socket.create_server(('127.0.0.1', 0)); socket.create_connection(server.getsockname(), 5)"


def counted(tmp_path, code):
    """The finished process of a program with this code, and its count of attempts."""
    program = [*offline.command(tmp_path / "sent"), sys.executable, "-c", f"import socket\n{code}"]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    return done, int((tmp_path / "sent").read_text())


@HERE
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_attempt_fails_and_is_counted(tmp_path, call):
    done, sent = counted(tmp_path, call)
    assert done.returncode == 1 and "Network is unreachable" in done.stderr
    assert sent == 1


@HERE
def test_this_machine_itself_is_reached_and_not_counted(tmp_path):
    done, sent = counted(tmp_path, LOCAL)
    assert (done.returncode, sent) == (0, 0), done.stderr


@HERE
def test_the_whole_workflow_runs_without_a_network_and_asks_for_none(first_run):
    assert first_run.code == 0, first_run.output[-5000:]
    assert first_run.sent == 0
