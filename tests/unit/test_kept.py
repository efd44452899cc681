"""What a step under Slurm keeps for a second try, which takes it only for the same command, inputs and code."""

import os
import sys

import pytest

from caneft.storage import kept
from caneft.storage.kept import Kept


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Folder of a step that an executor submitted, with an input and two results of the step."""
    monkeypatch.setenv(kept.WANTED, "1")
    monkeypatch.setattr(sys, "argv", ["tune", "--seed", "1"])
    for name in ("input.json", "patch.bin", "cost.json"):
        (tmp_path / name).write_text(f"content of {name}")
    return tmp_path


def of(folder, **other) -> Kept:
    return Kept(folder, "", [folder / "input.json", None], **other)


def lost(folder) -> None:
    """Deletes the results, as Snakemake does if another job of the allocation failed."""
    for name in ("patch.bin", "cost.json"):
        (folder / name).unlink()


@pytest.fixture
def finished(folder):
    of(folder).save([folder / "patch.bin", folder / "cost.json"])
    return folder


def test_results_that_are_gone_come_back(finished):
    lost(finished)
    assert of(finished).take()
    assert [(finished / name).read_text() for name in ("patch.bin", "cost.json")] == [
        "content of patch.bin",
        "content of cost.json",
    ]
    assert sorted(path.name for path in finished.iterdir()) == [".kept", "cost.json", "input.json", "patch.bin"]


def test_they_take_no_room(finished):
    assert os.path.samefile(finished / "patch.bin", finished / ".kept/patch.bin")


def test_another_command_takes_nothing(finished, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tune", "--seed", "2"])
    assert not of(finished).take()


def test_another_input_takes_nothing(finished):
    (finished / "input.json").write_text("other content")
    assert not of(finished).take()


def test_other_packages_take_nothing(finished, monkeypatch):
    monkeypatch.setattr(kept.records, "provenance", lambda: {"packages": {"torch": "0"}})
    assert not of(finished).take()


def test_code_that_is_not_committed_takes_nothing(finished, monkeypatch, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    (package / "changed.py").write_text("CHANGED = True\n")
    monkeypatch.setattr(kept, "PACKAGE", package)
    assert not of(finished).take()


def test_what_changes_while_a_step_runs_was_not_what_it_was_made_of(folder):
    step = of(folder)
    (folder / "input.json").write_text("new content")
    step.save([folder / "patch.bin"])
    assert not of(folder).take()


def test_a_damaged_result_is_made_again(finished):
    """The kept file and the result are hard links, so damage to one damages the other."""
    with (finished / "patch.bin").open("r+") as file:
        file.write("X")
    assert not of(finished).take()
    assert not (finished / ".kept/kept.json").exists()


def test_results_that_are_still_there_are_taken_without_litter(finished):
    assert of(finished).take() and of(finished).take()
    assert sorted(path.name for path in finished.iterdir()) == [".kept", "cost.json", "input.json", "patch.bin"]
    assert sorted(path.name for path in (finished / ".kept").iterdir()) == ["cost.json", "kept.json", "patch.bin"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"identity": "0", "sha256": {}}', '{"sha256": {}}'])
def test_what_a_kill_left_half_is_not_taken(finished, content):
    (finished / ".kept/kept.json").write_text(content)
    assert not of(finished).take()


def test_on_one_machine_nothing_is_taken(finished, monkeypatch):
    monkeypatch.delenv(kept.WANTED)
    assert not of(finished).take()


def test_on_one_machine_nothing_is_kept(folder, monkeypatch):
    monkeypatch.delenv(kept.WANTED)
    of(folder).save([folder / "patch.bin"])
    assert not (folder / ".kept").exists()


def test_what_is_not_wanted_is_not_kept(folder):
    of(folder, wanted=False).save([folder / "patch.bin"])
    assert not (folder / ".kept").exists()


def test_without_hard_links_nothing_is_kept(folder, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    of(folder).save([folder / "patch.bin"])
    assert not of(folder).take() and not (folder / ".kept/patch.bin").exists()


def test_steps_that_share_a_folder_keep_apart(folder):
    first, second = (Kept(folder, name, []) for name in ("law", "medical"))
    first.save([folder / "patch.bin"])
    assert not second.take() and first.take()


def test_cleared_is_all_that_is_kept_and_nothing_else(finished):
    kept.clear(finished.parent)
    assert sorted(path.name for path in finished.iterdir()) == ["cost.json", "input.json", "patch.bin"]
