"""Several processes of one step, one GPU each: how they divide the work and what they exchange.

In a dump, each process scores its own batches. In training, each takes a part of the examples of an optimizer step, and
accelerate exchanges the gradients of what is trained and a few numbers a step. The model has no wrapper: one with
mostly frozen weights has nothing else to exchange.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
from torch import nn

from caneft.prompts import Example
from caneft.runtime.devices import cpu_wanted

PIECE = 2**26  # numbers that are reduced at once, which bounds the memory that this takes on top of the gradients


class Team:
    """The processes that work together; this base class is a single process, which exchanges nothing."""

    rank, count = 0, 1
    apart = False
    """Whether they are on several machines, which share files but not memory."""

    @property
    def main(self) -> bool:
        """Whether this process is the one that logs and saves."""
        return self.rank == 0

    @property
    def orphaned(self) -> bool:
        """Whether the process that started this one is gone."""
        return False

    def part(self, examples: Sequence[Example]) -> Sequence[Example]:
        """This process's part of some examples, possibly empty."""
        return examples

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the processes, in float64."""
        return list(numbers)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensors of all processes, of one shape and type, on the CPU, stacked along a new first axis."""
        return tensor.cpu().unsqueeze(0)

    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients over the processes. A parameter that has no gradient in any of them keeps none."""

    def wait(self) -> None:
        """Waits until all processes have come here."""

    def leave(self) -> None:
        """Ends the connection to the others."""


class Processes(Team):
    """Processes started by `launch`, or by any launcher that sets the environment variables of torch."""

    def __init__(self):
        from accelerate import PartialState

        # The timeout exceeds any checkpoint or dev loss of the main process. If one fails, the launcher ends the rest.
        # Without a GPU, accelerate looks for other processes only if it is told that they are on the CPU.
        cpu = cpu_wanted() or not torch.cuda.is_available()
        self.state = PartialState(cpu=cpu, timeout=timedelta(days=7))
        self.rank, self.count = self.state.process_index, self.state.num_processes
        self.apart = int(os.environ.get("LOCAL_WORLD_SIZE", self.count)) < self.count
        self._parent = os.getppid()

    @property
    def orphaned(self) -> bool:
        return os.getppid() != self._parent

    def part(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Every count-th example by length, so that all processes have about the same amount of work."""
        return sorted(examples, key=len)[self.rank :: self.count]

    def sum(self, numbers: Sequence[float]) -> list[float]:
        return self._reduced(torch.tensor(numbers, dtype=torch.float64, device=self.state.device)).tolist()

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import gather

        return gather(tensor.to(self.state.device).unsqueeze(0)).cpu()

    @torch.no_grad()
    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        for piece in pieces(parameters):
            parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in piece]
            present = torch.tensor([p.grad is not None for p in piece], dtype=parts[0].dtype, device=parts[0].device)
            total = self._reduced(torch.cat([*parts, present]))
            sizes = [part.numel() for part in parts]
            *sums, present = total.split([*sizes, len(piece)])
            for parameter, gradient, anywhere in zip(piece, sums, present.tolist(), strict=True):
                parameter.grad = gradient.view_as(parameter) if anywhere else None

    def _reduced(self, tensor: torch.Tensor) -> torch.Tensor:
        from accelerate.utils import reduce

        return reduce(tensor, reduction="sum")

    def wait(self) -> None:
        self.state.wait_for_everyone()

    def leave(self) -> None:
        self.state.destroy_process_group()


ALONE = Team()


def pieces(parameters: Sequence[nn.Parameter], largest: int = PIECE) -> Iterator[list[nn.Parameter]]:
    """Groups of parameters of one dtype, each of at most `largest` numbers (but at least one parameter)."""
    for dtype in dict.fromkeys(parameter.dtype for parameter in parameters):
        piece: list[nn.Parameter] = []
        for parameter in (p for p in parameters if p.dtype == dtype):
            if piece and sum(p.numel() for p in piece) + parameter.numel() > largest:
                yield piece
                piece = []
            piece.append(parameter)
        yield piece


def launched() -> bool:
    """Whether this process is one of several that a launcher started."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1


def join(processes: int) -> Team:
    """The team of this process. processes: how many are wanted; at most one, or no launcher, leaves it alone."""
    return Processes() if processes > 1 and launched() else ALONE
