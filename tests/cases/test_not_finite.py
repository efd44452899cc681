"""If numbers are not finite while a model translates, that is an error, never an empty translation or a choice.

The cases come from public reports of float16 overflows, retold in our own words, each with the smallest model that
fails.
"""

import math

import pytest
import torch

from caneft import config
from caneft.translation.decoding import source_losses, translate
from tests.messages import refused

SETTINGS = config.Decoding(batch_size=3, length_factor=0.5, length_offset=6)
REMEDY = "models.*.dtype"


@pytest.fixture
def sources(pairs):
    return [source for source, _ in pairs]


@pytest.fixture(params=["an FFN", "the head"])
def overflowing(request, tiny_model):
    """Makes a model with weights that are finite in float16 and activations that are not."""

    def make(dtype):
        model = tiny_model(seed=3)
        if request.param == "an FFN":
            for name in ("gate_proj", "up_proj", "down_proj"):
                getattr(model.model.layers[1].mlp, name).weight.mul_(40)
        else:
            model.lm_head.weight.mul_(60_000 / float(model.lm_head.weight.abs().max()))
        assert all(weight.half().isfinite().all() for weight in model.parameters())
        return model.to(dtype)

    return make


def test_activations_that_overflow_are_no_translations(overflowing, prompts, sources):
    with refused("source ", REMEDY):
        translate(overflowing(torch.float16), prompts, sources, SETTINGS)
    for dtype in (torch.float32, torch.bfloat16):
        assert len(translate(overflowing(dtype), prompts, sources, SETTINGS)) == len(sources)


def test_activations_that_overflow_are_no_losses(overflowing, prompts, sources):
    """Such losses would choose an adapter: the first one by name."""
    with refused("source ", REMEDY):
        source_losses(overflowing(torch.float16), prompts, sources, SETTINGS)
    losses, _ = source_losses(overflowing(torch.float32), prompts, sources, SETTINGS)
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)


def test_every_step_is_looked_at(tiny_model, prompts, sources):
    """The first generated token is faulty, so the logits of the second step are the first that are not finite."""
    model = tiny_model()
    batch = [sources[1]]
    prompt = prompts.encode_sources(batch)[0].prompt
    with torch.no_grad():
        token = int(model(torch.tensor([prompt])).logits[0, -1].argmax())
    assert token not in prompt and token != prompts.end_of_turn
    model.model.embed_tokens.weight[token, 0] = float("nan")
    assert model(torch.tensor([prompt])).logits.isfinite().all()
    with refused("source 1", REMEDY):
        translate(model, prompts, batch, SETTINGS)


def test_one_sentence_of_a_batch_is_enough(tiny_model, prompts, sources):
    model = tiny_model()
    encoded = prompts.encode_sources(sources)
    own = set(encoded[4].prompt).difference(*(example.prompt for i, example in enumerate(encoded) if i != 4))
    model.model.embed_tokens.weight[min(own), 0] = float("inf")
    with refused(REMEDY):
        translate(model, prompts, sources, SETTINGS)
    with refused("source 5", REMEDY):
        source_losses(model, prompts, sources, SETTINGS)


def test_a_soft_cap_does_not_hide_infinite_logits(tiny_model, prompts, sources):
    """Gemma 2's soft cap turns infinite logits into a finite number, the same for all tokens that overflow."""
    model = tiny_model("gemma2", dtype=torch.float16)
    model.lm_head.weight.mul_(60_000 / float(model.lm_head.weight.abs().max()))
    with torch.no_grad():
        assert model(torch.tensor([[5, 6, 7]])).logits.isfinite().all()
    with refused(REMEDY):
        translate(model, prompts, sources, SETTINGS)


def test_the_model_is_left_as_it_was(tiny_model, prompts, sources):
    model = tiny_model()
    translate(model, prompts, sources, SETTINGS)
    assert not model.lm_head._forward_hooks
    model.lm_head.weight[0] = float("nan")
    with refused(REMEDY):
        translate(model, prompts, sources, SETTINGS)
    assert not model.lm_head._forward_hooks
