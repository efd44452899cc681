"""The neuron patch: tuned weights come back bit for bit, and nothing else is accepted as a patch."""

import copy
import hashlib
import json
import re

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from caneft import patch
from caneft.neurons import HEAD, NEURON, NeuronSet
from tests import naive
from tests.conftest import FAMILIES
from tests.messages import refused

BASE = {"id": "tiny", "revision": None, "weights": {"model.safetensors": "0" * 64}}
NONE = np.array([], dtype=int)
NEURONS = NeuronSet(3, 40, (np.array([0, 3, 39]), NONE, np.array([7])))
HEADS = NeuronSet(3, 2, (np.array([1]), NONE, np.array([0, 1])), HEAD)
SETS = {NEURON: NEURONS, HEAD: HEADS}


def head_weights(attention, config, j):
    """Module names and indices of the weights of key/value head j, worked out by hand."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    group = config.num_attention_heads // config.num_key_value_heads
    queries, shared = slice(j * group * head, (j + 1) * group * head), slice(j * head, (j + 1) * head)
    columns = ("o_proj", (slice(None), queries))
    if not hasattr(attention, "qkv_proj"):
        return [("q_proj", queries), ("k_proj", shared), ("v_proj", shared), columns]
    k = config.num_attention_heads * head
    v = k + config.num_key_value_heads * head
    starts = (k + shared.start, v + shared.start)
    return [("qkv_proj", queries), *(("qkv_proj", slice(start, start + head)) for start in starts), columns]


def changed(base, neurons, seed=1, scale=1.0):
    """A copy whose selected units have other numbers."""
    model = copy.deepcopy(base)
    torch.manual_seed(seed)
    with torch.no_grad():
        for layer, indices in zip(naive.decoder_layers(model), neurons.indices, strict=True):
            for j in indices.tolist():
                if neurons.unit == HEAD:
                    block, places = layer.self_attn, head_weights(layer.self_attn, model.config.get_text_config(), j)
                else:
                    block, places = layer.mlp, naive.neuron_weights(layer.mlp, j)
                for name, index in places:
                    weight = getattr(block, name).weight
                    weight[index] += scale * torch.randn_like(weight[index])
    return model


def bits(model):
    return {name: value.contiguous().view(torch.uint8).numpy().tobytes() for name, value in model.state_dict().items()}


def write(path, base, tuned, neurons, said=BASE):
    """Writes the patch between two models."""
    patch.save(path, patch.taken(tuned, neurons, patch.slices_hash(base, neurons), said))
    return path


@pytest.fixture
def written(tmp_path, tiny_model):
    """Base, tuned model, and the patch between them."""
    base = tiny_model()
    tuned = changed(base, NEURONS)
    return base, tuned, write(tmp_path / "patch.safetensors", base, tuned, NEURONS)


def manifest_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["caneft"])


def tampered(path, tensors=None, drop=(), **manifest):
    """Writes the patch again with some of its content changed."""
    held = {name: tensor.clone() for name, tensor in load_file(path).items()} | (tensors or {})
    held = {name: tensor for name, tensor in held.items() if name not in drop}
    said = {name: value for name, value in (manifest_of(path) | manifest).items() if value is not None}
    save_file(held, path, metadata={"caneft": json.dumps(said)})


@pytest.mark.parametrize("unit", SETS)
def test_a_swap_is_bit_equal_there_and_back(tmp_path, tiny_model, architecture, unit):
    """Every family occurs with both units and both dtypes, and every unit with both dtypes."""
    turn = FAMILIES.index(architecture) + list(SETS).index(unit)
    dtype = (torch.float32, torch.bfloat16)[turn % 2]
    base, neurons = tiny_model(architecture, dtype=dtype), SETS[unit]
    before, tuned = bits(base), changed(base, neurons)
    path = write(tmp_path / "patch.safetensors", base, tuned, neurons)
    assert before != bits(tuned)
    undo = patch.swap(base, patch.read(path))
    assert bits(base) == bits(tuned)
    again = patch.swap(base, undo)
    assert bits(base) == before
    patch.save(tmp_path / "again.safetensors", again)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_apply_gives_the_tuned_model_and_says_which_neurons(tmp_path, tiny_model, dtype):
    base = tiny_model(dtype=dtype)
    tuned = changed(base, NEURONS)
    assert patch.apply(write(tmp_path / "patch.safetensors", base, tuned, NEURONS), base) == NEURONS
    assert bits(base) == bits(tuned)


def test_what_a_patch_holds(written):
    base, tuned, path = written
    tensors, mlp = load_file(path), tuned.model.layers[0].mlp
    names = ("index", "replaced", "gate", "up", "down")
    assert set(tensors) == {f"layers.{layer}.{name}" for layer in (0, 2) for name in names}
    assert tensors["layers.0.index"].dtype == torch.int32 and tensors["layers.0.index"].tolist() == [0, 3, 39]
    assert torch.equal(tensors["layers.0.gate"], mlp.gate_proj.weight[[0, 3, 39]])
    assert torch.equal(tensors["layers.0.up"], mlp.up_proj.weight[[0, 3, 39]])
    assert torch.equal(tensors["layers.0.down"], mlp.down_proj.weight[:, [0, 3, 39]])
    modules = {name: f"model.layers.{{layer}}.mlp.{name}_proj" for name in ("gate", "up", "down")}
    sizes = {"format": 2, "unit": "neuron", "layers": 3, "width": 40}
    assert manifest_of(path) == sizes | {"base": BASE, "dtype": "float32", "model_type": "llama", "modules": modules}


def test_hashes_are_the_first_bytes_of_sha256_over_what_is_replaced(written):
    """The definition by numpy alone: SHA-256 over name, shape and dtype, then over the bytes of the neuron's line."""
    base, _, path = written
    mlp = base.model.layers[0].mlp
    digest = hashlib.sha256()
    lines = mlp.gate_proj.weight[39], mlp.up_proj.weight[39], mlp.down_proj.weight[:, 39]
    for name, line in zip(("gate", "up", "down"), lines, strict=True):
        digest.update(f"{name}(1, 24)torch.float32".encode() + line.numpy().astype("<f4").tobytes())
    found = load_file(path)["layers.0.replaced"]
    assert found.shape == (3, 8) and found.dtype == torch.uint8
    assert found[2].numpy().tobytes() == digest.digest()[:8]


