"""Importance: activation times gradient of every FFN neuron, one number per sample.

    I[l, s, j] = mean over response positions t of | a[l, s, t, j] * dL_s / da[l, s, t, j] |

with L_s the sum of the token cross-entropies of sample s (method: CANEFT, arXiv 2602.05694; definitions in
docs/method.md). No weight needs a gradient: the graph starts at the first layer's units.

An attention head has several activations, its inputs to the output projection. Their products a * dL/da are summed
before the absolute value is taken. As for a neuron, this is the first-order effect of removing the unit at a position.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import nn

from caneft.errors import InputError
from caneft.importance.dumps import SUMS, Scored
from caneft.models.attention import Heads
from caneft.models.ffn import FFN
from caneft.models.loss import response_losses
from caneft.models.units import unit_layers
from caneft.neurons import NEURON
from caneft.prompts import Batch


@dataclass(frozen=True)
class Scores:
    """Scores of one batch, on the model's (first) device, which may still be computing them.

    importance: float32 (layers, samples, units). loss: float32 (samples,) in nats. sums: float32 (3, layers, units),
    over response positions, of |a|, |dL/da| and act(gate) > 0; for a head, the first two are L2 norms over its
    activations, and the third is 0. positions: number of response positions.
    """

    importance: torch.Tensor
    loss: torch.Tensor
    sums: torch.Tensor
    positions: int

    def joined(self, other: "Scores") -> "Scores":
        """The scores of both batches."""
        importance = torch.cat([self.importance, other.importance], dim=1)
        loss = torch.cat([self.loss, other.loss])
        return Scores(importance, loss, self.sums + other.sums, self.positions + other.positions)


class Taps:
    """Reads activations and gradients at the input of every `down_proj`, and reduces them to samples at once.

    unit: `neuron`, or `head` for the input of every `o_proj`. As a context manager, it attaches hooks to a model.
    `begin` sets which positions count in the next pass; after the backward pass, `scores` returns the result. Nothing
    waits for the device.
    """

    def __init__(self, model: nn.Module, unit: str = NEURON):
        self.layers = unit_layers(model, unit)
        self.width = self.layers[0].width
        self.largest_batch: int | None = None
        """The smallest number of padded tokens that was too large for the device's memory."""
        self._handles: list = []
        self._where: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def begin(self, batch: Batch) -> None:
        """Sets which positions count in the next pass, and forgets the last pass."""
        self._batch, self._where = batch, {}
        self._importance: list[torch.Tensor | None] = [None] * len(self.layers)
        self._sums: list[list[torch.Tensor | None]] = [[None] * len(SUMS) for _ in self.layers]

    def scores(self, losses: torch.Tensor) -> Scores:
        """Scores of the last pass. losses: the loss at each response position."""
        device = self._batch.rows.device
        per_sample = torch.zeros(len(self._batch.input_ids), device=losses.device)
        per_sample.index_add_(0, self._batch.rows.to(losses.device), losses.detach())
        return Scores(
            torch.stack([scores.to(device) for scores in self._importance]),
            per_sample.to(device),
            torch.stack([torch.stack(sums).to(device) for sums in self._sums], dim=1),
            len(self._batch.rows),
        )

    def __enter__(self) -> "Taps":
        for index, layer in enumerate(self.layers):
            self._attach(index, layer)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _attach(self, index: int, layer: FFN | Heads) -> None:
        neurons = isinstance(layer, FFN)
        reduce = self._reduce if neurons else self._reduce_heads

        def on_activation(_, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            positive = self._response(output.detach()).sign_().clamp_(min=0)
            self._add(index, "positive", positive)

        def before_output(_, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            (a,) = inputs
            if index == 0:
                a = a.detach().requires_grad_()
            kept = a.detach()  # a hook with a reference to `a` itself would keep the pass's graph alive
            a.register_hook(lambda gradient: reduce(index, kept, gradient))
            return (a,)

        if neurons:
            self._handles.append(layer.activation.register_forward_hook(on_activation))
        self._handles.append(layer.output.linear.register_forward_pre_hook(before_output))

    def _reduce(self, index: int, a: torch.Tensor, gradient: torch.Tensor) -> None:
        a, gradient = self._response(a).abs_(), self._response(gradient).abs_()
        self._add(index, "activation", a)
        self._add(index, "gradient", gradient)
        _, weights = self._positions(a.device)
        self._importance[index] = weights @ a.float().mul_(gradient)

    def _reduce_heads(self, index: int, a: torch.Tensor, gradient: torch.Tensor) -> None:
        """Reduces in float32, for the sums inside a head. Shape: (response positions, heads, activations of a head)."""
        size = self.layers[index].output.size
        a, gradient = (self._response(values).float().unflatten(1, (-1, size)) for values in (a, gradient))
        self._add(index, "activation", torch.linalg.vector_norm(a, dim=2))
        self._add(index, "gradient", torch.linalg.vector_norm(gradient, dim=2))
        self._add(index, "positive", a.new_zeros(1, self.width))
        _, weights = self._positions(a.device)
        self._importance[index] = weights @ a.mul_(gradient).sum(2).abs_()

    def _add(self, index: int, name: str, values: torch.Tensor) -> None:
        self._sums[index][SUMS.index(name)] = values.sum(0, dtype=torch.float32)

    def _response(self, values: torch.Tensor) -> torch.Tensor:
        """Rows of the response positions: (samples, tokens, width) -> (response positions, width), a copy."""
        return values.flatten(0, 1).index_select(0, self._positions(values.device)[0])

    def _positions(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Flat indices of the response positions, and the matrix (samples, positions) that averages over them."""
        if device not in self._where:
            rows = self._batch.rows.to(device)
            own = rows == torch.arange(len(self._batch.input_ids), device=device).unsqueeze(1)
            self._where[device] = self._batch.positions.to(device), own / own.sum(1, keepdim=True)
        return self._where[device]


def importance(model: nn.Module, batches: Iterable[Batch], taps: Taps) -> Iterator[Scores]:
    """Scores of each batch. `taps` must be attached to `model`, whose weights must be frozen.

    A batch too large for the memory is halved until it fits; InputError if a single sample does not fit.
    """
    device = next(model.parameters()).device
    for batch in batches:
        yield _scored(model, batch.to(device), taps)


def _scored(model: nn.Module, batch: Batch, taps: Taps) -> Scores:
    tokens, samples = batch.input_ids.numel(), len(batch.input_ids)
    if samples == 1 or taps.largest_batch is None or tokens < taps.largest_batch:
        try:
            return _pass(model, batch, taps)
        except torch.OutOfMemoryError:
            if samples == 1:
                raise InputError(
                    f"a single sample of {tokens} tokens needs more memory than the device has; lower"
                    " importance.max_tokens, or spread the model (models.*.resources.device_map)"
                ) from None
    # Outside the except block, because the exception keeps the tensors of the failed pass alive.
    taps.largest_batch = tokens if taps.largest_batch is None else min(tokens, taps.largest_batch)
    taps.begin(batch)
    if batch.input_ids.is_cuda:
        torch.cuda.empty_cache()
    first, second = batch.halves()
    return _scored(model, first, taps).joined(_scored(model, second, taps))


def _pass(model: nn.Module, batch: Batch, taps: Taps) -> Scores:
    taps.begin(batch)
    losses = response_losses(model, batch)
    losses.sum().backward()
    return taps.scores(losses)


def stored(scores: Iterable[Scores], scale_exponent: int) -> Iterator[Scored]:
    """Scores as a dump stores them, on the host. While one batch is fetched, the device computes the next."""
    waiting: Iterator[Scored] | None = None
    for batch in scores:
        fetching = _fetch(batch, scale_exponent)
        next(fetching)  # queued
        if waiting is not None:
            yield next(waiting)
        waiting = fetching
    if waiting is not None:
        yield next(waiting)


def _fetch(batch: Scores, scale_exponent: int) -> Iterator[Scored | None]:
    """Queues the conversion and the copy to the host; when advanced again, waits for them and yields the batch."""
    scores, scale = batch.importance, 2.0**scale_exponent
    half = (scores * scale).half()
    positive = scores > 0
    facts = torch.stack([scores.max().double(), positive.sum().double(), (positive & (half == 0)).sum().double()])
    host = [_to_host(tensor) for tensor in (half, batch.sums, batch.loss, facts)]
    arrived = torch.cuda.Event() if scores.is_cuda else None
    if arrived is not None:
        arrived.record()
    yield None
    if arrived is not None:
        arrived.synchronize()
    half, sums, loss, facts = (tensor.numpy() for tensor in host)
    largest, positive, vanished = facts.tolist()
    by_name = dict(zip(SUMS, sums, strict=True))
    yield Scored(half, by_name, loss, batch.positions, largest, int(positive), int(vanished))


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_cuda:
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
