"""Special tokens that stand in a text are text: nothing of them is obeyed, and nothing of the text is lost."""

import pytest

from caneft.prompts import Prompts
from caneft.prompts.forms import UnusableTarget
from tests.messages import refused
from tests.shapes import SHAPES
from tests.unit.test_prompt_templates import GOLDEN

SPELT = {
    "llama-2": ["<s>", "</s>", "<unk>", "<pad>"],
    "qwen-2.5": ["<|im_end|>", "<|im_start|>"],
    "qwen-3": ["<|im_end|>", "<|im_start|>"],
    "gemma-2": ["<end_of_turn>", "<start_of_turn>", "<bos>"],
    "mistral": ["</s>", "<s>"],
    "phi-3": ["<|end|>", "<|user|>", "<|assistant|>"],
    "base, with bos": ["</s>", "<s>"],
    "base, without bos": ["<|endoftext|>"],
}
CASES = [(name, token) for name, tokens in SPELT.items() for token in tokens]
TEXTS = ["Press {} now", "{}", "a {}{} b", "Der{}, x"]


def prompts_of(name):
    return Prompts(SHAPES[name].tokenizer(), lambda domain: "Translate.")


def spelt(name, golden, text, stand_in):
    """Tokens of a golden text in which letters stand for a text, with each character of the text in their place."""
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
    assert prompts.decode(example.response) == text
    assert prompts.encode(text).prompt == example.prompt


@pytest.mark.parametrize(("name", "token"), CASES)
def test_training_leaves_no_such_pair_out(name, token):
    pairs = [("x", "one", "it"), ("x", f"two {token} b", "it"), (f"{token}x", "three", "it")]
    encoded = prompts_of(name).encode_training(pairs, 1000)
    assert (encoded.kept, encoded.left_out) == ([0, 1, 2], {"too_long": 0, "unusable": 0})
    assert encoded.examples == [prompts_of(name).encode(*pair) for pair in pairs]


@pytest.mark.parametrize(("name", "token"), CASES)
def test_examples_in_the_prompt_are_text_too(name, token):
    """The same control tokens stand in a prompt whose examples spell none."""
    prompts = prompts_of(name)
    special = set(prompts.tokenizer.all_special_ids)

    def controls(*example):
        return [token for token in prompts.encode("x", examples=[example]).prompt if token in special]

    assert controls(f"u {token}", f"{token} v") == controls("u", "v")


@pytest.mark.parametrize(("name", "token"), CASES)
def test_the_source_s_own_tokens_are_found(name, token):
    """By which adapters are chosen for a text of an unknown domain."""
    source = f"a {token} b"
    prompts = prompts_of(name)
    found = prompts.encode_source(source)
    assert prompts.tokenizer.decode(found.response).strip() == source
    assert found.prompt + found.response == prompts.encode(source).prompt[: len(found)]


@pytest.mark.parametrize("name", GOLDEN)
def test_ordinary_text_is_tokenized_as_it_always_was(name):
    """By one call for all texts."""
    prompts = prompts_of(name)
    calls, tokenizer = [], type(prompts.tokenizer)

    class Counted(tokenizer):
        def __call__(self, *args, **options):
            calls.append(options)
            return super().__call__(*args, **options)

    prompts.tokenizer.__class__ = Counted
    prompts.encode("<b>der</b> Hund <i", "the | dog <")
    assert calls and all("return_offsets_mapping" not in options for options in calls)


def test_a_tokenizer_that_says_no_places_leaves_such_pairs_out():
    """ByT5's is written in Python, and cannot say which character a token is of."""
    from transformers import ByT5Tokenizer

    prompts = Prompts(ByT5Tokenizer(), lambda domain: "Translate.")
    assert not prompts.tokenizer.is_fast
    encoded = prompts.encode_training([("x", "one", "it"), ("x", "two </s>", "it")], 100)
    assert (encoded.kept, encoded.left_out["unusable"]) == ([0], 1)
    with refused("</s>", by=UnusableTarget):
        prompts.encode("x", "</s>")
