"""A chat model with one token for padding, end of sequence and end of turn: template, trained end, translation."""

import py3langid
import pytest

from caneft import config
from caneft.models.loss import response_losses
from caneft.prompts import collate
from caneft.translation.decoding import translate
from tests import naive
from tests.real.conftest import PROMPT, SOURCES, TARGETS


def test_prompts_are_those_of_the_model_s_own_template(smol_prompts):
    tokenizer, said = smol_prompts.tokenizer, f"{PROMPT.instruct()}\n{SOURCES[0]}"
    asked = [{"role": "user", "content": said}]
    text = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    begin = text.removesuffix(f"<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n")
    assert begin.startswith("<|im_start|>system\n") and begin.endswith("<|im_end|>\n")  # the template's own system turn
    example = smol_prompts.encode(SOURCES[0], TARGETS[0])
    assert smol_prompts.form.name == "chat"
    assert tokenizer.decode(example.prompt) == text
    answered = [*asked, {"role": "assistant", "content": TARGETS[0]}]
    whole = tokenizer.apply_chat_template(answered, tokenize=False)
    assert tokenizer.decode([*example.prompt, *example.response]) == whole.rstrip("\n")


def test_the_end_of_the_turn_is_trained_though_it_is_the_pad_token(smol, smol_prompts):
    tokenizer = smol_prompts.tokenizer
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert smol_prompts.end_of_turn == end == tokenizer.pad_token_id == tokenizer.eos_token_id
    examples = [smol_prompts.encode(*pair) for pair in zip(SOURCES[:3], TARGETS, strict=False)]
    assert len({len(example) for example in examples}) == 3  # so there is padding
    batch = collate(examples, tokenizer.pad_token_id)
    ends = [batch.targets[batch.rows == row].tolist() for row in range(3)]
    assert [(targets.count(end), targets[-1]) for targets in ends] == [(1, end)] * 3
    losses = response_losses(smol, batch)
    for row, example in enumerate(examples):
        alone = float(naive.summed_loss(smol, example.prompt, example.response))
        assert float(losses[batch.rows == row].sum()) == pytest.approx(alone, rel=1e-4)


def test_a_translation_ends_by_itself_and_is_english(smol, smol_prompts):
    """Takes one of the few sentences that this small model does not just repeat in German."""
    source = SOURCES[-1]
    (found,) = translate(smol, smol_prompts, [source], config.Decoding())
    assert not found.truncated and not found.empty
    assert py3langid.classify(found.text)[0] == "en"
    ids = naive.greedy(smol, smol_prompts.encode(source).prompt, smol_prompts.end_of_turn, 24)
    assert ids[-1] == smol_prompts.end_of_turn
    assert smol_prompts.tokenizer.decode(ids[:-1]) == found.text
