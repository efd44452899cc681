"""The neuron patch: what was tuned comes back bit for bit, and nothing else is taken for a patch."""

import copy
import json

import naive
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from caneft import patch
from caneft.errors import InputError
from caneft.neurons import NeuronSet

BASE = {"id": "tiny", "revision": None, "weights": {"model.safetensors": "0" * 64}}


@pytest.fixture
def neurons():
    return NeuronSet(3, 40, (np.array([0, 3, 39]), np.array([], dtype=int), np.array([7])))


def changed(base, neurons):
    """A copy whose selected slices hold other numbers."""
    model = copy.deepcopy(base)
    torch.manual_seed(1)
    with torch.no_grad():
        for layer, indices in enumerate(neurons.indices):
            mlp = naive.decoder_layers(model)[layer].mlp
            for j in indices.tolist():
                for name, index in naive.neuron_weights(mlp, j):
                    weight = getattr(mlp, name).weight
                    weight[index] += torch.randn_like(weight[index])
    return model


def bits(model):
    return {name: value.contiguous().view(torch.uint8).numpy().tobytes() for name, value in model.state_dict().items()}


@pytest.fixture
def written(tmp_path, tiny_model, neurons):
    """Base, tuned model and the patch between them."""
    base = tiny_model()
    tuned = changed(base, neurons)
    path = tmp_path / "patch.safetensors"
    patch.write(path, tuned, neurons, patch.slices_hash(base, neurons), BASE)
    return base, tuned, path


def tampered(path, tensors=None, drop=(), **manifest):
    """The patch again with some of its content changed."""
    with safe_open(path, framework="pt") as file:
        said = json.loads(file.metadata()["caneft"])
    held = patch.read(path)[2] | (tensors or {})
    held = {name: tensor for name, tensor in held.items() if name not in drop}
    said = {name: value for name, value in (said | manifest).items() if value is not None}
    save_file(held, path, metadata={"caneft": json.dumps(said)})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_round_trip_is_bit_equal(tmp_path, tiny_model, architecture, neurons, dtype):
    base = tiny_model(architecture, dtype=dtype)
    tuned, path = changed(base, neurons), tmp_path / "patch.safetensors"
    patch.write(path, tuned, neurons, patch.slices_hash(base, neurons), BASE)
    assert bits(base) != bits(tuned)
    assert patch.apply(path, base) == neurons
    assert bits(base) == bits(tuned)


def test_what_a_patch_holds(written, neurons):
    _, tuned, path = written
    manifest, read, tensors = patch.read(path)
    assert read == neurons
    assert (manifest["layers"], manifest["neurons_per_layer"], manifest["base"]) == (3, 40, BASE)
    assert {name.split(".")[1] for name in tensors} == {"0", "2"}
    mlp = tuned.model.layers[0].mlp
    assert torch.equal(tensors["layers.0.gate"], mlp.gate_proj.weight[[0, 3, 39]])
    assert torch.equal(tensors["layers.0.up"], mlp.up_proj.weight[[0, 3, 39]])
    assert torch.equal(tensors["layers.0.down"], mlp.down_proj.weight[:, [0, 3, 39]])


def test_equal_content_gives_equal_bytes(written, neurons, tmp_path):
    base, tuned, path = written
    patch.write(tmp_path / "again.safetensors", tuned, neurons, patch.slices_hash(base, neurons), BASE)
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_a_patch_is_as_small_as_its_slices(tmp_path, tiny_model):
    """1.05 times its numbers (3 x hidden weights and an index a neuron), 120 bytes of header a tensor, and 1 KiB."""
    neurons = NeuronSet(3, 400, tuple(np.arange(0, 400, 3 + layer) for layer in range(3)))
    model = tiny_model(intermediate_size=400, dtype=torch.bfloat16)
    path = tmp_path / "patch.safetensors"
    patch.write(path, model, neurons, patch.slices_hash(model, neurons), BASE)
    slices = 2 * 3 * 24 * len(neurons) + 4 * len(neurons)
    assert slices < path.stat().st_size <= 1.05 * slices + 120 * 12 + 1024


