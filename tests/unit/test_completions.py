"""Text that base models complete: exact characters and tokens, in two kinds of vocabulary, and back to text."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from caneft import config
from caneft.plan.settings import PromptSettings
from caneft.prompts import Example, Prompts, collate
from caneft.prompts.forms import Completed
from caneft.translation.decoding import Hypothesis, translate
from tests.messages import refused
from tests.shapes import BYTE_LEVEL, CHARACTERS

WORDS = ["German", "English", " der", " Hund", " the", " dog"]
"""A token each, the space in front included."""


def merges(*tokens):
    """The merges that make each token from left to right."""
    return list(dict.fromkeys((token[:end], token[end]) for token in tokens for end in range(1, len(token))))


def byte_level():
    """Like GPT-2's and Qwen's: no beginning-of-sequence token, and one token for a full stop with a line break."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    found = merges(*(word.replace(" ", "Ġ") for word in WORDS), ".Ċ", "ĊĊ")
    names = dict.fromkeys(["<pad>", "<eos>", *BYTE_LEVEL.values(), *(a + b for a, b in found)])
    inner = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=found))
    words = pre_tokenizers.Split(Regex(r" ?\p{L}+| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]+|\s+"), "isolated")
    inner.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(False, use_regex=False)])
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<pad>", "<eos>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>")


def gemma_like():
    """Like Gemma's: `▁` is a space, line breaks and runs of them are tokens, and unknown text is spelt in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    found = merges(*(word.replace(" ", "▁") for word in WORDS), "\n\n")
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    names = dict.fromkeys([*special, *spelt, *CHARACTERS, *(a + b for a, b in found)])
    inner = Tokenizer(
        models.BPE(
            vocab={name: index for index, name in enumerate(names)}, merges=found, byte_fallback=True, unk_token="<unk>"
        )
    )
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", special.index("<bos>"))]
    )
    inner.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )


TOKENIZERS = {"byte-level": byte_level(), "gemma-like": gemma_like()}
STOPS = {"byte-level": {"Ċ", ".Ċ", "ĊĊ", "<eos>"}, "gemma-like": {"\n", "\n\n", "<0x0A>", "<eos>"}}
BOTH = pytest.mark.parametrize("kind", TOKENIZERS)


def prompts_of(kind, template="German: {source}\nEnglish:"):
    tokenizer = TOKENIZERS[kind]
    return Prompts(tokenizer, lambda domain: "", lambda source, domain: template.format(source=source, domain=domain))


def spelt(kind, text):
    """Token names written by hand, separated by `|`."""
    begin, space, line = {"byte-level": ("", "Ġ", "Ċ"), "gemma-like": ("<bos>|", "▁", "\n")}[kind]
    return (begin + text).replace(" ", space).replace("\n", line).split("|")


def ids(kind, text):
    """Ids of tokens written by hand, without a beginning-of-sequence token."""
    return tuple(TOKENIZERS[kind].convert_tokens_to_ids(spelt(kind, text)[kind == "gemma-like" :]))


@BOTH
def test_a_pair_to_the_token(kind):
    """The space before the translation belongs to its first token, and its line break is its own token."""
    prompts = prompts_of(kind)
    example = prompts.encode("der Hund", "the dog.")
    names = TOKENIZERS[kind].convert_ids_to_tokens(example.prompt + example.response)
    assert names == spelt(kind, "German|:| der| Hund|\n|English|:| the| dog|.|\n")
    assert example.response == ids(kind, " the| dog|.|\n")
    assert prompts.encode("der Hund") == Example(example.prompt)
    assert prompts.described() == {"form": "completion", "text": "German: {source}\nEnglish:"}


def test_a_vocabulary_that_joins_full_stop_and_line_break_still_ends_with_the_line_break():
    tokenizer = TOKENIZERS["byte-level"]
    assert tokenizer.tokenize(" dog.\n") == ["Ġdog", ".Ċ"]
    example = prompts_of("byte-level").encode("der.", "the dog.")
    assert tokenizer.convert_ids_to_tokens(example.prompt) == ["German", ":", "Ġder", ".Ċ", "English", ":"]
    assert tokenizer.convert_ids_to_tokens(example.response) == ["Ġthe", "Ġdog", ".", "Ċ"]


@BOTH
def test_examples_are_pairs_as_they_are_trained(kind):
    shown = [("der", "the"), ("Hund", "dog")]
    example = prompts_of(kind).encode("der Hund", "the dog", examples=shown)
    before = "German|:| der|\n|English|:| the|\n|German|:| Hund|\n|English|:| dog|\n|German|:| der| Hund|\n|English|:"
    assert TOKENIZERS[kind].convert_ids_to_tokens(example.prompt) == spelt(kind, before)
    assert example.response == ids(kind, " the| dog|\n")


@pytest.mark.parametrize("side", ["left", "right"])
@BOTH
def test_the_response_mask(kind, side):
    """True at positions whose next token belongs to the translation or its line break."""
    prompts = prompts_of(kind)
    pairs = [prompts.encode("der Hund", "the dog"), prompts.encode("der Hund", "the the the dog")]
    batch = collate(pairs, prompts.tokenizer.pad_token_id, side)
    before = 7 + (kind == "gemma-like")  # number of tokens in the prompt
    shift = 2 if side == "left" else 0
    assert batch.response[0].tolist() == [
        shift + before - 1 <= place < shift + before + 2 for place in range(before + 5)
    ]
    assert tuple(batch.targets[batch.rows == 0].tolist()) == ids(kind, " the| dog|\n")


@BOTH
def test_line_breaks_within_texts_are_spaces(kind):
    prompts = prompts_of(kind)
    broken = prompts.encode(" der\r\n\nHund\n", "the \n dog\u2028", examples=[("der\n", "\nthe\ndog")])
    assert broken == prompts.encode("der Hund", "the dog", examples=[("der", "the dog")])
    assert prompts.encode_source("der\nHund") == prompts.encode_source("der Hund")


text = st.text(st.characters(codec="utf-8", exclude_characters="<|>▁"), max_size=30)


@BOTH
@given(source=text, target=text)
def test_training_and_inference_see_the_same_prompt_and_a_response_is_the_target_whole(kind, source, target):
    prompts = prompts_of(kind)
    inference, training = prompts.encode(source), prompts.encode(source, target)
    assert training.prompt == inference.prompt
    assert training.response[-1] == prompts.end_of_turn and training.response.count(prompts.end_of_turn) == 1
    assert prompts.ended(training.response) and not prompts.ended(training.response[:-1])
    assert prompts.decode(training.response).split() == target.split()


def test_a_token_across_the_border_is_in_neither():
    """The vocabulary has a token for the label's last character, the space and a letter."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    names = ["<eos>", ":", " ", "a", "b", "\n", ": ", ": b", " b"]
    found = [(":", " "), (": ", "b"), (" ", "b")]
    inner = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=found))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")
    assert tokenizer("a: b").input_ids == [3, 7]
    prompts = Prompts(tokenizer, lambda domain: "", lambda source, domain: f"{source}\na:")
    assert prompts.encode("b", "b") == Example((4, 5, 3, 1), (8, 5))
    assert prompts.encode("b") == Example((4, 5, 3, 1))


