"""Patches applied to model folders on disk and reverted; the reference is the tuned model as transformers saves it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_file, save_file
from test_patch import HEADS, NEURONS, SETS, changed, tampered, write

from caneft import patch
from caneft.neurons import HEAD, NEURON, NeuronSet
from caneft.patch import folder as on_disk
from caneft.patch import outputs, weights
from caneft.storage import files
from caneft.storage.files import sha256
from tests.messages import refused

ROOT = Path(__file__).parents[2]
SHARDS = "1KB"
"""Smaller than any two weight matrices: each has a file of its own, and a killed run leaves units half changed."""


def saved(model, path, shards=None):
    """A model folder as transformers writes it."""
    model.save_pretrained(path, **({"max_shard_size": shards} if shards else {}))
    return path


def sums(path):
    return {file.name: sha256(file) for file in sorted(path.iterdir()) if file.is_file()}


def make(tmp_path, base, neurons=NEURONS, shards=None):
    """Folder of a base, the patch, and checksums of the files before it and, as transformers saves them, after it."""
    tuned = changed(base, neurons)
    path = write(tmp_path / "patch.safetensors", base, tuned, neurons)
    folder = saved(base, tmp_path / "model", shards)
    return folder, path, sums(folder), sums(saved(tuned, tmp_path / "tuned", shards))


CASES = [
    ("llama", torch.float32, NEURON, None, {}),
    ("llama", torch.bfloat16, NEURON, SHARDS, {}),
    ("llama", torch.bfloat16, HEAD, SHARDS, {"tie_word_embeddings": True}),
    ("phi3", torch.float32, NEURON, SHARDS, {}),
    ("phi3", torch.bfloat16, HEAD, None, {}),
    ("phi3", torch.bfloat16, NEURON, None, {"tie_word_embeddings": True}),
    ("gemma2", torch.float16, NEURON, SHARDS, {"tie_word_embeddings": True}),
    ("gemma3", torch.bfloat16, NEURON, SHARDS, {}),
    ("gemma3", torch.float32, HEAD, None, {}),
    ("qwen2", torch.float32, HEAD, SHARDS, {}),
]


@pytest.mark.parametrize("architecture, dtype, unit, shards, options", CASES, ids=str)
def test_apply_gives_the_tuned_models_bytes_and_revert_the_bases(
    tmp_path, tiny_model, architecture, dtype, unit, shards, options
):
    folder, path, before, after = make(tmp_path, tiny_model(architecture, dtype=dtype, **options), SETS[unit], shards)
    assert before != after
    assert len(list(folder.glob("*.safetensors"))) > 1 or not shards
    assert on_disk.apply(folder, path).neurons == SETS[unit]
    assert sums(folder) == after
    on_disk.revert(folder)
    assert sums(folder) == before
    assert not (folder / "caneft").exists()


def test_the_undo_patch_lies_where_no_server_takes_it_for_weights(tmp_path, tiny_model):
    folder, path, _, after = make(tmp_path, tiny_model())
    on_disk.apply(folder, path)
    assert sums(folder) == after and [file.name for file in folder.glob("*.safetensors")] == ["model.safetensors"]
    undo = load_file(folder / "caneft" / "undo.safetensors")
    assert torch.equal(undo["layers.2.up"], tiny_model().model.layers[2].mlp.up_proj.weight[[7]])


def test_the_undo_patch_undoes_in_memory_too(tmp_path, tiny_model):
    base = tiny_model()
    folder, path, *_ = make(tmp_path, base)
    on_disk.apply(folder, path, tmp_path / "undo.safetensors")
    model = changed(base, NEURONS)
    patch.apply(tmp_path / "undo.safetensors", model)
    assert all(torch.equal(value, base.state_dict()[name]) for name, value in model.state_dict().items())


def test_an_undo_patch_of_ones_own_is_kept(tmp_path, tiny_model):
    folder, path, before, after = make(tmp_path, tiny_model())
    undo = tmp_path / "aside" / "back.safetensors"
    on_disk.apply(folder, path, undo)
    assert not (folder / "caneft").exists()
    on_disk.revert(folder, undo)
    assert sums(folder) == before and undo.exists()
    on_disk.apply(folder, path, undo)
    assert sums(folder) == after


def test_files_without_selected_neurons_are_not_written(tmp_path, tiny_model):
    neurons = NeuronSet(3, 40, (np.array([1]), *[np.array([], int)] * 2))
    folder, path, before, after = make(tmp_path, tiny_model(), neurons, SHARDS)
    inodes = {file.name: file.stat().st_ino for file in folder.glob("*.safetensors")}
    on_disk.apply(folder, path)
    moved = {name for name, inode in inodes.items() if (folder / name).stat().st_ino != inode}
    assert moved == {name for name in inodes if before[name] != after[name]} and len(moved) == 3 < len(inodes)


def test_a_linked_file_is_replaced_and_what_it_links_to_stays(tmp_path, tiny_model):
    """The hub's cache consists of such links."""
    folder, path, before, after = make(tmp_path, tiny_model())
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    on_disk.apply(folder, path)
    assert sums(folder) == after and sha256(tmp_path / "blob") == before["model.safetensors"]