def test_what_a_patch_of_heads_holds(tmp_path, tiny_model):
    base = tiny_model()
    tuned = changed(base, HEADS)
    tensors = load_file(write(tmp_path / "patch.safetensors", base, tuned, HEADS))
    attention = tuned.model.layers[0].self_attn  # heads of 6; the second key/value head serves queries 2 and 3
    assert torch.equal(tensors["layers.0.q"], attention.q_proj.weight[12:24])
    assert torch.equal(tensors["layers.0.k"], attention.k_proj.weight[6:12])
    assert torch.equal(tensors["layers.0.v"], attention.v_proj.weight[6:12])
    assert torch.equal(tensors["layers.0.o"], attention.o_proj.weight[:, 12:24])
    assert manifest_of(tmp_path / "patch.safetensors")["unit"] == "head"


def test_equal_content_gives_equal_bytes(written, tmp_path):
    base, tuned, path = written
    again = write(tmp_path / "again.safetensors", base, tuned, NEURONS)
    assert path.read_bytes() == again.read_bytes()


@pytest.mark.parametrize(
    "layers, hidden, width, counts, dtype",
    [(3, 96, 384, (40, 40, 35), torch.float32), (8, 2048, 128, (80,) * 8, torch.bfloat16)],
    ids=["the demo's", "2048 wide"],
)
def test_a_patch_is_at_most_a_twentieth_larger_than_its_slices(tmp_path, layers, hidden, width, counts, dtype):
    neurons = NeuronSet(layers, width, tuple(np.arange(count) for count in counts))
    modules = {name: f"model.layers.{{layer}}.mlp.{name}_proj" for name in ("gate", "up", "down")}
    slices = tuple(
        {"gate": torch.ones(k, hidden), "up": torch.ones(k, hidden), "down": torch.ones(hidden, k)} for k in counts
    )
    slices = tuple({name: tensor.to(dtype) for name, tensor in of_layer.items()} for of_layer in slices)
    hashes = tuple(np.zeros((k, 8), np.uint8) for k in counts)
    path = tmp_path / "patch.safetensors"
    patch.save(path, patch.Patch(neurons, slices, hashes, dtype, BASE, "llama", modules))
    least = sum(counts) * 3 * hidden * dtype.itemsize
    assert least < path.stat().st_size <= 1.05 * least
    assert patch.read(path).parameters == sum(counts) * 3 * hidden


