"""Methods: what each one trains and what it saves, and that the saved artefact gives the tuned model."""

import json
import re

import numpy as np
import pytest
import torch

from caneft import config
from caneft.models.loss import response_losses
from caneft.neurons import NeuronSet
from caneft.prompts import collate
from caneft.storage.integrity import sums
from caneft.tuning import methods as tuning_methods
from tests import naive
from tests.conftest import FAMILIES
from tests.messages import refused

PAD = 0
LORA = config.Lora(method="lora", learning_rate=1e-2, rank=2)
FULL = config.Full(method="full", learning_rate=1e-3)
NEURONS = config.Neurons(method="caneft", learning_rate=1e-2)
ADAPTERS = config.Adapters(method="adapters", learning_rate=1e-2, bottleneck=4)
DOMAINS = ["law", "it", "law", "it", "it", "law", "law", "it"]


def some_neurons():
    return NeuronSet(3, 40, (np.array([1, 5]), np.array([], dtype=int), np.array([0, 8, 39])))


def logits(model, examples):
    batch = collate(examples[:3], PAD)
    with torch.no_grad():
        return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits


def copy_of(state):
    return {name: value.clone() for name, value in state.items()}


def tune(model, method, examples, dtype="float32", steps=3, neurons=None):
    torch.manual_seed(3)
    way = tuning_methods.trainable(model, method, dtype, neurons or some_neurons(), {"id": "tiny"}, DOMAINS)
    optimizer = torch.optim.AdamW(list(way.parameters()), lr=method.learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        way.begin(DOMAINS)
        response_losses(model, collate(examples, PAD)).mean().backward()
        optimizer.step()
        way.after_step()
    return way


def artefact(folder, method):
    return folder / tuning_methods.ARTEFACTS[type(method)]


SEES = re.compile("vision|multi_modal")  # parts of gemma3 that text does not use


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def load(tmp_path):
    """Saves a base model and loads it with a run's artefact. known: with the checksums of its weights."""

    def load(base, artefact=None, known=False, **options):
        base.save_pretrained(tmp_path / "base")
        weights = sums(*(tmp_path / "base").glob("*.safetensors")) if known else None
        dtype = str(next(base.parameters()).dtype).removeprefix("torch.")
        manifest = {"id": "tiny", "revision": None, "folder": str(tmp_path / "base"), "weights": weights}
        return tuning_methods.load(manifest, dtype, torch.device("cpu"), artefact=artefact, **options)

    return load


def test_full_trains_attention_embeddings_and_norms_too(tiny_model, architecture, examples):
    model = tiny_model(architecture)
    before = copy_of(model.state_dict())
    tune(model, FULL, examples)
    unmoved = [
        name for name, value in model.state_dict().items() if torch.equal(value, before[name]) and not SEES.search(name)
    ]
    # a key's bias shifts all scores of a query alike, so after the softmax its gradient is only rounding
    assert [name for name in unmoved if not name.endswith("k_proj.bias")] == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_full_comes_back_bit_for_bit(tiny_model, architecture, examples, folder, load, dtype):
    model = tiny_model(architecture)
    way = tune(model, FULL, examples)
    way.dtype = getattr(torch, dtype)
    tuned = {name: value.to(way.dtype) for name, value in copy_of(model.state_dict()).items()}
    way.save(folder)
    base = tiny_model(architecture, dtype=way.dtype)
    restored = load(base, artefact(folder, FULL)).model
    assert not restored.training
    assert restored.state_dict().keys() == tuned.keys()
    assert all(torch.equal(value, tuned[name]) for name, value in restored.state_dict().items())


def test_full_with_tied_embeddings_stays_tied(tiny_model, examples, folder, load):
    model = tiny_model("gemma2", tie_word_embeddings=True)
    tune(model, FULL, examples).save(folder)
    restored = load(tiny_model("gemma2", tie_word_embeddings=True), artefact(folder, FULL)).model
    assert restored.lm_head.weight.data_ptr() == restored.model.embed_tokens.weight.data_ptr()
    assert torch.equal(logits(restored, examples), logits(model, examples))


def test_a_model_tuned_in_full_is_loaded_in_the_place_of_its_base(tiny_model, examples, folder, monkeypatch):
    """Memory might not hold both: the base's weights are never read, and the device map applies."""
    tune(tiny_model(), FULL, examples).save(folder)
    calls = []

    def load_model(manifest, dtype, device, device_map):
        calls.append((manifest["folder"], dtype, device_map))
        return tiny_model()

    monkeypatch.setattr(tuning_methods, "load_model", load_model)
    manifest = {"id": "tiny", "folder": "/nowhere", "weights": {}}
    tuning_methods.load(manifest, "bfloat16", torch.device("cpu"), "balanced", artefact(folder, FULL))
    assert calls == [(str(folder), "bfloat16", "balanced")]


def test_without_an_artefact_it_is_the_base(tiny_model, examples, load):
    base = tiny_model()
    tuned = load(base)
    assert tuned.domains == ()
    tuned.begin(["it"])  # does nothing
    assert torch.equal(logits(tuned.model, examples), logits(base, examples))


def test_lora_leaves_base_weights_alone_and_touches_the_ffn_only(tiny_model, architecture, examples):
    model = tiny_model(architecture)
    before = copy_of(model.state_dict())
    way = tune(model, LORA, examples)
    adapted = set()
    for name, value in model.state_dict().items():
        if "lora_" in name:
            adapted.add(name.split(".lora_")[0].split("layers.")[1])
        else:
            assert torch.equal(value, before[name.replace(".base_layer", "")]), name
    projections = ("gate_up_proj",) if architecture == "phi3" else ("gate_proj", "up_proj")
    assert adapted == {f"{layer}.mlp.{name}" for layer in range(3) for name in (*projections, "down_proj")}
    trained = sum(parameter.numel() for parameter in way.parameters())
    sides = (24 + 80) + (40 + 24) if architecture == "phi3" else 3 * (24 + 40)
    assert trained == 3 * 2 * sides  # layers x rank x (in + out) for each module


def by_hand(tiny_model, folder, load, a, b, weight, **options):
    """`down_proj` of a bfloat16 model's first layer, loaded with a LoRA of weights set by hand.

    a: LoRA's first row, by input. b: by output. The scaling is 2 (twice the rank over the rank).
    """
    base = tiny_model(dtype=torch.bfloat16)
    way = tuning_methods.trainable(base, LORA, "bfloat16")
    down = naive.decoder_layers(base)[0].mlp.down_proj
    with torch.no_grad():
        for parameter in way.parameters():
            parameter.zero_()
        down.lora_A["default"].weight[0], down.lora_B["default"].weight[:, 0] = a, b
    way.save(folder)
    clean = tiny_model(dtype=torch.bfloat16)
    naive.decoder_layers(clean)[0].mlp.down_proj.weight[:] = weight
    return naive.decoder_layers(load(clean, artefact(folder, LORA), **options).model)[0].mlp.down_proj


@pytest.mark.parametrize(("merged", "given"), [(False, 5 / 128), (True, 0.0)])
def test_a_lora_below_the_weights_precision_is_served_and_lost_when_merged(tiny_model, folder, load, merged, given):
    """Weights are 1, whose neighbours in bfloat16 are 1 + 2^-7 and 1 - 2^-8, and updates are +-2^-10, less than half of
    either step. On inputs with the same signs, the weights give 0 and LoRA gives 40 * 2^-10 = 5/128."""
    signs = torch.tensor([1.0, -1.0] * 20)
    down = by_hand(tiny_model, folder, load, signs * 2**-10, 0.5, 1.0, merged=merged)
    with torch.no_grad():
        assert down(signs.bfloat16()[None]).tolist() == [[given] * 24]
    assert hasattr(down, "lora_A") is not merged


def test_a_merged_lora_is_rounded_once(tiny_model, folder, load):
    """Updates just over half a step, 2^-8 + 2^-20, change 1 into 1 + 2^-7; in bfloat16 they would be 2^-8, a tie."""
    down = by_hand(tiny_model, folder, load, torch.full((40,), 2**-8 + 2**-20), 0.5, 1.0, merged=True)
    assert down.weight.dtype == torch.bfloat16 and down.weight.tolist() == [[1 + 2**-7] * 40] * 24


def test_loras_products_are_float32_and_the_sum_is_rounded_once(tiny_model, folder, load):
    """1 + 2^-8 is halfway to the next bfloat16, 1 + 2^-7, and would be rounded to 1, the even one. LoRA's product is
    2^-8 + 2^-20; in bfloat16 it would be 2^-8."""
    first = torch.zeros(40)
    first[0] = 1
    down = by_hand(tiny_model, folder, load, first * (2**-8 + 2**-20), 0.5, first)
    assert {p.dtype for name, p in down.named_parameters() if "lora_" in name} == {torch.float32}
    with torch.no_grad():
        found = down(first.bfloat16()[None])
    assert found.dtype == torch.bfloat16 and found.tolist() == [[1 + 2**-7] * 24]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lora_is_served_as_it_was_trained(tiny_model, architecture, examples, folder, load, dtype):
    """Logits equal those of training bit for bit, with dropout off."""
    method = LORA.model_copy(update={"dropout": 0.5})
    base = tiny_model(architecture, dtype=dtype)
    model = load(base).model  # from a file, as in a run: what is not saved, such as frequencies, stays in float32
    untouched = logits(model, examples)
    tune(model, method, examples).save(folder)
    served = load(base, artefact(folder, method)).model
    assert not any(part.training for part in served.modules())
    assert not any(parameter.requires_grad for parameter in served.parameters())
    found = logits(served, examples)
    assert torch.equal(found, logits(model.eval(), examples))
    assert float((found - untouched).abs().max()) > 0.01


def test_lora_leaves_no_path_of_this_machine(tiny_model, examples, folder):
    model = tiny_model()
    model.config._name_or_path = model.name_or_path = "/home/somebody/model"
    tune(model, LORA, examples).save(folder)
    assert sorted(file.name for file in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    described = json.loads((folder / "adapter_config.json").read_text())
    assert "/home" not in str(described) and described["base_model_name_or_path"] is None
    assert described["target_modules"] == ["down_proj", "gate_proj", "up_proj"]  # PEFT has them as a set, in any order
    assert described["r"] == 2


@pytest.mark.parametrize("alpha, expected", [(None, 4), (3, 3)])
def test_alpha_is_twice_the_rank_unless_given(tiny_model, alpha, expected):
    way = tuning_methods.trainable(tiny_model(), LORA.model_copy(update={"alpha": alpha}), "float32")
    assert way.adapted.peft_config["default"].lora_alpha == expected


SIZES = {"phi3": (24 + 80) + (40 + 24)}
"""Inputs and outputs of one layer's FFN modules: of families in which gate and up are one module, and of the others."""


@pytest.mark.parametrize(
    ("architecture", "counts"),
    [("llama", (1, 0, 0)), ("llama", (20, 3, 7)), ("llama", (40, 40, 40)), ("llama", (0, 0, 0))]
    + [("phi3", (1, 0, 0)), ("phi3", (20, 3, 7))]  # its gate and up are one module
    + [(family, (20, 3, 7)) for family in FAMILIES if family not in ("llama", "phi3")],
)
def test_a_rank_equal_to_neurons_is_the_nearest_of_all(tiny_model, architecture, counts):
    neurons = NeuronSet(3, 40, tuple(np.arange(count) for count in counts))
    wanted, per_rank = sum(counts) * 3 * 24, 3 * SIZES.get(architecture, 3 * (24 + 40))
    nearest = min(range(1, 100), key=lambda rank: (abs(rank * per_rank - wanted), rank))
    method = config.Lora(method="lora", learning_rate=1e-2, equal_to="caneft")
    way = tuning_methods.trainable(tiny_model(architecture), method, "float32", neurons)
    assert way.described() == {"rank": nearest}
    assert sum(parameter.numel() for parameter in way.parameters()) == nearest * per_rank
    assert way.adapted.peft_config["default"].lora_alpha == 2 * nearest


def test_of_two_ranks_as_near_it_is_the_lower(tiny_model):
    """12 neurons with 72 weights each are 864, halfway between ranks 1 and 2 of 576 each; one more neuron decides."""
    method = config.Lora(method="lora", learning_rate=1e-2, equal_to="caneft")
    for count, rank in ((12, 1), (13, 2)):
        neurons = NeuronSet(3, 40, (np.arange(count), np.array([], dtype=int), np.array([], dtype=int)))
        assert tuning_methods.trainable(tiny_model(), method, "float32", neurons).described() == {"rank": rank}


def test_the_rank_is_16_unless_something_is_said_and_neurons_alone_say_nothing(tiny_model):
    plain = config.Lora(method="lora", learning_rate=1e-2)
    assert tuning_methods.trainable(tiny_model(), plain, "float32", some_neurons()).described() == {"rank": 16}
    with refused("'caneft'", "neurons"):
        tuning_methods.trainable(tiny_model(), plain.model_copy(update={"equal_to": "caneft"}), "float32")


def test_adapters_come_back_bit_for_bit_and_know_their_domains(tiny_model, architecture, examples, folder, load):
    model, base = tiny_model(architecture), tiny_model(architecture)
    way = tune(model, ADAPTERS, examples)
    way.save(folder)
    untouched = logits(base, examples)
    tuned = load(base, artefact(folder, ADAPTERS))
    assert tuned.domains == ("it", "law")
    found = []
    for domains in (["it"] * 3, ["law"] * 3, ["law", "it", "law"]):
        way.begin(domains)
        tuned.begin(domains)
        found.append(logits(tuned.model, examples))
        assert torch.equal(found[-1], logits(model, examples))
        assert not torch.equal(found[-1], untouched)
    assert not torch.equal(found[0], found[1])


def test_adapters_are_refused_for_another_base(tiny_model, examples, folder, load):
    tune(tiny_model(), ADAPTERS, examples).save(folder)  # its base has no checksums
    with refused(artefact(folder, ADAPTERS), "base", "tiny"):
        load(tiny_model(), artefact(folder, ADAPTERS), known=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_neurons_come_back_bit_for_bit(tiny_model, architecture, examples, folder, load, dtype):
    model, base = tiny_model(architecture, dtype=dtype), tiny_model(architecture, dtype=dtype)
    way = tune(model, NEURONS, examples)
    way.save(folder)
    before, after = (naive.decoder_layers(m)[0].mlp.down_proj.weight for m in (base, model))
    assert not torch.equal(before, after)
    restored = load(base, artefact(folder, NEURONS)).model
    tuned = model.state_dict()
    assert restored.state_dict().keys() == tuned.keys()
    assert all(torch.equal(value, tuned[name]) for name, value in restored.state_dict().items())


def test_what_cannot_be_trained_is_an_error(tiny_model):
    with refused("'base'"):
        tuning_methods.trainable(tiny_model(), config.Base(method="base"), "float32")
    with refused("'caneft'", "neurons"):
        tuning_methods.trainable(tiny_model(), NEURONS, "float32")
    with refused("'adapters'", "domains"):
        tuning_methods.trainable(tiny_model(), ADAPTERS, "float32")


def test_an_unknown_artefact_is_an_error_that_lists_the_known_ones(tiny_model, tmp_path, load):
    with refused(tmp_path / "weights.bin", *tuning_methods.ARTEFACTS.values()):
        load(tiny_model(), tmp_path / "weights.bin")