def test_the_folder_of_the_lock_is_let_go_only_when_it_is_gone(tmp_path, tiny_model, monkeypatch):
    folder, path, before, _ = make(tmp_path, tiny_model())
    on_disk.apply(folder, path)
    remove = shutil.rmtree

    def remove_last(aside):
        with pytest.raises(Timeout):
            FileLock(aside / "lock").acquire(timeout=0)
        remove(aside)

    monkeypatch.setattr(on_disk.shutil, "rmtree", remove_last)
    on_disk.revert(folder)
    assert sums(folder) == before and not (folder / "caneft").exists()


def test_applying_twice_changes_nothing(tmp_path, tiny_model):
    folder, path, before, after = make(tmp_path, tiny_model(), shards=SHARDS)
    on_disk.apply(folder, path)
    inodes = {file: file.stat().st_ino for file in folder.glob("*.safetensors")}
    on_disk.apply(folder, path)
    assert sums(folder) == after
    assert inodes == {file: file.stat().st_ino for file in folder.glob("*.safetensors")}  # not even written again
    on_disk.revert(folder)
    assert sums(folder) == before


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.fixture
def killing(monkeypatch):
    """Makes a run die at the write into a weight file that has this number."""

    def at(number):
        writes, write_lines = [], weights.Place.write

        def counted(place, slices, file):
            writes.append(file)
            if len(writes) > number:
                raise Killed
            write_lines(place, slices, file)

        monkeypatch.setattr(weights.Place, "write", counted)

    return at


WRITES = 6  # three projections in each of two layers


@pytest.mark.parametrize("number, unit", [*((n, NEURON) for n in range(WRITES)), (2, HEAD)])
@pytest.mark.parametrize("then", ["apply", "revert"])
def test_a_killed_apply_goes_on_or_back(tmp_path, tiny_model, killing, monkeypatch, number, then, unit):
    folder, path, before, after = make(tmp_path, tiny_model(dtype=torch.bfloat16), SETS[unit], SHARDS)
    killing(number)
    with pytest.raises(Killed):
        on_disk.apply(folder, path)
    monkeypatch.undo()
    now = sums(folder)
    assert all(now[name] in (before[name], after[name]) for name in before)
    assert sum(now[name] != before[name] for name in before) == number
    if then == "apply":
        on_disk.apply(folder, path)
        assert sums(folder) == after
    on_disk.revert(folder)
    assert sums(folder) == before


@pytest.mark.parametrize("number", [0, 1, 4])
def test_a_killed_revert_goes_on_or_back(tmp_path, tiny_model, killing, monkeypatch, number):
    folder, path, before, after = make(tmp_path, tiny_model(), shards=SHARDS)
    on_disk.apply(folder, path)
    killing(number)
    with pytest.raises(Killed):
        on_disk.revert(folder)
    monkeypatch.undo()
    on_disk.apply(folder, path)
    assert sums(folder) == after
    on_disk.revert(folder)
    assert sums(folder) == before


SUICIDE = """
import os, shutil, signal, sys
from caneft.patch import folder, weights
write, writes = weights.Place.write, []
def last(place, slices, file):
    write(place, slices, file)
    writes.append(file)
    if len(writes) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
weights.Place.write = last
folder.apply(*sys.argv[1:])
"""


