"""Full fine-tuning with masters in memory: Adam's steps are in float32, whatever the weights' dtype."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from caneft import config
from caneft.models.loss import response_losses
from caneft.prompts import collate
from caneft.tuning import memory, running
from caneft.tuning import methods as tuning_methods
from caneft.tuning.offload import Offloaded, shared
from tests.conftest import FAMILIES
from tests.messages import refused

PAD = 0
PLAIN = config.Full(method="full", learning_rate=1e-3)
OFFLOAD = PLAIN.model_copy(update={"optimizer": "adamw-offload"})
SEES = ("vision", "multi_modal")  # parts of gemma3 that text does not use


def tune(model, method, examples, dtype, rate=1e-3, steps=4, clip=1.0):
    """Takes steps like the training loop; returns the way and the norms."""
    way, norms = tuning_methods.trainable(model, method, dtype), []
    optimizer = way.optimizer(0.1)
    for step in range(steps):
        response_losses(model, collate(examples[step : step + 4], PAD)).mean().backward()
        norms.append(way.clip_gradients(clip))
        optimizer.param_groups[0]["lr"] = rate / (step + 1)
        optimizer.step()
        optimizer.zero_grad()
        way.after_step()
    return way, norms


@pytest.mark.parametrize(("family", "clip"), [(family, (0.5, 1e6)[n % 2]) for n, family in enumerate(FAMILIES)])
def test_in_float32_it_is_adamw_on_all_weights(tiny_model, family, examples, clip):
    plain, offloaded = tiny_model(family), tiny_model(family)
    _, expected = tune(plain, PLAIN, examples, "float32", clip=clip)
    way, norms = tune(offloaded, OFFLOAD, examples, "float32", clip=clip)
    assert (
        isinstance(way, Offloaded) and norms == pytest.approx(expected, rel=1e-6) and (min(norms) > clip) == (clip < 1)
    )
    for (name, one), other in zip(plain.named_parameters(), offloaded.parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=2e-6, msg=name)
    pairs = zip(offloaded.parameters(), tiny_model(family).parameters(), strict=True)
    assert (
        np.median([float((one.detach() - other).abs().max()) for one, other in pairs]) > 1e-3
    )  # so the tolerance is small


def adam(master, gradients, rate, clip):
    """Adam with decoupled decay in float64, by the formula. gradients: for each step, with the norm of all weights'."""
    mean = square = torch.zeros_like(master)
    for step, (gradient, norm) in enumerate(gradients, start=1):
        gradient = gradient * min(1.0, clip / (norm + 1e-6))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        scale = torch.sqrt(square / (1 - 0.999**step)) + 1e-8
        master = master * (1 - rate / step * 0.1) - rate / step * (mean / (1 - 0.9**step)) / scale
    return master


def test_in_bfloat16_masters_are_adam_in_float32(tiny_model, examples, monkeypatch):
    """For the recorded gradients: the only rounding is that of the weights at which these were computed."""
    seen, clip_gradients = [], Offloaded.clip_gradients

    def recorded(way, most):
        seen.append([weight.grad.double() for weight in way.weights])
        return clip_gradients(way, most)

    monkeypatch.setattr(Offloaded, "clip_gradients", recorded)
    way, norms = tune(tiny_model(dtype=torch.bfloat16), OFFLOAD, examples, "bfloat16", clip=0.5)
    expected = [float(torch.cat([gradient.flatten() for gradient in step]).norm()) for step in seen]
    assert norms == pytest.approx(expected, rel=1e-6) and min(norms) > 0.5
    for i, (master, first) in enumerate(
        zip(way.parameters(), tiny_model(dtype=torch.bfloat16).parameters(), strict=True)
    ):
        assert master.dtype == torch.float32
        gradients = [(step[i], norm) for step, norm in zip(seen, expected, strict=True)]
        value = adam(first.double(), gradients, 1e-3, 0.5)
        torch.testing.assert_close(master.detach().double(), value, rtol=1e-6, atol=1e-8)


def test_steps_that_bfloat16_would_lose_add_up(tiny_model, examples):
    """At this rate no weight moves in one step, and in bfloat16 alone none ever would; all masters do."""
    base = tiny_model(dtype=torch.bfloat16)
    lost = tiny_model(dtype=torch.bfloat16).requires_grad_(True)
    alone = torch.optim.AdamW(lost.parameters(), lr=1e-6)
    for _ in range(4):
        response_losses(lost, collate(examples[:4], PAD)).mean().backward()
        alone.step()
    large = [weight.abs() > 2**-9 for weight in base.parameters()]  # there half of the last bit exceeds 7e-6
    kept = zip(lost.parameters(), base.parameters(), large, strict=True)
    assert all(torch.equal(one[mask], other[mask]) for one, other, mask in kept)
    model = tiny_model(dtype=torch.bfloat16)
    way, _ = tune(model, OFFLOAD, examples, "bfloat16", rate=1e-6)
    for master, (name, weight) in zip(way.parameters(), base.named_parameters(), strict=True):
        moved = (master.detach() - weight.float()).abs()
        assert float(moved.max()) < 1e-5
        assert "embed_tokens" in name or float((moved > 1e-7).float().mean()) > 0.6, name  # not all rows are read


def test_weights_are_the_rounded_masters_and_so_is_what_it_leaves(tiny_model, examples, tmp_path):
    base = tiny_model("gemma2", dtype=torch.bfloat16, tie_word_embeddings=True)
    base.save_pretrained(tmp_path / "base")
    way, _ = tune(base, OFFLOAD, examples, "bfloat16")
    rounded = [master.detach().to(torch.bfloat16) for master in way.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(base.parameters(), rounded, strict=True))
    (tmp_path / "run").mkdir()
    way.save(tmp_path / "run")
    manifest = {"id": "tiny", "folder": str(tmp_path / "base"), "weights": {}}
    left = tmp_path / "run" / "model.safetensors"
    restored = tuning_methods.load(manifest, "bfloat16", torch.device("cpu"), artefact=left).model
    assert all(torch.equal(one, other) for one, other in zip(restored.parameters(), rounded, strict=True))


