"""Forward and backward passes of training, within a token budget and, if wanted, without keeping activations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from caneft.models.loss import response_losses
from caneft.prompts import Example, batches, collate
from caneft.runtime.parallel import ALONE, Team
from caneft.tuning.base import TuningMethod


@dataclass(frozen=True)
class Passes:
    """Passes of at most `tokens` tokens each (but at least one example), padding included."""

    model: nn.Module
    way: TuningMethod
    pad: int
    tokens: int

    def losses(self, examples: Sequence[Example]) -> Iterator[torch.Tensor]:
        """Losses of the response tokens, in nats, pass by pass."""
        device = next(self.model.parameters()).device  # a spread model begins there; its layers may be elsewhere
        for indices in batches([len(example) for example in examples], self.tokens):
            picked = [examples[i] for i in indices]
            self.way.begin([example.domain for example in picked])
            yield response_losses(self.model, collate(picked, self.pad).to(device))

    def backward(
        self,
        examples: Sequence[Example],
        total: int | None = None,
        scaled: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss,
    ) -> float:
        """Adds the gradients of the examples' summed loss divided by `total`; returns that quotient, unscaled.

        total: response tokens of the whole optimizer step, by default those of the examples. However the step is
        divided into passes and among processes, its gradients are those of a single pass. scaled: applied to a loss
        before its backward pass.
        """
        total = response_tokens(examples) if total is None else total
        loss = 0.0
        for losses in self.losses(examples):
            part = losses.sum() / total
            scaled(part).backward()
            loss += float(part.detach())
        return loss

    @torch.no_grad()
    def mean(self, examples: Sequence[Example], team: Team = ALONE) -> float:
        """Loss per response token, without gradients; every process of the team computes its part."""
        own = sum(float(losses.double().sum()) for losses in self.losses(team.part(examples)))
        return team.sum([own])[0] / response_tokens(examples)


def response_tokens(examples: Sequence[Example]) -> int:
    """Number of tokens that the loss covers."""
    return sum(len(example.response) for example in examples)


@contextmanager
def training_mode(model: nn.Module, recompute: bool) -> Iterator[None]:
    """Within the block, the model is in training mode (dropout); afterwards, in evaluation mode.

    recompute: its layers recompute activations in the backward pass instead of keeping them.
    """
    model.train()
    if recompute:
        # Not reentrant, so the frozen embeddings need no gradients, which transformers turns on: turn them off again.
        model.activation_checkpointing_enable({"use_reentrant": False})
        model.disable_input_require_grads()
    try:
        yield
    finally:
        if recompute:
            model.activation_checkpointing_disable()
        model.eval()
