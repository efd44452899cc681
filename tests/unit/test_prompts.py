"""Prompts and responses compared with token ids spelt by hand, for the shapes of models' templates."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from caneft.prompts import Example, Prompts, batches, collate
from caneft.prompts.forms import Chat
from tests.messages import refused

USER_THEN_ANSWER = (
    "{{ bos_token }}{% for m in messages %}{{ '[U] ' if m.role == 'user' else ' [A] ' }}{{ m.content }} </s>"
    "{% endfor %}{% if add_generation_prompt %} [A] {% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA_2 = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


def words() -> dict[str, int]:
    listed = [
        "<pad>",
        "<unk>",
        "<s>",
        "</s>",
        "[U]",
        "[A]",
        "Translate.",
        "der",
        "Hund",
        "schläft",
        "the",
        "dog",
        "sleeps",
    ]
    return {word: index for index, word in enumerate(listed)}


def word_tokenizer(template):
    """One id per word, in the order of `words`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(words(), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    fast.add_special_tokens({"extra_special_tokens": ["[U]", "[A]"]})
    fast.chat_template = template
    return fast


class Bytes:
    """A tokenizer of single bytes plus special tokens, which also spells ids by hand.

    listed: special tokens that the tokenizer lists as such. unlisted: those that only its vocabulary marks as special.
    """

    def __init__(self, template, eos, listed=(), unlisted=()):
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
        from transformers import PreTrainedTokenizerFast

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        specials = ["<pad>", "<bos>", eos, *listed, *unlisted]
        self.vocabulary = {name: index for index, name in enumerate([*specials, *alphabet])}
        tokenizer = Tokenizer(models.BPE(vocab=self.vocabulary, merges=[]))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.decoder = decoders.ByteLevel()
        begin = self.vocabulary["<bos>"]  # put before every text unless switched off, as in Llama and Gemma
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", begin)])
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            bos_token="<bos>",
            eos_token=eos,
            extra_special_tokens=list(listed),
        )
        self.tokenizer.chat_template = template

    def spell(self, *parts: str) -> tuple[int, ...]:
        """Ids of special tokens (in angle brackets) and of ASCII text, character by character."""
        ids = []
        for part in parts:
            special = part in self.vocabulary
            names = [part] if special else [{"\n": "Ċ", " ": "Ġ"}.get(letter, letter) for letter in part]
            ids += [self.vocabulary[name] for name in names]
        return tuple(ids)

    def prompts(self) -> Prompts:
        return Prompts(self.tokenizer, lambda domain: "Translate.")


def test_a_pair_by_hand():
    prompts = Prompts(word_tokenizer(USER_THEN_ANSWER), lambda domain: "Translate.")
    example = prompts.encode("der Hund schläft", "the dog sleeps")
    assert example == Example(prompt=(2, 4, 6, 7, 8, 9, 3, 5), response=(10, 11, 12, 3))
    assert prompts.end_of_turn == 3
    assert len(example) == 12


def test_the_instruction_may_name_the_domain():
    prompts = Prompts(word_tokenizer(USER_THEN_ANSWER), lambda domain: f"Translate. {domain}")
    assert prompts.encode("der", domain="Hund").prompt == (2, 4, 6, 8, 7, 3, 5)
    assert prompts.encode("der").prompt == (2, 4, 6, 7, 3, 5)


def test_llama_2():
    model = Bytes(LLAMA_2, eos="</s>")
    prompts = model.prompts()
    example = prompts.encode("x y", "a b")
    assert example.prompt == model.spell("<bos>", "[INST] Translate.\nx y [/INST]")
    assert example.response == model.spell(" a b ", "</s>")
    assert prompts.decode(example.response) == "a b"


