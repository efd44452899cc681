"""The training loop of every method: response-only loss, warm-up and cosine, clipping, a log line a step."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from caneft.config import Tuning
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.models.loss import response_losses
from caneft.prompts import Example, Prompts, batches, collate
from caneft.schedule import schedule


class Trainable(Protocol):
    """A model made trainable in one of the ways of `caneft.tuning`."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def after_step(self) -> None: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What training did: losses in nats per response token."""

    steps: int
    examples: int
    response_tokens: int
    first_loss: float
    last_loss: float
    dev_loss_before: float
    dev_loss: float


def encode(rows: Sequence[Row], prompts: Prompts, max_tokens: int) -> tuple[list[Example], int]:
    """Examples of at most `max_tokens` tokens, and how many rows were longer."""
    encoded = [prompts.encode(row.source, row.target, row.domain or "") for row in rows]
    fitting = [example for example in encoded if len(example) <= max_tokens]
    if not fitting:
        raise InputError(f"none of {len(rows)} training pairs has at most {max_tokens} tokens; raise tuning.max_tokens")
    return fitting, len(rows) - len(fitting)


def orders(examples: int, batch_size: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of each optimizer step: every epoch a new permutation, the last batch of an epoch may be short."""
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        order = generator.permutation(examples)
        yield from (order[start : start + batch_size] for start in range(0, examples, batch_size))


def accumulate(model: nn.Module, examples: Sequence[Example], pad: int, tokens: int, device: torch.device) -> float:
    """Forward and backward over the examples of one optimizer step; returns their loss per response token.

    The loss is the sum over all response tokens of the step divided by their number, however the step is cut into
    forward passes: gradients do not depend on `tokens`.
    """
    total = sum(len(example.response) for example in examples)
    loss = 0.0
    for indices in batches([len(example) for example in examples], tokens):
        batch = collate([examples[i] for i in indices], pad).to(device)
        part = response_losses(model, batch).sum() / total
        part.backward()
        loss += float(part.detach())
    return loss


@torch.no_grad()
def mean_loss(model: nn.Module, examples: Sequence[Example], pad: int, tokens: int, device: torch.device) -> float:
    """Loss per response token over examples, without gradients."""
    total = 0.0
    for indices in batches([len(example) for example in examples], tokens):
        batch = collate([examples[i] for i in indices], pad).to(device)
        total += float(response_losses(model, batch).double().sum())
    return total / sum(len(example.response) for example in examples)


def train(
    model: nn.Module,
    way: Trainable,
    examples: Sequence[Example],
    dev: Sequence[Example],
    settings: Tuning,
    learning_rate: float,
    seed: int,
    pad: int,
    log: Path,
) -> Outcome:
    """Trains `way`'s parameters of `model` with AdamW and leaves one JSON line a step in `log`.

    examples, dev: encoded pairs. Raises InputError when the loss stops being finite.
    """
    device = next(model.parameters()).device
    parameters = list(way.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=settings.weight_decay)
    steps = list(orders(len(examples), settings.batch_size, settings.epochs, seed))
    factors = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule(len(steps), settings.warmup))
    before = mean_loss(model, dev, pad, settings.tokens_per_batch, device)
    model.train()
    losses = []
    with open(log, "w", encoding="utf-8") as lines, tqdm(steps, unit="step", mininterval=2) as bar:
        for number, chosen in enumerate(bar):
            picked = [examples[i] for i in chosen]
            losses.append(accumulate(model, picked, pad, settings.tokens_per_batch, device))
            norm = float(nn.utils.clip_grad_norm_(parameters, settings.clip))
            if not math.isfinite(losses[-1]) or not math.isfinite(norm):
                raise InputError(f"training diverged at step {number} (loss {losses[-1]}): lower the learning rate")
            optimizer.step()
            way.after_step()
            optimizer.zero_grad(set_to_none=True)
            tokens = sum(len(example.response) for example in picked)
            rate = factors.get_last_lr()[0]
            line = {"step": number, "loss": losses[-1], "rate": rate, "norm": norm, "response_tokens": tokens}
            lines.write(json.dumps(line) + "\n")
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            factors.step()
    model.eval()
    after = mean_loss(model, dev, pad, settings.tokens_per_batch, device)
    tokens = settings.epochs * sum(len(example.response) for example in examples)
    return Outcome(len(steps), len(examples), tokens, losses[0], losses[-1], before, after)


def as_record(outcome: Outcome) -> dict:
    """The outcome as it stands in a run record."""
    return asdict(outcome)
