"""Importance compared with a batch-1 loop over all weights, and with finite differences, which use no gradient."""

import weakref

import numpy as np
import pytest
import torch
from pytest import approx

from caneft.importance.dumps import SUMS
from caneft.importance.hooks import Taps, importance
from caneft.models.units import unit_layers
from caneft.neurons import HEAD, NEURON, UNITS
from caneft.prompts import Example, collate
from tests import naive
from tests.conftest import FAMILIES
from tests.messages import refused

TOLERANCE = 1e-5  # of the layer's largest score
PAD = 0
WITNESS = {NEURON: naive.importance, HEAD: naive.head_importance}


def batched(model, examples, side="right", pad=PAD, unit=NEURON):
    """The package's scores, losses and statistics, with all examples in one batch."""
    with Taps(model, unit) as taps:
        (scores,) = importance(model, [collate(examples, pad, side)], taps)
        return scores.importance.numpy(), scores.loss.numpy(), statistics(scores)


def statistics(*batches):
    """Means over the response positions of all batches, by name."""
    total = sum(scores.sums for scores in batches) / sum(scores.positions for scores in batches)
    return dict(zip(SUMS, total.numpy(), strict=True))


def relative_difference(found, expected):
    """Largest difference in each layer, as a share of the layer's maximum."""
    found, expected = np.asarray(found), np.asarray(expected)
    difference = np.abs(found - expected).reshape(len(expected), -1).max(1)
    return difference / expected.reshape(len(expected), -1).max(1)


SIDES = ("left", "right")
BY_TURNS = [(family, SIDES[n % 2]) for n, family in enumerate(FAMILIES)]
"""Every family with one side of padding, every side with half of the families."""
EVERY_PAIR = [
    (family, side, UNITS[(n + place) % 2]) for n, family in enumerate(FAMILIES) for place, side in enumerate(SIDES)
]
"""Every two of family, side and unit meet."""


@pytest.fixture
def model(tiny_model, architecture):
    return tiny_model(architecture)


