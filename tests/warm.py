"""Runs a command whose Python steps need not import torch and transformers: one process has them, and forks for each.

    python tests/warm.py snakemake --cores 2 ...

Most of the time of a step on a tiny model goes into imports. The command finds a `python` first on its PATH that hands
each `python -m workflow.scripts.*` and `python -m caneft.runtime.lease` to the process with the imports. It passes on
signals, the exit code and kills. Everything else starts as usual, and nothing of the package is imported before the
fork. Only for tests: Snakemake's benchmarks would measure the process that waits for a step, not the one that works.
"""

import atexit
import contextlib
import functools
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

COMMAND = (sys.executable, __file__)
"""What to put before a command."""
SERVE, COLD = "--serve", "CANEFT_TEST_COLD"
"""The second, set in the environment: nothing is imported before the fork, which suits tests of this program."""
STEPS = ("workflow.scripts.", "caneft.runtime.lease", "tests.serving.")
IMPORTS = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "safetensors.torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.llama.modeling_llama",
    "transformers.tokenization_utils_tokenizers",
)
CLIENT = """\
#!{python} -IS
import json, os, signal, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith({steps}):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
server.connect({address!r})
asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
server.sendall(asked)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, frame: server.sendall(bytes([number])))
code = int(server.recv(16) or b"1")
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def work(argv: list[str], cwd: str, environment: dict[str, str], files: list[int]) -> None:
    """What is left to do in the forked process: the work of `python -m`, and its exit code."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = argv, cwd
    code: int | str | None = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code or 0)


def received(peer: socket.socket) -> tuple[list, list[int]]:
    """Arguments, folder, variables and standard streams of a step. ValueError: the asking process was killed."""
    length, files, _, _ = socket.recv_fds(peer, 4, 3)
    with peer.makefile("rb") as stream:
        asked = stream.read(int.from_bytes(length, "big"))
    try:
        return json.loads(asked), files
    except ValueError:
        for file in files:
            os.close(file)
        raise


def serve(server: socket.socket, imports: Sequence[str]) -> None:
    """Forks for each connection, until the parent ends, which closes stdin, and no step is left."""
    for name in () if COLD in os.environ else imports:
        importlib.import_module(name)
    waiting = selectors.DefaultSelector()

    def begin() -> None:
        peer, _ = server.accept()
        try:
            asked, files = received(peer)
        except ValueError:
            peer.close()
            return
        if (child := os.fork()) == 0:
            for other in [key.fd for key in waiting.get_map().values()]:
                os.close(other)
            waiting.close()
            peer.close()
            work(*asked, files)
        for file in files:
            os.close(file)
        ended = os.pidfd_open(child)
        waiting.register(peer, selectors.EVENT_READ, lambda: pass_on(peer, ended))
        waiting.register(ended, selectors.EVENT_READ, lambda: end(child, peer, ended))

    def pass_on(peer: socket.socket, ended: int) -> None:
        """Passes on a signal, or the end of the process that waits for the step, which must have been killed."""
        said = peer.recv(1)
        signal.pidfd_send_signal(ended, said[0] if said else signal.SIGKILL)
        if not said:
            waiting.unregister(peer)

    def end(child: int, peer: socket.socket, ended: int) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (peer, ended):
            if file in waiting.get_map():
                waiting.unregister(file)
        os.close(ended)
        with contextlib.suppress(OSError), peer:
            peer.sendall(str(code).encode())

    waiting.register(server, selectors.EVENT_READ, begin)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while ready := [key.data for key, _ in waiting.select() if key.data]:
        ready[0]()  # only one, because it may end what the others refer to


@contextlib.contextmanager
def started(python: str | Path = sys.executable, imports: Sequence[str] = IMPORTS, **variables: str) -> Iterator[Path]:
    """A program to be called like `python`, which hands steps to a process that has imported these modules.

    python: of the environment in which steps run. variables: those that the modules read when they are imported.
    """
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        address = f"{place}/socket"
        server.bind(address)
        server.listen(64)
        client = Path(place, "bin", "python")
        client.parent.mkdir()
        client.write_text(CLIENT.format(python=str(python), steps=STEPS, address=address), encoding="utf-8")
        client.chmod(0o755)
        command = [str(python), __file__, SERVE, str(server.fileno()), *imports]
        environment = os.environ | variables
        warm = subprocess.Popen(command, env=environment, pass_fds=[server.fileno()], stdin=subprocess.PIPE)
        try:
            yield client
        finally:
            warm.stdin.close()
            try:
                warm.wait(5)  # a step may have to end first
            except subprocess.TimeoutExpired:  # it is still importing
                warm.kill()
                warm.wait()


@functools.cache
def shared() -> Path:
    """Such a program for all who ask this process, with which it ends."""
    warm = started()
    client = warm.__enter__()
    atexit.register(warm.__exit__, None, None, None)
    return client


def forking(environment: Mapping[str, str], program: Path | None = None) -> dict[str, str]:
    """These variables, with such a program in front of PATH; without one, with the shared one."""
    path = os.pathsep.join([str((program or shared()).parent), environment["PATH"]])
    return {**environment, "PATH": path}


def main() -> None:
    if sys.argv[1] == SERVE:
        serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
        return
    with started() as client:
        command = subprocess.Popen(sys.argv[1:], env=forking(os.environ, client))
        signal.signal(signal.SIGTERM, lambda *_: command.terminate())
        code = command.wait()
    sys.exit(code)


if __name__ == "__main__":
    main()
