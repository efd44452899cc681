"""FFN layouts by architecture: where the neurons of a model are. One entry per family.

Neuron j of a layer is row j of the gate projection, row j of the up projection and column j of the down projection;
its activation act(gate x)_j * (up x)_j is the j-th input of the down projection.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from caneft.errors import InputError

ROWS, COLUMNS = 0, 1


@dataclass(frozen=True)
class Layout:
    """Module names in a causal LM of transformers.

    decoder: path of the module with the `layers`. The others are inside `layers[i].mlp`. gate, up, down: the linear
    modules; the same name for gate and up means a single module with the gate's rows first. activation: the module of
    the activation function.
    """

    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    activation: str = "act_fn"
    decoder: str = "model"

    @property
    def projections(self) -> tuple[str, ...]:
        """Names of the linear modules, each once, for LoRA."""
        return tuple(dict.fromkeys((self.gate, self.up, self.down)))


LAYOUTS = {
    "llama": Layout(),
    "mistral": Layout(),
    "qwen2": Layout(),
    "qwen3": Layout(),
    "gemma2": Layout(),
    "gemma3": Layout(decoder="model.language_model"),  # with a vision tower, which is left alone
    "gemma3_text": Layout(),
    "phi3": Layout(gate="gate_up_proj", up="gate_up_proj", activation="activation_fn"),
}


@dataclass(frozen=True)
class Projection:
    """The part of a linear module that belongs to the units of a layer. Along `axis` of its weight, unit j has the
    `size` lines from `offset + size * j` on. A neuron has one line in each module, an attention head several."""

    linear: nn.Linear
    axis: int
    offset: int = 0
    size: int = 1

    def places(self, index: torch.Tensor) -> torch.Tensor:
        """Numbers of the lines of the units `index`, unit by unit: int64 of shape (k * size,)."""
        return (self.offset + self.size * index.unsqueeze(1) + torch.arange(self.size)).flatten()

    def lines(self, index: torch.Tensor) -> torch.Tensor:
        """A copy of the units' weights: (k * size, in_features) for rows, (out_features, k * size) for columns."""
        weight = self.linear.weight
        return weight.detach().index_select(self.axis, self.places(index).to(weight.device))

    @torch.no_grad()
    def replace(self, index: torch.Tensor, lines: torch.Tensor) -> None:
        """Writes lines, in the form that `lines` returns, into the weight, cast to its dtype."""
        weight = self.linear.weight
        places = self.places(index).to(weight.device)
        weight.index_copy_(self.axis, places, lines.to(weight.device, weight.dtype))


@dataclass(frozen=True)
class FFN:
    """The modules of one layer's FFN."""

    block: nn.Module
    gate: Projection
    up: Projection
    down: Projection
    activation: nn.Module

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.down.linear.in_features

    @property
    def output(self) -> Projection:
        """The projection whose input is the neurons' activations."""
        return self.down

    @property
    def projections(self) -> Iterator[tuple[str, Projection]]:
        """Gate, up and down by name."""
        return ((name, getattr(self, name)) for name in ("gate", "up", "down"))


def layout(model_type: str) -> Layout:
    """Layout of an architecture. If it is unknown, raises InputError that says what to add and where."""
    if model_type not in LAYOUTS:
        raise InputError(
            f"architecture '{model_type}' has no FFN layout. Known: {', '.join(sorted(LAYOUTS))}.\n"
            "Add an entry to LAYOUTS in caneft/models/ffn.py: the names of its gate, up and down projections."
        )
    return LAYOUTS[model_type]


def decoder(model: nn.Module) -> nn.Module:
    """The stack of layers of a causal LM, from token ids to hidden states."""
    return model.get_submodule(layout(model.config.model_type).decoder)


def ffn_layers(model: nn.Module) -> list[FFN]:
    """FFN of every decoder layer of a causal LM, first to last."""
    names = layout(model.config.model_type)
    return [_ffn(layer.mlp, names) for layer in decoder(model).layers]


def _ffn(block: nn.Module, names: Layout) -> FFN:
    gate, up, down = (getattr(block, name) for name in (names.gate, names.up, names.down))
    return FFN(
        block,
        Projection(gate, ROWS),
        Projection(up, ROWS, down.in_features if up is gate else 0),
        Projection(down, COLUMNS),
        getattr(block, names.activation),
    )
