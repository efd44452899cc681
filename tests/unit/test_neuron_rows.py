"""Neuron tuning compared with Adam on masked full gradients, and bit for bit with the base where it is frozen."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from caneft.models.ffn import ffn_layers
from caneft.models.loss import response_losses
from caneft.models.units import unit_layers, unit_parameters
from caneft.neurons import HEAD, NEURON, NeuronSet
from caneft.prompts import collate
from caneft.tuning.neuron_rows import NeuronRows
from tests import naive
from tests.conftest import FAMILIES

STEPS, RATE = 6, 1e-2
PAD = 0


def some_neurons(width=40) -> NeuronSet:
    """Neurons of three layers: layer 1 has none, layer 2 few."""
    return NeuronSet(3, width, (np.array([0, 3, 4, 11, width - 1]), np.array([], dtype=int), np.array([2, 7])))


def masks_by_hand(model, neurons):
    """1 at each weight of a selected neuron: row j of gate and up, column j of down."""
    masks = {}
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for layer, indices in zip(naive.decoder_layers(model), neurons.indices, strict=True):
        for j in indices:
            for name, index in naive.neuron_weights(layer.mlp, int(j)):
                weight = getattr(layer.mlp, name).weight
                mask = masks.setdefault(names[id(weight)], torch.zeros_like(weight, dtype=torch.float32))
                mask[index] = 1
    return masks


def masks_of_heads(model, heads):
    """The same for attention: the rows and columns of each selected key and value head and of its queries."""
    masks, config = {}, model.config.get_text_config()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    queries, shared = config.num_attention_heads * head, config.num_key_value_heads * head
    group = queries // config.num_key_value_heads
    for layer, indices in zip(naive.decoder_layers(model), heads.indices, strict=True):
        attention = layer.self_attn
        for j in indices:
            own, keys = slice(j * group, (j + 1) * group), slice(j * head, (j + 1) * head)
            if hasattr(attention, "qkv_proj"):
                moved = [slice(start + keys.start, start + keys.stop) for start in (queries, queries + shared)]
                lines = [(attention.qkv_proj, part) for part in (own, *moved)]
            else:
                lines = [(attention.q_proj, own), (attention.k_proj, keys), (attention.v_proj, keys)]
            for linear, part in [*lines, (attention.o_proj, (slice(None), own))]:
                mask = masks.setdefault(names[id(linear.weight)], torch.zeros_like(linear.weight, dtype=torch.float32))
                mask[part] = 1
    return masks


def some_heads() -> NeuronSet:
    """Of the two key and value heads in each layer: one, none, and both."""
    return NeuronSet(3, 2, (np.array([1]), np.array([], dtype=int), np.array([0, 1])), HEAD)


MASKS = {NEURON: masks_by_hand, HEAD: masks_of_heads}


def step_loss(examples, step):
    """The witness's mean loss per response token over two examples."""
    chosen = [examples[step % len(examples)], examples[(step + 3) % len(examples)]]
    tokens = sum(len(example.response) for example in chosen)
    return lambda model: sum(naive.summed_loss(model, e.prompt, e.response) for e in chosen) / tokens


def tune(model, neurons, examples, optimizer=torch.optim.Adam, steps=STEPS, **options):
    with NeuronRows(model, neurons) as tuned:
        chosen = optimizer(tuned.parameters(), **{"lr": RATE} | options)
        for step in range(steps):
            picked = [examples[step % len(examples)], examples[(step + 3) % len(examples)]]
            chosen.zero_grad()
            response_losses(model, collate(picked, PAD)).mean().backward()
            chosen.step()
            tuned.after_step()
    return model


def assert_only_selected_weights_moved(model, base, neurons):
    """Asserts that unselected weights are the same bit for bit, and that nearly all selected ones moved."""
    masks, moved, selected = MASKS[neurons.unit](model, neurons), 0, 0
    before = base.state_dict()
    for name, weight in model.state_dict().items():
        mask = masks.get(name, torch.zeros_like(weight, dtype=torch.float32)).bool()
        assert torch.equal(weight[~mask], before[name][~mask]), name
        moved += int((weight != before[name])[mask].sum())
        selected += int(mask.sum())
    assert selected == neurons.parameters(unit_parameters(unit_layers(model, neurons.unit)[0]))
    return moved / selected


