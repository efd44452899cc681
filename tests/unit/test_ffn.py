"""FFN layouts: the modules that the method means, in each architecture; and what to do about an unknown one."""

import pytest
import torch

from caneft.errors import InputError
from caneft.models.ffn import LAYOUTS, ffn_layers, layout


@pytest.mark.parametrize("architecture", sorted(LAYOUTS))
def test_the_input_of_down_is_the_activation_of_the_method(tiny_model, architecture):
    """a = act(gate x) (up x), with the projections of the listed modules: so they are what the layout says they are."""
    model = tiny_model(architecture)
    layers = ffn_layers(model)
    assert len(layers) == 3
    for ffn, layer in zip(layers, model.model.layers, strict=True):
        assert ffn.block is layer.mlp
        x, seen = torch.randn(2, 5, 24), []
        handle = ffn.down.register_forward_pre_hook(lambda _, inputs, seen=seen: seen.append(inputs[0]))
        with torch.no_grad():
            y = ffn.block(x)
            handle.remove()
            kind = "gelu_tanh" if architecture.startswith("gemma") else "silu"
            gate = ffn.gate(x)
            act = (
                torch.nn.functional.silu(gate) if kind == "silu" else torch.nn.functional.gelu(gate, approximate="tanh")
            )
            torch.testing.assert_close(seen[0], act * ffn.up(x))
            torch.testing.assert_close(ffn.activation(gate), act)
            torch.testing.assert_close(y, seen[0] @ ffn.down.weight.T)
        assert ffn.gate.weight.shape == ffn.up.weight.shape == ffn.down.weight.T.shape == (40, 24)


def test_projections_are_names_of_linear_modules(tiny_model, architecture):
    mlp = tiny_model(architecture).model.layers[0].mlp
    names = layout(architecture).projections
    assert len(set(names)) == 3
    assert all(isinstance(getattr(mlp, name), torch.nn.Linear) for name in names)


def test_an_unknown_architecture_says_what_to_add_and_where(tiny_model):
    with pytest.raises(InputError, match=r"'phi3' has no FFN layout(.|\n)*caneft/models/ffn\.py") as error:
        layout("phi3")
    assert all(name in str(error.value) for name in LAYOUTS)
    model = tiny_model()
    model.config.model_type = "gpt9"
    with pytest.raises(InputError, match="'gpt9'"):
        ffn_layers(model)