def test_another_base_is_refused_and_left_alone(written, tiny_model):
    other = tiny_model(seed=1)
    before = bits(other)
    with refused("patch.safetensors", 4, 0, 2, "tiny"):
        patch.apply(written[2], other)
    assert bits(other) == before


def test_a_patched_model_is_no_base(written, tiny_model):
    """The message differs from that for a base which the patch was never made for."""
    base, _, path = written
    patch.apply(path, base)
    with refused("patch.safetensors") as twice:
        patch.apply(path, base)
    with refused("patch.safetensors") as another:
        patch.apply(path, tiny_model(seed=1))
    assert str(twice.value) != str(another.value)


@pytest.mark.parametrize("matrix, at", [("gate_proj", (3, 5)), ("up_proj", (39, 0)), ("down_proj", (11, 3))])
def test_one_other_number_in_the_slices_is_another_base(written, matrix, at):
    base, _, path = written
    with torch.no_grad():
        getattr(base.model.layers[0].mlp, matrix).weight[at] += 1
    with refused("patch.safetensors", 1, 4, 0, "tiny"):
        patch.apply(path, base)


def test_a_number_outside_the_slices_is_nothing_to_a_patch(written):
    base, _, path = written
    with torch.no_grad():
        base.model.layers[0].mlp.gate_proj.weight[4] += 1
    patch.apply(path, base)


def test_a_refusal_names_the_first_layers_only(tmp_path, tiny_model):
    neurons = NeuronSet(8, 40, (np.array([1, 2]),) * 8)
    base = tiny_model(num_hidden_layers=8)
    path = write(tmp_path / "patch.safetensors", base, base, neurons)
    with refused("patch.safetensors", 16, "0, 1, 2, 3, 4", 3, "tiny") as caught:
        patch.apply(path, tiny_model(num_hidden_layers=8, seed=1))
    assert "4, 5" not in str(caught.value)


def test_another_precision_is_another_base(written):
    base, _, path = written
    with refused("patch.safetensors", "float32", "bfloat16"):
        patch.apply(path, base.to(torch.bfloat16))


@pytest.mark.parametrize(
    "options, facts",
    [
        ({"num_hidden_layers": 2}, (3, 40, 2)),
        ({"intermediate_size": 48}, (3, 40, 48)),
        ({"hidden_size": 16}, ("gate", 0, "3 x 24", "3 x 16")),
    ],
    ids=str,
)
def test_other_sizes_are_refused(written, tiny_model, options, facts):
    other = tiny_model(**options)
    before = bits(other)
    with refused("patch.safetensors", *facts):
        patch.apply(written[2], other)
    assert bits(other) == before


def test_heads_of_another_size_are_refused(tmp_path, tiny_model):
    base = tiny_model("qwen3")
    path = write(tmp_path / "patch.safetensors", base, changed(base, HEADS), HEADS)
    with refused("patch.safetensors", 0, "12 x 24", "24 x 24"):
        patch.apply(path, tiny_model("qwen3", head_dim=12))


GARBAGE = {
    "empty": b"",
    "text": b"Not a patch at all.\n",
    "zeros": bytes(64),
    "header without end": (10**6).to_bytes(8, "little") + b"{",
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_by_name(tmp_path, content):
    path = tmp_path / "patch.safetensors"
    path.write_bytes(content)
    with refused("patch.safetensors"):
        patch.read(path)


def test_a_truncated_patch_is_refused(written):
    base, _, path = written
    path.write_bytes(path.read_bytes()[:-10])
    with refused("patch.safetensors"):
        patch.apply(path, base)


def test_a_missing_file_is_refused(tmp_path, tiny_model):
    with refused("none.safetensors"):
        patch.apply(tmp_path / "none.safetensors", tiny_model())


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"caneft": "{"}, {"caneft": "7"}, {"caneft": "{}"}, {"caneft": "[]"}], ids=str
)
def test_safetensors_of_another_kind_are_refused(tmp_path, metadata):
    path = tmp_path / "patch.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with refused("patch.safetensors"):
        patch.read(path)


