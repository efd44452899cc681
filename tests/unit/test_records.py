"""Records, checksums and costs; outputs appear complete or not at all."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import pytest
import torch

from caneft import config, neurons
from caneft.corpora import store
from caneft.corpora.store import Row
from caneft.models import manifests
from caneft.neurons import NeuronSet
from caneft.plan import Run
from caneft.plan.settings import PromptSettings, TuneSettings
from caneft.runtime.parallel import ALONE
from caneft.storage import records
from caneft.storage.files import atomic_write, link, link_or_copy, temporary_folder, write_json, write_jsonl
from caneft.tuning import running

KEYS = {
    "format",
    "stage",
    "wall_seconds",
    "cpu_seconds",
    "peak_memory_mb",
    "cuda_peak_memory_mb",
    "device",
    "threads",
    "started",
}


def test_a_cost_file(tmp_path):
    path = tmp_path / "new" / "cost.json"
    with records.cost(path, "tuning", threads=3):
        held = bytearray(80 * 2**20)
        total = sum(range(10**6))
    assert total and held is not None
    found = json.loads(path.read_text())
    assert found.keys() == KEYS
    assert (found["stage"], found["threads"]) == ("tuning", 3)
    assert 0 < found["wall_seconds"] < 60
    assert found["cpu_seconds"] > 0
    assert 80 < found["peak_memory_mb"] < 10**5
    assert datetime.fromisoformat(found["started"]).utcoffset().total_seconds() == 0


@pytest.mark.parametrize("cuda", [None, 50.0])
def test_what_is_kept_of_earlier_jobs_counts(tmp_path, monkeypatch, cuda):
    """Seconds add up, memory is the highest of all, and `before` is called at the end."""
    monkeypatch.setattr(records, "memory", lambda: (300.0, cuda))
    earlier = {}
    with records.cost(tmp_path / "cost.json", "translation", 1, before=lambda: earlier) as about:
        about["domains"] = {"it": 1}
        earlier |= {"wall_seconds": 1000, "cpu_seconds": 2000.5, "peak_memory_mb": 299.0, "cuda_peak_memory_mb": 70.0}
    found = json.loads((tmp_path / "cost.json").read_text())
    assert found.keys() == KEYS | {"domains"}
    assert 1000 <= found["wall_seconds"] < 1060 and found["cpu_seconds"] > 2000.5
    assert (found["peak_memory_mb"], found["cuda_peak_memory_mb"]) == (300.0, cuda and 70.0)
    earlier |= {"peak_memory_mb": 301.0, "cuda_peak_memory_mb": 0}
    with records.cost(tmp_path / "cost.json", "translation", 1, before=lambda: earlier):
        pass
    found = json.loads((tmp_path / "cost.json").read_text())
    assert (found["peak_memory_mb"], found["cuda_peak_memory_mb"]) == (301.0, cuda)


def test_a_stage_that_fails_leaves_no_cost(tmp_path):
    with pytest.raises(KeyError), records.cost(tmp_path / "cost.json", "tuning", threads=1):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_checksums_are_sha_256(tmp_path):
    contents = {"b.txt": b"", "a.bin": os.urandom(300_000), "c d.txt": "Ü\n".encode()}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = records.checksums(tmp_path / name for name in contents)
    assert found == {str(tmp_path / name): hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert list(found) == sorted(found)


def test_provenance_names_code_and_packages():
    found = records.provenance()
    assert found.keys() == {"format", "code", "packages"}
    assert found["code"].keys() == {"commit", "dirty"}
    assert {"python", "torch", "transformers", "numpy", "sacrebleu"} <= found["packages"].keys()
    assert found == records.provenance()
    json.dumps(found)


def test_code_without_git_is_told_apart_from_a_clean_tree(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert records.code() == {"commit": None, "dirty": None}


def commit_in(folder):
    """Makes a repository with one commit; returns its name, which differs between folders."""
    folder.mkdir(parents=True)
    (folder / "file").write_text(str(folder))
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for arguments in (["init", "-q"], ["add", "file"], [*who, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("broken", [False, True], ids=["no repository", "a broken one"])
def test_the_commit_of_a_repository_around_the_workflow_is_not_the_workflows(monkeypatch, tmp_path, broken):
    commit_in(tmp_path / "outer")
    (tmp_path / "outer/vendored/caneft").mkdir(parents=True)
    if broken:
        (tmp_path / "outer/vendored/.git").mkdir()
    monkeypatch.setattr(records, "__file__", str(tmp_path / "outer/vendored/caneft/storage/records.py"))
    assert records.code() == {"commit": None, "dirty": None}


def test_the_commit_is_that_of_the_workflows_own_repository(monkeypatch, tmp_path):
    """Neither a repository around it nor one that a git hook's variables name counts."""
    outer = commit_in(tmp_path / "outer")
    own = commit_in(tmp_path / "outer/own")
    assert own != outer
    (tmp_path / "outer/own/caneft").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "outer/own")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer/.git"))
    for root in (tmp_path / "outer/own", tmp_path / "link"):
        monkeypatch.setattr(records, "__file__", str(root / "caneft/storage/records.py"))
        assert records.code() == {"commit": own.strip(), "dirty": False}
    (tmp_path / "outer/own/file").write_text("changed")
    assert records.code() == {"commit": own.strip(), "dirty": True}


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError), atomic_write(path) as beside:
        beside.write_text("half")
        raise ValueError
    with pytest.raises(TypeError):
        write_json(path, {"set": {1}})
    with pytest.raises(ValueError):
        write_json(path, {"nan": float("nan")})
    with pytest.raises(ZeroDivisionError):
        write_jsonl(path, ({"line": 1 / number} for number in (1, 0)))
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("makes", [link, link_or_copy])
def test_a_link_takes_the_place_of_an_old_file_though_a_killed_process_of_the_same_id_left_its_own(tmp_path, makes):
    file, place, left = tmp_path / "new.json", tmp_path / "kept.json", tmp_path / f".kept.{os.getpid()}.json"
    file.write_text("new")
    place.write_text("old")
    os.link(place, left)  # like a process that was killed between link and rename
    for _ in range(2):
        makes(file, place)
        assert place.samefile(file) and place.read_text() == "new"
        assert not left.exists()


