"""Special tokens that are spelt in a text are plain text: they have no effect, and none of the text is lost."""

from dataclasses import replace

import pytest

from caneft.prompts import Prompts
from caneft.prompts.controls import UnusableText
from tests.messages import refused
from tests.shapes import BYTE_LEVEL, SHAPES
from tests.unit.test_prompt_templates import GOLDEN

SPELT = {
    "llama-2": ["<s>", "</s>", "<unk>", "<pad>"],
    "qwen-2.5": ["<|im_end|>", "<|im_start|>"],
    "qwen-3": ["<|im_end|>", "<|im_start|>"],
    "gemma-2": ["<end_of_turn>", "<start_of_turn>", "<bos>"],
    "mistral": ["</s>", "<s>", "[INST]", "[/INST]"],
    "phi-3": ["<|end|>", "<|user|>", "<|assistant|>"],
    "base, with bos": ["</s>", "<s>"],
    "base, without bos": ["<|endoftext|>"],
}
CASES = [(name, token) for name, tokens in SPELT.items() for token in tokens]
TEXTS = ["Press {} now", "{}", "a {}{} b", "Der{}, x", "<{}>[{}"]


def prompts_of(name):
    return Prompts(SHAPES[name].tokenizer(), lambda domain: "Translate.")


def spelt(name, golden, text, stand_in):
    """Tokens of a golden text, with the characters of `text`, one token each, in place of the letters `stand_in`."""
    tokens = SHAPES[name].spelt(golden)
    start = next(n for n in range(len(tokens)) if tokens[n : n + len(stand_in)] == list(stand_in))
    space = "Ġ" if SHAPES[name].spaces == "bytes" else "▁"
    letters = [{" ": space}.get(letter, letter) for letter in text]
    return tokens[:start] + letters + tokens[start + len(stand_in) :]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("name", "token"), CASES)
def test_every_character_of_source_and_target_is_a_token_of_text(name, token, text):
    text = text.replace("{}", token)
    prompts = prompts_of(name)
    before, response = (part.replace("der Hund", "QX").replace("the dog", "ZV") for part in GOLDEN[name])
    example = prompts.encode(text, text)
    tokens = prompts.tokenizer.convert_ids_to_tokens
    assert tokens(example.prompt) == spelt(name, before, text, "QX")
    whole = spelt(name, before + response, "QX", "QX")
    assert tokens(example.response) == spelt(name, before + response, text, "ZV")[len(SHAPES[name].spelt(before)) :]
    assert len(example.response) == len(whole) - len(SHAPES[name].spelt(before)) - 2 + len(text)
    assert prompts.decode(example.response + example.prompt) == text
    assert prompts.encode(text).prompt == example.prompt


@pytest.mark.parametrize(("name", "token"), CASES)
def test_training_leaves_no_such_pair_out(name, token):
    pairs = [("x", "one", "it"), ("x", f"two {token} b", "it"), (f"{token}x", "three", "it")]
    encoded = prompts_of(name).encode_training(pairs, 1000)
    assert (encoded.kept, encoded.left_out) == ([0, 1, 2], {"too_long": 0, "unusable": 0})
    assert encoded.examples == [prompts_of(name).encode(*pair) for pair in pairs]


@pytest.mark.parametrize(("name", "token"), CASES)
def test_examples_in_the_prompt_are_text_too(name, token):
    """The control tokens are the same as in a prompt whose examples spell none."""
    prompts = prompts_of(name)
    special = set(prompts.tokenizer.all_special_ids)

    def controls(*example):
        return [token for token in prompts.encode("x", examples=[example]).prompt if token in special]

    assert controls(f"u {token}", f"{token} v") == controls("u", "v")


@pytest.mark.parametrize(("name", "token"), CASES)
def test_the_source_s_own_tokens_are_found(name, token):
    """Routing chooses adapters for a text of unknown domain by these tokens."""
    source = f"a {token} b"
    prompts = prompts_of(name)
    found = prompts.encode_source(source)
    assert prompts.tokenizer.decode(found.response).strip() == source
    assert found.prompt + found.response == prompts.encode(source).prompt[: len(found)]


@pytest.mark.parametrize("name", GOLDEN)
def test_ordinary_text_is_tokenized_as_it_always_was(name):
    """The tokens are those of one tokenizer call for all texts."""
    prompts = prompts_of(name)
    calls, tokenizer = [], type(prompts.tokenizer)

    class Counted(tokenizer):
        def __call__(self, *args, **options):
            calls.append(options)
            return super().__call__(*args, **options)

    prompts.tokenizer.__class__ = Counted
    prompts.encode("<b>der</b> Hund <i", "the | dog <")
    assert calls and all("return_offsets_mapping" not in options for options in calls)


def test_one_of_thousands_of_names():
    """Gemma has some six thousand such names, `<unused12>` and the like."""
    unused = tuple(f"<unused{number}>" for number in range(6000))
    prompts = Prompts(replace(SHAPES["gemma-3, base"], special=unused).tokenizer(), lambda domain: "Translate.")
    text = "<unused12> and <unused5999>, but <unused6000>"
    example = prompts.encode(text, text)
    assert prompts.tokenizer.convert_ids_to_tokens(example.response) == [*text.replace(" ", "▁"), "<eos>"]
    assert prompts.decode(example.response) == text


