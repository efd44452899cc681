"""Adapters compared with explicit matrix products; each domain trains on its own rows only."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from caneft import config
from caneft.models.loss import response_losses
from caneft.prompts import collate
from caneft.tuning import methods as tuning_methods
from caneft.tuning.adapters import Adapters
from tests import naive
from tests.messages import refused

PAD = 0
DOMAINS = ["law", "it", "law", "medical", "it"]
METHOD = config.Adapters(method="adapters", learning_rate=0.5, bottleneck=5)
BASE = {"id": "tiny", "revision": None, "weights": {"model.safetensors": "00"}}


def adapted(model, domains=DOMAINS, seed=4):
    torch.manual_seed(seed)
    return tuning_methods.trainable(model, METHOD, "float32", None, BASE, domains)


def filled(way, seed=5):
    """Gives the adapters weights that change every number."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in way.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
    return way


def weights(way):
    return {name: parameter.detach().clone() for name, parameter in way.named_parameters().items()}


def logits(model, batch):
    with torch.no_grad():
        return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits


def by_hand(model, weights, domain):
    """A copy of the model that applies the formula in numpy after each FFN, in float64."""
    model = copy.deepcopy(model)

    def hook_of(layer):
        down, up = (weights[f"{domain}.{layer}.{name}"].double().numpy() for name in ("down", "up"))

        def hook(_, inputs, output):
            h = output.double().numpy()
            added = np.maximum(np.einsum("bth,rh->btr", h, down), 0)
            return torch.tensor(h + np.einsum("btr,hr->bth", added, up)).to(output.dtype)

        return hook

    for number, layer in enumerate(naive.decoder_layers(model)):
        layer.mlp.register_forward_hook(hook_of(number))
    return model


@pytest.mark.parametrize("domains", [DOMAINS, ["it"] * 5], ids=["mixed", "alone"])
def test_every_row_goes_through_the_adapter_of_its_domain(tiny_model, architecture, examples, domains):
    model = tiny_model(architecture)
    clean = copy.deepcopy(model)
    way = filled(adapted(model))
    way.begin(domains)
    batch = collate(examples[:5], PAD)
    found = logits(model, batch)
    for row, (domain, example) in enumerate(zip(domains, examples[:5], strict=True)):
        alone = logits(by_hand(clean, weights(way), domain), collate([example], PAD))[0]
        torch.testing.assert_close(found[row, : len(example)], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_start_is_the_base_bit_for_bit(tiny_model, architecture, examples, dtype):
    model = tiny_model(architecture, dtype=dtype)
    batch = collate(examples[:5], PAD)
    before = logits(model, batch)
    way = adapted(model)
    way.begin(DOMAINS)
    assert torch.equal(logits(model, batch), before)
    assert {parameter.dtype for parameter in way.parameters()} == {torch.float32}
    assert all(bool(parameter.any()) == name.endswith("down") for name, parameter in way.named_parameters().items())


def test_a_half_precision_model_adds_what_float32_computes(tiny_model, examples):
    """The sum is rounded only once: the block's output is within one bfloat16 step of the exact one."""
    model = tiny_model(dtype=torch.bfloat16)
    way = filled(adapted(model))
    block = naive.decoder_layers(model)[1].mlp
    x = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(0)).bfloat16()
    way.begin(DOMAINS)
    with torch.no_grad():
        found, h = block(x), block.forward(x).double()
    assert found.dtype == torch.bfloat16
    for row, domain in enumerate(DOMAINS):
        down, up = (weights(way)[f"{domain}.1.{name}"].double() for name in ("down", "up"))
        part = (h[row] @ down.T).clamp_min(0) @ up.T
        bound = 2**-8 * (part.abs() + (h[row] + part).abs()) * 1.01
        assert ((found[row].double() - h[row] - part).abs() <= bound + 1e-6).all()


def step(model, way, optimizer, batch, domains):
    way.begin(domains)
    optimizer.zero_grad()
    response_losses(model, batch).sum().backward()
    optimizer.step()


def train(model, way, examples, domains, steps=4):
    optimizer = torch.optim.SGD(list(way.parameters()), lr=0.02)
    for _ in range(steps):
        step(model, way, optimizer, collate(examples, PAD), domains)
    return weights(way)


def test_an_adapter_learns_from_its_own_rows_only(tiny_model, architecture, examples):
    """Training in mixed batches gives the same adapter as training on its own rows alone."""
    mixed = tiny_model(architecture)
    way = adapted(mixed)
    start = weights(way)
    together = train(mixed, way, examples[:5], DOMAINS)
    for domain in sorted(set(DOMAINS)):
        own = [example for example, other in zip(examples, DOMAINS, strict=False) if other == domain]
        model = tiny_model(architecture)
        alone = train(model, adapted(model, [domain]), own, [domain] * len(own))
        assert len(alone) == 6
        for name, tensor in alone.items():
            assert not torch.equal(tensor, start[name]), name
            torch.testing.assert_close(together[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_domain_without_rows_gets_no_gradient_and_no_weight_of_the_base_does(tiny_model, architecture, examples):
    model = tiny_model(architecture).requires_grad_(True)  # as it is before anybody freezes it
    before = copy.deepcopy(model.state_dict())
    way = adapted(model)
    train(model, way, examples[:2], ["law", "it"], steps=2)
    for name, parameter in way.named_parameters().items():
        assert (parameter.grad is None) == name.startswith("medical"), name
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_give_the_same_gradients(tiny_model, architecture, examples, reentrant):
    gradients = []
    for recompute in (False, True):
        model = tiny_model(architecture)
        way = filled(adapted(model))
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        model.train()
        for chosen in (slice(0, 3), slice(3, 5)):  # two passes in one step
            way.begin(DOMAINS[chosen])
            response_losses(model, collate(examples[:5][chosen], PAD)).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in way.parameters()])
    assert all(bool(gradient.any()) for gradient in gradients[0])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)