@BOTH
def test_the_domain_may_be_named(kind):
    prompts = prompts_of(kind, "German ({domain}): {source}\nEnglish:")
    shown = prompts.encode("der", domain="dog", examples=[("Hund", "the")])
    spoken = TOKENIZERS[kind].decode(shown.prompt, skip_special_tokens=True)
    assert spoken == "German (dog): Hund\nEnglish: the\nGerman (dog): der\nEnglish:"


@BOTH
def test_a_target_that_spells_the_end_of_the_sequence_is_text(kind):
    prompts, end = prompts_of(kind), TOKENIZERS[kind].eos_token_id
    example = prompts.encode("der", "the <eos>", "it", examples=[("<eos>", "<eos>")])
    assert end not in example.prompt + example.response
    assert prompts.encode_training([("der", "the <eos>", "it")], 100).examples == [
        prompts.encode("der", "the <eos>", "it")
    ]


@pytest.mark.parametrize(
    "source, before, response",
    [
        ("der Hund", "German|:", " der| Hund"),
        ("German", "German|:| ", "German"),  # the template has this word, too; the space before is a token
        ("English:", "German|:| ", "English|:"),
    ],
)
@BOTH
def test_the_sources_own_tokens(kind, source, before, response):
    found = prompts_of(kind).encode_source(source, "law")
    assert TOKENIZERS[kind].convert_ids_to_tokens(found.prompt) == spelt(kind, before)
    assert found.response == ids(kind, response)
    assert found.domain == "law"


@BOTH
def test_the_sources_place_is_that_in_the_template(kind):
    found = prompts_of(kind, "{domain}: der = {source} = English:").encode_source("der", "der")
    assert TOKENIZERS[kind].convert_ids_to_tokens(found.prompt) == spelt(kind, "d|e|r|:| der| |=")
    assert found.response == ids(kind, " der")


@BOTH
def test_generation_stops_at_every_token_with_a_line_break(kind):
    prompts, tokenizer = prompts_of(kind), TOKENIZERS[kind]
    assert {tokenizer.convert_ids_to_tokens(token) for token in prompts.form.stops} == STOPS[kind]


@BOTH
def test_the_text_of_generated_tokens_is_their_first_line(kind):
    prompts = prompts_of(kind)
    said, more = ids(kind, " the| dog"), ids(kind, "German|:")
    for name in STOPS[kind]:
        stop = TOKENIZERS[kind].convert_tokens_to_ids(name)
        generated = [*said, stop, *more]
        assert prompts.decode(generated) == ("the dog." if name == ".Ċ" else "the dog")
        assert prompts.ended(generated)
    assert prompts.decode([*said, *more]) == "the dogGerman:" and not prompts.ended([*said, *more])
    assert prompts.decode([prompts.end_of_turn, *said]) == prompts.decode([]) == ""


