"""Patches in the forms that other programs load: model folders for transformers, adapters for PEFT."""

import copy
import json

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from test_patch import HEADS, NEURONS, NONE, SETS, changed, write
from test_patch_folder import SHARDS, saved
from transformers import AutoModelForCausalLM, AutoTokenizer

from caneft import patch
from caneft.neurons import HEAD, NEURON, NeuronSet
from caneft.patch import ranks
from caneft.patch.lora import export
from caneft.patch.merge import merge
from caneft.prompts import collate
from caneft.storage.files import write_json
from tests import naive
from tests.messages import assert_names, refused

CASES = [(name, NEURON) for name in ("llama", "qwen2", "gemma2", "gemma3", "phi3")]
CASES += [("llama", HEAD), ("phi3", HEAD), ("gemma3", HEAD)]


def make(tmp_path, base, neurons, shards=None, scale=1.0):
    """Folder of a base, the patch, and the tuned model."""
    tuned = changed(base, neurons, scale=scale)
    return saved(base, tmp_path / "base", shards), write(tmp_path / "p.safetensors", base, tuned, neurons), tuned


def logits(model, examples):
    batch = collate(examples, 0)
    with torch.no_grad():
        return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()


def same_weights(a, b):
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("architecture, unit", CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_adapter_is_the_patched_model(tmp_path, tiny_model, examples, architecture, unit, dtype):
    base = tiny_model(architecture, dtype=dtype)
    folder, path, tuned = make(tmp_path, base, SETS[unit])
    export(folder, path, tmp_path / "lora", own_ranks=dtype == torch.float32)
    untouched, expected, truth = (logits(model, examples) for model in (base, tuned, copy.deepcopy(tuned).float()))
    adapted = PeftModel.from_pretrained(base, tmp_path / "lora")
    found = logits(adapted, examples)
    change = float((truth - untouched).abs().max())
    assert change > 0.1
    if dtype == torch.float32:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * change)
    else:  # as close to float32 with the same weights as the patched model is; the base is not
        off, own, far = (float((at - truth).abs().mean()) for at in (found, expected, untouched))
        assert off < 1.3 * own < far / 3
        assert same_weights(adapted.merge_and_unload(), tuned)  # differences in float32 restore every weight exactly


@pytest.mark.parametrize("unit", SETS)
def test_modules_ranks_and_alphas(tmp_path, tiny_model, unit):
    """Layer 0 has 3 neurons or 1 head, layer 1 none, layer 2 has 1 neuron or 2 heads."""
    folder, path, _ = make(tmp_path, tiny_model("phi3"), SETS[unit])
    export(folder, path, tmp_path / "lora", own_ranks=True)
    said = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    if unit == NEURON:  # gate and up are one module
        ranks = {"0.mlp.gate_up_proj": 6, "0.mlp.down_proj": 3, "2.mlp.gate_up_proj": 2, "2.mlp.down_proj": 1}
    else:  # a unit has two query heads and one each of k and v, 6 wide
        ranks = {"0.self_attn.qkv_proj": 24, "0.self_attn.o_proj": 12}
        ranks |= {"2.self_attn.qkv_proj": 48, "2.self_attn.o_proj": 24}
    ranks = {f"model.layers.{name}": rank for name, rank in ranks.items()}
    assert said["target_modules"] == sorted(ranks)
    assert said["r"] == said["lora_alpha"] == max(ranks.values())
    assert said["fan_in_fan_out"] is False  # the shape of torch.nn.Linear's weights is (out, in)
    others = {name: rank for name, rank in ranks.items() if rank != max(ranks.values())}
    assert said["rank_pattern"] == said["alpha_pattern"] == others
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert {name: len(tensor) for name, tensor in tensors.items() if "lora_A" in name} == {
        f"base_model.model.{name}.lora_A.weight": rank for name, rank in ranks.items()
    }


@pytest.mark.parametrize("unit", SETS)
def test_every_module_has_one_rank_where_nothing_else_is_asked_for(tmp_path, tiny_model, examples, unit):
    """llama.cpp scales by alpha over the tensor's own rank; SGLang wants the configured rank in every tensor."""
    base = tiny_model()
    folder, path, tuned = make(tmp_path, base, SETS[unit])
    export(folder, path, tmp_path / "lora")
    said = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert {len(tensor if "lora_A" in name else tensor.T) for name, tensor in tensors.items()} == {said["r"]}
    assert said["lora_alpha"] == said["r"] and said["rank_pattern"] == said["alpha_pattern"] == {}
    by_server = copy.deepcopy(base)  # those servers' computation, without PEFT
    for module in said["target_modules"]:
        a, b = (tensors[f"base_model.model.{module}.lora_{side}.weight"] for side in "AB")
        by_server.get_submodule(module).weight.data += said["lora_alpha"] / len(a) * b @ a
    torch.testing.assert_close(logits(by_server, examples), logits(tuned, examples), rtol=0, atol=1e-4)


