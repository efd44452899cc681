"""Errors of the machine as messages: a full disk, missing rights, a file missing from an environment."""

import errno
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest
from safetensors import SafetensorError

from caneft.runtime import machine
from caneft.storage.files import atomic_write
from tests.messages import assert_names

ROOT = Path(__file__).parents[2]


def raised(error):
    """The error as it is caught: as the cause of another one."""
    try:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("something above it") from cause
    except RuntimeError as found:
        return found


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b:"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), "a/b:"),
        (OSError(errno.ENOSPC, "No space left on device"), ""),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b:"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b:"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), ""),
    ],
)
def test_disks_and_rights(error, place):
    assert machine.in_words(raised(error)) == machine.in_words(error)
    assert machine.in_words(error).startswith(place) and "None" not in machine.in_words(error)


def test_a_full_disk_and_missing_rights_have_messages_of_their_own():
    def said(number):
        return machine.in_words(OSError(number, os.strerror(number), "a/b"))

    assert said(errno.ENOSPC) == said(errno.EDQUOT) != said(errno.EROFS)
    assert said(errno.EROFS) == said(errno.EACCES) == said(errno.EPERM)
    nameless = SafetensorError("I/O error: No space left on device (os error 28)")
    assert machine.in_words(nameless) == machine.in_words(OSError(errno.ENOSPC, "No space left on device"))
    assert machine.in_words(nameless) != machine.in_words(OSError(errno.EROFS, "Read-only file system"))


def test_what_may_not_be_read_is_told_from_what_may_not_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "file"))
    said = {}
    for allowed in (os.R_OK, os.W_OK):
        monkeypatch.setattr(machine.os, "access", lambda _, asked, allowed=allowed: asked == allowed)
        said[allowed] = machine.in_words(error)
    assert_names(said[os.W_OK], tmp_path / "file", "readable")
    assert_names(said[os.R_OK], tmp_path / "file", "writable")
    assert "writ" not in said[os.W_OK]


@pytest.mark.parametrize("error", [ValueError("28"), FileNotFoundError(2, "No such file", "a/b"), ImportError("x")])
def test_other_errors_are_not_the_machine_s(error):
    assert machine.in_words(error) is None


def test_a_write_to_a_full_disk_is_said_with_the_file(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as found, atomic_write(tmp_path / "out.json") as beside:
        beside.symlink_to("/dev/full")
        beside.write_text("x")
    assert machine.in_words(found.value) == machine.in_words(OSError(errno.ENOSPC, "", str(tmp_path / "out.json")))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def environment(tmp_path):
    """A separate virtual environment with one package that a test may destroy; the others are links."""
    packages = tmp_path / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    packages.mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(Path(sys.executable).resolve())
    shutil.copy2(Path(sys.prefix) / "pyvenv.cfg", tmp_path)
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name == "sacrebleu":
            shutil.copytree(entry, packages / entry.name)
        else:
            (packages / entry.name).symlink_to(entry)
    return tmp_path


def test_a_step_says_which_file_of_the_environment_is_gone(environment):
    if sys.prefix == sys.base_prefix:
        pytest.skip("this Python is no virtual environment")
    gone = next(environment.rglob("sacrebleu/metrics/chrf.py"))
    gone.unlink()
    shutil.rmtree(gone.parent / "__pycache__", ignore_errors=True)
    command = [environment / "bin/python", "-m", "workflow.scripts.score", "--help"]
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    assert_names(done.stderr, f"{gone}:", f"sacrebleu {version('sacrebleu')}", "requirements.txt")
    assert_names(done.stderr.replace(str(gone), ""), environment)


def test_a_folder_that_may_not_be_written_is_named_before_anything_is(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    access = os.access  # root may write everywhere except on a read-only device
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "shut" and access(path, mode))
    machine.check_writable([tmp_path / "a.json", tmp_path / "new/folder/b.json", "c.json"])
    with pytest.raises(OSError) as found:
        machine.check_writable([tmp_path / "a.json", tmp_path / "shut/new/folder/b.json"])
    assert machine.in_words(found.value) == machine.in_words(OSError(errno.EROFS, "", str(tmp_path / "shut")))


def test_a_disk_without_room_for_a_log_is_said(tmp_path, monkeypatch):
    assert machine.out_of_room(tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 8192}))
    assert machine.out_of_room(tmp_path) == machine.in_words(OSError(errno.ENOSPC, "", str(tmp_path)))