@pytest.mark.parametrize(("family", "side", "unit"), EVERY_PAIR)
def test_a_padded_batch_gives_the_numbers_of_single_samples(tiny_model, family, examples, side, unit):
    model = tiny_model(family)
    scores, loss, _ = batched(model, examples, side, unit=unit)
    expected = [WITNESS[unit](model, example.prompt, example.response) for example in examples]
    assert relative_difference(scores, torch.stack(expected, dim=1)).max() <= TOLERANCE
    with torch.no_grad():
        alone = [float(naive.summed_loss(model, example.prompt, example.response)) for example in examples]
    assert loss == approx(alone, rel=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_decoder_is_told_of_padding_and_positions(tiny_model, examples, side):
    """Numbers alone would not show that one is missing: rotary positions are relative, and masks can be guessed."""
    model, batch, seen = tiny_model(), collate(examples[:3], PAD, side), []
    handle = model.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    with Taps(model) as taps:
        list(importance(model, [batch], taps))
    handle.remove()
    (given,) = seen
    for name in ("input_ids", "attention_mask", "position_ids"):
        assert torch.equal(given[name], getattr(batch, name)), name


def test_gemmas_soft_cap_is_visible_in_these_numbers(tiny_model, examples):
    """Otherwise the test above could not tell whether it was applied."""
    capped, free = (tiny_model("gemma2", final_logit_softcapping=cap) for cap in (2.0, 1000.0))
    assert relative_difference(batched(capped, examples)[0], batched(free, examples)[0]).min() > 0.1


@pytest.mark.parametrize(("family", "side"), BY_TURNS)
def test_statistics_are_means_over_response_positions(tiny_model, family, examples, side):
    model, examples = tiny_model(family), examples[:5]
    passes = [naive.one_pass(model, example.prompt, example.response) for example in examples]
    activation = [torch.nn.functional.silu, lambda x: torch.nn.functional.gelu(x, approximate="tanh")]
    act = activation[model.config.model_type.startswith("gemma")]
    expected = {"activation": [], "gradient": [], "positive": []}
    for layer in range(3):
        a, g, gate = (
            torch.cat([values(found)[layer][found.response] for found in passes])
            for values in (lambda p: p.activation, lambda p: p.activation_gradient, lambda p: p.gate)
        )
        expected["activation"].append(a.abs().mean(0))
        expected["gradient"].append(g.abs().mean(0))
        expected["positive"].append((act(gate) > 0).float().mean(0))
    _, _, found = batched(model, examples, side)
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        assert found[name].dtype == np.float32
        assert relative_difference(found[name], torch.stack(rows)).max() <= TOLERANCE, name


@pytest.mark.parametrize(("family", "side"), BY_TURNS)
def test_statistics_of_heads_are_mean_lengths_of_their_vectors(tiny_model, family, examples, side):
    model, examples = tiny_model(family), examples[:5]
    passes = [naive.head_pass(model, example.prompt, example.response) for example in examples]
    _, _, found = batched(model, examples, side, unit=HEAD)
    for name, tensors in zip(("activation", "gradient"), zip(*passes, strict=True), strict=True):
        lengths = [
            [
                [float(layer[t, j].square().sum().sqrt()) for j in range(layer.shape[1])]
                for layers, example in zip(tensors, examples, strict=True)
                for layer in [layers[index]]
                for t in range(len(example.prompt) - 1, len(example) - 1)
            ]
            for index in range(3)
        ]
        assert found[name].dtype == np.float32
        assert relative_difference(found[name], np.mean(lengths, axis=1)).max() <= TOLERANCE, name
    assert found["positive"].tolist() == [[0, 0]] * 3


def test_a_head_of_one_number_is_scored_like_a_neuron(tiny_model, examples):
    """With eight heads of one number each, a unit has no inner sum, and |a| is its length."""
    options = {"hidden_size": 8, "head_dim": 1, "num_attention_heads": 8, "num_key_value_heads": 8}
    model = tiny_model("qwen3", **options)
    a, g = naive.head_pass(model, examples[0].prompt, examples[0].response)
    response = slice(len(examples[0].prompt) - 1, len(examples[0]) - 1)
    scores, _, found = batched(model, examples[:1], unit=HEAD)
    for layer in range(3):
        one_a, one_g = a[layer][response, :, 0], g[layer][response, :, 0]
        assert scores[layer, 0] == approx((one_a * one_g).abs().mean(0).numpy(), rel=1e-4, abs=1e-7)
        assert found["activation"][layer] == approx(one_a.abs().mean(0).numpy(), rel=1e-4)


def test_statistics_accumulate_over_batches(tiny_model, examples):
    model = tiny_model()
    with Taps(model) as taps:
        first, second = importance(model, [collate(examples[:3], PAD), collate(examples[3:], PAD)], taps)
    together = batched(model, examples)[2]
    for name, values in statistics(first, second).items():
        assert values == approx(together[name], rel=1e-4, abs=1e-7), name


def test_up_times_its_gradient_is_the_same_score(model, examples):
    """u dL/du = a dL/da, because a = act(gate) u."""
    scores, _, _ = batched(model, examples)
    for sample, example in enumerate(examples[:3]):
        found = naive.one_pass(model, example.prompt, example.response)
        pairs = zip(found.up, found.up_gradient, strict=True)
        expected = torch.stack([(u * g)[found.response].abs().mean(0) for u, g in pairs])
        assert relative_difference(scores[:, sample], expected).max() <= TOLERANCE


def effects_of_ablation(model, example, output, units, positions=(slice(None),), step=0.02):
    """Derivatives of the loss by ablation, (units, positions), from five-point differences, without gradients.

    units: the index or indices of each unit among the inputs of the output projection. positions: where to ablate. Each
    difference has its own rows in one batch, in which a unit's activation is scaled by a factor near 1. The step is
    large because RMSNorm computes in float32 in every model of transformers, even a float64 one.
    """
    factors = (1 - step, 1 + step, 1 - 2 * step, 1 + 2 * step)
    rows = [(unit, position, factor) for unit in units for position in positions for factor in factors]

    def scale(_, inputs):
        changed = inputs[0].clone()
        for row, (unit, position, factor) in enumerate(rows):
            changed[row, position, unit] *= factor
        return (changed,)

    handle = output.register_forward_pre_hook(scale)
    with torch.no_grad():
        losses = naive.summed_losses(model, example.prompt, example.response, len(rows))
    handle.remove()
    less, more, far_less, far_more = losses.reshape(len(units), len(positions), 4).unbind(-1)
    return (8 * (less - more) - (far_less - far_more)).numpy() / (12 * step)


@pytest.fixture
def smooth_model(tiny_model, architecture):
    """A float64 model with small weights, so that differences of losses keep their digits."""
    wide = (
        {"sliding_window": 256} if architecture.startswith("gemma") else {}
    )  # float64 masks overflow in its float32 softmax
    return tiny_model(architecture, dtype=torch.float64, initializer_range=0.1, **wide)


def test_signed_sum_over_all_positions_is_the_effect_of_ablation(smooth_model, examples):
    example = examples[0]
    found = naive.one_pass(smooth_model, example.prompt, example.response)
    for layer, (a, g) in enumerate(zip(found.activation, found.activation_gradient, strict=True)):
        signed = -(a * g).sum(0)
        neurons, down = range(layer, a.shape[1], 8), naive.decoder_layers(smooth_model)[layer].mlp.down_proj
        expected = effects_of_ablation(smooth_model, example, down, neurons)[:, 0]
        assert signed[list(neurons)].tolist() == approx(expected, abs=2e-3 * float(signed.abs().max()))


def test_signed_sum_over_all_positions_is_the_effect_of_ablating_a_head(smooth_model, examples):
    example = examples[0]
    for layer, (a, g) in enumerate(zip(*naive.head_pass(smooth_model, example.prompt, example.response), strict=True)):
        output, (_, heads, size) = naive.decoder_layers(smooth_model)[layer].self_attn.o_proj, a.shape
        signed = -(a * g).sum((0, 2))
        places = [slice(head * size, (head + 1) * size) for head in range(heads)]
        expected = effects_of_ablation(smooth_model, example, output, places)[:, 0]
        assert signed.tolist() == approx(expected, abs=2e-3 * float(signed.abs().max()))


def mean_effects(model, example, output, units):
    """Mean over response positions of the absolute effect of ablating each unit at that position alone."""
    positions = range(len(example.prompt) - 1, len(example) - 1)
    return np.abs(effects_of_ablation(model, example, output, units, positions)).mean(1)


def test_scores_are_mean_effects_of_ablating_single_response_positions(smooth_model, examples):
    example = examples[2]
    scores, _, _ = batched(smooth_model, [example, examples[3]])
    for layer, down in enumerate(block.mlp.down_proj for block in naive.decoder_layers(smooth_model)):
        neurons = [layer, 13, 39]
        expected = mean_effects(smooth_model, example, down, neurons)
        assert scores[layer, 0, neurons] == approx(expected, abs=2e-3 * float(scores[layer, 0].max()))


def test_scores_of_heads_are_mean_effects_of_ablating_single_response_positions(smooth_model, examples):
    """A unit is all that shares a key and value head: two of four query heads, half of the inputs of o_proj."""
    example = examples[2]
    scores, _, _ = batched(smooth_model, [example, examples[3]], unit=HEAD)
    assert scores.shape == (3, 2, 2)
    for layer, output in enumerate(block.self_attn.o_proj for block in naive.decoder_layers(smooth_model)):
        half = output.in_features // 2
        expected = mean_effects(smooth_model, example, output, [slice(0, half), slice(half, None)])
        assert scores[layer, 0] == approx(expected, abs=2e-3 * float(scores[layer, 0].max()))


@pytest.mark.parametrize(("family", "unit"), [(family, UNITS[n % 2]) for n, family in enumerate(FAMILIES)])
def test_no_weight_gets_a_gradient_and_no_hook_stays(tiny_model, family, examples, unit):
    model = tiny_model(family)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    batched(model, examples, unit=unit)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None and not parameter.requires_grad, name
        assert torch.equal(parameter, before[name]), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("unit", UNITS)
def test_nothing_of_a_pass_outlives_it(tiny_model, examples, unit):
    """Otherwise memory grows with the number of batches, by far more than the scores."""
    model, seen = tiny_model(), []
    for layer in unit_layers(model, unit):
        layer.output.linear.register_forward_hook(lambda _, inputs, __: seen.append(weakref.ref(inputs[0])))
    with Taps(model, unit) as taps:
        for _ in importance(model, [collate(examples, PAD)] * 2, taps):
            pass
        assert len(seen) == 6
        assert [reference() for reference in seen] == [None] * 6


def test_a_sample_does_not_depend_on_its_companions(model, examples):
    alone = batched(model, [examples[2]])[0][:, 0]
    for companions in ([examples[3]], examples[3:], [examples[2]] * 3):
        together = batched(model, [*companions, examples[2]], side="left")[0][:, -1]
        assert relative_difference(together, alone).max() <= TOLERANCE


@pytest.mark.parametrize(("family", "unit"), [(family, UNITS[n % 2 - 1]) for n, family in enumerate(FAMILIES)])
def test_padding_never_counts(tiny_model, family, examples, unit):
    model = tiny_model(family)
    scores, loss, statistics = batched(model, examples[:3], pad=PAD, unit=unit)
    other_scores, other_loss, other_statistics = batched(model, examples[:3], pad=77, unit=unit)
    assert np.array_equal(scores, other_scores) and np.array_equal(loss, other_loss)
    for name, values in statistics.items():
        assert np.array_equal(values, other_statistics[name]), name


def test_positions_are_those_that_predict_the_response(tiny_model):
    """With one response token, the score is |a g| at the prompt's last position, without any mean."""
    model, example = tiny_model(), Example((1, 30, 31, 32), (40,))
    found = naive.one_pass(model, example.prompt, example.response)
    scores, _, _ = batched(model, [example, Example((1, 50), (51, 52, 53, 54, 55, 56))])
    pairs = zip(found.activation, found.activation_gradient, strict=True)
    expected = torch.stack([(a * g)[3].abs() for a, g in pairs])
    assert relative_difference(scores[:, 0], expected).max() <= TOLERANCE
    with Taps(model) as taps:
        (five,) = importance(model, [collate([example] * 5, PAD)], taps)
        assert five.positions == 5


def test_halves_of_a_batch_are_those_samples(examples):
    for side in ("left", "right"):
        whole = collate(examples[:5], PAD, side)
        first, second = whole.halves()
        for half, chosen in ((first, examples[:2]), (second, examples[2:5])):
            assert half.input_ids.shape == (len(chosen), whole.input_ids.shape[1])
            narrow = collate(chosen, PAD, side)
            assert torch.equal(half.rows, narrow.rows) and torch.equal(half.targets, narrow.targets)
            assert torch.equal(half.response.flatten().nonzero()[:, 0], half.positions)
            assert torch.equal(half.input_ids.roll(-1, 1).flatten()[half.positions], half.targets)


class Scarce:
    """A device with memory for passes of `tokens` padded tokens. late: it fails only in the backward pass."""

    def __init__(self, model, tokens, late=False):
        self.tokens, self.passes, self.late = tokens, [], late
        self.handle = model.model.register_forward_hook(self.count, with_kwargs=True)

    def count(self, _, inputs, given, output):
        tokens = given["input_ids"].numel()
        self.passes.append(tokens)
        if tokens > self.tokens:
            if not self.late:
                raise torch.OutOfMemoryError
            hidden = output.last_hidden_state
            hidden.register_hook(lambda gradient: self.fail())

    def fail(self):
        raise torch.OutOfMemoryError


@pytest.mark.parametrize("late", [False, True], ids=["forward", "backward"])
def test_a_batch_too_large_for_the_memory_is_halved(tiny_model, examples, late):
    model = tiny_model()
    expected_scores, expected_loss, expected_statistics = batched(model, examples)
    width = max(map(len, examples))
    scarce = Scarce(model, 3 * width, late)
    scores, loss, statistics_found = batched(model, examples)
    assert scarce.passes == [8 * width, 4 * width, *[2 * width] * 4]  # 4 samples did not fit and are not tried again
    assert relative_difference(scores, expected_scores).max() <= TOLERANCE
    assert loss == approx(expected_loss, rel=1e-5)
    for name, values in expected_statistics.items():
        assert relative_difference(statistics_found[name], values).max() <= TOLERANCE, name


def test_later_batches_are_cut_before_they_fail(tiny_model, examples):
    model = tiny_model()
    scarce = Scarce(model, 4 * max(map(len, examples)))
    with Taps(model) as taps:
        assert len(list(importance(model, [collate(examples, PAD)] * 3, taps))) == 3
    assert len(scarce.passes) == 1 + 3 * 2


def test_a_sample_too_large_for_the_memory_is_an_error_with_a_remedy(tiny_model, examples):
    model = tiny_model()
    scarce = Scarce(model, 3)
    tokens = max(map(len, examples[:2]))
    with refused(tokens, "importance.max_tokens", "models.*.resources.device_map"):
        batched(model, examples[:2])
    assert len(scarce.passes) == 2


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_a_spread_model_gives_the_same_numbers(tiny_model, examples, family, unit):
    """accelerate's hooks, which move tensors between devices, are there; here all devices are one."""
    from accelerate import dispatch_model

    model = tiny_model(family)
    expected = batched(model, examples, unit=unit)
    layers = [f"model.layers.{i}" for i in range(3)]
    parts = ["model.embed_tokens", *layers, "model.norm", "model.rotary_emb", "lm_head"]
    spread = dispatch_model(model, dict.fromkeys(parts, "cpu"), force_hooks=True)
    assert all(hasattr(spread.get_submodule(name), "_hf_hook") for name in parts)
    found = batched(spread, examples, unit=unit)
    assert np.array_equal(found[0], expected[0]) and np.array_equal(found[1], expected[1])