def test_a_weight_without_gradient_stays_and_is_not_decayed(tiny_model, examples):
    model = tiny_model("gemma3")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    tune(model, OFFLOAD, examples, "float32")
    stayed = {name for name, weight in model.named_parameters() if torch.equal(weight, before[name])}
    assert stayed == {name for name in before if any(part in name for part in SEES)} != set()


def test_places_share_memory_by_dtype():
    tensors = [torch.zeros(2, 3), torch.zeros(4), torch.zeros(5, dtype=torch.bfloat16)]
    places = shared(tensors)
    assert [(p.shape, p.dtype) for p in places] == [(t.shape, t.dtype) for t in tensors]
    assert places[0].data_ptr() == places[1].data_ptr() != places[2].data_ptr()
    assert places[0].untyped_storage().nbytes() == 24


# --- memory ------------------------------------------------------------------------------------------------------


@pytest.fixture
def manifest(tiny_model, tmp_path):
    model = tiny_model(vocab_size=500)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    files = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    return {"id": "tiny", "folder": str(tmp_path), "weights": dict.fromkeys(files, "")}, model


def test_parameters_are_counted_in_the_heads_of_all_files(manifest):
    described, model = manifest
    assert memory.parameters(described) == sum(weight.numel() for weight in model.parameters())
    assert memory.parameters(described) == 2 * 500 * 24 + 3 * (24 * (24 + 12 + 12 + 24) + 3 * 24 * 40 + 2 * 24) + 24


def test_weights_that_lie_beside_the_models_own_are_not_counted(manifest, tmp_path):
    """Some folders have a second copy of the weights in another layout."""
    described, model = manifest
    save_file({"a": torch.zeros(10**5)}, tmp_path / "consolidated.safetensors")
    described["weights"]["consolidated.safetensors"] = ""
    assert memory.parameters(described) == sum(weight.numel() for weight in model.parameters())


def test_pickled_weights_are_counted_where_they_are_allowed(tiny_model, tmp_path):
    model = tiny_model()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    described = {"id": "tiny", "folder": str(tmp_path), "weights": {"pytorch_model.bin": ""}, "allow_pickle": True}
    assert memory.parameters(described) == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize(
    "method, dtype, needed", [(PLAIN, "bfloat16", 16), (OFFLOAD, "bfloat16", 4), (OFFLOAD, "float32", 8)]
)
def test_a_run_that_just_fits_passes(manifest, method, dtype, needed):
    described, model = manifest
    count = sum(weight.numel() for weight in model.parameters())
    memory.check(method, described, dtype, [needed * count])
    memory.check(method, described, dtype, [needed * count - 9, 9])  # spread over two devices
    with refused(f"{needed} bytes"):
        memory.check(method, described, dtype, [needed * count - 1])


def test_what_does_not_fit_is_said_with_numbers_and_remedies(monkeypatch):
    """Qwen2.5-7B by hand: 7.616 billion times 16, 4 and 12 bytes, on a card of 85 GB."""
    monkeypatch.setattr(memory, "parameters", lambda manifest: 7_616_000_000)
    more = ("methods.*.resources", "gpu: 2", "device_map: balanced")
    needed = ("qwen", "by adamw", "122 GB", "16 bytes", "7.62 billion", "85 GB", "1 GPU")
    with refused(*needed, "optimizer: adamw-offload", "30 GB", "91 GB", *more):
        memory.check(PLAIN, {"id": "qwen"}, "bfloat16", [85_000_000_000])
    with refused("qwen", "by adamw-offload", "30 GB", "4 bytes", "25 GB", "1 GPU", *more) as caught:
        memory.check(OFFLOAD, {"id": "qwen"}, "bfloat16", [25_000_000_000])
    assert "optimizer:" not in str(caught.value), "no other optimizer takes less"


def test_masters_of_one_process_are_not_shared_by_several():
    job = SimpleNamespace(settings=SimpleNamespace(method=OFFLOAD, dtype="bfloat16"), processes=2)
    with refused("adamw-offload", "2", "methods.*.resources", "gpu: 1", "device_map"):
        running._dtype(job, {}, torch.device("cpu"))


@pytest.mark.parametrize("method, dtype", [(PLAIN, "float32"), (OFFLOAD, "bfloat16")])
def test_the_cards_of_a_job_are_asked_before_anything_is_loaded(manifest, monkeypatch, method, dtype):
    job = SimpleNamespace(settings=SimpleNamespace(method=method, dtype="bfloat16"), processes=1, device_map="none")
    monkeypatch.setattr(memory, "cards", lambda device_map: [10**9])
    assert running._dtype(job, manifest[0], torch.device("cuda")) == dtype
    monkeypatch.setattr(memory, "cards", lambda device_map: [1000])
    with refused("tiny", " 0 GB", "1 GPU"):
        running._dtype(job, manifest[0], torch.device("cuda"))


def test_float16_is_refused(tiny_model):
    with refused("adamw-offload", "float16", "bfloat16", "float32"):
        Offloaded(tiny_model(dtype=torch.float16))


@pytest.mark.parametrize(("device_map", "expected"), [("none", [10]), ("balanced", [10, 20, 30])])
def test_a_spread_model_has_every_card_and_else_a_process_has_one(monkeypatch, device_map, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    sizes = [SimpleNamespace(total_memory=size) for size in (10, 20, 30)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", sizes.__getitem__)
    assert memory.cards(device_map) == expected
