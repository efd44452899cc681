"""The method in a program: its numbers equal the witness's and the workflow's, and the model comes back unchanged."""

import copy

import numpy as np
import pytest
import torch

from caneft import api
from caneft.config.stages import Importance
from caneft.importance import dumping
from caneft.plan.settings import InformationSettings
from caneft.selection import criteria, information_table
from tests import naive
from tests.messages import refused, suggestion


@pytest.fixture
def model(tiny_model):
    return tiny_model()


@pytest.fixture
def by_domain(examples):
    """Eight examples per domain."""
    return {"it": examples, "law": examples[::-1]}


def test_importance_is_that_of_one_example_after_the_other(model, examples):
    found = api.importance(model, examples, tokens_per_batch=100)
    expected = torch.stack([naive.importance(model, one.prompt, one.response) for one in examples], dim=1).numpy()
    assert found.scale == 4096
    scores = found.scores.astype(np.float64) / found.scale
    largest = expected.max(axis=(1, 2), keepdims=True)
    assert (abs(scores - expected) <= 1e-3 * expected + 1e-5 * largest).all()  # float16 has 11 bits
    losses = [float(naive.summed_loss(model, one.prompt, one.response).detach()) for one in examples]
    assert found.loss == pytest.approx(losses, rel=1e-5)


def test_a_model_that_trains_comes_back_training(model, examples):
    model.train().requires_grad_(True)
    next(model.parameters()).requires_grad_(False)
    wanted = [weight.requires_grad for weight in model.parameters()]
    api.importance(model, examples[:2])
    assert model.training
    assert [weight.requires_grad for weight in model.parameters()] == wanted
    assert all(weight.grad is None for weight in model.parameters())


def test_the_neurons_are_those_that_the_workflow_selects(model, prompts, by_domain, tmp_path):
    settings = Importance(samples=8)
    for domain, examples in by_domain.items():
        samples = dumping.Samples(domain, [str(n) for n in range(8)], examples, {})
        about = {"model": {"name": "tiny", "id": None, "weights": {}}, "unit": "neuron"}
        dumping.write(tmp_path / f"{domain}.npy", model, samples, prompts, settings, about)
    wanted = InformationSettings(bins=3, length_strata=1, null_permutations=4, seed=5, error_rate=0.01)
    expected, _ = information_table.measure([tmp_path / f"{domain}.npy" for domain in by_domain], wanted)
    scored = {domain: api.importance(model, examples) for domain, examples in by_domain.items()}
    table = api.information(scored, bins=3, permutations=4, seed=5)
    assert table.equals(expected.drop(columns="null_quantile"))
    mask = criteria.task_relevant(expected, 0.5)
    chosen = api.select(table, fraction=0.1)
    assert chosen == criteria.select(expected, "caneft", round(0.1 * len(table)), mask).neurons
    assert api.select(table, 0.1, "importance", None) != chosen


def test_a_tuned_model_becomes_a_patch_and_the_base_again(model, by_domain, tmp_path):
    table = api.information({domain: api.importance(model, own) for domain, own in by_domain.items()}, bins=3)
    base = copy.deepcopy(model)
    chosen = api.select(table, fraction=0.1)
    with api.NeuronRows(model, chosen) as tuned:
        for master in tuned.parameters():
            master.data += 0.25
        tuned.after_step()
    api.save(tmp_path / "patch.safetensors", tuned.as_patch())
    first = copy.deepcopy(base)
    undo = api.swap(first, api.read(tmp_path / "patch.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), model.parameters(), strict=True))
    changed = sum(int((a != b).sum()) for a, b in zip(first.parameters(), base.parameters(), strict=True))
    assert changed == chosen.parameters(3 * model.config.hidden_size) > 0
    api.swap(first, undo)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), base.parameters(), strict=True))


def test_pairs_are_written_as_the_workflow_writes_them(tokenizer):
    (example,) = api.encode(tokenizer, [("Ja.", "Yes."), ("Nein. " * 99, "No.")], "German", "English", max_tokens=250)
    asked = "Translate the following text from German into English. Reply only with the translation."
    prompt = tokenizer.decode(example.prompt)
    assert prompt.index(asked) < prompt.index("Ja.")
    assert tokenizer.decode(example.response).startswith("Yes.")


def test_what_cannot_be_scored_is_refused(model, examples):
    with refused("examples"):
        api.importance(model, [])
    with refused("response"):
        api.importance(model, [api.Example((1, 2))])
    for exponent in (40, -40):
        with refused("scale_exponent"):
            api.importance(model, examples, scale_exponent=exponent)
    scored = api.importance(model, examples)
    with refused("two domains"):
        api.information({"it": scored})
    with refused(suggestion("canefd", "caneft")):
        api.select(api.information({"it": scored, "law": scored}), criterion="canefd")