def test_sentencepiece_puts_its_space_before_the_conversation_and_not_before_the_answer_too():
    """Its normalizer prepends a space to every text, but the answer is not a text of its own."""
    from tokenizers import normalizers

    model = Bytes(LLAMA_2, eos="</s>")
    model.tokenizer.backend_tokenizer.normalizer = normalizers.Prepend(" ")
    example = model.prompts().encode("x", "a b")
    assert example.prompt == model.spell("<bos>", " [INST] Translate.\nx [/INST]")
    assert example.response == model.spell(" a b ", "</s>")


def test_a_token_across_the_border_stays_out_of_the_prompt():
    """If a token of the whole conversation spans both, the prompt must still be that of inference."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {name: index for index, name in enumerate(["</s>", "a", "b", "\n", "\nb"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=[("\n", "b")])), eos_token="</s>"
    )
    prompts = Prompts(tokenizer, lambda domain: "a")
    assert prompts.encode("a", "b") == Example(prompt=(1, 3, 1, 3), response=(2, 0))
    assert prompts.encode("b", "b").prompt == prompts.encode("b").prompt == (1, 4, 3)


def test_chatml_ends_at_the_turn_and_not_at_its_newline():
    model = Bytes(CHATML, eos="<|im_end|>", listed=["<|im_start|>"])
    prompts = model.prompts()
    example = prompts.encode("x", "y z")
    start, end = "<|im_start|>", "<|im_end|>"
    system = (start, "system\nYou help.", end, "\n")
    user = (start, "user\nTranslate.\nx", end, "\n")
    assert example.prompt == model.spell(*system, *user, start, "assistant\n")
    assert example.response == model.spell("y z", end)


@pytest.mark.parametrize("kind", ["listed", "unlisted"])
def test_gemma_ends_with_its_end_of_turn_which_is_not_its_end_of_sequence(kind):
    """Gemma 2 lists its turn tokens as special; Gemma 3 marks them only in its vocabulary."""
    model = Bytes(GEMMA_2, eos="<eos>", **{kind: ["<start_of_turn>", "<end_of_turn>"]})
    prompts = model.prompts()
    example = prompts.encode("x", "y z")
    start, end = "<start_of_turn>", "<end_of_turn>"
    user = (start, "user\nTranslate.\nx", end, "\n")
    assert example.prompt == model.spell("<bos>", *user, start, "model\n")
    assert example.response == model.spell("y z", end)
    assert prompts.end_of_turn == model.vocabulary[end] != model.tokenizer.eos_token_id


def test_the_turn_ends_at_the_first_special_token_after_the_answer():
    """Some templates also close the whole conversation."""
    model = Bytes(
        CHATML + "{% if not add_generation_prompt %}{{ eos_token }}{% endif %}", "<eos>", ["<|im_start|>", "<|im_end|>"]
    )
    assert model.prompts().encode("x", "y").response == model.spell("y", "<|im_end|>")


def test_a_base_model_has_no_template():
    model = Bytes(None, eos="<eos>")
    example = model.prompts().encode("x", "y z")
    assert example == Example(model.spell("<bos>", "Translate.\nx\n"), model.spell("y z", "<eos>"))


def test_neither_template_nor_end_of_sequence_is_an_error():
    model = Bytes(None, eos="<eos>")
    model.tokenizer.eos_token = None
    with refused("end-of-turn", "end-of-sequence"):
        model.prompts()


def test_a_template_that_does_not_continue_its_generation_prompt_is_an_error():
    thinking = CHATML.replace("assistant\\n' }}{% endif %}", "assistant\\n<think>\\n' }}{% endif %}")
    assert thinking != CHATML
    with refused("chat template", "generation prompt", "<think>"):
        Bytes(thinking, eos="<|im_end|>", listed=["<|im_start|>"]).prompts()


def test_the_beginning_of_sequence_stands_once_and_first(prompts, pairs):
    begin = prompts.tokenizer.bos_token_id
    for source, target in pairs:
        example = prompts.encode(source, target)
        assert example.prompt[0] == begin
        assert (example.prompt + example.response).count(begin) == 1


text = st.text(st.characters(codec="utf-8", exclude_characters="<|>"), min_size=1, max_size=40)


@given(source=text, target=text)
def test_training_and_inference_see_the_same_prompt(prompts, source, target):
    inference, training = prompts.encode(source), prompts.encode(source, target)
    assert inference.response == ()
    assert training.prompt == inference.prompt
    assert training.response[-1] == prompts.end_of_turn
    assert training.response.count(prompts.end_of_turn) == 1


@given(target=text)
def test_a_response_is_the_target_whole(prompts, target):
    assert prompts.decode(prompts.encode("x", target).response) == target.strip()


def test_long_pairs_are_not_truncated(prompts):
    prompts.tokenizer.model_max_length, usual = 8, prompts.tokenizer.model_max_length
    source, target = "Hund " * 500, "dog " * 500 + "end"
    example = prompts.encode(source, target)
    prompts.tokenizer.model_max_length = usual
    assert prompts.decode(example.response) == target
    assert prompts.tokenizer.decode(example.prompt).count("Hund ") == 500


def test_a_target_that_spells_the_end_of_turn_is_not_cut(prompts):
    response = prompts.encode("Schreiben Sie das Zeichen.", "Write <|end|> here.").response
    assert response.count(prompts.end_of_turn) == 1 and response[-1] == prompts.end_of_turn
    assert prompts.decode(response) == "Write <|end|> here."


def test_decoding_stops_at_the_end_of_turn(prompts):
    ids = prompts.tokenizer(" the dog", add_special_tokens=False).input_ids
    assert prompts.decode([*ids, prompts.end_of_turn, *ids]) == "the dog"
    assert prompts.decode([prompts.end_of_turn, *ids]) == ""
    assert prompts.decode([]) == ""


SHOWN = [("x", "a"), ("y z", "b c")]


def test_examples_are_earlier_turns():
    prompts = Prompts(word_tokenizer(USER_THEN_ANSWER), lambda domain: "Translate.")
    example = prompts.encode("schläft", "sleeps", examples=[("der Hund", "the dog")])
    assert example == Example((2, 4, 6, 7, 8, 3, 5, 10, 11, 3, 4, 6, 9, 3, 5), (12, 3))


def test_examples_in_llama_2_which_begins_every_turn_anew():
    model = Bytes(LLAMA_2, eos="</s>")
    turns = [part for q, a in SHOWN for part in ("<bos>", f"[INST] Translate.\n{q} [/INST] {a} ", "</s>")]
    example = model.prompts().encode("w", "d", examples=SHOWN)
    assert example.prompt == model.spell(*turns, "<bos>", "[INST] Translate.\nw [/INST]")
    assert example.response == model.spell(" d ", "</s>")


def test_examples_in_chatml_whose_default_system_prompt_stands_once():
    model = Bytes(CHATML, eos="<|im_end|>", listed=["<|im_start|>"])
    start, end = "<|im_start|>", "<|im_end|>"
    ask = [[start, f"user\nTranslate.\n{q}", end, "\n", start, "assistant\n"] for q in ("x", "y z", "w")]
    example = model.prompts().encode("w", "d", examples=SHOWN)
    expected = (start, "system\nYou help.", end, "\n", *ask[0], "a", end, "\n", *ask[1], "b c", end, "\n", *ask[2])
    assert example.prompt == model.spell(*expected)
    assert example.response == model.spell("d", end)


def test_examples_in_gemma_which_calls_itself_model():
    start, end = "<start_of_turn>", "<end_of_turn>"
    model = Bytes(GEMMA_2, eos="<eos>", listed=[start, end])
    ask = [[start, f"user\nTranslate.\n{q}", end, "\n", start, "model\n"] for q in ("x", "y z", "w")]
    example = model.prompts().encode("w", "d", examples=SHOWN)
    expected = ("<bos>", *ask[0], "a", end, "\n", *ask[1], "b c", end, "\n", *ask[2])
    assert example.prompt == model.spell(*expected)
    assert example.response == model.spell("d", end)


def test_examples_without_a_template_stand_as_they_would_be_trained():
    """So a model that continues in the same way ends its answer."""
    model = Bytes(None, eos="<eos>")
    example = model.prompts().encode("w", "d", examples=SHOWN)
    shown = ("Translate.\nx\na", "<eos>", "Translate.\ny z\nb c", "<eos>")
    assert example == Example(model.spell("<bos>", *shown, "Translate.\nw\n"), model.spell("d", "<eos>"))


def test_examples_have_the_instruction_of_the_question():
    prompts = Prompts(word_tokenizer(USER_THEN_ANSWER), lambda domain: domain)
    assert prompts.encode("der", domain="Hund", examples=[("x", "the")]).prompt == (
        2,
        4,
        8,
        1,
        3,
        5,
        10,
        3,
        4,
        8,
        7,
        3,
        5,
    )


def test_no_examples_change_nothing(prompts, pairs):
    for source, target in pairs:
        assert prompts.encode(source, target, examples=[]) == prompts.encode(source, target)


LAST_TURN_ONLY = (
    "{{ bos_token }}{% for m in messages[-1:] %}{{ '[U]' + messages[0].content + '[A]' }}"
    "{% if m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}"
)


def test_a_template_that_hides_earlier_turns_is_an_error():
    prompts = Bytes(LAST_TURN_ONLY, eos="<eos>").prompts()
    prompts.encode("x", "y")
    with refused("chat template", repr("<bos>[U]Translate.")[1:-1]):
        prompts.encode("x", examples=[("u", "v")])


@given(source=text, target=text, examples=st.lists(st.tuples(text, text), max_size=3))
def test_training_and_inference_see_the_same_prompt_with_examples(prompts, source, target, examples):
    inference = prompts.encode(source, examples=examples)
    training = prompts.encode(source, target, examples=examples)
    assert training.prompt == inference.prompt and inference.response == ()
    assert prompts.decode(training.response) == target.strip()


SOURCES = {
    "llama 2": (Bytes(LLAMA_2, "</s>"), ("<bos>", "[INST] Translate.\n")),
    "chatml": (
        Bytes(CHATML, "<|im_end|>", ["<|im_start|>"]),
        ("<|im_start|>", "system\nYou help.", "<|im_end|>", "\n", "<|im_start|>", "user\nTranslate.\n"),
    ),
    "gemma": (
        Bytes(GEMMA_2, "<eos>", ["<start_of_turn>", "<end_of_turn>"]),
        ("<bos>", "<start_of_turn>", "user\nTranslate.\n"),
    ),
    "no template": (Bytes(None, "<eos>"), ("<bos>", "Translate.\n")),
}
"""Tokenizers, and what stands before the source."""


@pytest.mark.parametrize("source", ["x y", "assistant", "Translate.", "user\nTranslate.", "]", " [/INST]", "r", "bos"])
@pytest.mark.parametrize("shape", SOURCES)
def test_the_sources_own_tokens(shape, source):
    """This holds even if the template or the instruction has the same words."""
    model, before = SOURCES[shape]
    found = model.prompts().encode_source(source, "law")
    assert found.prompt == model.spell(*before)
    assert found.response == model.spell(source)
    assert found.domain == "law"


def test_a_token_across_the_border_counts_as_the_sources():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    vocabulary = {name: index for index, name in enumerate(["</s>", "a", "b", "\n", "\nb", "b\n"])}
    merges = [("\n", "b"), ("b", "\n")]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE(vocab=vocabulary, merges=merges)), eos_token="</s>"
    )
    found = Prompts(tokenizer, lambda domain: "a").encode_source("bab")
    assert found == Example(prompt=(1,), response=(4, 1, 5))


def test_where_the_template_changes_the_words_all_tokens_count_but_the_first():
    model = Bytes("{{ bos_token }}{% for m in messages %}{{ m.content | upper }}{% endfor %}", "<eos>")
    prompts, prompts.form = object.__new__(Prompts), object.__new__(Chat)  # the constructor would refuse it
    prompts.tokenizer = prompts.form.tokenizer = model.tokenizer
    prompts.form.instruction = lambda domain: "Go"
    assert prompts.encode_source("x") == Example(model.spell("<bos>"), model.spell("GO\nX"))


@pytest.mark.parametrize("shape", SOURCES)
def test_an_empty_source_has_no_tokens(shape):
    """Templates strip the line feed before it."""
    prompts = SOURCES[shape][0].prompts()
    found = prompts.encode_source("")
    assert found.response == ()
    assert prompts.encode("").prompt[: len(found.prompt)] == found.prompt


A, B = Example((1, 5, 6), (7, 8)), Example((1, 9), (3,))


def test_collate_right_by_hand():
    batch = collate([A, B], pad=0)
    assert batch.input_ids.tolist() == [[1, 5, 6, 7, 8], [1, 9, 3, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.position_ids[0].tolist() == [0, 1, 2, 3, 4]
    assert batch.position_ids[1, :3].tolist() == [0, 1, 2]
    assert batch.response.tolist() == [[False, False, True, True, False], [False, True, False, False, False]]
    assert batch.targets.tolist() == [7, 8, 3]
    assert batch.rows.tolist() == [0, 0, 1]


def test_collate_left_by_hand():
    batch = collate([A, B], pad=0, side="left")
    assert batch.input_ids.tolist() == [[1, 5, 6, 7, 8], [0, 0, 1, 9, 3]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]
    assert batch.position_ids[0].tolist() == [0, 1, 2, 3, 4]
    assert batch.position_ids[1, 2:].tolist() == [0, 1, 2]
    assert batch.response.tolist() == [[False, False, True, True, False], [False, False, False, True, False]]
    assert batch.targets.tolist() == [7, 8, 3]
    assert batch.rows.tolist() == [0, 0, 1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_prompts_alone_have_no_response_positions(side):
    batch = collate([Example((1, 5, 6)), Example((1,))], pad=0, side=side)
    assert not batch.response.any()
    assert batch.targets.shape == batch.rows.shape == (0,)


ids = st.lists(st.integers(1, 9), min_size=1, max_size=8).map(tuple)


@given(examples=st.lists(st.builds(Example, ids, ids), min_size=1, max_size=5), side=st.sampled_from(["left", "right"]))
def test_targets_are_the_responses(examples, side):
    """No example contains the padding 0, so it shows if it is taken for a token."""
    batch = collate(examples, pad=0, side=side)
    assert batch.targets.tolist() == [token for example in examples for token in example.response]
    for row, example in enumerate(examples):
        real = batch.attention_mask[row].bool()
        assert tuple(batch.input_ids[row][real].tolist()) == example.prompt + example.response
        assert batch.position_ids[row][real].tolist() == list(range(len(example)))
        assert not batch.response[row][~real].any()
        assert int((batch.rows == row).sum()) == len(example.response)


def test_a_batch_moves_whole():
    batch = collate([A, B], pad=0).to(torch.device("meta"))
    assert {tensor.device.type for tensor in vars(batch).values()} == {"meta"}


@given(lengths=st.lists(st.integers(1, 60), max_size=40), tokens=st.integers(1, 300))
def test_batches_keep_the_budget_and_every_index_once(lengths, tokens):
    found = batches(lengths, tokens)
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    for batch in found:
        assert len(batch) == 1 or max(lengths[index] for index in batch) * len(batch) <= tokens
    assert found == batches(lengths, tokens)


def test_batches_of_equal_lengths_are_full():
    assert [len(batch) for batch in batches([5] * 10, 20)] == [4, 4, 2]
