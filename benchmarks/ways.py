"""What `benchmarks.tuning` compares: randomly drawn neurons, and ways to tune that are not in the package."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common import SEED
from caneft import config
from caneft.neurons import NeuronSet
from caneft.tuning.base import TuningMethod
from caneft.tuning.lora import Lora, rank_of
from caneft.tuning.neuron_rows import NeuronRows

FRACTIONS = {"slices-5%": 0.05, "slices-1%": 0.01}
"""Of the neurons, by subject, where a program has several; `slices` alone takes what the command line says."""


def some_neurons(shape: dict[str, Any], fraction: float) -> NeuronSet:
    """This share of every layer's neurons, at least one, drawn at random."""
    generator = np.random.default_rng(SEED)
    width, layers = shape["intermediate_size"], shape["num_hidden_layers"]
    count = max(1, round(fraction * width))
    drawn = (np.sort(generator.choice(width, count, replace=False)) for _ in range(layers))
    return NeuronSet(layers, width, tuple(drawn))


def masks(model: nn.Module, neurons: NeuronSet) -> dict[str, torch.Tensor]:
    """Dense masks of the FFNs' weights by name, as bool, the smallest that a dense mask can be."""
    found = {}
    for number, (layer, indices) in enumerate(zip(model.model.layers, neurons.indices, strict=True)):
        index = torch.tensor(indices, device=model.device)
        for name in ("gate_proj", "up_proj", "down_proj"):
            mask = torch.zeros_like(getattr(layer.mlp, name).weight, dtype=torch.bool)
            mask[(slice(None), index) if name == "down_proj" else index] = True
            found[f"model.layers.{number}.mlp.{name}.weight"] = mask
    return found


class Everything(TuningMethod):
    """Trains every weight, through float32 masters if a weight is not in float32.

    masks: by name, for weights that are trained in part; if there are masks, weights without one do not move.
    """

    def __init__(self, model: nn.Module, masks: dict[str, torch.Tensor] | None = None):
        self.model, self.masks = model.requires_grad_(True), masks
        self.masters = {
            name: weight if weight.dtype == torch.float32 else nn.Parameter(weight.detach().float())
            for name, weight in model.named_parameters()
        }

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(self.masters.values())

    def before_step(self) -> None:
        """Masks the gradients and hands them to the masters, one at a time."""
        for name, weight in self.model.named_parameters():
            if self.masks is not None:
                weight.grad.mul_(self.masks[name]) if name in self.masks else weight.grad.zero_()
            master = self.masters[name]
            if master is not weight:
                master.grad, weight.grad = weight.grad.float(), None

    @torch.no_grad()
    def after_step(self) -> None:
        for name, weight in self.model.named_parameters():
            if self.masters[name] is not weight:
                weight.copy_(self.masters[name])

    def save(self, folder: Path) -> None:
        """Saves nothing: its size is known, see `saved_bytes`."""

    def saved_bytes(self) -> int:
        """Bytes of the model's weights."""
        return sum(weight.numel() * weight.element_size() for weight in self.model.parameters())


class Shira(TuningMethod):
    """PEFT's SHiRA: rank r trains r (m + n) scattered weights of an m x n module."""

    def __init__(self, model: nn.Module, rank: int):
        from peft import ShiraConfig, get_peft_model

        torch.sparse.check_sparse_tensor_invariants.disable()  # the default; without this call torch warns
        settings = ShiraConfig(r=rank, target_modules=["gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM")
        settings.mask_fn = _scattered
        self.adapted = get_peft_model(model, settings)

    def parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.adapted.parameters() if parameter.requires_grad)

    def save(self, folder: Path) -> None:
        self.adapted.save_pretrained(folder)


def _scattered(linear: nn.Linear, rank: int, **_) -> torch.Tensor:
    """PEFT's own random mask, drawn on the weight's device: on the host it takes minutes for a large model."""
    mask = torch.zeros(linear.weight.numel(), dtype=torch.bool, device=linear.weight.device)
    mask[torch.randperm(len(mask), device=mask.device)[: rank * sum(linear.weight.shape)]] = True
    return mask.view(linear.weight.shape)


class Floor(TuningMethod):
    """Trains nothing; the graph begins at the embeddings' output."""

    def __init__(self, model: nn.Module):
        def begin_here(_, __, output: torch.Tensor) -> None:
            output.requires_grad_()

        model.requires_grad_(False).get_input_embeddings().register_forward_hook(begin_here)

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter(())

    def save(self, folder: Path) -> None:
        """Saves nothing."""

    def saved_bytes(self) -> int:
        return 0


def way_of(name: str, model: nn.Module, neurons: NeuronSet) -> TuningMethod:
    """Makes the model trainable in the way of this subject."""
    match name:
        case "slices" | "slices-5%" | "slices-1%":
            return NeuronRows(model, neurons)
        case "lora-r16" | "lora-r32":
            rank = int(name.removeprefix("lora-r"))
            return Lora(model, config.Lora.model_construct(method="lora", rank=rank, alpha=2 * rank, dropout=0.0))
        case "trainer":
            return way_of("lora-r16", model, neurons)
        case "shira":
            return Shira(model, rank_of(model, neurons))  # with equal ranks, it trains as many weights as LoRA
        case "full":
            return Everything(model)
        case "masked-full":
            return Everything(model, masks(model, neurons))
        case "floor":
            return Floor(model)
    raise ValueError(f"no subject {name!r}")
