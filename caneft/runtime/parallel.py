"""Several processes of one step, a GPU each: what they share out and what they exchange.

In a dump each scores batches of its own. In training each has its part of the examples of an optimizer step, and what
they exchange are the gradients of what is trained and a few numbers a step, through accelerate. There is no wrapper
around the model: a model whose weights are mostly frozen has nothing else to tell.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import torch
from torch import nn

from caneft.prompts import Example
from caneft.runtime.devices import cpu_wanted

PIECE = 2**26  # numbers that are reduced at once: what this takes of memory beside the gradients


class Team:
    """The processes that work together; this one is a process on its own, for which nothing is exchanged."""

    rank, count = 0, 1
    apart = False
    """Whether they are on several machines, which share files but no memory."""

    @property
    def main(self) -> bool:
        """Whether this process is the one that logs and saves."""
        return self.rank == 0

    @property
    def orphaned(self) -> bool:
        """Whether the process that started this one is gone."""
        return False

    def part(self, examples: Sequence[Example]) -> Sequence[Example]:
        """This process's part of some examples; may be none."""
        return examples

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the processes, in float64."""
        return list(numbers)

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Every process's tensor of one shape and type, on the CPU, stacked along a new first axis."""
        return tensor.cpu().unsqueeze(0)

    def reduce_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sums the gradients over the processes. A parameter without gradient in all of them stays without."""

    def wait(self) -> None:
        """Waits for all processes to come here."""

    def leave(self) -> None:
        """Ends the connection to the others."""


class Processes(Team):
    """Processes started by `launch`, or by any launcher that sets the environment variables of torch."""

    def __init__(self):
        from accelerate import PartialState

        # No limit that a long checkpoint or dev loss of the main process could meet: the launcher ends the survivors.
        # Without a GPU it would not look for other processes unless told that they are on the CPU.
        cpu = cpu_wanted() or not torch.cuda.is_available()
        self.state = PartialState(cpu=cpu, timeout=timedelta(days=7))
        self.rank, self.count = self.state.process_index, self.state.num_processes
        self.apart = int(os.environ.get("LOCAL_WORLD_SIZE", self.count)) < self.count
        self._parent = os.getppid()

    @property
    def orphaned(self) -> bool:
        return os.getppid() != self._parent

    def part(self, examples: Sequence[Example]) -> Sequence[Example]:
        """Every count-th example by length, so that all processes have about as much to do."""
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
    """Parameters in groups of one dtype, each of at most so many numbers (one parameter at least)."""
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
    """The team that this process belongs to. processes: how many are wanted; at most one: it stays alone."""
    return Processes() if processes > 1 and launched() else ALONE
