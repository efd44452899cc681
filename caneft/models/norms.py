"""RMS norms that keep only their input for the backward pass.

In transformers, a norm of a bfloat16 model keeps its input three times in float32: in a small model, more than
attention keeps. Here the outputs are the same, bit by bit, and the gradient is that of the formula in float32.
"""

from functools import partial

import torch
from torch import nn

from caneft.models.ffn import decoder


def keep_inputs(model: nn.Module) -> None:
    """Makes every half-precision RMS norm of a causal LM keep only its input; float32 norms stay unchanged.

    Norms that are trained, or that accelerate moves between devices, compute as published.
    """
    for module in decoder(model).modules():
        known = type(module).__name__.endswith("RMSNorm") and not hasattr(module, "_hf_hook")
        if known and module.weight.dtype != torch.float32:
            module.forward = partial(_normed, module)


def as_published(model: nn.Module) -> None:
    """Undoes `keep_inputs`."""
    for module in model.modules():
        if getattr(vars(module).get("forward"), "func", None) is _normed:
            del module.forward


def _normed(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if module.weight.requires_grad or x.dtype == torch.float32:
        return type(module).forward(module, x)
    of_gemma = not hasattr(module, "variance_epsilon")
    return _Norm.apply(x, module.weight, module.eps if of_gemma else module.variance_epsilon, of_gemma)


class _Norm(torch.autograd.Function):
    """y = x / rms(x) times weight, in x's dtype; of_gemma: times 1 + weight, in float32. No gradient for the weight."""

    @staticmethod
    def forward(ctx, x, weight, eps, of_gemma):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, scale)
        ctx.of_gemma = of_gemma
        wide.mul_(scale)
        return wide.mul_(1.0 + weight.float()).to(x.dtype) if of_gemma else weight * wide.to(x.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, weight, scale = ctx.saved_tensors
        dy = dy.float() * (1.0 + weight.float()) if ctx.of_gemma else (dy * weight).float()
        unit = x.float().mul_(scale)
        mean = (dy * unit).mean(-1, keepdim=True)
        return dy.sub_(unit.mul_(mean)).mul_(scale).to(x.dtype), None, None, None
