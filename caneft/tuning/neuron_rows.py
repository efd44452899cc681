"""Neuron tuning: train the selected rows of gate and up and columns of down, and nothing else.

The slices have masters, which are float32 parameters; the full weights stay frozen in their own dtype. The forward pass
consists of ordinary products with the full weights. The backward pass computes only the slices' gradients: dy[:, S]^T x
for rows, dy^T h[:, S] for columns. After each optimizer step the slices are written into the full weights, so no
unselected weight is ever touched.

    with NeuronRows(model, neurons) as tuned:
        optimizer = torch.optim.AdamW(tuned.parameters(), lr=1e-4)
        ...; loss.backward(); optimizer.step(); tuned.after_step()
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import torch
import torch.nn.functional as F
from torch import nn

from caneft import patch
from caneft.errors import InputError
from caneft.models.attention import Heads
from caneft.models.ffn import FFN, ROWS, Projection
from caneft.models.units import unit_layers
from caneft.neurons import NeuronSet
from caneft.patch.hashing import check_replaced
from caneft.tuning.base import TuningMethod


class Slice:
    """The trained lines of a projection. master: float32, (k, in_features) for rows, (out_features, k) for columns."""

    def __init__(self, projection: Projection, index: torch.Tensor):
        weight = projection.linear.weight
        self.weight, self.axis = weight, projection.axis
        self.index = projection.places(index).to(weight.device)
        self.master = nn.Parameter(projection.lines(index).float())

    @torch.no_grad()
    def write_back(self) -> None:
        """Writes the master, rounded to the weight's dtype, into the full weight."""
        self.weight.index_copy_(self.axis, self.index, self.master.to(self.weight.dtype))


