"""Several patches side by side, and the command line: `python -m caneft patch`."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_patch import BASE, HEADS, NEURONS, NONE, bits, changed, tampered, write
from test_patch_folder import saved, sums

from caneft import patch
from caneft.commands import patch as commands
from caneft.errors import InputError
from caneft.models.manifests import PRETRAINED_HERE
from caneft.neurons import HEAD, NEURON, NeuronSet
from caneft.patch import command, compare
from caneft.storage.files import write_json
from tests.messages import assert_names, refused

ROOT = Path(__file__).parents[2]
VERBS = ("inspect", "apply", "revert", "merge", "to-lora", "diff", "compose")
OTHERS = NeuronSet(3, 40, (np.array([1, 3]), np.array([0]), NONE))
"""Shares neuron 3 of layer 0 with NEURONS."""
APART = NeuronSet(3, 40, (np.array([1, 38]), np.array([0]), np.array([8])))
OTHER_HEADS = NeuronSet(3, 2, (np.array([0]), np.array([0, 1]), NONE), HEAD)


@pytest.fixture
def call(command_line):
    return lambda *arguments: command_line("patch", *arguments)


@pytest.fixture
def two(tmp_path, tiny_model):
    """A base and two patches that share a neuron."""
    base = tiny_model()
    a = write(tmp_path / "a.safetensors", base, changed(base, NEURONS, 1), NEURONS)
    b = write(tmp_path / "b.safetensors", base, changed(base, OTHERS, 2), OTHERS)
    return base, a, b


def test_inspect_says_what_a_patch_holds(two, call):
    _, a, _ = two
    code, out, err = call("inspect", a, "--json")
    assert code == 0 and err == ""
    modules = {name: f"model.layers.{{layer}}.mlp.{name}_proj" for name in ("gate", "up", "down")}
    sizes = {"layers": 3, "width": 40, "units": 4, "units_per_layer": [3, 0, 1], "parameters": 4 * 3 * 24}
    kind = {"base": BASE, "model_type": "llama", "unit": "neuron", "dtype": "float32"}
    ranks = {"lora_ranks": {module: [3, 0, 1] for module in modules.values()}}
    assert json.loads(out) == sizes | kind | ranks | {"bytes": a.stat().st_size}
    code, out, _ = call("inspect", a)
    for said in ("tiny, llama", "4 of 3 layers x 40", "3, 0, 1", "288 in float32", "up to 3"):
        assert said in out


def test_inspect_counts_the_ranks_of_fused_modules(tmp_path, tiny_model, call):
    base = tiny_model("phi3")
    a = write(tmp_path / "a.safetensors", base, base, NEURONS)
    ranks = json.loads(call("inspect", a, "--json")[1])["lora_ranks"]
    layer = "model.layers.{layer}.mlp."
    assert ranks == {f"{layer}gate_up_proj": [6, 0, 2], f"{layer}down_proj": [3, 0, 1]}


@pytest.mark.parametrize("command", ["inspect", "to-lora"])
def test_high_ranks_are_warned_of(tmp_path, tiny_model, call, command):
    base = tiny_model(num_hidden_layers=1, intermediate_size=600)
    a = write(tmp_path / "a.safetensors", base, base, NeuronSet(1, 600, (np.arange(513),)))
    arguments = [a] if command == "inspect" else [saved(base, tmp_path / "base"), a, tmp_path / "out"]
    code, _, err = call(command, *arguments)
    assert code == 0
    assert_names(err, 512, 513, "`selection.per_layer`")


def test_apply_revert_merge_and_export_from_the_command_line(two, call, tmp_path):
    base, a, _ = two
    folder = saved(base, tmp_path / "base")
    before = sums(folder)
    assert call("merge", folder, a, tmp_path / "merged")[:2] == (
        0,
        f"{tmp_path / 'merged'}: {folder} with 4 neurons put in\n",
    )
    code, out, _ = call("to-lora", folder, a, tmp_path / "lora")
    assert code == 0
    assert_names(out, "4 neurons", "--max-lora-rank 8")  # layer 0 has 3 neurons, but vLLM accepts no rank 3
    assert {file.name for file in (tmp_path / "lora").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert call("apply", folder, a)[0] == 0
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    patched = load_file(folder / "model.safetensors")
    assert all(torch.equal(merged[name], tensor) for name, tensor in patched.items())
    assert call("revert", folder)[0] == 0 and sums(folder) == before
    assert call("apply", folder, a, "--undo", tmp_path / "undo.safetensors")[0] == 0
    assert sums(folder) != before
    assert call("revert", folder, tmp_path / "undo.safetensors")[0] == 0 and sums(folder) == before


def test_a_model_of_the_results_is_not_changed_unless_forced(two, call, tmp_path):
    base, a, _ = two
    folder = saved(base, tmp_path / "results/models/tiny")
    write_json(folder / "manifest.json", {"weights": {}})
    (tmp_path / "results/config.yaml").write_text("{}")
    (tmp_path / "link").symlink_to(folder)
    before = sums(folder)
    for name in (folder, tmp_path / "link"):
        code, _, err = call("apply", name, a)
        assert code == 1 and sums(folder) == before and not (folder / "caneft").exists()
        assert_names(err, name, tmp_path / "results", "--force")
    assert call("apply", folder, a, "--force")[0] == 0 and sums(folder) != before
    assert call("revert", folder)[0] == 0 and sums(folder) == before  # needs no --force


@pytest.mark.parametrize("place", ["served", "results/served", "models/tiny", "runs/tiny/de-en/all/full/seed1"])
def test_a_copy_of_such_a_model_may_be_changed(two, call, tmp_path, place):
    """It has the manifest, but is not in the results folder; the last two are not beside a configuration."""
    base, a, _ = two
    (tmp_path / "results").mkdir()
    (tmp_path / "results/config.yaml").write_text("{}")
    folder = saved(base, tmp_path / place)
    for sidecar in ("manifest.json", "record.json"):
        write_json(folder / sidecar, {"weights": {}})
    before = sums(folder)
    assert call("apply", folder, a)[0] == 0 and sums(folder) != before


def test_a_run_with_the_weights_of_a_whole_model_is_one_of_the_results(two, call, tmp_path):
    base, a, _ = two
    folder = saved(base, tmp_path / "results/runs/tiny/de-en/all/full/seed1")
    write_json(folder / "record.json", {"files": {}})
    (tmp_path / "results/config.yaml").write_text("{}")
    assert call("apply", folder, a)[0] == 1


def test_a_base_that_was_pretrained_here_is_named_by_its_weights(tmp_path, tiny_model, call):
    base = tiny_model()
    model = changed(base, NEURONS)
    path, about = tmp_path / "a.safetensors", {"id": PRETRAINED_HERE, "revision": None}
    write(path, base, model, NEURONS, about | {"weights": {"model.safetensors": "0123456789abcdef" * 4}})
    said = call("inspect", path)[1]
    assert_names(said, "0123456789ab")
    assert PRETRAINED_HERE not in said and "None" not in said


def test_a_lora_file_and_other_weights_are_no_patches_and_are_called_what_they_are(tmp_path, call, two):
    base, a, _ = two
    assert call("to-lora", saved(base, tmp_path / "base"), a, tmp_path / "lora")[0] == 0
    for file, fact in (
        (tmp_path / "lora/adapter_model.safetensors", "LoRA"),
        (tmp_path / "base/model.safetensors", "weights"),
        (tmp_path / "base", "folder"),
    ):
        code, _, err = call("inspect", file)
        assert code == 1 and "Error:" in err and "KeyError" not in err
        assert_names(err, file, fact)


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_has_help(verb):
    parser = argparse.ArgumentParser()
    commands.add(parser.add_subparsers())
    verbs = parser._subparsers._group_actions[0].choices["patch"]._subparsers._group_actions[0].choices
    assert set(verbs) == set(VERBS)
    assert all(action.help for action in verbs[verb]._actions)


def test_errors_are_one_message(two, call, tmp_path, tiny_model):
    _, a, _ = two
    code, out, err = call("apply", saved(tiny_model(seed=4), tmp_path / "base"), a)
    assert code == 1 and out == ""
    assert err.splitlines()[-1].startswith("Error: ") and "Traceback" not in err
    assert_names(err, "a.safetensors", 4, "tiny")


def test_an_error_of_the_disk_and_ctrl_c_are_one_message_too(two, call, monkeypatch):
    _, a, _ = two
    for error, code, fact in (
        (PermissionError(13, "Permission denied", "here"), 1, "Permission denied: 'here'"),  # in the system's words
        (KeyboardInterrupt(), 130, ""),
    ):

        def failing(*_, error=error):
            raise error

        monkeypatch.setattr(command.compare, "inspect", failing)
        found, _, err = call("inspect", a)
        assert found == code and fact in err and len(err.splitlines()) == 1


def test_a_command_that_is_none_is_an_error(call):
    assert call("improve")[0] == 2 and call()[0] == 2


def test_it_runs_as_a_module(two):
    _, a, _ = two
    line = [sys.executable, "-m", "caneft", "patch", "inspect", a, "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)["units"] == 4, done.stderr


def flat(model, layer, neuron):
    """A neuron's weights as one vector, from the model's own matrices."""
    mlp = model.model.layers[layer].mlp
    parts = mlp.gate_proj.weight[neuron], mlp.up_proj.weight[neuron], mlp.down_proj.weight[:, neuron]
    return torch.cat(parts).double().numpy()


def test_diff_equals_numpy_on_the_models(two, tmp_path):
    base, a, b = two
    one, other = changed(base, NEURONS, 1), changed(base, OTHERS, 2)
    found = compare.diff(a, b, saved(base, tmp_path / "base"))
    assert (found["same_base"], found["units"], found["replace_the_same"]) == (True, 1, 1)
    counts = [tuple(row[key] for key in ("both", "only_a", "only_b")) for row in found["layers"]]
    assert counts == [(1, 2, 1), (0, 0, 1), (0, 1, 0)]
    x, y, origin = (flat(model, 0, 3) for model in (one, other, base))
    assert found["layers"][0]["distance"] == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(x), rel=1e-12)
    cosine = (x - origin) @ (y - origin) / np.linalg.norm(x - origin) / np.linalg.norm(y - origin)
    assert found["layers"][0]["cosine"] == pytest.approx(cosine, rel=1e-9) and abs(cosine) < 0.9
    assert found["layers"][1]["distance"] is found["layers"][1]["cosine"] is None


def test_diff_of_a_patch_with_itself_and_its_half(two, tmp_path, call):
    base, a, _ = two
    half = write(tmp_path / "half.safetensors", base, changed(base, NEURONS, 1, scale=0.5), NEURONS)
    rows = compare.diff(a, a)["layers"]
    assert [row["distance"] for row in rows] == [0, None, 0] and "cosine" not in rows[0]
    rows = compare.diff(a, half, saved(base, tmp_path / "base"))["layers"]
    assert rows[0]["cosine"] == pytest.approx(1, abs=1e-6) and rows[0]["distance"] > 0.1
    code, out, _ = call("diff", a, half, "--base", tmp_path / "base")
    lines = out.splitlines()
    assert code == 0 and lines[0] == "bases: the same; 4 of 4 units in both replace the same weights"
    assert lines[1].split() == ["layer", "both", "only_a", "only_b", "distance", "cosine"]
    assert lines[3].split() == ["1", "0", "0", "0", "-", "-"] and lines[2].split()[-1] == "1.000000"


def test_diff_says_when_bases_differ(two, tmp_path, tiny_model):
    _, a, _ = two
    other = tiny_model(seed=1)
    said = BASE | {"weights": {"model.safetensors": "1" * 64}}
    b = write(tmp_path / "o.safetensors", other, changed(other, NEURONS), NEURONS, said)
    found = compare.diff(a, b)
    assert (found["same_base"], found["units"], found["replace_the_same"]) == (False, 4, 0)
    with refused("a.safetensors", 4, "tiny"):
        compare.diff(a, b, saved(other, tmp_path / "other"))


def test_diff_refuses_other_units_and_sizes(two, tmp_path, tiny_model):
    base, a, _ = two
    heads = write(tmp_path / "h.safetensors", base, base, HEADS)
    with refused("3 x 40", "3 x 2", "neuron", "head"):
        compare.diff(a, heads)
    wide = tiny_model(hidden_size=48)
    with pytest.raises(InputError):  # otherwise NumPy or torch would raise their own errors
        compare.diff(a, write(tmp_path / "w.safetensors", wide, wide, NEURONS))


@pytest.mark.parametrize("architecture", ["llama", "phi3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("unit", [NEURON, HEAD])
def test_composed_is_one_after_the_other(tmp_path, tiny_model, architecture, dtype, unit):
    base = tiny_model(architecture, dtype=dtype)
    sets = [NEURONS, APART] if unit == NEURON else [HEADS, OTHER_HEADS]
    models = [changed(base, neurons, seed) for seed, neurons in enumerate(sets)]
    paths = [
        write(tmp_path / f"{name}.safetensors", base, model, neurons)
        for name, model, neurons in zip("ab", models, sets, strict=True)
    ]
    before = bits(base)
    composed = compare.compose(paths, tmp_path / "ab.safetensors")
    assert composed.neurons == sets[0] | sets[1]
    swapped = compare.compose(paths[::-1], tmp_path / "ba.safetensors")
    assert (tmp_path / "ab.safetensors").read_bytes() == (tmp_path / "ba.safetensors").read_bytes() and swapped
    undo = patch.swap(base, patch.read(tmp_path / "ab.safetensors"))
    together = bits(base)
    patch.swap(base, undo)
    assert bits(base) == before
    for path in paths:
        patch.apply(path, base)
    assert bits(base) == together != before


def test_compose_names_what_overlaps(two, tmp_path, call):
    _, a, b = two
    code, _, err = call("compose", a, b, tmp_path / "out.safetensors")
    assert code == 1
    assert_names(err, "a.safetensors", "b.safetensors", 1, "layer 0: [3]")
    assert not (tmp_path / "out.safetensors").exists()


def test_compose_takes_three(tmp_path, tiny_model, call):
    base = tiny_model()
    last = NeuronSet(3, 40, (np.array([20]), NONE, NONE))
    paths = [
        write(tmp_path / f"{number}.safetensors", base, changed(base, neurons, number), neurons)
        for number, neurons in enumerate((NEURONS, APART, last))
    ]
    code, out, _ = call("compose", *paths, tmp_path / "out.safetensors")
    assert code == 0 and "9 neurons" in out
    assert patch.apply(tmp_path / "out.safetensors", base).indices[0].tolist() == [0, 1, 3, 20, 38, 39]
    before = (tmp_path / "out.safetensors").read_bytes()
    code, _, err = call("compose", *paths, tmp_path / "out.safetensors")
    assert code == 1 and str(tmp_path / "out.safetensors") in err
    assert (tmp_path / "out.safetensors").read_bytes() == before


REFUSED = {
    "unit": (("neuron", "head"), lambda base: (base, HEADS, BASE)),
    "dtype": (("float32", "bfloat16"), lambda base: (base.to(torch.bfloat16), APART, BASE)),
    "weights": (["tiny"], lambda base: (base, APART, BASE | {"weights": {"model.safetensors": "1" * 64}})),
    "revision": (["tiny", "revision 1"], lambda base: (base, APART, {"id": "tiny", "revision": "1"})),
}


@pytest.mark.parametrize("facts, make", REFUSED.values(), ids=REFUSED)
def test_compose_refuses_what_does_not_belong_together(two, tmp_path, facts, make):
    base, a, _ = two
    model, neurons, origin = make(base)
    b = write(tmp_path / "b.safetensors", model, model, neurons, origin)
    with refused("a.safetensors", "b.safetensors", *facts):
        compare.compose([a, b], tmp_path / "out.safetensors")


def test_compose_refuses_another_architecture(two, tmp_path, tiny_model):
    _, a, _ = two
    phi = tiny_model("phi3")
    with refused("a.safetensors", "b.safetensors", "tiny"):
        compare.compose([a, write(tmp_path / "b.safetensors", phi, phi, APART)], tmp_path / "out.safetensors")


def test_a_damaged_patch_is_refused_by_every_command(two, tmp_path, call):
    base, a, b = two
    folder = saved(base, tmp_path / "base")
    tampered(a, drop=["layers.2.up"])
    out = tmp_path / "out.safetensors"
    lines = [("inspect", a), ("apply", folder, a), ("revert", folder, a), ("merge", folder, a, out)]
    lines += [("to-lora", folder, a, out), ("diff", b, a), ("compose", b, a, out)]
    for line in lines:
        code, _, err = call(*line)
        assert code == 1 and not out.exists(), line
        assert_names(err, a, "layers.2.up")


def test_the_examples_of_the_guide_run(tmp_path, tiny_model, monkeypatch, call):
    """Every command and the Python of docs/patch.md run in order on the demo's files."""
    text = (ROOT / "docs" / "patch.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    base, runs = tiny_model(), Path("results/runs/tiny-llama/de-en/all")
    folder = saved(base, Path("results/models/tiny-llama"))
    write_json(folder / "manifest.json", {"id": "tiny", "folder": ".", "weights": {}})
    write(runs / "caneft/seed1/patch.safetensors", base, changed(base, NEURONS), NEURONS)
    write(runs / "random/seed1/patch.safetensors", base, changed(base, OTHERS), OTHERS)
    for name, neurons in (("a", NEURONS), ("b", APART)):
        write(Path(f"{name}.safetensors"), base, changed(base, neurons), neurons)
    lines = [line.split() for block in re.findall(r"```sh\n(.+?)```", text, re.DOTALL) for line in block.splitlines()]
    assert {line[4] for line in lines if line[0] == "python"} == set(VERBS)
    for line in lines:
        if line[:2] == ["cp", "-r"]:
            shutil.copytree(*line[2:])
        else:
            assert line[:4] == ["python", "-m", "caneft", "patch"]
            assert call(*line[4:])[0] == 0, line
    assert sums(Path("served")) == sums(folder)
    (code,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    names = {}
    exec(code, names)
    assert bits(names["model"]) == bits(base) and names["undo"].neurons == NEURONS
