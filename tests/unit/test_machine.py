"""Errors that the machine is to blame for, as messages: a full disk, rights, a file that an environment lacks."""

import errno
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from safetensors import SafetensorError

from caneft import machine
from caneft.files import replacing

ROOT = Path(__file__).parents[2]


def raised(error):
    """The error as it is caught: from another one."""
    try:
        try:
            raise error
        except type(error) as cause:
            raise RuntimeError("something above it") from cause
    except RuntimeError as found:
        return found


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: no space left on the device. Make room and"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a/b"), "a/b: no space left on the device. Make room and"),
        (OSError(errno.ENOSPC, "No space left on device"), "a file of this job, such as its log: no space left"),
        (OSError(errno.EROFS, "Read-only file system", "a/b"), "a/b: may not be written"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b: may not be written"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "no space left on the device"),
    ],
)
def test_disks_and_rights(error, said):
    assert said in machine.in_words(raised(error))
    assert "give the same command again" in machine.in_words(error)


@pytest.mark.parametrize("error", [ValueError("28"), FileNotFoundError(2, "No such file", "a/b"), ImportError("x")])
def test_other_errors_are_not_the_machine_s(error):
    assert machine.in_words(error) is None


def test_a_write_to_a_full_disk_is_said_with_the_file(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(OSError) as found, replacing(tmp_path / "out.json") as beside:
        beside.symlink_to("/dev/full")
        beside.write_text("x")
    assert machine.in_words(found.value).startswith(f"{tmp_path / 'out.json'}: no space left")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def environment(tmp_path):
    """A virtual environment of its own with one package that may be destroyed; the other packages are links."""
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
    assert f"Error: {gone}: this file of sacrebleu" in done.stderr
    assert f"Rebuild the environment {environment}" in done.stderr


def test_a_folder_that_may_not_be_written_is_named_before_anything_is(tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    access = os.access  # root may write everywhere but to a device that is read-only
    monkeypatch.setattr(os, "access", lambda path, mode: path.name != "shut" and access(path, mode))
    machine.check_writable([tmp_path / "a.json", tmp_path / "new/folder/b.json", "c.json"])
    with pytest.raises(OSError) as found:
        machine.check_writable([tmp_path / "a.json", tmp_path / "shut/new/folder/b.json"])
    assert machine.in_words(found.value).startswith(f"{tmp_path / 'shut'}: may not be written")


def test_a_disk_without_room_for_a_log_is_said(tmp_path, monkeypatch):
    assert machine.out_of_room(tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 8192}))
    assert machine.out_of_room(tmp_path).startswith(f"{tmp_path}: no space left on the device. Make room")
