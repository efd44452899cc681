"""RMS norms that keep only their input, compared with those of transformers and with the formula in float64."""

import pytest
import torch

from caneft.models import norms
from caneft.models.ffn import decoder
from tests.conftest import FAMILIES

HALVES = (torch.bfloat16, torch.float16)


def norms_of(model):
    return [module for module in decoder(model).modules() if type(module).__name__.endswith("RMSNorm")]


def lean(tiny_model, family, dtype):
    """A model with norms whose weights are not all equal."""
    model = tiny_model(family, dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    for module in norms_of(model):
        module.weight.data = torch.randn(module.weight.shape, generator=generator).to(dtype)
    norms.keep_inputs(model)
    return model


def by_hand(module, x, dy):
    """Gradient of a norm's input in float64."""
    x, weight = x.double().requires_grad_(), module.weight.double()
    eps = getattr(module, "variance_epsilon", None) or module.eps
    factor = weight if hasattr(module, "variance_epsilon") else 1 + weight
    y = x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * factor
    (gradient,) = torch.autograd.grad(y, x, dy.double())
    return gradient


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_are_those_of_transformers_bit_by_bit_and_gradients_are_no_worse(tiny_model, family, dtype):
    model = lean(tiny_model, family, dtype)
    assert len(norms_of(model)) >= 7
    for module in norms_of(model):
        x = (3 * torch.randn(2, 5, len(module.weight))).to(dtype).requires_grad_()
        dy = torch.randn_like(x)
        found, expected = module(x), type(module).forward(module, x)
        assert torch.equal(found, expected) and found.dtype == dtype
        exact = by_hand(module, x.detach(), dy)
        ours, theirs = (
            float((torch.autograd.grad(y, x, dy)[0].double() - exact).abs().max()) for y in (found, expected)
        )
        assert ours <= 1.5 * theirs + 1e-4


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_nothing_but_the_input_is_kept(tiny_model, family):
    """Besides, there are the weight, which exists anyway, and one number per position."""
    module = next(m for m in norms_of(lean(tiny_model, family, torch.bfloat16)) if len(m.weight) == 24)
    x, kept = torch.randn(2, 5, 24).bfloat16().requires_grad_(), []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        module(x)
    assert sorted((tuple(tensor.shape), tensor.dtype) for tensor in kept if tensor is not module.weight) == [
        ((2, 5, 1), torch.float32),
        ((2, 5, 24), torch.bfloat16),
    ]


def test_a_trained_norm_gets_its_gradient(tiny_model):
    model = lean(tiny_model, "llama", torch.bfloat16)
    module = norms_of(model)[0].requires_grad_(True)
    module(torch.randn(2, 5, 24).bfloat16()).sum().backward()
    assert module.weight.grad is not None and float(module.weight.grad.abs().sum()) > 0


def test_a_model_in_float32_is_left_alone_and_others_can_be_put_back(tiny_model):
    plain = tiny_model("llama")
    norms.keep_inputs(plain)
    assert not any("forward" in vars(module) for module in plain.modules())
    model = lean(tiny_model, "llama", torch.bfloat16)
    assert all("forward" in vars(module) for module in norms_of(model))
    norms.as_published(model)
    assert not any("forward" in vars(module) for module in model.modules())
