"""The training loop of every method: response-only loss, warm-up and cosine, clipping, dev loss, a log line a step."""

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn
from tqdm import tqdm

from caneft.config import Tuning
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.prompts import Example, Prompts
from caneft.runtime.parallel import ALONE, Team
from caneft.tuning.base import TuningMethod
from caneft.tuning.checkpoint import Checkpoints, Stop, stopping
from caneft.tuning.passes import Passes, training_mode
from caneft.tuning.schedule import schedule
from caneft.tuning.state import State
from caneft.tuning.training import Training


@dataclass(frozen=True)
class Outcome:
    """The result of training: losses in nats per response token, None if there is none or it is not finite.

    steps, response_tokens: of the steps taken. dev_loss: of the final parameters. best_step: steps done at the lowest
    dev loss, 0 before the first. diverged_at: number of the step that could not be taken, from 0 on.
    """

    steps: int
    examples: int
    response_tokens: int
    first_loss: float | None
    last_loss: float | None
    dev_loss_before: float
    dev_loss: float | None
    best_step: int
    stopped_early: bool
    diverged_at: int | None


def encode(rows: Sequence[Row], prompts: Prompts, max_tokens: int) -> tuple[list[Example], dict[str, int]]:
    """Examples of at most `max_tokens` tokens, and how many rows were left out, by reason."""
    encoded = prompts.encode_training(((row.source, row.target, row.domain or "") for row in rows), max_tokens)
    if not encoded.examples:
        raise InputError(
            f"none of {len(rows)} training pairs has at most {max_tokens} tokens; raise tuning.max_tokens"
            f" ({encoded.left_out['unusable']} cannot be trained on: see the log)"
        )
    return encoded.examples, encoded.left_out


def orders(examples: int, batch_size: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of each optimizer step: every epoch has a new permutation, and its last batch may be short."""
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        order = generator.permutation(examples)
        yield from (order[start : start + batch_size] for start in range(0, examples, batch_size))


def train(
    model: nn.Module,
    way: TuningMethod,
    examples: Sequence[Example],
    dev: Sequence[Example],
    settings: Tuning,
    learning_rate: float,
    seed: int,
    pad: int,
    log: Path,
    trial: bool = False,
    checkpoints: Checkpoints | None = None,
    team: Team = ALONE,
) -> Outcome:
    """Trains `way`'s parameters of `model` with AdamW and writes one JSON line per step to `log`.

    examples, dev: encoded pairs. With `settings.patience` the model keeps the parameters of the lowest dev loss, else
    the last. Raises InputError when loss or gradients stop being finite; a trial ends there, with the parameters before
    that step. checkpoints: where a killed run resumes; with them, SIGTERM and SIGUSR1 end the process (SystemExit)
    after a step and a checkpoint. team: processes that share every step; only the main one writes `log`.
    """
    passes = Passes(model, way, pad, settings.tokens_per_batch)
    training = Training(passes, dev, settings, team)
    state, steps = training.state, list(orders(len(examples), settings.batch_size, settings.epochs, seed))
    factor, every = schedule(len(steps), settings.warmup), settings.dev_every or math.ceil(len(steps) / settings.epochs)
    if not (checkpoints and checkpoints.resume(state)):
        training.begin(seed)
    diverged_at = None
    with (
        stopping() if checkpoints else nullcontext(Stop()) as stop,
        training_mode(model, settings.gradient_checkpointing),
        Log(log, state.lines, len(steps), team) as lines,
    ):
        while state.done < len(steps) and not training.exhausted:
            picked = [examples[i] for i in steps[state.done]]
            if not training.step(picked, learning_rate * factor(state.done), trial):
                diverged_at = state.done
                break
            if state.done % every == 0 or state.done == len(steps):
                training.measure(trial)
            lines.write(state.lines[-1], sum(map(len, picked)))
            if checkpoints:
                checkpoints.after_step(state, stop)
    dev_loss = training.end()
    return _outcome(state, len(examples), dev_loss, state.done < len(steps) and diverged_at is None, diverged_at)


class Log:
    """Writes the lines of a run to a file and shows its progress on the screen, while training runs in its block."""

    def __init__(self, path: Path, lines: Sequence[dict[str, Any]], steps: int, team: Team):
        self.file = open(path, "w", encoding="utf-8", newline="\n", buffering=1) if team.main else None  # noqa: SIM115
        self.bar = tqdm(total=steps, initial=len(lines), unit="step", mininterval=2, disable=not team.main)
        self.tokens, self.start = 0, time.perf_counter()
        for line in lines:
            self._put(line)

    def write(self, line: dict[str, Any], tokens: int) -> None:
        """Writes a line and updates the progress. tokens: of the step, prompts included."""
        self._put(line)
        self.tokens += tokens
        speed = f"{self.tokens / (time.perf_counter() - self.start):.0f}"
        self.bar.set_postfix({"loss": line["loss"], "tokens/s": speed}, refresh=False)
        self.bar.update()

    def _put(self, line: dict[str, Any]) -> None:
        if self.file:
            self.file.write(json.dumps(line, allow_nan=False) + "\n")

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()
        if self.file:
            self.file.close()


def _outcome(
    state: State, examples: int, dev_loss: float | None, stopped_early: bool, diverged_at: int | None
) -> Outcome:
    losses = [line["loss"] for line in state.lines] or [None]
    tokens = sum(line["response_tokens"] for line in state.lines)
    best_step, _ = min(state.measurements, key=lambda measured: measured[1])
    return Outcome(
        steps=state.done,
        examples=examples,
        response_tokens=tokens,
        first_loss=losses[0],
        last_loss=losses[-1],
        dev_loss_before=state.before,
        dev_loss=dev_loss,
        best_step=best_step,
        stopped_early=stopped_early,
        diverged_at=diverged_at,
    )


def as_record(outcome: Outcome) -> dict:
    """The outcome as a run record holds it."""
    return asdict(outcome)
