"""The training loop: loss and gradients per response token, order, schedule, log, and equal repeated runs."""

import dataclasses
import json
import math
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pytest import approx
from torch import nn

from caneft import config
from caneft.corpora.store import Row
from caneft.neurons import NeuronSet
from caneft.prompts import Example, batches
from caneft.tuning import methods as tuning_methods
from caneft.tuning.base import TuningMethod
from caneft.tuning.loop import as_record, encode, orders, train
from caneft.tuning.passes import Passes
from caneft.tuning.schedule import schedule
from tests import naive
from tests.messages import refused

PAD = 0
METHODS = {
    "full": config.Full(method="full", learning_rate=1e-3),
    "lora": config.Lora(method="lora", learning_rate=1e-2, rank=2),
    "caneft": config.Neurons(method="caneft", learning_rate=1e-2),
}


def some_neurons():
    return NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))


def run(model, method, examples, log, seed=1, rate=None, trial=False, watch=None, **settings):
    """Trains on all examples except the last two, the dev set. watch: called with the way after every step."""
    chosen = METHODS[method]
    way = tuning_methods.trainable(model, chosen, "float32", some_neurons(), {})
    if watch:
        after_step, way.after_step = way.after_step, lambda: (after_step(), watch(way))
    tuning = config.Tuning(**{"batch_size": 4, "tokens_per_batch": 120, "epochs": 2} | settings)
    rate = rate or chosen.learning_rate
    return way, train(model, way, examples[:-2], examples[-2:], tuning, rate, seed, PAD, log, trial=trial)


