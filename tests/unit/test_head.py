"""The LM head's loss in chunks, compared with the formula in float64 and with PyTorch's own on all logits at once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from caneft.importance.hooks import Taps, importance
from caneft.models import head
from caneft.models.loss import response_losses
from caneft.prompts import collate
from tests import naive
from tests.conftest import FAMILIES

POSITIONS, WIDTH, VOCABULARY = 23, 16, 50
CAPS = (None, 3.0)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@pytest.fixture
def given():
    """Hidden states, weights, targets and the factor of each loss."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(POSITIONS, WIDTH, generator=generator)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator)
    targets = torch.randint(VOCABULARY, (POSITIONS,), generator=generator)
    return hidden, weight, targets, torch.rand(POSITIONS, generator=generator)


def by_hand(hidden, weight, targets, upstream, cap):
    """Losses, and the gradients of their weighted sum with respect to hidden states and weights, in float64."""
    h, w, g = (tensor.double().numpy() for tensor in (hidden, weight, upstream))
    raw = h @ w.T
    logits = raw if cap is None else cap * np.tanh(raw / cap)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    chances = odds / odds.sum(1, keepdims=True)
    rows = np.arange(len(h))
    losses = -np.log(chances[rows, targets])
    of_logits = chances.copy()
    of_logits[rows, targets] -= 1
    of_logits *= g[:, None] * (1 if cap is None else 1 - np.tanh(raw / cap) ** 2)
    return losses, of_logits @ w, of_logits.T @ h


def chunked(hidden, weight, targets, upstream, cap, logits, trained=True):
    hidden, weight = hidden.clone().requires_grad_(), weight.clone().requires_grad_(trained)
    losses = head.cross_entropy(hidden, weight, targets, cap, logits)
    (losses * upstream).sum().backward()
    return losses.detach(), hidden.grad, weight.grad


def close(found, expected, share):
    """Whether two tensors agree within a share of the largest number."""
    return float(np.abs(found.double().numpy() - expected).max()) <= share * float(np.abs(expected).max())


@pytest.mark.parametrize("logits", [1, 7 * VOCABULARY, POSITIONS * VOCABULARY - 1, None])
@pytest.mark.parametrize("cap", CAPS)
def test_losses_and_gradients_are_those_of_the_formula(given, cap, logits):
    expected = by_hand(*given, cap)
    for found, of in zip(chunked(*given, cap, logits), expected, strict=True):
        assert close(found, of, 1e-6)
    losses, of_hidden, _ = expected
    found_losses, found_hidden, none = chunked(*given, cap, logits, trained=False)
    assert close(found_losses, losses, 1e-6) and close(found_hidden, of_hidden, 1e-6) and none is None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("trained", [True, False])
def test_chunks_are_as_exact_as_all_logits_at_once(given, dtype, trained):
    hidden, weight, targets, upstream = given
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    expected = by_hand(hidden, weight, targets, upstream, None)

    def errors(logits):
        found = chunked(hidden, weight, targets, upstream, None, logits, trained)
        return [
            np.abs(a.double().numpy() - b).max() / np.abs(b).max()
            for a, b in zip(found, expected, strict=True)
            if a is not None
        ]

    resolution = torch.finfo(dtype).eps
    for apart, together in zip(errors(5 * VOCABULARY), errors(None), strict=True):
        assert apart <= max(1.5 * together, 2 * resolution)


def test_small_gradients_survive_a_head_in_float16():
    """Many tokens have a probability below half of float16's smallest number; together it is one half."""
    words = 2**17
    hidden, weight = torch.ones(2, 2), torch.zeros(words, 2)
    weight[:, 0] = 1.0
    weight[0] = torch.tensor([1.0 + np.log(words), 0.0])
    hidden, weight = hidden.half(), weight.half()
    expected = by_hand(hidden, weight, torch.tensor([0, 0]), torch.ones(2), None)
    _, found, _ = chunked(hidden, weight, torch.tensor([0, 0]), torch.ones(2), None, words, trained=False)
    assert close(found, expected[1], 0.01)


def test_nothing_is_kept_where_nothing_is_trained(given):
    hidden, weight, targets, _ = given
    assert not head.cross_entropy(hidden, weight, targets, None, 1).requires_grad


@pytest.mark.parametrize("trained", [True, False])
def test_no_more_logits_are_in_memory_than_allowed(given, trained):
    """Asserts the largest tensor that any operation makes, forward and backward."""
    hidden, weight, targets, upstream = given
    allowed, largest = 4 * VOCABULARY, 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            made = function(*args, **(kwargs or {}))
            if isinstance(made, torch.Tensor) and VOCABULARY in made.shape and WIDTH not in made.shape:
                largest = max(largest, made.numel())
            return made

    with Watch():
        chunked(hidden, weight, targets, upstream, 3.0, allowed, trained)
    assert largest == allowed


@pytest.mark.parametrize("family", FAMILIES)
def test_importance_is_the_same_in_chunks(tiny_model, family, examples, monkeypatch):
    model = tiny_model(family)
    monkeypatch.setattr(head, "LOGITS", {"cpu": 3 * len(model.lm_head.weight)})
    with Taps(model) as taps:
        (found,) = importance(model, [collate(examples, 0)], taps)
    for sample, example in enumerate(examples):
        expected = naive.importance(model, example.prompt, example.response).double().numpy()
        assert close(found.importance[:, sample], expected, 1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_gets_the_same_gradient_in_chunks(tiny_model, family, examples, monkeypatch):
    def gradients(logits):
        monkeypatch.setattr(head, "LOGITS", {"cpu": logits})
        model = tiny_model(family).requires_grad_(True)
        model.zero_grad()
        response_losses(model, collate(examples, 0)).mean().backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}

    apart, together = gradients(1), gradients(2**24)
    assert apart.keys() == together.keys()
    for name, expected in together.items():
        torch.testing.assert_close(apart[name], expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max() + 1))


class Strided(Exception):
    """Raised if a frozen linear module gets samples with gaps between them."""


@pytest.mark.parametrize("family", FAMILIES)
def test_no_linear_module_is_given_samples_with_gaps(tiny_model, family, examples, monkeypatch):
    """PyTorch would copy the frozen weight for every sample."""
    model = tiny_model(family)
    head.take_whole_inputs(model)
    linear, seen = F.linear, []

    def watched(values, weight, bias=None):
        seen.append(values.shape)
        if values.dim() == 3 and not weight.requires_grad and not values.is_contiguous():
            raise Strided(f"{tuple(values.shape)} with strides {values.stride()}")
        return linear(values, weight, bias)

    monkeypatch.setattr(F, "linear", watched)
    batch = collate(examples, 0, "left")
    model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, max_new_tokens=2, do_sample=False)
    with Taps(model) as taps:
        list(importance(model, [batch], taps))
    assert len(seen) > 10