@pytest.mark.slow
def test_sigkill_in_the_middle_leaves_what_the_next_run_clears(tmp_path, tiny_model):
    folder, path, before, after = make(tmp_path, tiny_model(), shards=SHARDS)
    done = subprocess.run([sys.executable, "-c", SUICIDE, folder, path], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGKILL
    left = {name: sum for name, sum in sums(folder).items() if name not in before}
    assert len(left) == 1 and next(iter(left)).startswith(".model-")
    assert sums(folder) != before | left and sums(folder) != after | left
    on_disk.apply(folder, path)
    assert sums(folder) == after
    on_disk.revert(folder)
    assert sums(folder) == before


def test_files_are_on_disk_before_they_take_their_places_and_the_undo_patch_is_first(tmp_path, tiny_model, monkeypatch):
    folder, path, *_ = make(tmp_path, tiny_model(), shards=SHARDS)
    done, sync, replace = [], files.sync, os.replace
    monkeypatch.setattr(files, "sync", lambda file: (done.append(("sync", file)), sync(file)))
    monkeypatch.setattr(os, "replace", lambda old, new: (done.append(("rename", old, new)), replace(old, new)))
    on_disk.apply(folder, path)
    syncs, renames = done[::2], done[1::2]
    assert [("sync", rename[1]) for rename in renames] == syncs
    assert [rename[2].name for rename in renames][0] == "undo.safetensors" and len(renames) == 1 + WRITES


def test_another_process_at_work_is_waited_for(tmp_path, tiny_model):
    from filelock import FileLock

    folder, path, before, _ = make(tmp_path, tiny_model())
    (folder / "caneft").mkdir()
    with FileLock(folder / "caneft" / "lock"), refused(folder):
        on_disk.apply(folder, path)
    assert sums(folder) == before


def test_another_base_is_refused_and_left_alone(tmp_path, tiny_model):
    _, path, *_ = make(tmp_path, tiny_model())
    other = saved(tiny_model(seed=5), tmp_path / "other")
    before = sums(other)
    with refused("patch.safetensors", 4, 0, 2, "tiny"):
        on_disk.apply(other, path)
    assert sums(other) == before and not (other / "caneft").exists()


def test_another_dtype_is_refused_with_the_remedy(tmp_path, tiny_model):
    _, path, *_ = make(tmp_path, tiny_model())
    other = saved(tiny_model(dtype=torch.bfloat16), tmp_path / "other")
    with refused("patch.safetensors", "float32", "other/model.safetensors", "bfloat16", "`merge`"):
        on_disk.apply(other, path)


def test_other_sizes_are_refused(tmp_path, tiny_model):
    _, path, *_ = make(tmp_path, tiny_model())
    other = saved(tiny_model(intermediate_size=48), tmp_path / "other")
    with refused("patch.safetensors", 3, 40, 48):
        on_disk.apply(other, path)


def test_a_patch_that_is_in_already_without_its_undo_patch_is_refused(tmp_path, tiny_model):
    folder, path, _, after = make(tmp_path, tiny_model())
    on_disk.apply(folder, path, tmp_path / "undo.safetensors")
    with refused("patch.safetensors") as caught:
        on_disk.apply(folder, path)
    assert "4 of 4" not in str(caught.value)  # not as for a base that it was never made for
    assert sums(folder) == after


def test_a_second_patch_needs_an_undo_patch_of_its_own_and_they_revert_in_any_order(tmp_path, tiny_model):
    base = tiny_model()
    folder, path, before, after = make(tmp_path, base)
    second = write(tmp_path / "second.safetensors", base, changed(base, HEADS), HEADS)
    on_disk.apply(folder, path)
    with refused(folder / "caneft" / "undo.safetensors", second, "--undo"):
        on_disk.apply(folder, second)
    assert sums(folder) == after
    on_disk.apply(folder, second, tmp_path / "second-undo.safetensors")
    on_disk.revert(folder)
    on_disk.revert(folder, tmp_path / "second-undo.safetensors")
    assert sums(folder) == before


@pytest.mark.parametrize("act", ["apply", "revert"])
def test_weights_that_are_neither_are_refused(tmp_path, tiny_model, act):
    """Someone changed a selected weight in between."""
    folder, path, *_ = make(tmp_path, tiny_model())
    on_disk.apply(folder, path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.down_proj.weight"][5, 39] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    before = sums(folder)
    with refused(folder, 1, 4, 0):
        on_disk.apply(folder, path) if act == "apply" else on_disk.revert(folder)
    assert sums(folder) == before


def test_revert_without_an_undo_patch_says_so(tmp_path, tiny_model):
    folder, path, *_ = make(tmp_path, tiny_model())
    with refused(folder / "caneft" / "undo.safetensors"):
        on_disk.revert(folder)
    with refused(path, "`apply`"):
        on_disk.revert(folder, path)


def broken(folder, kind):
    match kind:
        case "no configuration":
            (folder / "config.json").unlink()
        case "no weights":
            (folder / "model.safetensors").unlink()
        case "truncated":
            (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-4])
        case "not safetensors":
            (folder / "model.safetensors").write_bytes(b"PK\x03\x04 a pickle")
        case "index of nothing":
            (folder / "model.safetensors").rename(folder / "other.safetensors")
            (folder / "model.safetensors.index.json").write_text("{}")
        case "missing shard":
            (folder / "model.safetensors").rename(folder / "other.safetensors")
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "one", "b": "two"}}))
        case "missing tensor":
            tensors = load_file(folder / "model.safetensors")
            del tensors["model.layers.2.mlp.up_proj.weight"]
            save_file(tensors, folder / "model.safetensors")
        case "quantised":
            tensors = load_file(folder / "model.safetensors")
            tensors["model.layers.2.mlp.up_proj.weight"] = torch.zeros(40, 24, dtype=torch.int8)
            save_file(tensors, folder / "model.safetensors")


