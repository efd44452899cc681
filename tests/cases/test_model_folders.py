"""What can be wrong with a model folder: resolving reports it in one message, and nothing faulty is ever loaded.

The cases come from public reports of other projects, retold in our own words, each with the smallest input that fails.
"""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from caneft import patch
from caneft.config import Model
from caneft.models import loading, manifests
from caneft.neurons import NeuronSet
from caneft.patch.folder import apply
from caneft.patch.lora import export
from caneft.patch.merge import merge
from tests.messages import assert_names, refused
from workflow.scripts import resolve_model

CPU = torch.device("cpu")
WEIGHTS = "model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>tiny at main</title></head><body>Log in</body></html>\n"
REFUSAL = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.fixture
def folder(tiny_model, tokenizer, tmp_path):
    """A sound model folder."""
    return saved(tiny_model(), tokenizer, tmp_path / "model")


def saved(model, tokenizer, path, **options):
    model.save_pretrained(path, **options)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def resolve(monkeypatch, capsys, tmp_path):
    """Runs the step on a folder; returns its one message, or the manifest if it succeeds."""

    def run(path, **model):
        settings = Model(path=str(path), **model).model_dump_json(exclude_defaults=True)
        manifest = tmp_path / "manifest.json"
        monkeypatch.setattr(sys, "argv", ["resolve_model", "--settings", settings, "--manifest", str(manifest)])
        capsys.readouterr()
        try:
            resolve_model.main()
        except SystemExit as end:
            said = capsys.readouterr().err
            assert end.code == 1 and "Traceback" not in said and not manifest.exists(), said
            return said[said.index("Error: ") :]
        return manifests.read_manifest(manifest)

    return run


@pytest.fixture
def wrong(resolve):
    """Asserts that the step refuses the folder with one message that names the folder and these facts."""

    def check(path, *facts, **model):
        said = resolve(path, **model)
        assert isinstance(said, str), "it was accepted"
        assert_names(said, path, *facts)
        return said

    return check


def load(path, dtype="float32"):
    return loading.load_model({"folder": str(path)}, dtype, CPU)


def rewrite(path, change):
    """Changes the tensors of a weight file."""
    tensors = load_file(path / WEIGHTS)
    save_file(change(tensors), path / WEIGHTS, {"format": "pt"})


