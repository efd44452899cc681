"""What the training loop asks of a way to make a model trainable."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import nn


class Way:
    """A model made trainable. A subclass says what the optimizer gets and what a run leaves."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is trained; always in the same order."""
        raise NotImplementedError

    def begin(self, domains: Sequence[str]) -> None:
        """Called before every forward pass with the domain of each sample, row by row."""

    def after_step(self) -> None:
        """Called after every optimizer step, and after the parameters were put back to those of a checkpoint."""

    def save(self, folder: Path) -> None:
        """Leaves the result in the run's folder."""
        raise NotImplementedError

    def described(self) -> dict[str, Any]:
        """Sizes that the settings leave open, for the run's record."""
        return {}
