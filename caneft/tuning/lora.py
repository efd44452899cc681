"""LoRA on the FFN modules, through PEFT."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from caneft import config
from caneft.errors import InputError
from caneft.models.ffn import ffn_layers, layout
from caneft.models.units import unit_layers, unit_parameters
from caneft.neurons import NeuronSet
from caneft.storage.files import write_json
from caneft.tuning.base import TuningMethod

RANK = 16
"""The rank, unless it is given or follows from a neuron set."""


def rank_of(model: nn.Module, neurons: NeuronSet) -> int:
    """The rank at which LoRA trains about as many weights as a neuron set has: the nearest, or the lower of two.

    It is at least 1. A module with m inputs and n outputs has m + n weights per rank; gate and up may be one module.
    """
    modules = {projection.linear for layer in ffn_layers(model) for _, projection in layer.projections}
    per_rank = sum(module.in_features + module.out_features for module in modules)
    layers = unit_layers(model, neurons.unit)
    wanted = sum(len(i) * unit_parameters(layer) for layer, i in zip(layers, neurons.indices, strict=True))
    lower, rest = divmod(wanted, per_rank)
    return max(1, lower + (2 * rest > per_rank))


class Lora(TuningMethod):
    """Adds low-rank adapters to gate, up and down projections of a causal LM; trains only these.

    neurons: the set whose number of weights determines the rank, if the settings say so.
    """

    def __init__(self, model: nn.Module, settings: config.Lora, neurons: NeuronSet | None = None):
        from peft import LoraConfig, get_peft_model

        if settings.equal_to is not None and neurons is None:
            raise InputError(f"LoRA of the size of '{settings.equal_to}' cannot be trained without its neurons")
        self.rank = settings.rank or (RANK if settings.equal_to is None else rank_of(model, neurons))
        self.adapted = get_peft_model(
            model,
            LoraConfig(
                r=self.rank,
                lora_alpha=settings.alpha or 2 * self.rank,
                lora_dropout=settings.dropout,
                target_modules=list(layout(model.config.model_type).projections),
                task_type="CAUSAL_LM",
            ),
        )

    def parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.adapted.parameters() if parameter.requires_grad)

    def described(self) -> dict[str, Any]:
        return {"rank": self.rank}

    def save(self, folder: Path) -> None:
        """Writes a PEFT adapter: `adapter_config.json` and `adapter_model.safetensors`."""
        self.adapted.peft_config["default"].base_model_name_or_path = None  # else PEFT looks for it on the hub
        self.adapted.save_pretrained(folder)
        described = folder / "adapter_config.json"
        content = json.loads(described.read_text(encoding="utf-8"))
        # PEFT fills in a path of this machine, and lists the modules in an order that differs between processes
        content |= {"base_model_name_or_path": None, "target_modules": sorted(content["target_modules"])}
        write_json(described, content)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
