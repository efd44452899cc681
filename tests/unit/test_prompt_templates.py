"""Prompts and responses, exact to the character and the token, for chat templates in the shapes of published models."""

import logging

import pytest
import torch

from caneft.config import Decoding, Importance
from caneft.corpora.store import Row
from caneft.importance import dumping
from caneft.importance.hooks import Taps, importance
from caneft.plan.settings import PromptSettings
from caneft.prompts import Prompts, collate
from caneft.prompts.controls import UnusableText
from caneft.translation.decoding import translate
from caneft.tuning import loop
from caneft.tuning.full import Full
from caneft.tuning.passes import Passes
from tests.messages import assert_names, refused
from tests.shapes import GEMMA_2, QWEN_3, SHAPES, Shape

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"  # Qwen 2.5's own, because none is given
ASKED = "Translate.\nder Hund"
THOUGHT = "<think>\n\n</think>\n\n"
GOLDEN = {
    "llama-2": (f"<s>[INST] {ASKED} [/INST]", " the dog </s>"),
    "qwen-2.5": (f"{SYSTEM}<|im_start|>user\n{ASKED}<|im_end|>\n<|im_start|>assistant\n", "the dog<|im_end|>"),
    "qwen-3": (f"<|im_start|>user\n{ASKED}<|im_end|>\n<|im_start|>assistant\n{THOUGHT}", "the dog<|im_end|>"),
    "gemma-2": (f"<bos><start_of_turn>user\n{ASKED}<end_of_turn>\n<start_of_turn>model\n", "the dog<end_of_turn>"),
    "mistral": (f"<s>[INST] {ASKED}[/INST]", " the dog</s>"),
    "phi-3": (f"<|user|>\n{ASKED}<|end|>\n<|assistant|>\n", "the dog<|end|>"),
    "base, with bos": (f"<s>{ASKED}\n", "the dog</s>"),
    "base, without bos": (f"{ASKED}\n", "the dog<|endoftext|>"),
}
GOLDEN["qwen-3, forgetful"] = GOLDEN["qwen-3"]
"""The text before the response, and the response: all that is trained, the end of the turn included."""


def translator(shape: Shape | str) -> Prompts:
    shape = SHAPES[shape] if isinstance(shape, str) else shape
    return Prompts(shape.tokenizer(), lambda domain: "Translate.")


@pytest.mark.parametrize("name", GOLDEN)
def test_the_text_and_its_tokens(name):
    before, response = GOLDEN[name]
    prompts = translator(name)
    example = prompts.encode("der Hund", "the dog")
    whole = SHAPES[name].spelt(before + response)
    assert prompts.tokenizer.convert_ids_to_tokens(example.prompt + example.response) == whole
    assert prompts.tokenizer.convert_ids_to_tokens(example.prompt) == SHAPES[name].spelt(before)
    assert prompts.decode(example.response) == "the dog"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", GOLDEN)
def test_the_response_mask(name, side):
    """True if the next token is in the response: from one position before it to one before its end, not on padding."""
    before, response = GOLDEN[name]
    shape, prompts = SHAPES[name], translator(name)
    short, long = prompts.encode("der Hund", "the dog"), prompts.encode("der große Hund", "the big dog")
    batch = collate([short, long], prompts.tokenizer.pad_token_id, side)
    first, end = len(shape.spelt(before)), len(shape.spelt(before + response))
    pads = len(long) - end
    shift = pads if side == "left" else 0
    expected = [shift + first - 1 <= place < shift + end - 1 for place in range(end + pads)]
    assert batch.response[0].tolist() == expected
    trained = prompts.tokenizer.convert_ids_to_tokens(batch.targets[batch.rows == 0])
    assert trained == shape.spelt(before + response)[first:]


@pytest.mark.parametrize(
    "name, form",
    [(name, "auto") for name in GOLDEN] + [(name, "instruction") for name in GOLDEN if SHAPES[name].template is None],
)
def test_the_model_sees_the_same_tokens_before_the_response_in_training_importance_and_inference(name, form):
    """Compares the inputs of a real model's embeddings, as the code of the three stages makes them."""
    from transformers import AutoConfig, AutoModelForCausalLM

    wording = PromptSettings(
        instruction="From {source_language} to {target_language}.",
        source_language="German",
        target_language="English",
        form=form,
    )
    prompts = Prompts.of(SHAPES[name].tokenizer(), wording)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    ids = {"vocab_size": len(prompts.tokenizer), "pad_token_id": prompts.tokenizer.pad_token_id}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes, **ids, num_key_value_heads=1))
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, given: seen.append(given[0][0].tolist()))

    row = Row("it.train.1", "Der Hund schläft.", "The dog sleeps.", "it")
    translate(model, prompts, [row.source], Decoding(length_factor=0.01, length_offset=1), "it")
    (example,) = loop.encode([row], prompts, 500)[0]
    Passes(model, Full(model, torch.float32), 0, 500).backward([example])
    model.requires_grad_(False)
    samples = dumping.draw([row], prompts, "it", Importance(), 1)
    with Taps(model) as taps:
        list(importance(model, [collate(samples.examples, 0)], taps))

    inference, *_, training, scored = seen  # between them are the generated tokens
    assert training == scored == inference + list(example.response)
    asked = "German: Der" if SHAPES[name].template is None and form == "auto" else "From German to English."
    assert prompts.tokenizer.decode(inference, skip_special_tokens=True).count(asked) == 1
    assert len(example.response) > len("The dog sleeps.")  # it also has the end