def lines_of(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def values(way):
    return [parameter.detach().clone() for parameter in way.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class Nothing(TuningMethod):
    """A tuning method that trains nothing, for passes alone."""

    def parameters(self):
        return iter(())

    def save(self, folder):
        pass


def copier():
    """A model whose next token is the present one with probability 1/2, and each of the three others with 1/6."""

    class Decoder(nn.Module):
        def forward(self, input_ids, **_):
            return SimpleNamespace(last_hidden_state=nn.functional.one_hot(input_ids, 4) * math.log(3))

    config = SimpleNamespace(model_type="llama", get_text_config=lambda: None)
    model = nn.ParameterList([torch.zeros(0)])  # gives it a device
    model.model, model.lm_head, model.config = Decoder(), nn.Linear(4, 4, bias=False), config
    model.lm_head.weight.data = torch.eye(4)
    return model


def test_loss_is_a_mean_over_response_tokens_by_hand():
    """The mean is not over examples or all tokens: of 1 + 4 response tokens, 3 repeat the token before."""
    examples = [Example((1, 2), (2,)), Example((3, 3, 3, 1), (1, 1, 2, 3))]
    expected = (3 * math.log(2) + 2 * math.log(6)) / 5
    for tokens in (1, 100):
        assert Passes(copier(), Nothing(), PAD, tokens).mean(examples) == approx(expected, rel=1e-6)


def gradients(model, examples, tokens):
    model.zero_grad(set_to_none=True)
    passes = []
    handle = naive.decoder_layers(model)[0].register_forward_hook(lambda *_: passes.append(1))
    loss = Passes(model, Nothing(), PAD, tokens).backward(examples)
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
    """Of 10 steps 2 are warm-up, and then comes half a cosine over 8."""
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
    assert 0 <= schedule(steps, warmup)(steps) <= 1  # called once after the last step


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
    lines = lines_of(log)
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    keys = {"step", "loss", "rate", "norm", "response_tokens"}
    assert [line.keys() - keys for line in lines] == [set(), {"dev_loss"}, set(), {"dev_loss"}]
    assert all(line.keys() >= keys for line in lines)
    assert [line["rate"] for line in lines] == approx([1e-3, 1e-3, 0.75e-3, 0.25e-3])
    assert all(line["norm"] > 0 for line in lines)
    tokens = 2 * sum(len(example.response) for example in examples[:-2])
    assert outcome.response_tokens == sum(line["response_tokens"] for line in lines) == tokens
    assert (outcome.steps, outcome.examples) == (4, 6)
    assert (outcome.first_loss, outcome.last_loss) == (lines[0]["loss"], lines[-1]["loss"])
    assert as_record(outcome)["dev_loss"] == outcome.dev_loss


def test_outcome_tells_losses_per_response_token(tiny_model, examples, tmp_path):
    """The first step's loss and the dev loss before training are the witness's for the base."""
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
    """Each step by hand: the whole batch in one graph, clipping, AdamW, the schedule's rate."""
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
        torch.manual_seed(7)  # as a step of the workflow does, for LoRA's initialisation
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
    with refused("learning rate") as caught:
        run(tiny_model(), "full", examples, tmp_path / "log", rate=1e30)
    assert re.search(r"\bstep [1-9]", str(caught.value))


def test_a_trial_that_diverges_ends_before_that_step(tiny_model, examples, tmp_path):
    seen, log = [], tmp_path / "log"
    way, outcome = run(
        tiny_model(), "full", examples, log, rate=1e30, trial=True, watch=lambda w: seen.append(values(w))
    )
    assert 0 < outcome.diverged_at == outcome.steps == len(seen) < 4
    assert equal(values(way), seen[-1])
    assert len(lines_of(log)) == outcome.steps and not outcome.stopped_early
    json.dumps(as_record(outcome), allow_nan=False)


def test_a_last_step_that_diverges_is_found_by_the_dev_loss(tiny_model, examples, tmp_path):
    log, settings = tmp_path / "log", {"epochs": 1, "batch_size": 100, "rate": 1e30}
    with refused("step 0", "dev loss", "learning rate") as caught:
        run(tiny_model(), "full", examples, log, **settings)
    assert re.search("nan|inf", str(caught.value))
    _, outcome = run(tiny_model(), "full", examples, log, trial=True, **settings)
    assert outcome.dev_loss is None is lines_of(log)[0]["dev_loss"] and outcome.best_step == 0
    json.dumps(as_record(outcome), allow_nan=False)


def test_a_base_that_is_broken_is_no_matter_of_the_rate(tiny_model, examples, tmp_path):
    model = tiny_model()
    model.lm_head.weight[:] = math.inf
    with refused("dev loss", "dtype") as caught:
        run(model, "caneft", examples, tmp_path / "log", trial=True)
    assert "learning rate" not in str(caught.value)


@pytest.mark.parametrize("every, measured", [(None, [1, 3, 5]), (1, [0, 1, 2, 3, 4, 5]), (4, [3, 5]), (100, [5])])
def test_dev_loss_is_measured_as_often_as_asked(tiny_model, examples, tmp_path, every, measured):
    """According to the witness, it is that of the weights after the step, without dropout."""
    model, log, expected, dev = tiny_model(), tmp_path / "log", [], examples[-2:]

    def watch(way):
        mode = model.training
        total = sum(float(naive.summed_loss(model.eval(), e.prompt, e.response).detach()) for e in dev)
        model.train(mode)
        expected.append(total / sum(len(e.response) for e in dev))

    state = METHODS["lora"]
    METHODS["lora"] = state.model_copy(update={"dropout": 0.5})
    try:
        _, outcome = run(model, "lora", examples, log, epochs=3, dev_every=every, watch=watch)
    finally:
        METHODS["lora"] = state
    found = {line["step"]: line["dev_loss"] for line in lines_of(log) if "dev_loss" in line}
    assert list(found) == measured
    assert list(found.values()) == approx([expected[step] for step in measured], rel=1e-5)
    assert outcome.dev_loss == found[5] and outcome.diverged_at is None
    losses = [outcome.dev_loss_before, *found.values()]
    assert outcome.best_step == [0, *(step + 1 for step in measured)][losses.index(min(losses))]


@pytest.mark.parametrize("patience", [1, 3, 4])
def test_patience_ends_at_the_lowest_dev_loss(tiny_model, examples, tmp_path, patience):
    settings, seen = {"epochs": 12, "dev_every": 1, "rate": 2e-2}, []
    run(tiny_model(), "full", examples, tmp_path / "all", **settings, watch=lambda way: seen.append(values(way)))
    lines = lines_of(tmp_path / "all")
    losses = [line["dev_loss"] for line in lines]
    since = [n - losses.index(min(losses[: n + 1])) for n in range(len(losses))]
    last = since.index(patience)
    assert 1 < last < len(losses) - 1
    way, outcome = run(tiny_model(), "full", examples, tmp_path / "log", **settings, patience=patience)
    assert lines_of(tmp_path / "log") == lines[: last + 1]
    best = last - patience
    assert outcome.stopped_early and outcome.best_step == best + 1 and outcome.steps == last + 1
    assert outcome.dev_loss == losses[best] == min(losses[: last + 1])
    assert equal(values(way), seen[best])


def test_patience_falls_back_on_the_base(tiny_model, examples, tmp_path):
    """No measurement is below the one before training, so nothing changes, not even in the full weights."""
    model, base = tiny_model(), tiny_model()
    way, outcome = run(model, "caneft", examples, tmp_path / "log", rate=10.0, patience=50, dev_every=1)
    assert (outcome.best_step, outcome.stopped_early, outcome.steps) == (0, False, 4)
    assert outcome.dev_loss == outcome.dev_loss_before
    way.detach()
    assert equal(model.state_dict().values(), base.state_dict().values())


def test_nothing_to_train_is_an_error(tiny_model, examples, tmp_path):
    none = NeuronSet(3, 40, (np.array([], dtype=int),) * 3)
    model = tiny_model()
    way, tuning = tuning_methods.trainable(model, METHODS["caneft"], "float32", none), config.Tuning()
    with refused("neuron"):
        train(model, way, examples[:-2], examples[-2:], tuning, 1e-3, 1, PAD, tmp_path / "log")


def test_a_way_is_told_the_domain_of_every_row(tiny_model, examples, tmp_path):
    named = [dataclasses.replace(example, domain=f"d{i}") for i, example in enumerate(examples)]
    domains = {example.prompt + example.response: example.domain for example in named}
    model, told, given = tiny_model(), [], []
    way = tuning_methods.trainable(model, METHODS["full"], "float32")
    way.begin = told.append

    def see(_, __, kwargs):
        rows = zip(kwargs["input_ids"].tolist(), kwargs["attention_mask"].sum(1).tolist(), strict=True)
        given.append([domains[tuple(row[:length])] for row, length in rows])

    model.model.register_forward_pre_hook(see, with_kwargs=True)
    tuning = config.Tuning(batch_size=4, tokens_per_batch=120, epochs=1)
    train(model, way, named[:-2], named[-2:], tuning, 1e-3, 1, PAD, tmp_path / "log")
    assert told == given and max(map(len, told)) > 1
    assert {name for rows in told for name in rows} == set(domains.values())


@pytest.mark.parametrize("method, dropout", [("full", 0.0), ("caneft", 0.0), ("lora", 0.0), ("lora", 0.4)])
@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
def test_recomputed_activations_give_the_same_steps(tiny_model, examples, tmp_path, family, method, dropout):
    found = []
    for recompute in (False, True):
        model, passes = tiny_model(family), []
        torch.manual_seed(7)
        way = tuning_methods.trainable(
            model, METHODS[method].model_copy(update={"dropout": dropout}), "float32", some_neurons()
        )
        naive.decoder_layers(model)[1].input_layernorm.register_forward_hook(lambda *_, p=passes: p.append(1))
        tuning = config.Tuning(batch_size=4, tokens_per_batch=120, epochs=1, gradient_checkpointing=recompute)
        log = tmp_path / str(recompute)
        train(model, way, examples[:-2], examples[-2:], tuning, 1e-2, 1, PAD, log)
        before = len(passes)
        Passes(model.train(), way, PAD, 120).backward(examples[:1])
        found.append((before, len(passes) - before, log.read_bytes(), values(way)))
    (passes, alone, log, weights), (more, after, same_log, same_weights) = found
    dev = 2 * sum(1 for _ in batches([len(example) for example in examples[-2:]], 120))
    assert more - dev == 2 * (passes - dev)  # once more for each backward pass
    assert after == alone == 1  # and no longer after training
    if method != "full":
        assert not model.eval().model.embed_tokens(torch.tensor([1])).requires_grad
    assert log == same_log and equal(weights, same_weights)


@pytest.mark.parametrize("method", METHODS)
def test_a_spread_model_trains_to_the_same_bits(tiny_model, examples, tmp_path, method):
    """accelerate's hooks, which move tensors between devices, are there; here all devices are one."""
    from accelerate import dispatch_model

    found = []
    for spread in (False, True):
        model = tiny_model("gemma2")
        if spread:
            parts = ["model.embed_tokens", *(f"model.layers.{i}" for i in range(3)), "model.norm", "model.rotary_emb"]
            model = dispatch_model(model, dict.fromkeys([*parts, "lm_head"], "cpu"), force_hooks=True)
            assert hasattr(model.lm_head, "_hf_hook")
        torch.manual_seed(7)
        way, outcome = run(model, method, examples, tmp_path / str(spread), gradient_checkpointing=True)
        found.append((values(way), outcome, (tmp_path / str(spread)).read_bytes()))
    assert equal(found[0][0], found[1][0]) and found[0][1:] == found[1][1:]


def half(tiny_model):
    """A float16 model with gradients so small that float16 rounds most of them to zero."""
    model = tiny_model("llama")
    model.lm_head.weight.mul_(2e-5)
    return model.half()


@pytest.mark.parametrize("method", ["lora", "caneft"])
def test_float16_has_the_gradients_of_float32(tiny_model, examples, tmp_path, method):
    norms = []
    for model in (half(tiny_model), half(tiny_model).float()):
        torch.manual_seed(7)
        run(model, method, examples, tmp_path / "log", batch_size=100, epochs=1)
        (line,) = lines_of(tmp_path / "log")
        assert "skipped" not in line
        norms.append(line["norm"])
    assert norms[0] == approx(norms[1], rel=0.01) and norms[0] > 0


def test_steps_that_overflow_are_skipped_and_logged(tiny_model, examples, tmp_path, monkeypatch):
    """The scale starts far too large and halves until gradients fit; only then does training begin."""
    monkeypatch.setattr(torch.amp, "GradScaler", partial(torch.amp.GradScaler, init_scale=2.0**30))
    seen, log = [], tmp_path / "log"
    model, base = tiny_model(dtype=torch.float16), tiny_model(dtype=torch.float16)
    way, outcome = run(model, "caneft", examples, log, epochs=12, watch=lambda w: seen.append(values(w)))
    lines = lines_of(log)
    skipped = [line.get("skipped", False) for line in lines]
    assert all(skipped[:4]) and sum(skipped) < 20 and not skipped[-1]
    assert all((line["norm"] is None) == line.get("skipped", False) for line in lines)
    assert len(seen) == len(lines) - sum(skipped)
    assert [lines[0]["loss"]] * 2 == approx([lines[0]["loss"], outcome.first_loss])
    assert outcome.last_loss < outcome.first_loss - 0.05 and outcome.diverged_at is None
    way.detach()
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), base.parameters(), strict=True))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}


