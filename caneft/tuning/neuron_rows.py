"""Neuron tuning: train the selected rows of gate and up and columns of down, and nothing else.

Masters of the slices are float32 parameters; the full weights stay frozen in their own dtype. The forward pass is
one ordinary product with the full weight. The backward pass computes the slices' gradients only:
dy[:, S]^T x for rows, dy^T h[:, S] for columns, and keeps only h[:, S] for the latter. After each optimizer step
the slices are written into the full weights, so no unselected weight is ever touched.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import nn

from caneft import patch
from caneft.models.attention import Heads
from caneft.models.ffn import FFN, ROWS
from caneft.models.units import unit_layers
from caneft.neurons import NeuronSet


class _SliceLinear(torch.autograd.Function):
    """y = x W^T + b with a gradient for x and for the slice W[index] (rows) or W[:, index] (columns)."""

    @staticmethod
    def forward(ctx, x, master, weight, bias, index, axis):
        kept = x if axis == ROWS else x.index_select(-1, index)
        ctx.save_for_backward(kept if ctx.needs_input_grad[1] else None, weight, index)
        ctx.axis = axis
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, dy):
        kept, weight, index = ctx.saved_tensors
        dx = dy @ weight if ctx.needs_input_grad[0] else None
        slice_gradient = None
        if ctx.needs_input_grad[1]:
            if ctx.axis == ROWS:
                dy = dy.index_select(-1, index)
            slice_gradient = (dy.flatten(0, -2).T @ kept.flatten(0, -2)).float()
        return dx, slice_gradient, None, None, None, None


class SliceLinear(nn.Module):
    """A frozen linear module of which the rows or columns `index` are trained.

    master: float32, (k, in_features) for rows, (out_features, k) for columns.
    """

    def __init__(self, linear: nn.Linear, index: torch.Tensor, axis: int):
        super().__init__()
        self.linear, self.axis = linear, axis
        self.register_buffer("index", index.to(linear.weight.device), persistent=False)
        self.master = nn.Parameter(linear.weight.detach().index_select(axis, self.index).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _SliceLinear.apply(x, self.master, self.linear.weight, self.linear.bias, self.index, self.axis)

    @torch.no_grad()
    def write_back(self) -> None:
        """Puts the master, rounded to the weight's dtype, into the full weight."""
        self.linear.weight.index_copy_(self.axis, self.index, self.master.to(self.linear.weight.dtype))


class NeuronRows(AbstractContextManager):
    """Makes the selected neurons of a causal LM trainable. Every other weight must be, and stays, frozen.

        with NeuronRows(model, neurons) as tuned:
            optimizer = torch.optim.AdamW(tuned.parameters(), lr=1e-4)
            ...; optimizer.step(); tuned.after_step()

    On leaving the block the model has its own modules again, with the trained weights in them.
    """

    def __init__(self, model: nn.Module, neurons: NeuronSet, base: dict | None = None):
        self.model, self.neurons, self.base = model, neurons, base or {}
        self._before = patch.slices_hash(model, neurons)
        self._wrapped: list[tuple[nn.Module, str, SliceLinear]] = []
        model.requires_grad_(False)
        for layer, indices in zip(unit_layers(model, neurons.unit), neurons.indices, strict=True):
            if len(indices):
                self._wrap(layer, torch.tensor(indices))

    def _wrap(self, layer: FFN | Heads, index: torch.Tensor) -> None:
        """Puts a wrapper in the place of each linear module of a layer's block; gate and up may be one."""
        lines: dict[nn.Linear, list[torch.Tensor]] = {}
        axes = {}
        for _, projection in layer.projections:
            lines.setdefault(projection.linear, []).append(projection.places(index))
            axes[projection.linear] = projection.axis
        for name, linear in list(layer.block.named_children()):
            if linear in lines:
                wrapper = SliceLinear(linear, torch.cat(lines[linear]), axes[linear])
                setattr(layer.block, name, wrapper)
                self._wrapped.append((layer.block, name, wrapper))

    def parameters(self) -> Iterator[nn.Parameter]:
        """The masters: all that is trained."""
        return (wrapper.master for _, _, wrapper in self._wrapped)

    def after_step(self) -> None:
        """Writes the masters into the weights; call it after every optimizer step."""
        for _, _, wrapper in self._wrapped:
            wrapper.write_back()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.detach()

    def detach(self) -> None:
        """Gives the model its own modules back."""
        for block, name, wrapper in self._wrapped:
            setattr(block, name, wrapper.linear)
        self._wrapped.clear()

    def save(self, folder: Path) -> None:
        """Leaves `patch.safetensors`: the tuned slices and what they replace."""
        self.detach()
        patch.write(folder / "patch.safetensors", self.model, self.neurons, self._before, self.base)