def test_examples_in_qwen_3_are_shown_without_thoughts():
    for name in ("qwen-3", "qwen-3, forgetful"):
        example = translator(name).encode("der Hund", "the dog", examples=[("x", "a")])
        turn = "<|im_start|>user\nTranslate.\nx<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"
        before, response = GOLDEN[name]
        tokens = translator(name).tokenizer.convert_ids_to_tokens(example.prompt + example.response)
        assert tokens == SHAPES[name].spelt(turn + before + response)


def test_a_template_that_cannot_stop_thinking_is_refused():
    """Its generation prompt opens a thought that finished conversations do not have."""
    thinking = QWEN_3.replace("'<think>\\n\\n</think>\\n\\n' -}}{%- endif", "'<think>\\n' -}}{%- endif")
    assert thinking != QWEN_3
    with refused("chat template", "generation prompt", "<think>"):
        translator(Shape(thinking.replace("and loop.last else", "and false else"), "none", None, "<|im_end|>"))


def test_a_template_that_puts_words_before_every_answer_is_refused():
    """Thoughts in finished conversations that the generation prompt lacks would be trained, and then generated."""
    always = QWEN_3.replace("enable_thinking is false", "enable_thinking is none")
    with refused("chat template", "'b'", "</think>"):
        translator(Shape(always, "none", None, "<|im_end|>", ("<|im_start|>",)))


DATED = {
    "always": "{{- strftime_now('%Y-%m-%d') -}}",
    "unless it is given": "{%- if not day is defined -%}{%- set day = strftime_now('%d') -%}{%- endif -%}{{- day -}}",
    "in a macro": "{%- macro day() -%}{{ strftime_now('%c') }}{%- endmacro -%}{{- day() -}}",
}


@pytest.mark.parametrize("dated", DATED.values(), ids=DATED)
def test_a_template_that_prints_the_date_gives_one_prompt_for_good(dated):
    prompts = translator(Shape("\n {{- 'Today: ' -}}" + dated + QWEN_3, "none", None, "<|im_end|>", ("<|im_start|>",)))
    before, response = GOLDEN["qwen-3"]
    example = prompts.encode("der Hund", "the dog")
    assert prompts.tokenizer.decode(example.prompt + example.response) == "Today: 26 Jul 2024" + before + response


def test_gemma_gets_no_system_turn():
    """The template would raise, so the instruction goes into the user's turn."""
    assert "System role not supported" in GEMMA_2
    assert translator("gemma-2").encode("x", "y", examples=[("u", "v")]).prompt


def test_truncation_that_a_tokenizer_was_saved_with_cuts_nothing():
    tokenizer = SHAPES["llama-2"].tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=3)
    tokenizer.model_max_length = 8
    example = Prompts(tokenizer, lambda domain: "Translate.").encode("der Hund " * 50, "the dog " * 50 + "end")
    text = tokenizer.decode(example.prompt)
    assert text.count("der Hund") == 50 and text.rstrip().endswith("[/INST]")
    assert tokenizer.decode(example.response).count("the dog") == 50


CUT = "a thought</think>the dog"
"""Qwen 3's template would cut an answer there: what is left of it is not what the corpus says."""


def test_a_target_that_the_template_changes_is_left_out_counted_and_said(caplog):
    prompts = translator("qwen-3")
    targets = ["one", CUT, "two", "x" * 400]
    rows = [Row(f"it.train.{i}", "der Hund", target) for i, target in enumerate(targets)]
    with refused(CUT, by=UnusableText):
        prompts.encode("der Hund", CUT)
    with caplog.at_level(logging.INFO):
        samples = dumping.draw(rows, prompts, "it", Importance(max_tokens=300), 2)
        examples, left_out = loop.encode(rows, prompts, 300)
    assert sorted(samples.ids) == ["it.train.0", "it.train.2"]
    assert samples.left_out == left_out == {"too_long": 1, "unusable": 1}
    assert [prompts.decode(example.response) for example in examples] == ["one", "two"]
    unusable = [record.getMessage() for record in caplog.records if CUT in record.getMessage()]
    too_long = [record.getMessage() for record in caplog.records if " 300 " in record.getMessage()]
    assert len(unusable) == len(too_long) == 2
    for said in unusable + too_long:
        assert_names(said, 1)


def test_such_a_pair_is_an_error_where_nothing_else_could_take_its_place():
    with refused(1, 300, "tuning.max_tokens"):
        loop.encode([Row("it.train.1", "x", CUT)], translator("qwen-3"), 300)


@pytest.mark.parametrize("template", ["{% for m in messages %}{{ m.content ", "{{ raise_exception('no user turn') }}"])
def test_a_template_that_fails_is_said_with_what_does_without_it(template):
    with refused("chat template", "prompt.form: completion"):
        translator(Shape(template, "none", None, "<|im_end|>"))
