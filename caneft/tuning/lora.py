"""LoRA on the FFN modules, through PEFT."""

import json
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from caneft import config
from caneft.files import write_json
from caneft.models.ffn import layout


class Lora:
    """Adds low-rank adapters to gate, up and down projections of a causal LM; only they are trained."""

    def __init__(self, model: nn.Module, settings: config.Lora):
        from peft import LoraConfig, get_peft_model

        self.adapted = get_peft_model(
            model,
            LoraConfig(
                r=settings.rank,
                lora_alpha=settings.alpha or 2 * settings.rank,
                lora_dropout=settings.dropout,
                target_modules=list(layout(model.config.model_type).projections),
                task_type="CAUSAL_LM",
            ),
        )

    def parameters(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.adapted.parameters() if parameter.requires_grad)

    def after_step(self) -> None:
        """Nothing: the optimizer works on the adapter itself."""

    def save(self, folder: Path) -> None:
        """Leaves a PEFT adapter: `adapter_config.json` and `adapter_model.safetensors`."""
        self.adapted.peft_config["default"].base_model_name_or_path = None  # else PEFT looks for it on the hub
        self.adapted.save_pretrained(folder)
        described = folder / "adapter_config.json"
        content = json.loads(described.read_text(encoding="utf-8"))
        # PEFT fills in a path of this machine, and lists the modules in an order that differs between processes
        content |= {"base_model_name_or_path": None, "target_modules": sorted(content["target_modules"])}
        write_json(described, content)
        (folder / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
