"""FFN layouts per architecture: where the neurons of a model are. One entry a family."""

from dataclasses import dataclass

from torch import nn

from caneft.errors import InputError


@dataclass(frozen=True)
class Layout:
    """Names of the FFN's modules inside `model.layers[i].mlp`."""

    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    activation: str = "act_fn"

    @property
    def projections(self) -> tuple[str, ...]:
        """Names of the linear modules, for LoRA."""
        return (self.gate, self.up, self.down)


LAYOUTS = {
    "llama": Layout(),
    "mistral": Layout(),
    "qwen2": Layout(),
    "qwen3": Layout(),
    "gemma2": Layout(),
    "gemma3_text": Layout(),
}


@dataclass(frozen=True)
class FFN:
    """The modules of one layer's FFN. Neuron j: row j of gate and up, column j of down."""

    block: nn.Module
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear
    activation: nn.Module


def layout(model_type: str) -> Layout:
    """Layout of an architecture. Raises InputError that says what to add and where for an unknown one."""
    if model_type not in LAYOUTS:
        raise InputError(
            f"architecture '{model_type}' has no FFN layout. Known: {', '.join(sorted(LAYOUTS))}.\n"
            "Add an entry to LAYOUTS in caneft/models/ffn.py: the names of its gate, up and down projections."
        )
    return LAYOUTS[model_type]


def ffn_layers(model: nn.Module) -> list[FFN]:
    """FFN of every decoder layer of a causal LM, first to last."""
    names = layout(model.config.model_type)
    return [
        FFN(
            layer.mlp,
            *(getattr(layer.mlp, name) for name in (names.gate, names.up, names.down, names.activation)),
        )
        for layer in model.model.layers
    ]
