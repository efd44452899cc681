"""Attention heads as units: which weights belong to them, shown by what changes if these are zero."""

import pytest
import torch

from caneft.models.attention import head_layers
from caneft.models.units import unit_layers, unit_parameters
from caneft.neurons import HEAD, NEURON
from tests import naive

UNITS = 2  # key and value heads of the tiny models, each serving two query heads


def rows_of_head(model, j):
    """Rows of q, k, v and columns of o of key/value head j, by hand from transformers' own views."""
    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    group = config.num_attention_heads // config.num_key_value_heads
    own, shared = range(j * group * head, (j + 1) * group * head), range(j * head, (j + 1) * head)
    return list(own), list(shared), head * config.num_attention_heads, head * config.num_key_value_heads


def test_projections_are_the_rows_and_columns_of_a_key_and_value_head(tiny_model, architecture):
    model = tiny_model(architecture)
    attention, units = naive.decoder_layers(model)[1].self_attn, head_layers(model)[1]
    assert units.width == UNITS
    queries, shared, q, k = rows_of_head(model, 1)
    if architecture == "phi3":
        whole = attention.qkv_proj.weight
        parts = [whole[:q], whole[q : q + k], whole[q + k :]]
    else:
        parts = [getattr(attention, f"{name}_proj").weight for name in "qkv"]
    expected = [parts[0][queries], parts[1][shared], parts[2][shared], attention.o_proj.weight[:, queries]]
    index = torch.tensor([1])
    for (_, projection), lines in zip(units.projections, expected, strict=True):
        assert torch.equal(projection.lines(index), lines)
    assert unit_parameters(units) == sum(lines.numel() for lines in expected)


def test_a_unit_without_its_weights_gives_nothing_to_the_output_projection(tiny_model, architecture):
    """If its rows of v are zero, exactly the unit's inputs of o_proj are zero."""
    model = tiny_model(architecture)
    units = head_layers(model)[1]
    v = dict(units.projections)["v"]
    index = torch.tensor([0])
    v.replace(index, torch.zeros_like(v.lines(index)))
    if v.linear.bias is not None:
        v.linear.bias.data.zero_()
    seen = []
    units.output.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(input_ids=torch.arange(5, 15).unsqueeze(0))
    own = units.output.places(index)
    others = units.output.places(torch.tensor([1]))
    assert (seen[0][..., own] == 0).all() and (seen[0][..., others] != 0).all()


@pytest.mark.parametrize("unit", [NEURON, HEAD])
def test_units_share_no_weight_and_cover_their_modules(tiny_model, architecture, unit):
    model = tiny_model(architecture)
    for layer in unit_layers(model, unit):
        before = {id(p.linear): p.linear.weight.clone() for _, p in layer.projections}
        for j in range(layer.width):
            for _, projection in layer.projections:
                index = torch.tensor([j])
                projection.replace(index, projection.lines(index) + 1)
        for _, projection in layer.projections:
            torch.testing.assert_close(projection.linear.weight, before[id(projection.linear)] + 1)


def test_neurons_have_three_times_the_hidden_size(tiny_model, architecture):
    assert unit_parameters(unit_layers(tiny_model(architecture), NEURON)[0]) == 3 * 24
