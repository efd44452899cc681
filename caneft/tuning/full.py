"""Full fine-tuning: every weight."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from caneft.tuning.base import TuningMethod


class Full(TuningMethod):
    """Makes every weight of a causal LM trainable. The model should be in float32; it is saved in `dtype`."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        self.model, self.dtype = model.requires_grad_(True), dtype

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def save(self, folder: Path) -> None:
        """Writes an ordinary Hugging Face model to the folder, in one weight file."""
        self.model.to(self.dtype).save_pretrained(folder, max_shard_size="1000GB")