def test_its_size_grows_with_the_domains(tiny_model):
    way = adapted(tiny_model())
    assert way.domains == ("it", "law", "medical")
    assert way.described() == {"domains": ["it", "law", "medical"], "bottleneck": 5}
    assert sum(parameter.numel() for parameter in way.parameters()) == 3 * 3 * 2 * 24 * 5


def test_the_start_of_a_domain_does_not_depend_on_the_others(tiny_model):
    all_of_them, alone = weights(adapted(tiny_model())), weights(adapted(tiny_model(), ["medical"]))
    assert all(torch.equal(all_of_them[name], tensor) for name, tensor in alone.items())
    assert not torch.equal(alone["medical.0.down"], alone["medical.1.down"])


def test_domains_that_are_not_known_or_not_as_many_as_rows_are_errors(tiny_model, examples):
    model = tiny_model()
    way = adapted(model)
    with refused("koran", *way.domains):
        way.begin(["it", "koran"])
    way.begin(["it", "law"])
    with refused(3, 2, by=ValueError):
        logits(model, collate(examples[:3], PAD))
    with refused("adapters"):
        adapted(tiny_model(), [])


def test_a_detached_model_is_the_base(tiny_model, examples):
    model = tiny_model()
    batch = collate(examples[:5], PAD)
    before = logits(model, batch)
    way = filled(adapted(model))
    way.begin(DOMAINS)
    assert not torch.equal(logits(model, batch), before)
    way.detach()
    assert torch.equal(logits(model, batch), before)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_what_is_saved_comes_back_bit_for_bit(tiny_model, architecture, examples, folder):
    model = tiny_model(architecture)
    way = filled(adapted(model))
    way.save(folder)
    assert [file.name for file in folder.iterdir()] == ["adapters.safetensors"]
    again = tiny_model(architecture)
    loaded = Adapters.load(folder / "adapters.safetensors", again, BASE)
    batch = collate(examples[:5], PAD)
    for one in (way, loaded):
        one.begin(DOMAINS)
    assert torch.equal(logits(again, batch), logits(model, batch))
    assert loaded.described() == way.described()
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_the_file_says_what_it_is_for(tiny_model, folder):
    adapted(tiny_model("qwen2")).save(folder)
    with safe_open(folder / "adapters.safetensors", framework="np") as file:
        manifest = json.loads(file.metadata()["caneft"])
    sizes = {"model_type": "qwen2", "hidden_size": 24, "layers": 3, "bottleneck": 5}
    assert manifest == {"format": 1, "domains": ["it", "law", "medical"], "base": BASE} | sizes


def changed(path, **changes):
    """Writes another manifest into the file."""
    with safe_open(path, framework="np") as file:
        manifest = json.loads(file.metadata()["caneft"])
    save_file(load_file(path), path, metadata={"caneft": json.dumps(manifest | changes)})


BROKEN = {
    "format": lambda path: changed(path, format=2),
    "a domain less": lambda path: changed(path, domains=["it", "law"]),
    "no domain": lambda path: save_file({}, path, metadata={"caneft": "{}"}),
    "other bottleneck": lambda path: changed(path, bottleneck=6),
    "other base": lambda path: changed(path, base="tiny"),
    "no manifest": lambda path: save_file(load_file(path), path),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "text": lambda path: path.write_text("adapters"),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("breaking", BROKEN.values(), ids=BROKEN)
def test_what_holds_no_adapters_is_refused_by_name(tiny_model, folder, breaking):
    model, path = tiny_model(), folder / "adapters.safetensors"
    adapted(model).save(folder)
    breaking(path)
    other = tiny_model()
    with refused(path):
        Adapters.load(path, other)
    assert not any(layer.mlp._forward_hooks for layer in naive.decoder_layers(other))


@pytest.mark.parametrize(
    ("model", "base", "facts"),
    [
        ({"architecture": "mistral"}, BASE, ["model_type", "llama", "mistral"]),
        ({"hidden_size": 32}, BASE, ["hidden_size", 24, 32]),
        ({"num_hidden_layers": 4}, BASE, ["layers", 3, 4]),
        (
            {},
            BASE | {"weights": {"model.safetensors": "01"}},
            ["model.safetensors", BASE["weights"]["model.safetensors"]],
        ),
    ],
)
def test_another_base_is_refused(tiny_model, folder, model, base, facts):
    adapted(tiny_model()).save(folder)
    other = tiny_model(**model)
    with refused(folder / "adapters.safetensors", *facts):
        Adapters.load(folder / "adapters.safetensors", other, base)
    assert not any(layer.mlp._forward_hooks for layer in naive.decoder_layers(other))
