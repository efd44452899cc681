"""Units that a model can be tuned by: neurons of its FFNs, or heads of its attention, behind one interface."""

from collections.abc import Callable, Sequence

from torch import nn

from caneft.models.attention import Heads, head_layers
from caneft.models.ffn import FFN, ffn_layers
from caneft.neurons import HEAD, NEURON

KINDS: dict[str, Callable[[nn.Module], Sequence[FFN | Heads]]] = {NEURON: ffn_layers, HEAD: head_layers}


def unit_layers(model: nn.Module, unit: str) -> Sequence[FFN | Heads]:
    """The units of every decoder layer of a causal LM, first to last. unit: `neuron` or `head`."""
    return KINDS[unit](model)


def unit_parameters(layer: FFN | Heads) -> int:
    """Number of weights of one unit of a layer, without biases."""
    sizes = (
        (projection.linear.weight.shape[1 - projection.axis], projection.size) for _, projection in layer.projections
    )
    return sum(length * lines for length, lines in sizes)