BROKEN = {
    "no configuration": ["config.json"],
    "no weights": ["model.safetensors", "model.safetensors.index.json"],
    "truncated": ["model.safetensors"],
    "not safetensors": ["model.safetensors"],
    "index of nothing": ["model.safetensors.index.json"],
    "missing shard": ["one, two", "model.safetensors.index.json"],
    "missing tensor": ["model.layers.2.mlp.up_proj.weight"],
    "quantised": ["model.safetensors", "model.layers.2.mlp.up_proj.weight", "I8"],
}


@pytest.mark.parametrize("kind, facts", BROKEN.items(), ids=BROKEN)
def test_a_folder_that_is_no_whole_model_is_refused(tmp_path, tiny_model, kind, facts):
    folder, path, *_ = make(tmp_path, tiny_model())
    broken(folder, kind)
    before = sums(folder)
    with refused(folder, *facts):
        on_disk.apply(folder, path)
    assert sums(folder) == before


def test_memory_stays_far_below_the_weights(tmp_path, tiny_model):
    """Files are copied and mapped, so the peak of Python's memory is that of the slices, not of the model."""
    import tracemalloc

    options = {"hidden_size": 512, "intermediate_size": 4096, "num_hidden_layers": 3}
    folder, path, _, after = make(tmp_path, tiny_model(**options), NeuronSet(3, 4096, NEURONS.indices))
    tracemalloc.start()
    on_disk.apply(folder, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sums(folder) == after
    assert peak < (folder / "model.safetensors").stat().st_size / 10


def test_the_patch_itself_may_lack_nothing(tmp_path, tiny_model):
    folder, path, before, _ = make(tmp_path, tiny_model())
    tampered(path, drop=["layers.2.up"])
    with refused("patch.safetensors", "layers.2.up"):
        on_disk.apply(folder, path)
    assert sums(folder) == before


def test_a_folder_that_may_not_be_written_is_an_error_and_stays(tmp_path, tiny_model, monkeypatch):
    folder, path, before, after = make(tmp_path, tiny_model())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(on_disk.shutil, "copy2", full)
    with refused("No space left", by=OSError):
        on_disk.apply(folder, path)
    assert sums(folder) == before
    monkeypatch.undo()
    on_disk.apply(folder, path)
    assert sums(folder) == after and os.listdir(folder / "caneft")


def test_a_second_patch_of_the_same_neurons_is_not_taken_for_the_first(tmp_path, tiny_model):
    """Only the hashes tell them apart."""
    base = tiny_model()
    folder, path, before, after = make(tmp_path, base)
    second = write(tmp_path / "second.safetensors", base, changed(base, NEURONS, seed=2), NEURONS)
    on_disk.apply(folder, path)
    with refused(folder / "caneft" / "undo.safetensors", second, "--undo"):
        on_disk.apply(folder, second)
    assert sums(folder) == after
    on_disk.revert(folder)
    assert sums(folder) == before


def test_the_files_of_a_new_folder_are_on_disk_before_it_appears(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(outputs, "sync", lambda file: seen.append((file.name, (tmp_path / "out").exists())))
    with outputs.new_folder(tmp_path / "out") as beside:
        (beside / "inner").mkdir()
        (beside / "a").touch()
        (beside / "inner" / "b").touch()
    assert sorted(seen) == [("a", False), ("b", False)] and (tmp_path / "out" / "inner" / "b").exists()
