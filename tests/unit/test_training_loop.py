"""The training loop: loss and gradients per response token, order, schedule, log, and the same run twice."""

import json
import math
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from torch import nn

from caneft import config
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.prompts import Example
from caneft.schedule import schedule
from caneft.tuning import ways
from caneft.tuning.loop import accumulate, as_record, encode, mean_loss, orders, train

PAD = 0
CPU = torch.device("cpu")
METHODS = {
    "full": config.Full(method="full", learning_rate=1e-3),
    "lora": config.Lora(method="lora", learning_rate=1e-2, rank=2),
    "caneft": config.Neurons(method="caneft", learning_rate=1e-2),
}


def some_neurons():
    return NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))


def run(model, method, examples, log, seed=1, rate=None, **settings):
    """Trains on all examples but the last two, which are the dev set."""
    chosen = METHODS[method]
    way = ways.trainable(model, chosen, "float32", some_neurons(), {})
    tuning = config.Tuning(**{"batch_size": 4, "tokens_per_batch": 120, "epochs": 2} | settings)
    return way, train(model, way, examples[:-2], examples[-2:], tuning, rate or chosen.learning_rate, seed, PAD, log)


def copier():
    """A model whose next token is the present one with probability 1/2, each of the three others with 1/6."""

    class Decoder(nn.Module):
        def forward(self, input_ids, **_):
            return SimpleNamespace(last_hidden_state=nn.functional.one_hot(input_ids, 4) * math.log(3))

    config = SimpleNamespace(model_type="llama", get_text_config=lambda: None)
    model = nn.Module()
    model.model, model.lm_head, model.config = Decoder(), nn.Identity(), config
    return model


def test_loss_is_a_mean_over_response_tokens_by_hand():
    """Not over examples, not over all tokens: 1 + 4 response tokens, of which 3 repeat the token before."""
    examples = [Example((1, 2), (2,)), Example((3, 3, 3, 1), (1, 1, 2, 3))]
    expected = (3 * math.log(2) + 2 * math.log(6)) / 5
    for tokens in (1, 100):
        assert mean_loss(copier(), examples, PAD, tokens, CPU) == approx(expected, rel=1e-6)


def gradients(model, examples, tokens):
    model.zero_grad(set_to_none=True)
    passes = []
    handle = naive.decoder_layers(model)[0].register_forward_hook(lambda *_: passes.append(1))
    loss = accumulate(model, examples, PAD, tokens, CPU)
    handle.remove()
    return loss, len(passes), {name: p.grad for name, p in model.named_parameters()}


def test_gradients_do_not_depend_on_accumulation(tiny_model, architecture, examples):
    model = tiny_model(architecture).requires_grad_(True)
    found = [gradients(model, examples, tokens) for tokens in (10_000, 400, 1)]
    assert [passes for _, passes, _ in found] == [1, 2, len(examples)]
    model.zero_grad()
    total = sum(naive.summed_loss(model, e.prompt, e.response) for e in examples)
    expected = total / sum(len(e.response) for e in examples)
    expected.backward()
    for loss, _, grads in found:
        assert loss == approx(float(expected.detach()), rel=1e-5)
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                assert "vision" in name or "multi_modal" in name
                continue
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(grads[name], parameter.grad, rtol=0, atol=2e-5 * scale)


def test_schedule_by_hand():
    """10 steps, 2 of them warm-up, then half a cosine over 8."""
    factor = schedule(10, 0.2)
    half = math.sqrt(0.5)
    expected = [0.5, 1, 1, None, (1 + half) / 2, None, 0.5, None, (1 - half) / 2, None]
    for step, value in enumerate(expected):
        if value is not None:
            assert factor(step) == approx(value)
    assert factor(10) == approx(0, abs=1e-12)
    values = [factor(step) for step in range(2, 11)]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("steps, warmup", [(1, 0.0), (1, 0.9), (3, 0.99), (50, 0.0)])
