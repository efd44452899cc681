"""Importance against a batch-1 loop over all weights, and against finite differences that know no gradient."""

import naive
import numpy as np
import pytest
import torch
from pytest import approx

from caneft.importance import Taps, importance
from caneft.prompts import Example, collate

TOLERANCE = 1e-5  # of the layer's largest score
PAD = 0


def batched(model, examples, side="right", pad=PAD):
    """Scores, losses and statistics of the package, all examples in one batch."""
    with Taps(model) as taps:
        (scores,) = importance(model, [collate(examples, pad, side)], taps)
        return scores.importance, scores.loss, taps.statistics()


def relative_difference(found, expected):
    """Largest difference per layer, as a share of the layer's maximum."""
    found, expected = np.asarray(found), np.asarray(expected)
    difference = np.abs(found - expected).reshape(len(expected), -1).max(1)
    return difference / expected.reshape(len(expected), -1).max(1)


@pytest.fixture
def model(tiny_model, architecture):
    return tiny_model(architecture)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_batch_gives_the_numbers_of_single_samples(model, examples, side):
    scores, loss, _ = batched(model, examples, side)
    expected = [naive.importance(model, example.prompt, example.response) for example in examples]
    assert relative_difference(scores, torch.stack(expected, dim=1)).max() <= TOLERANCE
    alone = [naive.one_pass(model, example.prompt, example.response).loss for example in examples]
    assert loss == approx(alone, rel=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_decoder_is_told_of_padding_and_positions(tiny_model, examples, side):
    """Rotary positions are relative and masks can be guessed: numbers alone would not show that one was forgotten."""
    model, batch, seen = tiny_model(), collate(examples[:3], PAD, side), []
    handle = model.model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    with Taps(model) as taps:
        list(importance(model, [batch], taps))
    handle.remove()
    (given,) = seen
    for name in ("input_ids", "attention_mask", "position_ids"):
        assert torch.equal(given[name], getattr(batch, name)), name


def test_gemmas_soft_cap_is_visible_in_these_numbers(tiny_model, examples):
    """Else the test above could not tell whether it was applied."""
    capped, free = (tiny_model("gemma2", final_logit_softcapping=cap) for cap in (2.0, 1000.0))
    assert relative_difference(batched(capped, examples)[0], batched(free, examples)[0]).min() > 0.1


@pytest.mark.parametrize("side", ["left", "right"])
def test_statistics_are_means_over_response_positions(model, examples, side):
    passes = [naive.one_pass(model, example.prompt, example.response) for example in examples]
    activation = [torch.nn.functional.silu, lambda x: torch.nn.functional.gelu(x, approximate="tanh")]
    act = activation[model.config.model_type == "gemma2"]
    expected = {"activation": [], "gradient": [], "positive": []}
    for layer in range(model.config.num_hidden_layers):
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


def test_statistics_accumulate_over_batches(tiny_model, examples):
    model = tiny_model()
    with Taps(model) as taps:
        parts = [collate(examples[:3], PAD), collate(examples[3:], PAD)]
        assert len(list(importance(model, parts, taps))) == 2
    together = batched(model, examples)[2]
    for name, values in taps.statistics().items():
        assert values == approx(together[name], rel=1e-4, abs=1e-7), name


def test_up_times_its_gradient_is_the_same_score(model, examples):
    """u dL/du = a dL/da, because a = act(gate) u."""
    scores, _, _ = batched(model, examples)
    for sample, example in enumerate(examples):
        found = naive.one_pass(model, example.prompt, example.response)
        pairs = zip(found.up, found.up_gradient, strict=True)
        expected = torch.stack([(u * g)[found.response].abs().mean(0) for u, g in pairs])
        assert relative_difference(scores[:, sample], expected).max() <= TOLERANCE


class Scaled:
    """Scales one neuron's activation by a factor, at all positions or at one."""

    def __init__(self, model, layer, neuron, factor, position=slice(None)):
        self.down = model.model.layers[layer].mlp.down_proj
        self.neuron, self.factor, self.position = neuron, factor, position

    def __enter__(self):
        def scale(_, inputs):
            changed = inputs[0].clone()
            changed[0, self.position, self.neuron] *= self.factor
            return (changed,)

        self.handle = self.down.register_forward_pre_hook(scale)

    def __exit__(self, *_):
        self.handle.remove()


def effect_of_ablation(model, example, layer, neuron, position=slice(None), step=0.02):
    """Derivative of the loss towards ablation by five-point differences: no gradient is asked for.

    The step is large because RMSNorm computes in float32 in every model of transformers, float64 or not.
    """

    def loss(factor):
        with torch.no_grad(), Scaled(model, layer, neuron, factor, position):
            return float(naive.summed_loss(model, example.prompt, example.response))

    near, far = loss(1 - step) - loss(1 + step), loss(1 - 2 * step) - loss(1 + 2 * step)
    return (8 * near - far) / (12 * step)


@pytest.fixture
def smooth_model(tiny_model, architecture):
    """In float64, with small weights: differences of losses keep their digits."""
    wide = (
        {"sliding_window": 256} if architecture == "gemma2" else {}
    )  # masks in float64 overflow in its float32 softmax
    return tiny_model(architecture, dtype=torch.float64, initializer_range=0.1, **wide)


def test_signed_sum_over_all_positions_is_the_effect_of_ablation(smooth_model, examples):
    example = examples[0]
    found = naive.one_pass(smooth_model, example.prompt, example.response)
    for layer, (a, g) in enumerate(zip(found.activation, found.activation_gradient, strict=True)):
        signed = -(a * g).sum(0)
        neurons = range(layer, a.shape[1], 8)
        expected = [effect_of_ablation(smooth_model, example, layer, neuron) for neuron in neurons]
        assert signed[list(neurons)].tolist() == approx(expected, abs=2e-3 * float(signed.abs().max()))


def test_scores_are_mean_effects_of_ablating_single_response_positions(smooth_model, examples):
    example = examples[2]
    scores, _, _ = batched(smooth_model, [example, examples[3]])
    positions = range(len(example.prompt) - 1, len(example) - 1)
    for layer in range(smooth_model.config.num_hidden_layers):
        for neuron in (layer, 13, 39):
            effects = [abs(effect_of_ablation(smooth_model, example, layer, neuron, at)) for at in positions]
            assert scores[layer, 0, neuron] == approx(np.mean(effects), abs=2e-3 * float(scores[layer, 0].max()))


def test_no_weight_gets_a_gradient_and_no_hook_stays(model, examples):
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    batched(model, examples)
    for name, parameter in model.named_parameters():
        assert parameter.grad is None and not parameter.requires_grad, name
        assert torch.equal(parameter, before[name]), name
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_sample_does_not_depend_on_its_companions(model, examples):
    alone = batched(model, [examples[2]])[0][:, 0]
    for companions in ([examples[3]], examples[3:], [examples[2]] * 3):
        together = batched(model, [*companions, examples[2]], side="left")[0][:, -1]
        assert relative_difference(together, alone).max() <= TOLERANCE


def test_padding_never_counts(model, examples):
    scores, loss, statistics = batched(model, examples[:3], pad=PAD)
    other_scores, other_loss, other_statistics = batched(model, examples[:3], pad=77)
    assert np.array_equal(scores, other_scores) and np.array_equal(loss, other_loss)
    for name, values in statistics.items():
        assert np.array_equal(values, other_statistics[name]), name


def test_positions_are_those_that_predict_the_response(tiny_model):
    """One response token: the score is |a g| at the prompt's last position, with no mean over anything else."""
    model, example = tiny_model(), Example((1, 30, 31, 32), (40,))
    found = naive.one_pass(model, example.prompt, example.response)
    scores, _, _ = batched(model, [example, Example((1, 50), (51, 52, 53, 54, 55, 56))])
    pairs = zip(found.activation, found.activation_gradient, strict=True)
    expected = torch.stack([(a * g)[3].abs() for a, g in pairs])
    assert relative_difference(scores[:, 0], expected).max() <= TOLERANCE
    with Taps(model) as taps:
        list(importance(model, [collate([example] * 5, PAD)], taps))
        assert taps.positions == 5
