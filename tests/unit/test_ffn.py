"""FFN layouts: each architecture's modules that the method means; and what to do about an unknown architecture."""

import pytest
import torch

from caneft.models.ffn import LAYOUTS, ffn_layers, layout
from tests import naive
from tests.messages import refused

ACTIVATION = [torch.nn.functional.silu, lambda x: torch.nn.functional.gelu(x, approximate="tanh")]


def test_every_family_is_tried():
    """The fixture `architecture` runs through all layouts."""
    from tests.conftest import FAMILIES

    assert sorted(FAMILIES) == sorted(LAYOUTS)


@pytest.mark.parametrize("architecture", sorted(LAYOUTS))
def test_the_input_of_down_is_the_activation_of_the_method(tiny_model, architecture):
    """a = act(gate x) (up x), with the projections of the listed modules; so the layout is right about them."""
    model = tiny_model(architecture)
    layers = ffn_layers(model)
    assert len(layers) == 3
    for ffn, layer in zip(layers, naive.decoder_layers(model), strict=True):
        assert ffn.block is layer.mlp and ffn.width == 40
        x, seen = torch.randn(2, 5, 24), []
        handle = ffn.down.linear.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        gate, up, down = (projection.lines(torch.arange(40)) for _, projection in ffn.projections)
        with torch.no_grad():
            y = ffn.block(x)
            handle.remove()
            act = ACTIVATION[architecture.startswith("gemma")](x @ gate.T)
            torch.testing.assert_close(seen[0], act * (x @ up.T))
            torch.testing.assert_close(ffn.activation(x @ gate.T), act)
            torch.testing.assert_close(y, seen[0] @ down.T)
        assert gate.shape == up.shape == down.T.shape == (40, 24)


def test_lines_are_those_of_the_neurons_and_can_be_replaced(tiny_model, architecture):
    model = tiny_model(architecture)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    ffn, index = ffn_layers(model)[1], torch.tensor([0, 7, 39])
    for _, projection in ffn.projections:
        projection.replace(index, projection.lines(index) + 1)
    changed = [weight - before[name] for name, weight in model.state_dict().items()]
    assert sum(int((difference != 0).sum()) for difference in changed) == 3 * 3 * 24
    mlp = naive.decoder_layers(model)[1].mlp
    x = torch.zeros(1, 24)
    x[0, 0] = 1  # in every changed row, the output of gate and up is one more
    gate_up = [mlp.gate_up_proj(x)] if hasattr(mlp, "gate_up_proj") else [mlp.gate_proj(x), mlp.up_proj(x)]
    again = ffn_layers(tiny_model(architecture))[1]
    old = torch.cat([x @ projection.lines(torch.arange(40)).T for _, projection in list(again.projections)[:2]], dim=1)
    grown = torch.cat(gate_up, dim=1) - old
    assert grown[0].round().nonzero()[:, 0].tolist() == [0, 7, 39, 40, 47, 79]


def test_projections_are_names_of_linear_modules(tiny_model, architecture):
    mlp = naive.decoder_layers(tiny_model(architecture))[0].mlp
    names = layout(architecture).projections
    assert len(set(names)) == len(names)
    assert set(names) == {name for name, module in mlp.named_children() if isinstance(module, torch.nn.Linear)}
    assert all(isinstance(getattr(mlp, name), torch.nn.Linear) for name in names)


def test_an_unknown_architecture_says_what_to_add_and_where(tiny_model):
    with refused("bloom", *LAYOUTS, "LAYOUTS", "caneft/models/ffn.py"):
        layout("bloom")
    model = tiny_model()
    model.config.model_type = "gpt9"
    with refused("gpt9"):
        ffn_layers(model)