def test_schedule_stays_between_0_and_1_and_trains_at_every_step(steps, warmup):
    factors = [schedule(steps, warmup)(step) for step in range(steps)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == 1
    assert 0 <= schedule(steps, warmup)(steps) <= 1  # asked for once after the last step


@given(
    examples=st.integers(1, 40), batch_size=st.integers(1, 12), epochs=st.integers(1, 3), seed=st.integers(0, 2**32 - 1)
)
def test_every_epoch_sees_each_example_once(examples, batch_size, epochs, seed):
    steps = [chosen.tolist() for chosen in orders(examples, batch_size, epochs, seed)]
    per_epoch = math.ceil(examples / batch_size)
    assert len(steps) == epochs * per_epoch
    for start in range(0, len(steps), per_epoch):
        epoch = steps[start : start + per_epoch]
        assert sorted(index for chosen in epoch for index in chosen) == list(range(examples))
        assert all(len(chosen) == batch_size for chosen in epoch[:-1])
    assert steps == [chosen.tolist() for chosen in orders(examples, batch_size, epochs, seed)]


def test_epochs_and_seeds_differ_in_order():
    first, second = (order.tolist() for order in orders(50, 50, 2, 0))
    assert first != second
    assert first != next(orders(50, 50, 2, 1)).tolist()


def test_the_log_has_one_line_a_step(tiny_model, examples, tmp_path):
    log = tmp_path / "log.jsonl"
    _, outcome = run(tiny_model(), "full", examples, log, warmup=0.25, epochs=2)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert all(line.keys() == {"step", "loss", "rate", "norm", "response_tokens"} for line in lines)
    assert [line["rate"] for line in lines] == approx([1e-3, 1e-3, 0.75e-3, 0.25e-3])
    assert all(line["norm"] > 0 for line in lines)
    tokens = 2 * sum(len(example.response) for example in examples[:-2])
    assert outcome.response_tokens == sum(line["response_tokens"] for line in lines) == tokens
    assert (outcome.steps, outcome.examples) == (4, 6)
    assert (outcome.first_loss, outcome.last_loss) == (lines[0]["loss"], lines[-1]["loss"])
    assert as_record(outcome)["dev_loss"] == outcome.dev_loss


def test_outcome_tells_losses_per_response_token(tiny_model, examples, tmp_path):
    """The first step's loss and the dev loss before are those of the base, by the witness."""
    model = tiny_model()
    sums = {e: float(naive.summed_loss(model, e.prompt, e.response)) for e in examples}
    _, outcome = run(model, "full", examples, tmp_path / "log", batch_size=100, epochs=6, rate=1e-2)
    for found, shown in ((outcome.first_loss, examples[:-2]), (outcome.dev_loss_before, examples[-2:])):
        assert found == approx(sum(sums[e] for e in shown) / sum(len(e.response) for e in shown), rel=1e-5)
    dev = examples[-2:]
    after = sum(float(naive.summed_loss(model, e.prompt, e.response).detach()) for e in dev)
    assert outcome.dev_loss == approx(after / sum(len(e.response) for e in dev), rel=1e-5)
    assert outcome.last_loss < outcome.first_loss


def test_steps_are_those_of_clipped_adamw(tiny_model, examples, tmp_path):
    """Each step by hand: the whole batch in one graph, clipped, AdamW, the rate of the schedule."""
    model, witness = tiny_model(), tiny_model()
    run(model, "full", examples, tmp_path / "log", batch_size=100, epochs=3, warmup=0.0, weight_decay=0.1, clip=0.5)
    witness.requires_grad_(True)
    optimizer = torch.optim.AdamW(witness.parameters(), lr=1e-3, weight_decay=0.1)
    for factor in (1, 1, 0.5):
        optimizer.zero_grad()
        total = sum(naive.summed_loss(witness, e.prompt, e.response) for e in examples[:-2])
        (total / sum(len(e.response) for e in examples[:-2])).backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in witness.parameters()))
        assert norm > 0.5
        for parameter in witness.parameters():
            parameter.grad *= 0.5 / norm
        optimizer.param_groups[0]["lr"] = 1e-3 * factor
        optimizer.step()
    for found, expected in zip(model.parameters(), witness.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bits(tiny_model, examples, tmp_path, method):
    def weights(seed, name):
        model = tiny_model()
        torch.manual_seed(7)  # as a step does, for LoRA's initialisation
        run(model, method, examples, tmp_path / name, seed=seed)
        return model.state_dict()

    first, second, other = weights(1, "a"), weights(1, "b"), weights(2, "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns(tiny_model, examples, tmp_path, method):
    model = tiny_model()
    _, outcome = run(model, method, examples, tmp_path / "log", epochs=8, tokens_per_batch=1000)
    assert outcome.last_loss < outcome.first_loss - 0.05
    assert outcome.dev_loss != outcome.dev_loss_before


def test_neurons_stay_the_only_thing_that_changes(tiny_model, examples, tmp_path):
    model, base = tiny_model(), tiny_model()
    way, _ = run(model, "caneft", examples, tmp_path / "log", weight_decay=0.1)
    way.detach()
    selected = [set(indices.tolist()) for indices in some_neurons().indices]
    for (name, found), before in zip(model.state_dict().items(), base.state_dict().values(), strict=True):
        changed = found != before
        if "mlp" not in name:
            assert not changed.any(), name
        else:
            rows = changed.T if "down" in name else changed
            assert set(rows.any(1).nonzero().flatten().tolist()) == selected[int(name.split(".")[2])], name


def test_divergence_is_an_error_that_names_the_remedy(tiny_model, examples, tmp_path):
    with pytest.raises(InputError, match="diverged at step [1-9].*lower the learning rate"):
        run(tiny_model(), "full", examples, tmp_path / "log", rate=1e30)


def test_the_model_is_in_evaluation_mode_afterwards(tiny_model, examples, tmp_path):
    model = tiny_model()
    run(model, "lora", examples, tmp_path / "log")
    assert not any(module.training for module in model.modules())


def test_long_pairs_are_left_out_and_counted(prompts, pairs):
    rows = [Row(f"it.train.{number}", *pair) for number, pair in enumerate(pairs)]
    lengths = [len(prompts.encode(*pair)) for pair in pairs]
    limit = sorted(lengths)[3]
    found, left_out = encode(rows, prompts, limit)
    assert found == [prompts.encode(*pair) for pair, length in zip(pairs, lengths, strict=True) if length <= limit]
    assert left_out == 4
    with pytest.raises(InputError, match="none of 8 .* tuning.max_tokens"):
        encode(rows, prompts, 5)


def test_the_domain_of_a_mixed_row_reaches_the_prompt(tokenizer):
    from caneft.prompts import Prompts

    prompts = Prompts(tokenizer, lambda domain: f"Domain {domain}.")
    (found,), _ = encode([Row("it.train.1", "x", "y", "it")], prompts, 500)
    assert found == prompts.encode("x", "y", "it") != prompts.encode("x", "y")