def _rows_gradient(dy: torch.Tensor, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Gradient of the rows `index` of W in y = x W^T, from (positions, out) and (positions, in)."""
    return (dy.index_select(1, index).T @ x).float()


class _SliceFFN(torch.autograd.Function):
    """y = down(act(gate x) * up x) with gradients for x and, in `masters`, for slices of the three.

    It keeps only x and recomputes the rest: two more products, but about a third less memory for a layer. Composed of
    frozen linear modules, it would keep the outputs of gate and up, act(gate x) and the product.
    """

    @staticmethod
    def forward(ctx, x, ffn, index, *masters):
        gate, up = _gate_and_up(ffn, x)
        hidden = ffn.activation(gate) * up
        ctx.ffn, ctx.tuned = ffn, bool(masters)
        ctx.save_for_backward(x, index)
        return F.linear(hidden, ffn.down.linear.weight, ffn.down.linear.bias)

    @staticmethod
    def backward(ctx, dy):
        x, index = ctx.saved_tensors
        ffn, shape, slices = ctx.ffn, x.shape, ()
        dy, x = dy.flatten(0, -2), x.flatten(0, -2)
        gate, up = _gate_and_up(ffn, x)
        with torch.enable_grad():
            gate = gate.detach().requires_grad_()
            active = ffn.activation(gate)
        dhidden = dy @ ffn.down.linear.weight
        dup = dhidden * active.detach()
        (dgate,) = torch.autograd.grad(active, gate, dhidden.mul_(up))
        if ctx.tuned:
            hidden = active.detach().index_select(1, index) * up.index_select(1, index)
            slices = _rows_gradient(dgate, x, index), _rows_gradient(dup, x, index), (dy.T @ hidden).float()
        dx = None
        if ctx.needs_input_grad[0]:
            weights = (projection.linear.weight[_own(projection, ffn)] for projection in (ffn.gate, ffn.up))
            dx = torch.addmm(dgate @ next(weights), dup, next(weights)).view(shape)
        return dx, None, None, *slices


def _own(projection: Projection, ffn: FFN) -> slice:
    """Rows of a linear module that belong to the gate or up projection, as it may hold both."""
    return slice(projection.offset, projection.offset + ffn.width)


def _gate_and_up(ffn: FFN, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if ffn.gate.linear is ffn.up.linear:
        return F.linear(x, ffn.gate.linear.weight, ffn.gate.linear.bias).chunk(2, dim=-1)
    return tuple(F.linear(x, p.linear.weight, p.linear.bias) for p in (ffn.gate, ffn.up))


class _SliceLinear(torch.autograd.Function):
    """y = x W^T + b with gradients for x and for slices of W: columns, or rows (several slices in a fused module)."""

    @staticmethod
    def forward(ctx, x, linear, slices, *masters):
        ctx.linear, ctx.slices = linear, slices
        columns = slices[0].axis != ROWS
        ctx.save_for_backward(x.index_select(-1, slices[0].index) if columns else x)
        return F.linear(x, linear.weight, linear.bias)

    @staticmethod
    def backward(ctx, dy):
        (kept,) = ctx.saved_tensors
        dx = dy @ ctx.linear.weight if ctx.needs_input_grad[0] else None
        dy, kept = dy.flatten(0, -2), kept.flatten(0, -2)
        if ctx.slices[0].axis == ROWS:
            return dx, None, None, *(_rows_gradient(dy, kept, piece.index) for piece in ctx.slices)
        return dx, None, None, (dy.T @ kept).float()


class NeuronRows(TuningMethod, AbstractContextManager):
    """Makes the selected units of a causal LM trainable: neurons or attention heads. Every other weight is frozen.

    model: of transformers, of a known architecture. base: its id, revision and weights, for the patch. While attached,
    it replaces the `forward` functions of selected modules; leaving the block, or `detach`, restores the model, with
    the trained weights in it. Raises InputError for neurons of a model with other layers.
    """

    def __init__(self, model: nn.Module, neurons: NeuronSet, base: dict | None = None):
        self.model, self.neurons, self.base = model, neurons, base or {}
        self._before = patch.slices_hash(model, neurons)
        self._slices: list[Slice] = []
        self._changed: list[tuple[nn.Module, Callable | None]] = []
        model.requires_grad_(False)
        for layer, indices in zip(unit_layers(model, neurons.unit), neurons.indices, strict=True):
            attach = self._attach_ffn if isinstance(layer, FFN) else self._attach_heads
            attach(layer, torch.tensor(indices))

    def _attach_ffn(self, ffn: FFN, index: torch.Tensor) -> None:
        """Also replaces an FFN without selected neurons, because its activations would be kept for gradients too."""
        slices = [Slice(projection, index) for _, projection in ffn.projections] if len(index) else []
        self._slices += slices
        masters, index = [piece.master for piece in slices], index.to(ffn.down.linear.weight.device)
        self._compute(ffn.block, lambda x: _SliceFFN.apply(x, ffn, index, *masters))

    def _attach_heads(self, heads: Heads, index: torch.Tensor) -> None:
        of_linear: dict[nn.Linear, list[Slice]] = {}
        for _, projection in heads.projections if len(index) else ():
            of_linear.setdefault(projection.linear, []).append(Slice(projection, index))
        for linear, slices in of_linear.items():
            self._slices += slices
            self._attach_linear(linear, slices)

    def _attach_linear(self, linear: nn.Linear, slices: list[Slice]) -> None:
        masters = [piece.master for piece in slices]
        self._compute(linear, lambda x: _SliceLinear.apply(x, linear, slices, *masters))

    def _compute(self, module: nn.Module, forward: Callable) -> None:
        self._changed.append((module, vars(module).get("forward")))
        module.forward = forward

    def parameters(self) -> Iterator[nn.Parameter]:
        """The masters, all that is trained: layer by layer gate, up and down; or q, k, v and o."""
        return (piece.master for piece in self._slices)

    def after_step(self) -> None:
        """Writes the masters into the weights; call it after every optimizer step."""
        for piece in self._slices:
            piece.write_back()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.detach()

    def detach(self) -> None:
        """Restores the modules' own `forward` functions."""
        for module, forward in self._changed:
            if forward is None:
                del module.forward
            else:
                module.forward = forward
        self._changed.clear()

    def as_patch(self) -> patch.Patch:
        """The tuned slices as they are now, and what they replace."""
        return patch.taken(self.model, self.neurons, self._before, self.base)

    def put(self, tuned: patch.Patch, name: str = "the patch") -> None:
        """Sets masters and weights to those of a patch. Raises InputError for one of other units or another base."""
        if tuned.neurons != self.neurons:
            raise InputError(f"{name} is of other {tuned.neurons.unit}s than those that are tuned here")
        check_replaced(name, tuned, self._before)
        self.put_back([lines for slices in tuned.slices for lines in slices.values()])

    def save(self, folder: Path) -> None:
        """Writes `patch.safetensors`: the tuned slices and what they replace."""
        self.detach()
        patch.save(folder / "patch.safetensors", self.as_patch())
