"""The state of a training run: everything that a step changes, as JSON and tensors, without pickle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from caneft.runtime.parallel import Team
from caneft.tuning.base import TuningMethod


@dataclass
class State:
    """Everything that training changes. lines: the log so far, one line per step, with `dev_loss` if it was measured.

    before: dev loss of the base. best: the parameters of the lowest dev loss, on the CPU, if they are kept.
    """

    way: TuningMethod
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    lines: list[dict[str, Any]] = field(default_factory=list)
    before: float = math.nan
    best: list[torch.Tensor] | None = None

    @property
    def done(self) -> int:
        """Number of steps done."""
        return len(self.lines)

    @property
    def measurements(self) -> list[tuple[int, float]]:
        """Steps done and dev loss (infinite if not finite) at each measurement, the first before any step."""
        found = [(number + 1, line["dev_loss"]) for number, line in enumerate(self.lines) if "dev_loss" in line]
        return [(0, self.before), *((done, math.inf if loss is None else loss) for done, loss in found)]

    def keep_best(self) -> None:
        """Keeps the parameters if their dev loss is lower than all before; call it after each measurement."""
        losses = [loss for _, loss in self.measurements]
        if losses.index(min(losses)) == len(losses) - 1:
            self.best = [parameter.detach().to("cpu", copy=True) for parameter in self.way.parameters()]

    def content(self) -> dict[str, Any]:
        """The JSON part."""
        scalars, _ = optimizer_state(self.optimizer)
        return {
            "lines": self.lines,
            "before": self.before,
            "optimizer": scalars,
            "scaler": self.scaler.state_dict(),
            "kept": self.best is not None,
        }

    def tensors(self, team: Team) -> dict[str, torch.Tensor]:
        """The tensor part, with the generator states of every process."""
        groups = {"parameter": self.way.parameters(), "best": self.best or []}
        named = {f"{group}.{i}": value for group, values in groups.items() for i, value in enumerate(values)}
        generators = {f"rng.{i}": team.gather(state) for i, state in enumerate(self._generators())}
        return named | optimizer_state(self.optimizer)[1] | generators

    def restore(self, content: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], team: Team) -> None:
        """Restores everything from a checkpoint."""
        count = sum(1 for _ in self.way.parameters())
        self.lines, self.before = list(content["lines"]), content["before"]
        self.way.put_back([tensors[f"parameter.{i}"] for i in range(count)])
        self.best = [tensors[f"best.{i}"] for i in range(count)] if content["kept"] else None
        restore_optimizer(self.optimizer, content["optimizer"], tensors)
        self.scaler.load_state_dict(content["scaler"])
        cards = self._cards()
        own, *of_cards = (tensors[f"rng.{i}"][team.rank].clone() for i in range(1 + len(cards)))  # torch takes no views
        torch.set_rng_state(own)
        for device, state in zip(cards, of_cards, strict=True):
            torch.cuda.set_rng_state(state, device)

    def _cards(self) -> list[torch.device]:
        """GPUs on which this process may draw random numbers."""
        return sorted((device for device in self.way.devices() if device.type == "cuda"), key=str)

    def _generators(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self._cards())]


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The state of any torch optimizer for its parameters: numbers (and None) apart from tensors."""
    named = {
        f"optimizer.{index}.{name}": value
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    return {name: value for name, value in named.items() if name not in tensors}, tensors


def restore_optimizer(
    optimizer: torch.optim.Optimizer, scalars: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Restores what `optimizer_state` returned, ignoring other tensors. Keeps the optimizer's rates and the like."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*scalars.items(), *tensors.items()):
        kind, index, name = (*key.split(".", 2), "")[:3]
        if kind == "optimizer":
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