def test_ranks_of_one_layer_are_not_taken_for_those_of_another(tmp_path, tiny_model, examples):
    """PEFT matches names as regular expressions, and layers 1 and 11 have different ranks."""
    indices = [np.arange(layer % 5 + 1) for layer in range(12)]
    base = tiny_model(num_hidden_layers=12, initializer_range=0.1)
    folder, path, tuned = make(tmp_path, base, NeuronSet(12, 40, tuple(indices)))
    export(folder, path, tmp_path / "lora", own_ranks=True)
    adapted = PeftModel.from_pretrained(base, tmp_path / "lora")
    for number, layer in enumerate(adapted.base_model.model.model.layers):
        module = layer.mlp.down_proj
        assert (module.r["default"], module.scaling["default"]) == (number % 5 + 1, 1.0)
    torch.testing.assert_close(logits(adapted, examples), logits(tuned, examples), rtol=0, atol=2e-3)


@pytest.mark.parametrize("revision, named", [(None, None), ("abc", "org/model")])
def test_only_a_base_of_the_hub_is_named(tmp_path, tiny_model, revision, named):
    base = tiny_model()
    said = {"id": "org/model", "revision": revision, "weights": {}}
    path = write(tmp_path / "p.safetensors", base, changed(base, NEURONS), NEURONS, said)
    export(saved(base, tmp_path / "base"), path, tmp_path / "lora")
    found = json.loads((tmp_path / "lora" / "adapter_config.json").read_text())
    assert (found["base_model_name_or_path"], found["revision"]) == (named, revision)


def test_ranks_that_vllm_does_not_take_are_said(tmp_path, tiny_model):
    base = tiny_model(num_hidden_layers=1, intermediate_size=600)
    found = {}
    for count in (512, 513):
        neurons = NeuronSet(1, 600, (np.arange(count),))
        of_that_many = patch.read(write(tmp_path / "p.safetensors", base, base, neurons))
        found[count] = ranks.warning(of_that_many)
        assert (ranks.advice(of_that_many) is None) == (count > 512)
    assert found[512] is None
    assert_names(found[513], "gate_proj 513", "down_proj 513", "`selection.per_layer`", "`patch merge`")


def test_a_patch_without_neurons_makes_no_adapter(tmp_path, tiny_model):
    folder, path, _ = make(tmp_path, tiny_model(), NeuronSet(3, 40, (NONE,) * 3))
    with refused("p.safetensors"):
        export(folder, path, tmp_path / "lora")


@pytest.mark.parametrize("architecture, unit", CASES, ids=str)
@pytest.mark.parametrize("shards", [None, SHARDS], ids=["whole", "sharded"])
def test_the_merged_folder_is_the_patched_model(tmp_path, tiny_model, architecture, unit, shards):
    base = tiny_model(architecture, dtype=torch.bfloat16)
    folder, path, tuned = make(tmp_path, base, SETS[unit], shards)
    merge(folder, path, tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert found.dtype == torch.bfloat16 and same_weights(found, tuned)


@pytest.mark.parametrize("shards", [None, SHARDS], ids=["whole", "sharded"])
@pytest.mark.parametrize("wide, narrow", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)], ids=str)
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_weights_are_cast_to_the_patchs_dtype(tmp_path, tiny_model, architecture, wide, narrow, shards):
    """The run is in bfloat16, and its base is stored in float32."""
    stored = tiny_model(architecture, dtype=wide, tie_word_embeddings=True)
    folder = saved(stored, tmp_path / "base", shards)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=narrow)
    tuned = changed(loaded, NEURONS)
    merge(folder, write(tmp_path / "p.safetensors", loaded, tuned, NEURONS), tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert found.dtype == narrow and same_weights(found, tuned)
    tuned.save_pretrained(tmp_path / "witness")
    if shards is None:
        ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "witness"))
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    else:
        index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
        files = {name: load_file(tmp_path / "out" / name) for name in set(index["weight_map"].values())}
        assert all(name in files[file] for name, file in index["weight_map"].items())
        assert index["metadata"]["total_size"] == sum(t.nbytes for held in files.values() for t in held.values())
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["dtype"] == str(narrow).removeprefix("torch.")