def assert_equal_to_masked_adam(model, neurons, examples, steps=STEPS):
    reference = copy.deepcopy(model)
    losses = [step_loss(examples, step) for step in range(steps)]
    naive.masked_adam_reference(reference, losses, MASKS[neurons.unit](model, neurons), RATE)
    tune(model, neurons, examples, steps=steps)
    for (name, found), expected in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(
            found, expected.detach(), rtol=1e-5, atol=RATE / 1000, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_equals_masked_full_gradient_adam(tiny_model, architecture, examples):
    assert_equal_to_masked_adam(tiny_model(architecture, initializer_range=0.1), some_neurons(), examples)


def test_heads_equal_masked_full_gradient_adam(tiny_model, architecture, examples):
    assert_equal_to_masked_adam(tiny_model(architecture, initializer_range=0.1), some_heads(), examples)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [some_neurons(), some_heads()], ids=lambda chosen: chosen.unit)
def test_still_equals_it_after_fifty_steps(tiny_model, architecture, examples, chosen):
    assert_equal_to_masked_adam(tiny_model(architecture, initializer_range=0.1), chosen, examples, steps=50)


def test_equals_it_where_rows_and_columns_cannot_be_told_by_their_length(tiny_model, examples):
    """With square weights, the wrong axis raises no error, but trains the wrong weights."""
    model = tiny_model("llama", initializer_range=0.1, intermediate_size=24)
    assert_equal_to_masked_adam(model, some_neurons(24), examples)