def edit(path, **values):
    """Changes keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_in_order_is_accepted_and_loaded_as_it_is(tiny_model, tokenizer, architecture, tied, resolve, tmp_path):
    """A folder of any family passes, also with tied embeddings, of which the file has one, and in shards."""
    model = tiny_model(architecture, tie_word_embeddings=tied)
    path = saved(model, tokenizer, tmp_path / "model", **({"max_shard_size": "20KB"} if tied else {}))
    loaded = loading.load_model(resolve(path), "float32", CPU).state_dict()
    expected = model.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "base_model.model.", "module."])
def test_names_with_a_prefix_do_not_fill_the_model(folder, wrong, prefix):
    """torch.compile, PEFT and DistributedDataParallel leave such prefixes."""
    rewrite(folder, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()})
    wrong(folder, "lm_head.weight", f"{prefix}lm_head.weight", repr(prefix))
    with refused(folder, "lm_head.weight", repr(prefix)):
        load(folder)


def test_a_missing_head_is_no_random_head(folder, wrong):
    rewrite(folder, lambda tensors: {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"})
    said = wrong(folder, "lm_head.weight")
    assert "embed_tokens" not in said
    with refused(folder, "lm_head.weight"):
        load(folder)


def test_a_layer_more_than_the_configuration_says_is_not_dropped(folder, wrong):
    edit(folder / "config.json", num_hidden_layers=2)
    said = wrong(folder, "model.layers.2.")
    assert "model.layers.1." not in said
    with refused(folder, "model.layers.2."):
        load(folder)


def test_a_vocabulary_that_grew_is_of_another_shape(folder, wrong, tokenizer):
    """A model that was resized for new tokens, but saved beside its old configuration."""

    def grow(tensors):
        return {
            name: torch.cat([tensor, tensor[:8]]) if "embed" in name or "lm_head" in name else tensor
            for name, tensor in tensors.items()
        }

    rewrite(folder, grow)
    size = len(tokenizer)
    facts = ("model.embed_tokens.weight", f"({size + 8}, 24)", f"({size}, 24)")
    wrong(folder, *facts)
    with refused(*facts):
        load(folder)


def test_an_adapter_beside_a_merged_model_is_not_put_into_it(tiny_model, folder, wrong, resolve):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(tiny_model(), LoraConfig(target_modules=["down_proj"], init_lora_weights=False))
    adapted.save_pretrained(folder)
    names = ("adapter_config.json", "adapter_model.safetensors")
    wrong(folder, *names)
    with refused(folder, *names):
        load(folder)
    for name in names:
        (folder / name).unlink()
        if name == names[0]:  # without the other file, the message also says that something was not merged
            wrong(folder, names[1])
    assert list(resolve(folder)["weights"]) == [WEIGHTS]


@pytest.fixture
def patched(tiny_model, tmp_path):
    """The model of `folder` with two neurons changed, and the patch for this change."""
    base, tuned = tiny_model(), tiny_model()
    for layer, neuron in ((0, 3), (2, 39)):
        tuned.model.layers[layer].mlp.down_proj.weight[:, neuron] += 1
    neurons = NeuronSet.from_flat(3, 40, [3, 2 * 40 + 39])
    path = tmp_path / "patch.safetensors"
    said = {"id": "tiny", "revision": None, "weights": {}}
    patch.save(path, patch.taken(tuned, neurons, patch.slices_hash(base, neurons), said))
    return tuned, path


def test_a_merged_folder_gets_no_files_of_an_adapter(folder, patched, resolve, tmp_path):
    tuned, path = patched
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text("{}")
    merge(folder, path, tmp_path / "merged")
    loaded = loading.load_model(resolve(tmp_path / "merged"), "float32", CPU).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in tuned.state_dict().items())


@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "tokenizer.json", "generation_config.json"])
@pytest.mark.parametrize("content, fact", [(POINTER, "git lfs pull"), (PAGE, "HTML"), (REFUSAL, "XML")], ids=range(3))
def test_what_was_saved_in_a_files_place_is_named(folder, wrong, name, content, fact):
    (folder / name).write_bytes(content)
    said = wrong(folder, name, fact)
    assert len(said.splitlines()) == 2, said


@pytest.mark.parametrize("part", [0.5, 0.001, 0])
def test_half_a_download_is_named(folder, wrong, part):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: int(part * len(content))])
    wrong(folder, WEIGHTS, "ownload")


def test_a_file_whose_bytes_never_came_is_named(folder, wrong):
    """The file has its full size, because some programs reserve it before they download."""
    (folder / WEIGHTS).write_bytes(bytes((folder / WEIGHTS).stat().st_size))
    wrong(folder, WEIGHTS, "zeros")


def test_a_shard_that_the_index_names_is_there_and_whole(tiny_model, tokenizer, wrong, tmp_path):
    path = saved(tiny_model(), tokenizer, tmp_path / "model", max_shard_size="20KB")
    first, second, *_ = sorted(path.glob("model-*.safetensors"))
    second.write_bytes(POINTER)
    wrong(path, second.name, "git lfs pull")
    second.unlink()
    first.write_bytes(first.read_bytes()[:-1])
    wrong(path, second.name, "model.safetensors.index.json")
    (path / "model.safetensors.index.json").write_bytes(POINTER)
    wrong(path, "model.safetensors.index.json", "git lfs pull")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma3_text"])
def test_a_model_without_a_tokenizer_gets_no_invented_one(tiny_model, wrong, kind, tmp_path):
    """For some families, transformers invents a tokenizer without words: all text would be one unknown token."""
    tiny_model(kind).save_pretrained(tmp_path / "model")
    wrong(tmp_path / "model", "tokenizer.json")


def test_a_broken_tokenizer_is_named(folder, wrong):
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:-400])
    wrong(folder, "tokenizer")


def test_a_pad_token_beyond_the_vocabulary_is_another_one_as_padding_is_masked(folder, resolve, tokenizer, pairs):
    added = json.loads((folder / "tokenizer_config.json").read_text())
    own = loading.load_tokenizer({"folder": str(folder)})
    own.add_special_tokens({"pad_token": "[PAD]"})
    assert own.pad_token_id == len(tokenizer), added
    own.save_pretrained(folder)
    found = loading.load_tokenizer(resolve(folder))
    assert found.pad_token_id == tokenizer.eos_token_id
    ids = found([source for source, _ in pairs], padding=True).input_ids
    assert max(map(max, ids)) < len(tokenizer)


@pytest.mark.parametrize("name", ["pad_token_id", "eos_token_id", "bos_token_id"])
def test_special_tokens_of_the_configuration_are_in_the_vocabulary(folder, wrong, tokenizer, name):
    edit(folder / "config.json", **{name: len(tokenizer)})
    wrong(folder, "config.json", name, len(tokenizer))
    edit(folder / "config.json", **{name: None})
    edit(folder / "generation_config.json", **{name: [0, 32000]})
    wrong(folder, "generation_config.json", name, 32000)


def test_the_tokenizer_of_another_model_is_told_by_its_end_of_sequence(folder, wrong, tokenizer):
    own = loading.load_tokenizer({"folder": str(folder)})
    own.add_special_tokens({"eos_token": "<|of another|>"})
    own.save_pretrained(folder)
    wrong(folder, "eos_token", "<|of another|>", len(tokenizer))


@pytest.mark.parametrize("nested", [False, True])
def test_quantised_weights_are_refused(folder, wrong, nested):
    said = {"quant_method": "gptq", "bits": 4}
    edit(folder / "config.json", **{"text_config" if nested else "quantization_config": said})
    if nested:
        edit(folder / "config.json", text_config={"quantization_config": said})
    wrong(folder, "quantization_config", ".gguf")


def test_weights_of_eight_bits_are_quantised(folder, wrong):
    rewrite(
        folder,
        lambda tensors: {
            name: tensor.to(torch.float8_e4m3fn) if "mlp" in name else tensor for name, tensor in tensors.items()
        },
    )
    wrong(folder, "F8_E4M3")


def test_everything_that_is_wrong_is_in_one_message(folder, wrong):
    (folder / WEIGHTS).write_bytes(POINTER)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "tokenizer.json").unlink()
    edit(folder / "config.json", eos_token_id=5000)
    wrong(folder, WEIGHTS, "git lfs pull", "adapter_config.json", "tokenizer.json", "eos_token_id", 5000)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_found_when_it_is_loaded(folder, number):
    def corrupt(tensors):
        tensors["model.layers.1.mlp.up_proj.weight"][7, 3] = number
        return tensors

    rewrite(folder, corrupt)
    with refused(folder, "model.layers.1.mlp.up_proj.weight", "float32"):
        load(folder)


def test_a_weight_that_its_dtype_cannot_hold_is_found_when_it_is_loaded(folder):
    def grow(tensors):
        tensors["model.norm.weight"][5] = 70_000
        return tensors

    rewrite(folder, grow)
    assert load(folder, "bfloat16").model.norm.weight.isfinite().all()
    with refused(folder, "model.norm.weight", "float16"):
        load(folder, "float16")


def test_pickled_weights_are_compared_with_the_model_as_well(folder, wrong, resolve):
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    file = folder / "pytorch_model.bin"
    torch.save(tensors, file)
    assert list(resolve(folder, allow_pickle=True)["weights"]) == [file.name]
    torch.save({name: tensor for name, tensor in tensors.items() if name != "model.norm.weight"}, file)
    Path(folder.parent / "manifest.json").unlink()
    wrong(folder, "model.norm.weight", allow_pickle=True)
    torch.save({"state_dict": tensors}, file)
    wrong(folder, file.name, "state_dict", allow_pickle=True)
    torch.save(tensors, file)
    file.write_bytes(file.read_bytes()[:-3000])
    wrong(folder, file.name, allow_pickle=True)
    file.write_bytes(POINTER)
    wrong(folder, file.name, "git lfs pull", allow_pickle=True)


@pytest.mark.parametrize("shards", [None, "20KB"])
def test_a_patch_of_a_base_with_pickled_weights_is_merged_and_exported(folder, patched, resolve, tmp_path, shards):
    """Merging and exporting work if the manifest allows pickles, like tuning; in-place patching changes no pickles."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tuned, path = patched
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    tensors["lm_head.weight"] = tensors["lm_head.weight"].T.contiguous().T  # some files store it in this layout
    if shards is None:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        names = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(tensors)}
        for file in set(names.values()):
            torch.save({name: tensors[name] for name in tensors if names[name] == file}, folder / file)
        index = {"metadata": {"total_size": 1}, "weight_map": names}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    manifest = tmp_path / "manifest.json"
    assert len(resolve(folder, allow_pickle=True)["weights"]) == (2 if shards else 1)
    merge(manifest, path, tmp_path / "merged")
    assert not [*(tmp_path / "merged").glob("*.bin*")]
    manifest_of_base = manifest.read_text()
    loaded = loading.load_model(resolve(tmp_path / "merged"), "float32", CPU).state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in tuned.state_dict().items())

    manifest.write_text(manifest_of_base)
    export(manifest, path, tmp_path / "lora")
    base = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=False)
    adapted = PeftModel.from_pretrained(base, tmp_path / "lora").merge_and_unload().state_dict()
    assert all(torch.allclose(adapted[name], weight, atol=1e-6) for name, weight in tuned.state_dict().items())
    for refusing in (merge, export):
        with refused(folder, "models.*.allow_pickle: true"):
            refusing(folder, path, tmp_path / "other")
    with refused(folder, "safetensors"):
        apply(folder, path)


def test_headers_alone_are_read(tiny_model, tokenizer, tmp_path):
    """Reading sixteen gigabytes of weights that are nowhere on the disk takes only a second or two."""
    from caneft.models.checking import checked

    shape = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 20, "num_attention_heads": 32}
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM, LlamaConfig

        config = LlamaConfig(vocab_size=len(tokenizer), **shape, tie_word_embeddings=False)
        model = AutoModelForCausalLM.from_config(config)
    config.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    said, end = {}, 0
    for name, tensor in model.state_dict().items():
        said[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [end, end + 4 * tensor.numel()]}
        end += 4 * tensor.numel()
    text = json.dumps(said).encode()
    with open(tmp_path / WEIGHTS, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    assert end > 16e9
    begin = time.process_time()
    checked({"folder": str(tmp_path), "trust_remote_code": False})
    assert time.process_time() - begin < 10
    shutil.rmtree(tmp_path)
