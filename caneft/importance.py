"""Importance: activation times gradient of every FFN neuron, one number per sample.

    I[l, s, j] = mean over response positions t of | a[l, s, t, j] * dL_s / da[l, s, t, j] |

with L_s the sum of the token cross-entropies of sample s (method: CANEFT, arXiv 2602.05694; definitions in
docs/method.md). No weight needs a gradient: the graph starts at the first layer's neurons.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import nn

from caneft.errors import InputError
from caneft.files import replacing
from caneft.models.ffn import FFN, ffn_layers
from caneft.models.loss import response_losses
from caneft.prompts import Batch

LARGEST = float(np.finfo(np.float16).max)
UNDERFLOW_SHARE = 0.01


class Taps:
    """Reads activations and their gradients at the input of every `down_proj`, reduced to samples at once.

    As a context manager it attaches to a model. After a backward pass `scores` holds I, float32 of shape
    (layers, samples, neurons); `sums` accumulates over all batches, per layer and neuron in float64 of shape
    (layers, neurons): |a|, |dL/da| and how often act(gate) > 0, over response positions (`positions` of them).
    """

    SUMS = ("activation", "gradient", "positive")

    def __init__(self, model: nn.Module):
        self.layers = ffn_layers(model)
        shape = (len(self.layers), self.layers[0].down.in_features)
        self.sums = {name: np.zeros(shape) for name in self.SUMS}
        self.positions = 0
        self.scores: torch.Tensor | None = None
        self._handles: list = []
        self._batch: Batch | None = None

    def begin(self, batch: Batch) -> None:
        """Says which positions count in the next pass."""
        self._batch = batch
        self._lengths = torch.bincount(batch.rows, minlength=len(batch.input_ids)).unsqueeze(1)
        self.scores = torch.zeros(
            len(self.layers), len(batch.input_ids), self.layers[0].down.in_features, device=batch.rows.device
        )
        self.positions += len(batch.rows)

    def __enter__(self) -> "Taps":
        for index, ffn in enumerate(self.layers):
            self._attach(index, ffn)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _attach(self, index: int, ffn: FFN) -> None:
        def on_activation(_, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            positive = (output.detach()[self._batch.response] > 0).sum(0)
            self.sums["positive"][index] += positive.cpu().numpy()

        def before_down(_, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            (a,) = inputs
            if index == 0:
                a = a.detach().requires_grad_()
            a.register_hook(lambda gradient: self._reduce(index, a.detach(), gradient))
            return (a,)

        self._handles.append(ffn.activation.register_forward_hook(on_activation))
        self._handles.append(ffn.down.register_forward_pre_hook(before_down))

    def _reduce(self, index: int, a: torch.Tensor, gradient: torch.Tensor) -> None:
        at = self._batch.response
        a, gradient = a[at].float().abs_(), gradient[at].float().abs_()
        self.scores[index].index_add_(0, self._batch.rows, a * gradient)
        self.scores[index].div_(self._lengths)
        self.sums["activation"][index] += a.sum(0, dtype=torch.float64).cpu().numpy()
        self.sums["gradient"][index] += gradient.sum(0, dtype=torch.float64).cpu().numpy()

    def statistics(self) -> dict[str, np.ndarray]:
        """Mean |a|, mean |dL/da| and share of positive gates over all response positions so far, float32."""
        return {name: (total / max(self.positions, 1)).astype(np.float32) for name, total in self.sums.items()}


@dataclass(frozen=True)
class Scores:
    """One batch: importance float32 (layers, samples, neurons), loss float32 (samples,) in nats."""

    importance: np.ndarray
    loss: np.ndarray


def importance(model: nn.Module, batches: Iterable[Batch], taps: Taps) -> Iterator[Scores]:
    """Scores of each batch. `taps` must be attached to `model`, whose weights must be frozen."""
    device = next(model.parameters()).device
    for batch in batches:
        batch = batch.to(device)
        taps.begin(batch)
        losses = response_losses(model, batch)
        losses.sum().backward()
        per_sample = torch.zeros(len(batch.input_ids), device=device).index_add_(0, batch.rows, losses.detach())
        yield Scores(taps.scores.cpu().numpy(), per_sample.cpu().numpy())


class Dump:
    """A `.npy` of float16 (layers, samples, neurons) that is filled batch by batch through a memory map.

    Scores are stored times 2**scale_exponent. Raises InputError for scores that are not finite, saturate
    float16, or (more than 1 % of the positive ones) vanish in it; the message names the remedy.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], scale_exponent: int, name: str):
        self.path, self.scale, self.name = path, 2.0**scale_exponent, name
        self._memory = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        self._largest, self._positive, self._vanished = 0.0, 0, 0

    def write(self, samples: list[int], scores: np.ndarray) -> None:
        """Stores scores (layers, len(samples), neurons) at the given samples."""
        if not np.isfinite(scores).all():
            raise InputError(f"{self.name}: importance is not finite; is the model's loss finite in its dtype?")
        self._largest = max(self._largest, float(scores.max()))
        with np.errstate(over="ignore"):
            stored = (scores * np.float32(self.scale)).astype(np.float16)
        self._positive += int((scores > 0).sum())
        self._vanished += int(((scores > 0) & (stored == 0)).sum())
        self._memory[:, samples, :] = stored

    def close(self) -> None:
        """Flushes and checks."""
        self._memory.flush()
        remedy = f"Set models.{self.name}.scale_exponent to {self._fitting_exponent()}; it is one constant per model."
        if self._largest * self.scale > LARGEST:
            raise InputError(f"{self.name}: the largest score {self._largest:.3g} saturates float16. {remedy}")
        if self._vanished > UNDERFLOW_SHARE * self._positive:
            share = self._vanished / self._positive
            raise InputError(f"{self.name}: {share:.1%} of the positive scores vanish in float16. {remedy}")

    def _fitting_exponent(self) -> int:
        """Puts the largest score a factor of 16 below float16's largest."""
        return int(np.floor(np.log2(LARGEST / 16 / self._largest))) if self._largest > 0 else 0


def save_statistics(path: Path, statistics: dict[str, np.ndarray]) -> None:
    """Writes `.stats.npz`, atomically."""
    with replacing(path) as beside:
        np.savez(beside, **statistics)