def test_without_hard_links_a_copy_is_made_where_one_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    file, place = tmp_path / "new.json", tmp_path / "kept.json"
    file.write_text("new")
    with pytest.raises(OSError):
        link(file, place)
    assert not place.exists()
    link_or_copy(file, place)
    assert place.read_text() == "new" and not place.samefile(file)
    assert {path.name for path in tmp_path.iterdir()} == {"new.json", "kept.json"}


def test_json_is_sorted_and_readable(tmp_path):
    write_json(tmp_path / "a.json", {"b": "Ü", "a": 1})
    write_json(tmp_path / "b.json", {"a": 1, "b": "Ü"})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "Ü" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_jsonl_has_one_object_a_line(tmp_path):
    lines = [{"id": "1", "text": "a\u2028b\nc"}, {"id": "2", "text": ""}]
    write_jsonl(tmp_path / "x.jsonl", lines)
    texts = (tmp_path / "x.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(text) for text in texts[:-1]] == lines and texts[-1] == ""


def test_a_temporary_folder_goes_and_so_do_those_of_killed_processes_but_not_of_living_ones(tmp_path, monkeypatch):
    """A living child keeps one folder; another child is killed and leaves one."""
    holds = (
        "import sys; from caneft.storage.files import temporary_folder\nwith temporary_folder('caneft-x-') as folder:\n"
    )
    holds += " (folder / 'weights').touch(); print(folder, flush=True); sys.stdin.read()"
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that it is read again
    (tmp_path / "caneft-other").mkdir()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", holds], **pipes) as living:
        kept = Path(living.stdout.readline().strip())
        with subprocess.Popen([sys.executable, "-c", holds], **pipes) as killed:
            left = Path(killed.stdout.readline().strip())
            killed.kill()
        assert (kept / "weights").exists() and (left / "weights").exists()
        with temporary_folder("caneft-x-") as own:
            assert {kept, own} == set(tmp_path.glob("caneft-x-*"))
        living.stdin.close()
    assert [path.name for path in tmp_path.iterdir()] == ["caneft-other"]


def test_a_temporary_folder_goes_with_an_error_too(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyError), temporary_folder("caneft-x-") as folder:
        (folder / "weights").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_record_of_a_run_has_the_checksums_of_all_that_it_was_tuned_on(
    tmp_path, tiny_model, tokenizer, pairs, monkeypatch
):
    monkeypatch.setattr(running, "prepare", lambda *_: torch.device("cpu"))  # it would set up this whole process
    model, paths = tiny_model(), {name: tmp_path / name for name in ("train", "dev", "neurons")}
    for one in (model, tokenizer):
        one.save_pretrained(tmp_path / "model")
    origin = {"id": "tiny", "revision": None, "folder": "model"}
    write_json(tmp_path / "manifest.json", manifests.describe(tmp_path / "model", origin, model.config))
    for split in ("train", "dev"):
        store.write(paths[split], [Row(f"it.{split}.0", *pairs[0], "it")])
    neurons.save(paths["neurons"], NeuronSet.from_flat(3, 40, [7]), {"neurons": 1})
    prompt = PromptSettings(instruction="Translate.", source_language="German", target_language="English")
    method = config.Neurons(method="caneft", learning_rate=1e-3)
    settings = TuneSettings(method=method, tuning=config.Tuning(epochs=1), prompt=prompt, dtype="float32")
    job = running.Job(
        settings, Run.parse("tiny/de-en/all/caneft/seed1"), 1, None, tmp_path / "manifest.json", **paths, threads=1,
        gpus=0, nodes=1, checkpoint_seconds=300, device_map="none", out=tmp_path / "out",
    )  # fmt: skip
    running.tune(job, ALONE).discard()
    found = json.loads((tmp_path / "out/record.json").read_text())["data"]
    assert found == {f"{name}_sha256": hashlib.sha256(path.read_bytes()).hexdigest() for name, path in paths.items()}
