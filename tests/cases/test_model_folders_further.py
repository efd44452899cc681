"""More faulty folders: odd number types, duplicate tensors, tokens without embeddings, files of other programs."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from caneft.models import loading
from caneft.tuning.pretraining import build_tokenizer
from tests.cases.test_model_folders import POINTER, WEIGHTS, edit, folder, resolve, rewrite, saved, wrong
from tests.conftest import PAIRS

__all__ = ["folder", "resolve", "wrong"]

INTEGERS = {torch.int8: "I8", torch.uint8: "U8", torch.int32: "I32"}


@pytest.mark.parametrize(("dtype", "name"), INTEGERS.items(), ids=INTEGERS.values())
@pytest.mark.parametrize("part", ["mlp", "lm_head", ""])
def test_weights_of_integers_are_quantised_whether_or_not_the_configuration_says_so(folder, wrong, dtype, name, part):
    rewrite(
        folder,
        lambda tensors: {key: (100 * tensor).to(dtype) if part in key else tensor for key, tensor in tensors.items()},
    )
    assert "not in the model" not in wrong(folder, name, "quantised")


def test_pickled_weights_of_integers_are_quantised_too(folder, wrong):
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    torch.save(tensors, folder / "pytorch_model.bin")
    wrong(folder, "int8", "quantised", allow_pickle=True)


def test_positions_that_a_model_was_saved_with_are_integers_and_no_weights(tiny_model, tokenizer, resolve, tmp_path):
    """Older folders of multimodal models have them; transformers leaves them out itself."""
    path = saved(tiny_model("gemma3"), tokenizer, tmp_path / "model")
    name = next(key for key in load_file(path / WEIGHTS) if "position_embedding" in key)
    positions = name.replace("position_embedding.weight", "position_ids")
    rewrite(path, lambda tensors: tensors | {positions: torch.arange(4)[None]})
    assert resolve(path)["architecture"] == "gemma3"


def test_a_tensor_that_lies_in_two_shards_is_refused(tiny_model, tokenizer, wrong, tmp_path):
    """A stale copy is in a file that the index does not name for it. It would be loaded, because it comes later."""
    path = saved(tiny_model(), tokenizer, tmp_path / "model", max_shard_size="20KB")
    index = json.loads((path / "model.safetensors.index.json").read_text())["weight_map"]
    name = "model.layers.0.mlp.up_proj.weight"
    other = next(file for file in index.values() if file != index[name])
    copy = load_file(path / index[name])[name] + 1
    save_file(load_file(path / other) | {name: copy}, path / other, {"format": "pt"})
    wrong(path, name)


def test_a_template_s_token_has_an_embedding(folder, wrong, tokenizer):
    """The token was added to the tokenizer and its template, but not to the model."""
    own = loading.load_tokenizer({"folder": str(folder)})
    own.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    assert len(own) == len(tokenizer) + 1
    own.save_pretrained(folder)
    own.chat_template = "<|turn|>" + own.chat_template
    own.save_pretrained(folder)
    wrong(folder, "<|turn|>", len(tokenizer))


def test_a_token_that_is_added_and_asked_for_by_nothing_needs_no_embedding(folder, resolve, tokenizer):
    """Gemma 3's vocabulary has such tokens."""
    own = loading.load_tokenizer({"folder": str(folder)})
    own.add_special_tokens({"additional_special_tokens": ["<image_soft_token>"]})
    own.save_pretrained(folder)
    assert loading.load_tokenizer(resolve(folder)).convert_tokens_to_ids("<image_soft_token>") == len(tokenizer)


@pytest.mark.parametrize("added", [False, True])
def test_words_that_a_text_reaches_have_embeddings(folder, wrong, tokenizer, added):
    """The vocabulary exceeds the embeddings, though its special tokens have small ids; or a word was added to it."""
    own = build_tokenizer([text for pair in PAIRS for text in pair] * 2 + ["Tabletten und Patienten"] * 9, 400)
    if added:
        own = loading.load_tokenizer({"folder": str(folder)})
        own.add_tokens(["Wirkstoff"])
    assert len(own) > len(tokenizer) and own.eos_token_id < len(tokenizer)
    own.save_pretrained(folder)
    wrong(folder, len(tokenizer), len(own) - 1)


@pytest.mark.parametrize("name", ["bos_token", "eos_token"])
def test_a_special_token_beyond_the_embeddings_is_named(folder, wrong, tokenizer, name):
    own = loading.load_tokenizer({"folder": str(folder)})
    own.add_special_tokens({name: "<|of another|>"})
    own.save_pretrained(folder)
    wrong(folder, name, "<|of another|>", len(tokenizer))


@pytest.mark.parametrize("key", ["vocab_size", "hidden_size"])
def test_a_size_beyond_all_weights_is_said_before_a_model_of_it_is_built(folder, wrong, key):
    edit(folder / "config.json", **{key: 10**12})
    wrong(folder, "config.json", key, 10**12)


def test_a_model_of_compressed_tensors_is_quantised(folder, wrong):
    edit(folder / "config.json", compression_config={"quant_method": "compressed-tensors"})
    wrong(folder, "compression_config", ".gguf")


BESIDE = ["chat_template.jinja", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "tekken.json"]


@pytest.mark.parametrize("name", BESIDE)
def test_a_pointer_in_the_place_of_any_file_is_named(folder, wrong, name):
    (folder / name).write_bytes(POINTER)
    said = wrong(folder, name, "git lfs pull")
    assert len(said.splitlines()) == 2, said


@pytest.mark.parametrize("content", ["{}", '{"error": "Access to model tiny is restricted."}'])
def test_a_tokenizer_that_is_an_answer_in_json_says_what_to_do(folder, wrong, content):
    (folder / "tokenizer.json").write_text(content)
    wrong(folder, "tokenizer", "ownload")


def test_a_tokenizer_alone_has_no_end_of_sequence(folder, wrong):
    for name in ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    wrong(folder, "eos_token", "tokenizer_config.json")


@pytest.mark.parametrize("name", ["model.safetensors", "model-00002-of-00002.safetensors"])
def test_weights_that_are_no_file_are_named(folder, wrong, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    wrong(folder, name, "folder")
    (folder / name).rmdir()
    (folder / name).symlink_to("../../blobs/0123")
    wrong(folder, name, "link", "cp -rL")
