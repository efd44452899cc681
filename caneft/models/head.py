"""The LM head, most of a small model with a large vocabulary: its loss in chunks, and a contiguous input."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

LOGITS = {"cpu": 2**24, "cuda": 2**27}
"""The most logits in memory at once, by type of device: 64 and 512 MB in float32. With fewer, the head's matrix
products would be too small to keep the device busy."""

LIFT = 2.0**10
"""Factor for the gradients of logits that pass through a float16 head, where most of them would otherwise become 0."""


def take_whole_inputs(model: nn.Module) -> None:
    """Makes the LM head's input contiguous.

    `generate` gives the head the last position of every sample, a slice with gaps. For a frozen weight, PyTorch on a
    CPU (seen in 2.13) then multiplies sample by sample, with a copy of the weight for each: 64 samples of Gemma 3 270M
    take 21 GB and a minute instead of 1.9 GB and a second.
    """
    model.lm_head.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:]))


def cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    cap: float | None = None,
    logits: int | None = None,
) -> torch.Tensor:
    """Cross-entropy of the LM head's prediction at each position, in nats: float32 of shape (positions,).

    hidden: (positions, width), weight: (vocabulary, width), of one dtype. targets: int64 (positions,). cap: soft-cap of
    the logits. logits: the most of them in memory at once, by default `LOGITS` of the device.

    If all fit, this is PyTorch's own cross-entropy. If not, positions are processed in chunks, and the logits of a
    chunk are freed before those of the next are computed. If the head is frozen, the forward pass also computes the
    gradient with respect to `hidden`, while it has the logits. If the head is trained, the backward pass computes the
    logits again. With chunks there are no second derivatives.
    """
    rows = max(1, (LOGITS[hidden.device.type] if logits is None else logits) // len(weight))
    if len(hidden) <= rows:
        return F.cross_entropy(_logits(hidden, weight, cap), targets, reduction="none")
    return _InChunks.apply(hidden, weight, targets, cap, rows)


def _logits(hidden: torch.Tensor, weight: torch.Tensor, cap: float | None) -> torch.Tensor:
    logits = F.linear(hidden, weight).float()
    return logits if cap is None else torch.tanh(logits / cap) * cap


class _InChunks(torch.autograd.Function):
    """Cross-entropy of `rows` positions at a time."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, cap, rows):
        ctx.cap, ctx.rows, ctx.dtype = cap, rows, hidden.dtype
        of_hidden, of_weight, *_ = ctx.needs_input_grad
        losses = hidden.new_empty(len(hidden), dtype=torch.float32)
        ready = torch.empty_like(hidden, dtype=torch.float32) if of_hidden and not of_weight else None
        lift = LIFT if weight.dtype == torch.float16 else 1.0
        for part in _parts(hidden, rows):
            losses[part], of_logits = _chunk(hidden[part], weight, targets[part], cap)
            if ready is not None:
                ready[part] = (of_logits(lift) @ weight).float() / lift
        ctx.save_for_backward(*((hidden, weight, targets) if of_weight else (ready,)))
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream):
        upstream = upstream.unsqueeze(1)
        if not ctx.needs_input_grad[1]:
            (ready,) = ctx.saved_tensors
            return (ready * upstream).to(ctx.dtype), None, None, None, None
        hidden, weight, targets = ctx.saved_tensors
        of_hidden = torch.empty_like(hidden)
        of_weight = torch.zeros_like(weight, dtype=torch.float32)  # in fewer bits, a sum of chunks would be inexact
        for part in _parts(hidden, ctx.rows):
            _, of_logits = _chunk(hidden[part], weight, targets[part], ctx.cap)
            gradient = of_logits(upstream[part])
            of_hidden[part] = gradient @ weight
            of_weight += gradient.T @ hidden[part]
        return of_hidden, of_weight.to(weight.dtype), None, None, None


def _parts(hidden: torch.Tensor, rows: int) -> Iterator[slice]:
    return (slice(start, start + rows) for start in range(0, len(hidden), rows))


def _chunk(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, cap: float | None
) -> tuple[torch.Tensor, Callable[[float | torch.Tensor], torch.Tensor]]:
    """Losses of some positions, float32 (positions,), and a function that returns their gradient, times a factor, with
    respect to the logits before the soft-cap: (positions, vocabulary) in the weight's dtype. It must be called only
    once.

    The logits are held once in the weight's dtype and once in float32; everything else is computed in place.
    """
    raw = F.linear(hidden, weight)
    wide = raw.float() if cap is None else torch.tanh(raw.float() / cap)
    slope = None if cap is None else 1 - wide.square()
    if cap is not None:
        wide.mul_(cap)
    target = targets.unsqueeze(1)
    chosen, largest = wide.gather(1, target), wide.amax(1, keepdim=True)
    total = wide.sub_(largest).exp_().sum(1, keepdim=True)
    losses = total.log().add_(largest).sub_(chosen).squeeze(1)

    def of_logits(factor: float | torch.Tensor) -> torch.Tensor:
        wide.div_(total).scatter_add_(1, target, wide.new_full(target.shape, -1.0))
        if slope is not None:
            wide.mul_(slope)
        return raw.copy_(wide.mul_(factor))

    return losses, of_logits