def test_equals_it_with_tied_embeddings(tiny_model, examples):
    model = tiny_model("llama", initializer_range=0.1, tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert_equal_to_masked_adam(model, some_neurons(), examples)


def test_equals_it_with_biases_in_the_ffn(tiny_model, examples):
    model = tiny_model("llama", initializer_range=0.1, mlp_bias=True)
    for ffn in ffn_layers(model):
        for _, projection in ffn.projections:
            nn.init.normal_(projection.linear.bias, std=0.1)
    assert_equal_to_masked_adam(model, some_neurons(), examples)


OPTIMIZERS = {
    "decaying AdamW": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "SGD with momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.1, "lr": 0.1}),
}


def pairwise():
    """Two runs of each family with opposite settings: all pairs of family, optimizer, dtype and unit occur."""
    for place, family in enumerate(FAMILIES):
        first = list(OPTIMIZERS), [torch.float32, torch.bfloat16], [some_neurons(), some_heads()]
        turn = (0, place % 2, place // 2 % 2)
        yield family, *(values[index] for values, index in zip(first, turn, strict=True))
        yield family, *(values[1 - index] for values, index in zip(first, turn, strict=True))


@pytest.mark.parametrize(
    ("family", "optimizer", "dtype", "chosen"), pairwise(), ids=lambda x: getattr(x, "unit", str(x))
)
def test_frozen_means_frozen(tiny_model, family, examples, optimizer, dtype, chosen):
    model = tiny_model(family, dtype=dtype)
    base, (kind, options) = copy.deepcopy(model), OPTIMIZERS[optimizer]
    tune(model, chosen, examples, kind, steps=4, **options)
    assert assert_only_selected_weights_moved(model, base, chosen) > 0.5


def test_masters_in_float32_collect_steps_that_bfloat16_would_lose(tiny_model, examples):
    model = tiny_model(dtype=torch.bfloat16)
    base = copy.deepcopy(model)
    with NeuronRows(model, some_neurons()) as tuned:
        assert {parameter.dtype for parameter in tuned.parameters()} == {torch.float32}
        optimizer = torch.optim.SGD(tuned.parameters(), lr=1.0)
        for _ in range(300):
            for parameter in tuned.parameters():
                parameter.grad = torch.full_like(parameter, 1e-4)
            optimizer.step()
            tuned.after_step()
    weight, before = (m.model.layers[0].mlp.gate_proj.weight[3].float() for m in (model, base))
    torch.testing.assert_close(weight, before - 0.03, rtol=2**-8, atol=1e-5)


def test_selected_weights_that_do_not_move_keep_their_bits(tiny_model):
    model = tiny_model(dtype=torch.bfloat16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with NeuronRows(model, some_neurons()) as tuned:
        tuned.after_step()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_gradient_and_optimizer_state_exist_for_the_slices_only(tiny_model, architecture, examples):
    model, neurons = tiny_model(architecture), some_neurons()
    model.requires_grad_(True)  # NeuronRows freezes what the caller left trainable
    with NeuronRows(model, neurons) as tuned:
        optimizer = torch.optim.AdamW(tuned.parameters(), lr=RATE)
        response_losses(model, collate(examples[:3], PAD)).mean().backward()
        optimizer.step()
        masters = list(tuned.parameters())
        slices = neurons.parameters(3 * 24)
        assert sum(master.numel() for master in masters) == slices
        with_gradient = [p for p in model.parameters() if p.grad is not None]
        assert with_gradient == [] and all(master.grad is not None for master in masters)
        state = [value for entry in optimizer.state.values() for value in entry.values() if value.numel() > 1]
        assert sum(value.numel() for value in state) == 2 * slices
        assert not any(p.requires_grad for p in model.parameters())


def kept_by(call):
    """Shapes of the floating-point tensors that a computation keeps for its backward pass."""
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        call()
    return sorted(tuple(t.shape) for t in saved if t.is_floating_point())


def test_an_ffn_keeps_its_input_alone(tiny_model):
    """The input has 5 positions of 24 numbers and the FFN 40 neurons, of which some or none are selected."""
    model, x = tiny_model(), torch.randn(1, 5, 24, requires_grad=True)
    first, second, _ = (ffn.block for ffn in ffn_layers(model))
    with NeuronRows(model, some_neurons()):
        assert kept_by(lambda: first(x)) == kept_by(lambda: second(x)) == [(1, 5, 24)]
    assert len(kept_by(lambda: first(x))) > 3  # the FFN's own modules keep more


def test_an_output_projection_of_heads_keeps_only_the_selected_columns(tiny_model):
    """Its input is 24 wide; the 12 columns of one unit are kept."""
    model, x = tiny_model(), torch.randn(1, 5, 24, requires_grad=True)
    with NeuronRows(model, some_heads()):
        assert kept_by(lambda: naive.decoder_layers(model)[0].self_attn.o_proj(x)) == [(1, 5, 12)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_ffn_computes_what_its_modules_do(tiny_model, architecture, dtype):
    """The output is equal bit for bit, and the gradient of the input up to rounding."""
    model = tiny_model(architecture, dtype=dtype)
    block, dy = ffn_layers(model)[0].block, torch.randn(2, 5, 24, dtype=dtype)
    x = torch.randn(2, 5, 24, dtype=dtype, requires_grad=True)
    with NeuronRows(model, some_neurons()):
        ours = block(x)
        (gradient,) = torch.autograd.grad(ours, x, dy)
    expected = block(x)
    assert torch.equal(ours, expected)
    (reference,) = torch.autograd.grad(expected, x, dy)
    scale = reference.abs().max()
    torch.testing.assert_close(gradient / scale, reference / scale, rtol=0, atol=torch.finfo(dtype).eps * 4)


REENTRANT = (False, True, None)


@pytest.mark.parametrize(
    ("family", "reentrant"),
    [("llama", None), ("llama", True), *((family, REENTRANT[n % 3]) for n, family in enumerate(FAMILIES))],
)
def test_gradient_checkpointing_changes_nothing(tiny_model, family, examples, reentrant):
    def gradients(checkpointed):
        model = tiny_model(family).train()
        if checkpointed:
            arguments = None if reentrant is None else {"use_reentrant": reentrant}
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=arguments)
            assert model.is_gradient_checkpointing
            if reentrant:
                model.enable_input_require_grads()
        with NeuronRows(model, some_neurons()) as tuned:
            response_losses(model, collate(examples[:3], PAD)).mean().backward()
            return [master.grad for master in tuned.parameters()]

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_afterwards_the_model_has_its_own_modules_and_the_same_output(tiny_model, architecture, examples):
    model = tiny_model(architecture)
    names = {name: type(module) for name, module in model.named_modules()}
    keys = list(model.state_dict())
    linears = {id(module) for module in model.modules() if isinstance(module, nn.Linear)}
    batch = collate(examples[:2], PAD)
    with NeuronRows(model, some_neurons()) as tuned:
        optimizer = torch.optim.Adam(tuned.parameters(), lr=RATE)
        response_losses(model, batch).mean().backward()
        optimizer.step()
        tuned.after_step()
        inside = response_losses(model, batch).detach()
    assert {name: type(module) for name, module in model.named_modules()} == names
    assert {id(module) for module in model.modules() if isinstance(module, nn.Linear)} == linears
    assert list(model.state_dict()) == keys
    assert torch.equal(response_losses(model, batch).detach(), inside)


def test_the_block_ends_with_its_own_modules_after_an_error_too(tiny_model):
    model = tiny_model()
    with pytest.raises(KeyboardInterrupt), NeuronRows(model, some_neurons()):
        raise KeyboardInterrupt
    assert not any("forward" in vars(module) for module in model.modules())


def test_neurons_of_another_model_are_refused(tiny_model):
    with pytest.raises(ValueError):
        NeuronRows(tiny_model(), NeuronSet(2, 40, (np.array([1]), np.array([1]))))