def test_float16_that_no_scale_helps_diverges(tiny_model, examples, tmp_path):
    """Tokens that dev lacks make the forward pass of training not finite; 17 halvings bring the scale 2^16 below 1."""
    model = tiny_model(dtype=torch.float16)
    dev = {token for example in examples[-2:] for token in example.prompt + example.response}
    for example in examples[:-2]:
        assert set(example.prompt) - dev
        model.model.embed_tokens.weight[list(set(example.prompt) - dev)] = math.inf
    with refused("step 16", "loss nan", "learning rate"):
        run(model, "caneft", examples, tmp_path / "log", epochs=20)
    way, outcome = run(model, "caneft", examples, tmp_path / "log", epochs=20, trial=True)
    lines = lines_of(tmp_path / "log")
    assert outcome.diverged_at == outcome.steps == len(lines) == 16
    assert all(line["skipped"] and line["loss"] is None for line in lines)
    assert outcome.dev_loss == outcome.dev_loss_before


def test_float32_and_bfloat16_are_not_scaled(tiny_model, examples, tmp_path, monkeypatch):
    enabled, made = [], torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda *a, **k: (enabled.append(k["enabled"]), made(*a, **k))[1])
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        run(tiny_model(dtype=dtype), "caneft", examples, tmp_path / "log")
    assert enabled == [False, False, True]


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
    assert left_out == {"too_long": 4, "unusable": 0}
    with refused(8, 5, "tuning.max_tokens"):
        encode(rows, prompts, 5)


def test_the_domain_of_a_mixed_row_reaches_the_prompt(tokenizer):
    from caneft.prompts import Prompts

    prompts = Prompts(tokenizer, lambda domain: f"Domain {domain}.")
    (found,), _ = encode([Row("it.train.1", "x", "y", "it")], prompts, 500)
    assert found == prompts.encode("x", "y", "it") != prompts.encode("x", "y")