def test_integers_and_odd_sizes_survive_the_cast(tmp_path, tiny_model):
    base = tiny_model(dtype=torch.bfloat16)
    tuned = changed(base, NEURONS)
    path = write(tmp_path / "p.safetensors", base, tuned, NEURONS)
    folder = saved(base, tmp_path / "base")
    extra = {"odd": torch.tensor([1, 2, 3], dtype=torch.int8), "counts": torch.arange(3), "none": torch.zeros(0)}
    # in bfloat16 the single float, which is before the int32, takes two bytes instead of four
    extra |= {"single": torch.tensor(2.5), "whole": torch.arange(3, dtype=torch.int32)}
    held = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()} | extra
    save_file(held, folder / "model.safetensors", {"format": "pt"})
    merge(folder, path, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert found.keys() == held.keys()
    raw = (tmp_path / "out" / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    for name, said in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":  # readers that map the file need each tensor at a multiple of its element size
            assert (8 + length + said["data_offsets"][0]) % found[name].element_size() == 0, name
    for name, tensor in extra.items():
        assert torch.equal(found[name], tensor.bfloat16() if tensor.is_floating_point() else tensor)
    assert torch.equal(found["model.layers.2.mlp.up_proj.weight"], tuned.model.layers[2].mlp.up_proj.weight)


def test_tokenizer_and_generation_settings_come_along(tmp_path, tiny_model, tokenizer):
    base = tiny_model()
    base.generation_config.max_new_tokens = 17
    folder, path, _ = make(tmp_path, base, NEURONS)
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_text("free")
    (folder / "manifest.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"other weights")
    merge(folder, path, tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {file.name for file in folder.iterdir()} - {"manifest.json", "pytorch_model.bin"} | {"README.md"}
    found = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert found("Der Hund")["input_ids"] == tokenizer("Der Hund")["input_ids"]
    assert found.chat_template == tokenizer.chat_template
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config.max_new_tokens == 17


def test_patched_merged_and_adapted_model_say_the_same(tmp_path, tiny_model, examples, tokenizer):
    base = tiny_model(initializer_range=0.1)
    folder, path, _ = make(tmp_path, base, NEURONS)
    merge(folder, path, tmp_path / "out")
    export(folder, path, tmp_path / "lora")
    prompts = [example.prompt[:length] for example in examples for length in (5, 9)]

    def sentences(model):
        return [naive.greedy(model.eval(), prompt, tokenizer.eos_token_id, 12) for prompt in prompts]

    untouched = sentences(base)
    merged = sentences(AutoModelForCausalLM.from_pretrained(tmp_path / "out"))
    adapted = sentences(PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path / "lora"))
    patch.apply(path, base)
    assert sentences(base) == merged == adapted != untouched


def test_a_base_may_be_given_by_its_manifest(tmp_path, tiny_model):
    folder, path, tuned = make(tmp_path, tiny_model(), NEURONS)
    (tmp_path / "models").mkdir()
    write_json(tmp_path / "models" / "manifest.json", {"id": "tiny", "folder": "../base", "weights": {}})
    for number, given in enumerate((tmp_path / "models" / "manifest.json", tmp_path / "models")):
        merge(given, path, tmp_path / f"out{number}")
        assert same_weights(AutoModelForCausalLM.from_pretrained(tmp_path / f"out{number}"), tuned)


@pytest.mark.parametrize("given", ["nothing", "p.safetensors", "empty"])
def test_what_is_no_base_is_refused(tmp_path, tiny_model, given):
    _, path, _ = make(tmp_path, tiny_model(), NEURONS)
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / given, "manifest.json"):
        merge(tmp_path / given, path, tmp_path / "out")


@pytest.mark.parametrize("act", [merge, export])
def test_another_base_is_refused_and_nothing_left(tmp_path, tiny_model, act):
    _, path, _ = make(tmp_path, tiny_model(), HEADS)
    other = saved(tiny_model(seed=3), tmp_path / "other")
    with refused("p.safetensors", 3, "head", 0, 2, "tiny"):
        act(other, path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("act", [merge, export])
def test_an_output_that_exists_is_refused_and_kept(tmp_path, tiny_model, act):
    folder, path, _ = make(tmp_path, tiny_model(), NEURONS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with refused(tmp_path / "out"):
        act(folder, path, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    "act, writer", [(merge, "caneft.patch.merge.write_json"), (export, "caneft.patch.lora.write_json")]
)
def test_an_output_appears_whole_or_not_at_all(tmp_path, tiny_model, monkeypatch, act, writer):
    folder, path, _ = make(tmp_path, tiny_model(), NEURONS)

    def interrupted(*_):
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(writer, interrupted)
    with pytest.raises(KeyboardInterrupt):
        act(folder, path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_process_left_is_named(tmp_path, tiny_model):
    folder, path, _ = make(tmp_path, tiny_model(), NEURONS)
    (tmp_path / ".out.unfinished").mkdir()
    with refused(tmp_path / ".out.unfinished", tmp_path / "out"):
        merge(folder, path, tmp_path / "out")
    assert (tmp_path / ".out.unfinished").exists()
