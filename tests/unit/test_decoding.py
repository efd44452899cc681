"""Decoding against one whole forward pass a token, sentence by sentence."""

import copy
import math

import naive
import pytest
import torch
from torch import nn
from transformers import GenerationConfig

from caneft import config
from caneft.decoding import Hypothesis, as_line, limits, translate
from caneft.errors import InputError
from caneft.prompts import Prompts

SETTINGS = config.Decoding(batch_size=3, length_factor=0.5, length_offset=6)

OFTEN = {"phi3": 1.5, "qwen3": 1.5}
"""Weight of the end of turn in families that would end all sentences with 2.5, or none."""


@pytest.fixture
def model(tiny_model, architecture, prompts):
    """Ends some sentences early and others not at all."""
    made = tiny_model(architecture, initializer_range=0.4)
    made.lm_head.weight[prompts.end_of_turn] *= OFTEN.get(architecture, 2.5)
    return made


@pytest.fixture
def sources(pairs):
    return [text for pair in pairs for text in pair]


def expected(model, prompts, source, settings):
    """Text and whether it was cut, by the witness."""
    tokens = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
    limit = math.ceil(settings.length_factor * tokens) + settings.length_offset
    ids = naive.greedy(model, prompts.encode(source).prompt, prompts.end_of_turn, limit)
    ended = ids[-1] == prompts.end_of_turn
    text = prompts.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=True).strip()
    return Hypothesis(text, truncated=not ended)


def test_batches_equal_naive_decoding_one_by_one(model, prompts, sources):
    found = translate(model, prompts, sources, SETTINGS)
    assert found == [expected(model, prompts, source, SETTINGS) for source in sources]
    assert {hypothesis.truncated for hypothesis in found} == {True, False}
    assert len({hypothesis.text for hypothesis in found}) > len(sources) / 2


def test_padding_with_the_end_of_turn_changes_nothing(model, tokenizer, prompts, sources):
    """What a tokenizer without a pad token gets. The prompt holds that token too: no mask can be guessed from ids."""
    other = copy.deepcopy(tokenizer)
    other.pad_token = other.eos_token
    found = translate(model, Prompts(other, prompts.instruction), sources, SETTINGS)
    assert found == translate(model, prompts, sources, SETTINGS)


def test_order_and_limits_do_not_depend_on_the_batch(model, prompts, sources):
    one_by_one = [translate(model, prompts, [source], SETTINGS)[0] for source in sources]
    for size in (1, 5, 64):
        found = translate(model, prompts, sources, SETTINGS.model_copy(update={"batch_size": size}))
        assert found == one_by_one
    assert translate(model, prompts, sources[::-1], SETTINGS) == one_by_one[::-1]


def test_the_checkpoints_generation_settings_have_no_effect(model, prompts, sources):
    before = translate(model, prompts, sources, SETTINGS)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=3.0,
        top_k=5,
        repetition_penalty=5.0,
        no_repeat_ngram_size=1,
        max_new_tokens=2,
        min_new_tokens=2,
        num_return_sequences=2,
        eos_token_id=17,
        suppress_tokens=[prompts.end_of_turn],
    )
    assert translate(model, prompts, sources, SETTINGS) == before


def test_they_have_none_either_when_they_come_from_a_file(tiny_model, prompts, sources, tmp_path):
    from caneft.models.loading import load_model

    model = tiny_model(initializer_range=0.4)
    before = translate(model, prompts, sources[:4], SETTINGS)
    model.generation_config = GenerationConfig(do_sample=True, temperature=3.0, repetition_penalty=5.0, max_length=9)
    model.save_pretrained(tmp_path)
    loaded = load_model({"folder": str(tmp_path)}, "float32", torch.device("cpu"))
    assert loaded.generation_config.repetition_penalty == 5.0
    assert translate(loaded, prompts, sources[:4], SETTINGS) == before


def always(model, token):
    """The model answers nothing but this token."""
    model.lm_head = nn.Linear(model.config.hidden_size, model.config.vocab_size)
    with torch.no_grad():
        model.lm_head.weight.zero_()
        model.lm_head.bias.zero_()[token] = 1
    return model


def test_a_hypothesis_that_ends_at_once_is_empty(tiny_model, prompts, sources):
    found = translate(always(tiny_model(), prompts.end_of_turn), prompts, sources, SETTINGS)
    assert found == [Hypothesis("", truncated=False)] * len(sources)
    assert all(hypothesis.empty for hypothesis in found)


def test_one_that_never_ends_is_cut_at_its_own_limit(tiny_model, prompts, sources):
    (token,) = prompts.tokenizer("x", add_special_tokens=False).input_ids
    found = translate(always(tiny_model(), token), prompts, sources, SETTINGS)
    lengths = [len(prompts.tokenizer(source, add_special_tokens=False).input_ids) for source in sources]
    assert found == [Hypothesis("x" * (math.ceil(length / 2) + 6), truncated=True) for length in lengths]


def test_limits_by_hand(prompts):
    source = "Ja."
    length = len(prompts.tokenizer(source, add_special_tokens=False).input_ids)
    settings = config.Decoding(length_factor=1.5, length_offset=4, max_source_tokens=length)
    assert limits(prompts, [source, ""], settings) == [math.ceil(1.5 * length) + 4, 4]


def test_a_long_source_is_an_error_that_says_which(tiny_model, prompts):
    settings = config.Decoding(max_source_tokens=5)
    with pytest.raises(InputError, match="source 2 has .* tokens.*decoding.max_source_tokens"):
        translate(tiny_model(), prompts, ["Ja", "Der Hund schläft unter dem Tisch."], settings)


def test_no_sources_give_no_hypotheses(tiny_model, prompts):
    assert translate(tiny_model(), prompts, [], SETTINGS) == []


@pytest.mark.parametrize(
    "hypothesis, flags",
    [
        (Hypothesis("a b", False), []),
        (Hypothesis("", False), ["empty"]),
        (Hypothesis("a", True), ["truncated"]),
        (Hypothesis("", True), ["empty", "truncated"]),
    ],
)
def test_flags(hypothesis, flags):
    line = as_line("it.test.1", "it", hypothesis)
    assert line == {"id": "it.test.1", "domain": "it", "hypothesis": hypothesis.text, "flags": flags}
