"""Full fine-tuning where no GPU holds float32 masters and Adam's states: they are in the machine's memory.

The GPU holds weights and gradients in the model's dtype, 4 bytes per parameter in bfloat16; memory holds masters and
states, 12 bytes. A step handles one parameter after the other: it copies the gradient to the CPU, where torch's own
AdamW moves the master. Then the rounded masters go to the GPU. In bfloat16 alone most updates would be lost, as any
smaller than half of the last bit rounds to nothing.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from caneft.errors import InputError
from caneft.tuning.full import Full


class OffloadedAdamW(torch.optim.AdamW):
    """AdamW of float32 masters on the CPU, with the gradients of weights elsewhere; it leaves the weights alone.

    weights, masters, beside: in the same order; beside: places on the CPU for copies of the weights' gradients. factor:
    multiplies the next step's gradients, in float32.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        masters: Sequence[nn.Parameter],
        beside: Sequence[torch.Tensor],
        weight_decay: float,
    ):
        super().__init__(masters, weight_decay=weight_decay, fused=True)  # each step sets its rate
        self.weights, self.masters, self.beside = weights, masters, beside
        self.gradients, self.factor = shared(masters), 1.0

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Moves one master at a time: it alone has a gradient, and AdamW skips parameters without."""
        each = zip(self.weights, self.masters, self.beside, self.gradients, strict=True)
        for weight, master, beside, gradient in each:
            if weight.grad is not None:
                master.grad = gradient.copy_(beside.copy_(weight.grad)).mul_(self.factor)
                weight.grad = None
                super().step()
                master.grad = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        for weight in self.weights:
            weight.grad = None


class Offloaded(Full):
    """Makes every weight of a causal LM trainable through masters in the machine's memory; saves it in its dtype."""

    def __init__(self, model: nn.Module):
        if model.dtype == torch.float16:
            raise InputError(
                "adamw-offload does not scale losses, as float16 needs; use a dtype of bfloat16 or float32"
            )
        super().__init__(model, model.dtype)
        self.weights = list(model.parameters())
        self.masters = [nn.Parameter(weight.detach().to("cpu", torch.float32, copy=True)) for weight in self.weights]
        self.beside = shared(self.weights, pinned=any(weight.is_cuda for weight in self.weights))

    def parameters(self) -> Iterator[nn.Parameter]:
        """The masters."""
        return iter(self.masters)

    def devices(self) -> set[torch.device]:
        return {weight.device for weight in self.weights}

    def optimizer(self, weight_decay: float) -> torch.optim.Optimizer:
        self._optimizer = OffloadedAdamW(self.weights, self.masters, self.beside, weight_decay)
        return self._optimizer

    @torch.no_grad()
    def clip_gradients(self, most: float) -> float:
        """Like torch's `clip_grad_norm_`, but in float32 whatever the gradients' dtype; the step applies the factor."""
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float32).cpu() for gradient in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms))
        self._optimizer.factor = float(torch.clamp(most / (norm + 1e-6), max=1.0))
        return float(norm)

    @torch.no_grad()
    def after_step(self) -> None:
        """Writes the masters, rounded, into the weights."""
        for weight, master, beside in zip(self.weights, self.masters, self.beside, strict=True):
            weight.copy_(beside.copy_(master))


def shared(tensors: Sequence[torch.Tensor], pinned: bool = False) -> list[torch.Tensor]:
    """For each tensor a place of its shape and dtype on the CPU; all of one dtype share memory, so use one at a time.

    pinned: makes copies to and from a GPU faster.
    """
    largest: dict[torch.dtype, int] = {}
    for tensor in tensors:
        largest[tensor.dtype] = max(tensor.numel(), largest.get(tensor.dtype, 0))
    memory = {dtype: torch.empty(size, dtype=dtype, pin_memory=pinned) for dtype, size in largest.items()}
    return [memory[tensor.dtype][: tensor.numel()].view(tensor.shape) for tensor in tensors]