class Scripted(nn.Module):
    """A head that gives scripted tokens, whatever its input; its second choice is the token that follows in the script.

    runs: script by length of the prompt, which it gets from the positions.
    """

    def __init__(self, model, runs, vocabulary):
        super().__init__()
        self.runs, self.vocabulary, self.step, self.lengths = runs, vocabulary, 0, []
        model.register_forward_pre_hook(self.listen, with_kwargs=True)

    def listen(self, model, args, kwargs):
        self.lengths = (kwargs["position_ids"][:, -1] + 1 - self.step).tolist()

    def forward(self, hidden):
        said = torch.tensor([self.runs[length][self.step : self.step + 2] for length in self.lengths])
        self.step += 1
        return (nn.functional.one_hot(said, self.vocabulary) * torch.tensor([[2.0], [1.0]])).sum(1, keepdim=True)


@BOTH
def test_translations_end_at_the_line_break(kind, tiny_model):
    """Each script ends in its own way, none with its first token; only the one without break or end is truncated."""
    tokenizer = TOKENIZERS[kind]
    model = tiny_model(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, eos_token_id=None)
    ends = {"byte-level": [" the| dog|.\n", "\n| dog|\n\n"], "gemma-like": [" the| dog|.|\n", "\n| dog|\n\n"]}[kind]
    runs = [*ends, " the|<eos>", " the| dog| the| dog| the| dog"]
    prompts, sources = prompts_of(kind), ["der", "der der", "der der der", "der der der der"]
    said = [(*ids(kind, run), *ids(kind, " Hund| Hund| Hund| Hund")) for run in runs]
    lengths = [len(prompt) for prompt in prompts.encode_sources(sources)]
    model.lm_head = Scripted(model, dict(zip(lengths, said, strict=True)), len(tokenizer))
    found = translate(model, prompts, sources, config.Decoding(length_factor=0, length_offset=5))
    assert found == [
        Hypothesis("the dog.", False),
        Hypothesis("dog dog", False),  # second choices, where it would have ended
        Hypothesis("the", False),
        Hypothesis("the dog the dog the", True),
    ]
    assert model.lm_head.step == 5


WORDING = PromptSettings(instruction="Say it.", source_language="German", target_language="English")
TEMPLATE = "{% for m in messages %}{{ m.role + ':' + m.content + eos_token }}{% endfor %}" + (
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@pytest.mark.parametrize(
    "template, form, chosen, said",
    [
        (TEMPLATE, "auto", "chat", "Say it.\n{source}"),
        (None, "auto", "completion", "German: {source}\nEnglish:"),
        (TEMPLATE, "completion", "completion", "German: {source}\nEnglish:"),
        (TEMPLATE, "instruction", "instruction", "Say it.\n{source}"),
        (None, "instruction", "instruction", "Say it.\n{source}"),
        (TEMPLATE, "chat", "chat", "Say it.\n{source}"),
    ],
)
def test_the_form_follows_from_configuration_and_tokenizer(template, form, chosen, said):
    tokenizer = byte_level()
    tokenizer.chat_template = template
    prompts = Prompts.of(tokenizer, WORDING.model_copy(update={"form": form}))
    assert prompts.described() == {"form": chosen, "text": said}
    begin = {"chat": "user:Say it.\nder<eos>assistant:", "instruction": "Say it.\nder\n"}
    assert tokenizer.decode(prompts.encode("der").prompt) == begin.get(chosen, "German: der\nEnglish:")


def test_a_conversation_needs_a_template():
    with refused("prompt.form", "chat", "completion"):
        Prompts.of(byte_level(), WORDING.model_copy(update={"form": "chat"}))


def test_a_vocabulary_without_a_line_break_is_an_error():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "<eos>": 1}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>")
    with refused("line break", "prompt.form: instruction"):
        Completed(tokenizer, lambda source, domain: source)


def test_sentencepiece_s_space_before_a_line_break_is_not_its_token():
    from tokenizers import normalizers

    tokenizer = gemma_like()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    assert tokenizer.tokenize("\n") == ["▁", "\n"]
    example = Prompts(tokenizer, lambda domain: "", lambda source, domain: f"{source}\nEnglish:").encode("der", "the")
    assert tokenizer.convert_ids_to_tokens(example.response) == ["▁the", "\n"]


def test_what_the_text_needs_is_asked_for_when_it_is_used():
    """Only the tokenizer shows whether this text is needed: a chat model of the same configuration needs none."""
    unnamed = PromptSettings(instruction="Date:")
    chat = byte_level()
    chat.chat_template = TEMPLATE
    assert Prompts.of(chat, unnamed).encode("der").prompt
    with refused("prompt.completion", "{source_language}", "directions.*.prompt.completion"):
        Prompts.of(byte_level(), unnamed).encode("der")
    own = unnamed.model_copy(update={"completion": "Text: {source}\nDate:"})
    assert byte_level().decode(Prompts.of(byte_level(), own).encode("der").prompt) == "Text: der\nDate:"
    told = WORDING.model_copy(update={"instruction": "A {domain} text:"})
    with refused("prompt.completion", "prompt.instruction", "{domain}"):
        Prompts.of(byte_level(), told).encode("der")
