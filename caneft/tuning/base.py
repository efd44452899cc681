"""The interface of a way to make a model trainable, as the training loop uses it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn


class TuningMethod(ABC):
    """A model made trainable. A subclass defines what the optimizer gets and what a run writes."""

    @abstractmethod
    def parameters(self) -> Iterator[nn.Parameter]:
        """The trained parameters, always in the same order."""

    def devices(self) -> set[torch.device]:
        """Devices on which the model computes."""
        return {parameter.device for parameter in self.parameters()}

    def optimizer(self, weight_decay: float) -> torch.optim.Optimizer:
        """Makes the optimizer of the parameters; called once, before the first step. Each step sets the rate."""
        return torch.optim.AdamW(list(self.parameters()), weight_decay=weight_decay)

    def clip_gradients(self, most: float) -> float:
        """Scales the gradients of all parameters down to the norm `most` if theirs is larger. Returns the old norm."""
        return float(nn.utils.clip_grad_norm_(list(self.parameters()), most))

    def begin(self, domains: Sequence[str]) -> None:  # noqa: B027 (most ways have nothing to do)
        """Called before every forward pass with the domain of each sample, row by row."""

    def after_step(self) -> None:  # noqa: B027
        """Called after every optimizer step, and after the parameters were restored from a checkpoint."""

    @torch.no_grad()
    def put_back(self, values: Sequence[torch.Tensor]) -> None:
        """Sets the parameters, and the model with them."""
        for parameter, value in zip(self.parameters(), values, strict=True):
            parameter.copy_(value)
        self.after_step()

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the result to the run's folder."""

    def described(self) -> dict[str, Any]:
        """Sizes that the settings leave open, for the run's record."""
        return {}
