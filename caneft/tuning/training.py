"""The optimizer steps of a run: loss and gradients, clipping, loss scaling for float16, dev loss, divergence."""

import logging
import math
from collections.abc import Sequence

import torch

from caneft.config import Tuning
from caneft.errors import InputError
from caneft.prompts import Example
from caneft.runtime.parallel import Team
from caneft.tuning.passes import Passes, response_tokens
from caneft.tuning.state import State

logger = logging.getLogger(__name__)


class Training:
    """The steps of one run. They change nothing but `state`."""

    def __init__(self, passes: Passes, dev: Sequence[Example], settings: Tuning, team: Team):
        self.passes, self.dev, self.settings, self.team = passes, dev, settings, team
        self.parameters = list(passes.way.parameters())
        if not self.parameters:
            raise InputError("there is nothing to train: the method was given no neuron")
        device, half = self.parameters[0].device, passes.model.dtype == torch.float16
        self.state = State(
            passes.way,
            passes.way.optimizer(settings.weight_decay),
            torch.amp.GradScaler(device.type, enabled=half),  # small gradients would be zero in float16
        )

    @property
    def exhausted(self) -> bool:
        """Whether none of the last `patience` measurements lowered the dev loss."""
        if self.settings.patience is None:
            return False
        losses = [loss for _, loss in self.state.measurements]
        return len(losses) - 1 - losses.index(min(losses)) >= self.settings.patience

    def begin(self, seed: int) -> None:
        """Prepares the first step: measures the dev loss of the base, and gives each process its own dropout."""
        if not self.team.main:
            torch.manual_seed(seed + self.team.rank)
        self.state.before = self._dev_loss()
        if not math.isfinite(self.state.before):
            raise InputError("the model's dev loss is not finite before training; can its dtype hold its activations?")
        if self.settings.patience is not None:
            self.state.keep_best()

    def step(self, examples: Sequence[Example], rate: float, trial: bool) -> bool:
        """Takes and logs one optimizer step. Divergence changes no parameter: it is an error, or False in a trial."""
        state, optimizer, scaler = self.state, self.state.optimizer, self.state.scaler
        tokens = response_tokens(examples)
        own = self.passes.backward(self.team.part(examples), tokens, scaler.scale)
        (loss,) = self.team.sum([own])
        self.team.reduce_gradients(self.parameters)
        scaler.unscale_(optimizer)
        norm = self.passes.way.clip_gradients(self.settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = rate
        fine = math.isfinite(norm)  # else the scaler, if there is one, skips the step and lowers the scale
        diverged = not math.isfinite(loss) if fine else not scaler.is_enabled()
        if not diverged:
            scaler.step(optimizer)
            scaler.update()
            diverged = scaler.is_enabled() and scaler.get_scale() < 1
        optimizer.zero_grad(set_to_none=True)
        if diverged:
            return self._diverged(f"at step {state.done} (loss {loss}, gradient norm {norm})", trial)
        if fine:
            self.passes.way.after_step()
        line = {"step": state.done, "loss": _finite(loss), "rate": rate, "norm": _finite(norm)}
        state.lines.append(line | {"response_tokens": tokens} | ({} if fine else {"skipped": True}))
        return True

    def measure(self, trial: bool) -> None:
        """Adds the dev loss to the last line."""
        loss = self._dev_loss()
        self.state.lines[-1]["dev_loss"] = _finite(loss)
        if not math.isfinite(loss):
            self._diverged(f"at step {self.state.done - 1} (dev loss {loss})", trial)
        if self.settings.patience is not None:
            self.state.keep_best()

    def end(self) -> float | None:
        """Sets the parameters to those that the run keeps, the best or the last; returns their dev loss."""
        steps, losses = zip(*self.state.measurements, strict=True)
        if self.state.best is not None:
            self.state.way.put_back(self.state.best)
            return min(losses)
        return _finite(losses[-1] if steps[-1] == self.state.done else self._dev_loss())

    def _dev_loss(self) -> float:
        model = self.passes.model
        was_training = model.training
        model.eval()
        loss = self.passes.mean(self.dev, self.team)
        model.train(was_training)
        return loss

    def _diverged(self, where: str, trial: bool) -> bool:
        """Raises InputError; in a trial, logs a warning and returns False."""
        if not trial:
            raise InputError(f"training diverged {where}: lower the learning rate")
        logger.warning("the trial diverged %s", where)
        return False


def _finite(number: float) -> float | None:
    """The number, or None if JSON cannot hold it."""
    return number if math.isfinite(number) else None