def test_names_that_overlap():
    shape = replace(SHAPES["base, without bos"], special=("<a>", "<a><b", "><", "a><b"))
    prompts = Prompts(shape.tokenizer(), lambda domain: "Translate.")
    response = prompts.encode("x", "<a><b>").response
    assert prompts.tokenizer.convert_ids_to_tokens(response) == [*"<a><b>", shape.eos]


def merging():
    """A vocabulary like GPT-2's, with a token for the beginning of each tag."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = dict.fromkeys(["<pad>", "<s>", "</s>", *BYTE_LEVEL.values(), "<s", "</", "x<", "x</"])
    merges = [("<", "s"), ("<", "/"), ("x", "<"), ("x", "</")]
    inner = Tokenizer(models.BPE(vocab={name: index for index, name in enumerate(names)}, merges=merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<pad>", "<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("<s>a</s>", ["<s", ">", "a", "</", "s", ">"]),
        ("<s/>a</b>", ["<s", "/", ">", "a", "</", "b", ">"]),  # neither is special
        ("x</s>x<s>", ["x</", "s", ">", "x", "<s", ">"]),
    ],
)
def test_text_has_the_tokens_that_its_like_have(text, tokens):
    """A manual's `</s>` begins with the same token as `</b>`, because text merges apply."""
    prompts = Prompts(merging(), lambda domain: "Go")
    example = prompts.encode(text, text)
    names = prompts.tokenizer.convert_ids_to_tokens
    assert names(example.response) == [*tokens, "</s>"]
    assert names(example.prompt) == ["<s>", "G", "o", "Ċ", *tokens, "Ċ"]


@pytest.mark.parametrize(("template", "source"), [("<{}>", "s"), ("<{}s>", "/"), ("a <{}", "s>"), ("a {}/s>", "<")])
@pytest.mark.parametrize("name", ["base, with bos", "gemma-3, base"])
def test_no_token_is_made_of_the_wording_s_end_and_the_source_s_beginning(name, template, source):
    shape = replace(SHAPES[name], special=("<s>", "</s>"))
    tokenizer, template = shape.tokenizer(), template + "\nEnglish:"
    prompts = Prompts(tokenizer, lambda domain: "", lambda text, domain: template.format(text))
    space = "▁" if shape.spaces == "chunks" else ""
    expected = [shape.bos, *space, *template.format(source).replace(" ", "▁")]
    assert tokenizer.convert_ids_to_tokens(prompts.encode(source).prompt) == expected
    found = prompts.encode_source(source)
    assert tokenizer.convert_ids_to_tokens(found.response) == list(source)
    assert found.prompt + found.response == prompts.encode(source).prompt[: len(found)]


def test_the_wording_may_hold_special_tokens():
    shape = replace(SHAPES["gemma-3, base"], special=("<task>",))
    tokenizer = shape.tokenizer()
    prompts = Prompts(tokenizer, lambda domain: "", lambda text, domain: f"<task>{text}<task>:")
    tokens = tokenizer.convert_ids_to_tokens(prompts.encode("<task>").prompt)
    assert tokens == ["<bos>", "<task>", *"<task>", "<task>", ":"]


def test_a_letter_that_a_tokenizer_pads_with_stays_in_translations():
    """Some published models pad with an exclamation mark."""
    tokenizer = SHAPES["base, without bos"].tokenizer()
    tokenizer.add_special_tokens({"pad_token": "!"})
    prompts = Prompts(tokenizer, lambda domain: "Translate.")
    example = prompts.encode("Halt!", "Stop! Now!!")
    assert tokenizer.pad_token_id in example.response
    assert prompts.decode(example.response) == "Stop! Now!!"


def test_control_tokens_that_a_model_writes_are_no_text():
    """`</s>` as text, then two control tokens, and text after the end."""
    prompts = prompts_of("phi-3")
    ids = prompts.tokenizer.convert_tokens_to_ids([*"a</s>", "<s>", "b", "<|user|>", "<|end|>", "c"])
    assert prompts.decode(ids) == "a</s>b"


def test_a_tokenizer_that_says_no_places_leaves_such_pairs_out_and_says_so():
    """ByT5's tokenizer is written in Python and cannot say which character a token comes from."""
    from transformers import ByT5Tokenizer

    prompts = Prompts(ByT5Tokenizer(), lambda domain: "Translate.")
    assert not prompts.tokenizer.is_fast
    pairs = [("x", "one", "it"), ("x", "two </s>", "it"), ("<pad>", "three", "it"), ("x", "<unk>", "it")]
    encoded = prompts.encode_training([*pairs, ("</s", "<s>", "it")], 100)
    assert (encoded.kept, encoded.left_out["unusable"]) == ([0, 4], 3)
    assert prompts.decode(encoded.examples[0].response) == "one"
    for refuse in (
        lambda: prompts.encode("x", "a </s>"),
        lambda: prompts.encode("a </s>", "x"),
        lambda: prompts.encode("a </s>"),
        lambda: prompts.encode_source("a </s>"),
        lambda: prompts.encode("x", examples=[("a </s>", "y")]),
        lambda: prompts.encode("x", examples=[("y", "a </s>")]),
    ):
        with refused("</s>", "ByT5Tokenizer", "'a </s>'", by=UnusableText):
            refuse()