def test_another_base_is_refused_and_left_alone(written, tiny_model):
    other = tiny_model(seed=1)
    before = bits(other)
    with pytest.raises(InputError, match="other weights .*tiny"):
        patch.apply(written[2], other)
    assert bits(other) == before


def test_a_patched_model_is_no_base(written):
    base, _, path = written
    patch.apply(path, base)
    with pytest.raises(InputError, match="other weights"):
        patch.apply(path, base)


@pytest.mark.parametrize("matrix, at", [("gate_proj", (3, 5)), ("up_proj", (39, 0)), ("down_proj", (11, 3))])
def test_one_other_number_in_the_slices_is_another_base(written, matrix, at):
    base, _, path = written
    with torch.no_grad():
        getattr(base.model.layers[0].mlp, matrix).weight[at] += 1
    with pytest.raises(InputError, match="other weights"):
        patch.apply(path, base)


def test_another_precision_is_another_base(written):
    base, _, path = written
    with pytest.raises(InputError, match="other weights"):
        patch.apply(path, base.to(torch.bfloat16))


@pytest.mark.parametrize("options", [{"num_hidden_layers": 2}, {"intermediate_size": 48}, {"hidden_size": 16}], ids=str)
def test_other_sizes_are_refused(written, tiny_model, options):
    other = tiny_model(**options)
    before = bits(other)
    with pytest.raises(InputError):
        patch.apply(written[2], other)
    assert bits(other) == before


GARBAGE = {
    "empty": b"",
    "text": b"Not a patch at all.\n",
    "zeros": bytes(64),
    "header without end": (10**6).to_bytes(8, "little") + b"{",
}


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_refused_by_name(tmp_path, tiny_model, content):
    path = tmp_path / "patch.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="patch.safetensors is not a neuron patch"):
        patch.apply(path, tiny_model())


def test_a_truncated_patch_is_refused(written):
    base, _, path = written
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a neuron patch"):
        patch.apply(path, base)


def test_a_missing_file_is_refused(tmp_path, tiny_model):
    with pytest.raises(InputError, match="not a neuron patch"):
        patch.apply(tmp_path / "none.safetensors", tiny_model())


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"caneft": "{"}, {"caneft": "7"}, {"caneft": "{}"}], ids=str
)
def test_safetensors_of_another_kind_are_refused(tmp_path, tiny_model, metadata):
    path = tmp_path / "patch.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(InputError, match="not a neuron patch"):
        patch.apply(path, tiny_model())


TAMPERED = {
    "later format": {"format": 99},
    "tensor missing": {"drop": ["layers.2.up"]},
    "tensor of another shape": {"tensors": {"layers.2.up": torch.zeros(2, 24)}},
    "index out of range": {"tensors": {"layers.2.index": torch.tensor([40], dtype=torch.int32)}},
    "indices out of order": {"tensors": {"layers.0.index": torch.tensor([3, 0, 39], dtype=torch.int32)}},
    "no hash": {"replaced_sha256": None},
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED)
def test_a_patch_that_contradicts_itself_is_refused_before_anything_changes(written, change):
    base, _, path = written
    before = bits(base)
    tampered(path, **change)
    with pytest.raises(InputError, match="not a neuron patch"):
        patch.apply(path, base)
    assert bits(base) == before


def test_a_set_without_neurons_changes_nothing(tmp_path, tiny_model):
    base, nothing = tiny_model(), NeuronSet(3, 40, (np.array([], dtype=int),) * 3)
    before, path = bits(base), tmp_path / "patch.safetensors"
    patch.write(path, base, nothing, patch.slices_hash(base, nothing), BASE)
    assert len(patch.apply(path, base)) == 0
    assert bits(base) == before
