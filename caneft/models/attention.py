"""Attention heads as units: where the heads of a model are.

Unit j of a layer is everything that shares key and value head j: the rows of that head in the key and value
projections, the rows of all its query heads in the query projection, and the columns of the output projection that read
these heads. Without grouped queries, a unit is one head. Units share no weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from caneft.models.ffn import COLUMNS, ROWS, Projection, decoder


@dataclass(frozen=True)
class Heads:
    """The modules of one layer's attention."""

    block: nn.Module
    q: Projection
    k: Projection
    v: Projection
    o: Projection

    @property
    def width(self) -> int:
        """Number of units: key and value heads."""
        return self.o.linear.in_features // self.o.size

    @property
    def output(self) -> Projection:
        """The projection whose input is the units' activations, `size` numbers per unit."""
        return self.o

    @property
    def projections(self) -> Iterator[tuple[str, Projection]]:
        """Query, key, value and output by name."""
        return ((name, getattr(self, name)) for name in ("q", "k", "v", "o"))


def head_layers(model: nn.Module) -> list[Heads]:
    """Attention of every decoder layer of a causal LM, first to last."""
    config = model.config.get_text_config()
    return [
        _heads(layer.self_attn, config.num_attention_heads, config.num_key_value_heads)
        for layer in decoder(model).layers
    ]


def _heads(block: nn.Module, queries: int, units: int) -> Heads:
    """The units of an attention module. queries, units: numbers of query and key/value heads. q, k, v may be fused."""
    own = block.o_proj.in_features // units  # inputs of o_proj, and rows of q, per unit
    head = block.o_proj.in_features // queries
    output = Projection(block.o_proj, COLUMNS, size=own)
    if (fused := getattr(block, "qkv_proj", None)) is not None:
        k, v = own * units, own * units + head * units
        return Heads(
            block,
            Projection(fused, ROWS, size=own),
            Projection(fused, ROWS, k, head),
            Projection(fused, ROWS, v, head),
            output,
        )
    k, v = Projection(block.k_proj, ROWS, size=head), Projection(block.v_proj, ROWS, size=head)
    return Heads(block, Projection(block.q_proj, ROWS, size=own), k, v, output)