def test_a_patch_of_format_1_says_what_to_do(tmp_path, tiny_model):
    """The first version wrote this format."""
    path = tmp_path / "patch.safetensors"
    said = {"format": 1, "layers": 3, "neurons_per_layer": 40, "base": BASE, "replaced_sha256": "0" * 64}
    parts = {"gate": torch.zeros(1, 24), "up": torch.zeros(1, 24), "down": torch.zeros(24, 1)}
    tensors = {f"layers.0.{name}": tensor for name, tensor in parts.items()}
    save_file({"layers.0.index": torch.tensor([3], dtype=torch.int32)} | tensors, path, {"caneft": json.dumps(said)})
    with refused("patch.safetensors", 1, 2):
        patch.apply(path, tiny_model())


def test_a_patch_of_a_later_format_says_so_and_has_another_remedy_than_one_of_an_earlier(written):
    base, _, path = written
    said = {}
    for number in (3, 1):
        tampered(path, format=number)
        with refused("patch.safetensors", number, 2) as caught:
            patch.apply(path, base)
        said[number] = str(caught.value)
    assert said[3].replace("format 3", "format 1") != said[1]


TAMPERED = {
    "tensor missing": {"drop": ["layers.2.up"]},
    "tensor of another shape": {"tensors": {"layers.2.up": torch.zeros(2, 24)}},
    "tensor of another length": {"tensors": {"layers.2.up": torch.zeros(1, 25)}},
    "tensor of another dtype": {"tensors": {"layers.2.up": torch.zeros(1, 24, dtype=torch.bfloat16)}},
    "index out of range": {"tensors": {"layers.2.index": torch.tensor([40], dtype=torch.int32)}},
    "index of floats": {"tensors": {"layers.2.index": torch.tensor([7.0])}},
    "indices out of order": {"tensors": {"layers.0.index": torch.tensor([3, 0, 39], dtype=torch.int32)}},
    "indices too few": {"tensors": {"layers.0.index": torch.tensor([3], dtype=torch.int32)}},
    "hashes missing": {"drop": ["layers.2.replaced"]},
    "hashes too few": {"tensors": {"layers.0.replaced": torch.zeros(2, 8, dtype=torch.uint8)}},
    "no base": {"base": None},
    "no width": {"width": None},
    "unknown unit": {"unit": "weight"},
    "unknown dtype": {"dtype": "int8"},
    "no module names": {"modules": {}},
    "layers that are text": {"layers": "three"},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_patch_that_contradicts_itself_is_refused_before_anything_changes(written, change):
    base, _, path = written
    before = bits(base)
    tampered(path, **change)
    with refused("patch.safetensors"):
        patch.read(path)  # before it looks at any model
    with refused("patch.safetensors"):
        patch.apply(path, base)
    assert bits(base) == before


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_but_an_undo_gives_back_what_was_there(written, value):
    base, _, path = written
    up = load_file(path)["layers.2.up"]
    up[0, :3] = value
    tampered(path, {"layers.2.up": up})
    before = bits(base)
    with refused("patch.safetensors", "layers.2.up", 3, "tune the run again"):
        patch.apply(path, base)
    assert bits(base) == before
    tampered(path, applied={})
    assert len(patch.read(path).neurons) == len(NEURONS)


def test_a_set_without_neurons_changes_nothing(tmp_path, tiny_model):
    base, nothing = tiny_model(), NeuronSet(3, 40, (NONE,) * 3)
    before, path = bits(base), write(tmp_path / "patch.safetensors", base, base, nothing)
    assert len(patch.apply(path, base)) == 0
    assert bits(base) == before


def test_equal_content_gives_equal_bytes_whatever_its_order(tmp_path, written):
    base, tuned, path = written
    other = write(tmp_path / "other.safetensors", base, tuned, NEURONS, dict(reversed(BASE.items())))
    assert other.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("layers", "more"), [(5, None), (6, 1)])
def test_layers_that_are_not_named_are_counted(tmp_path, tiny_model, layers, more):
    neurons = NeuronSet(layers, 40, (np.array([1]),) * layers)
    base = tiny_model(num_hidden_layers=layers)
    path = write(tmp_path / "patch.safetensors", base, base, neurons)
    with refused("patch.safetensors", "0, 1, 2, 3, 4") as caught:
        patch.apply(path, tiny_model(num_hidden_layers=layers, seed=1))
    counted = re.findall(r"and (-?\d+) more", str(caught.value))
    assert counted == ([] if more is None else [str(more)])
