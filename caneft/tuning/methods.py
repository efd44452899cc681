"""Maps a configured method to a trainable model, and a run's artefact to the tuned model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft import config, patch
from caneft.errors import InputError
from caneft.models.loading import DTYPES, load_model
from caneft.neurons import NeuronSet
from caneft.plan import ARTEFACTS
from caneft.storage import integrity
from caneft.tuning.adapters import Adapters
from caneft.tuning.base import TuningMethod
from caneft.tuning.full import Full
from caneft.tuning.lora import Lora
from caneft.tuning.neuron_rows import NeuronRows
from caneft.tuning.offload import Offloaded


def trainable(
    model: nn.Module,
    method: config.Method,
    dtype: str,
    neurons: NeuronSet | None = None,
    base: dict | None = None,
    domains: Sequence[str] = (),
) -> TuningMethod:
    """The model made trainable by a method.

    neurons: for neuron methods, and for LoRA of their size; base: id, revision and checksums of the model, for the
    run's artefact; domains: of the training pairs, for adapters.
    """
    match method:
        case config.Full():
            return Offloaded(model) if method.optimizer == "adamw-offload" else Full(model, DTYPES[dtype])
        case config.Lora():
            return Lora(model, method, neurons)
        case config.Adapters():
            return Adapters(model, domains, method.bottleneck, base)
        case config.Neurons() if neurons is not None:
            return NeuronRows(model, neurons, base)
    raise InputError(f"method '{method.method}' cannot be trained" + ("" if neurons else " without neurons"))


@dataclass(frozen=True)
class Tuned:
    """A model that translates: a base, or what tuning made of it. adapters: those of its domains, if it has any."""

    model: nn.Module
    adapters: Adapters | None = None

    @property
    def domains(self) -> tuple[str, ...]:
        """Domains that have an adapter of their own, sorted."""
        return self.adapters.domains if self.adapters else ()

    def begin(self, domains: Sequence[str]) -> None:
        """Sets the domain of each row of the passes that follow, which matters only to adapters."""
        if self.adapters:
            self.adapters.begin(domains)


def load(
    manifest: dict[str, Any],
    dtype: str,
    device: torch.device,
    device_map: str = "none",
    artefact: Path | None = None,
    merged: bool = False,
) -> Tuned:
    """The base of a manifest, or what a run made of it, ready to translate.

    artefact: what the run wrote; its name tells its kind. A model tuned in full is loaded instead of the base. merged:
    a LoRA becomes part of the weights, rounded to their dtype. Raises InputError for an artefact that is of no known
    kind, is of another base, or is not what the record beside it describes.
    """
    manifest = held_by(manifest, artefact)
    model = load_model(manifest, dtype, device, device_map)
    return Tuned(model) if artefact is None else _tuned(model, artefact, manifest, merged)


def held_by(manifest: dict[str, Any], artefact: Path | None) -> dict[str, Any]:
    """Manifest of the model to load for a run's artefact: that of its base, except for a model tuned in full.

    Raises InputError for an artefact as `load` does.
    """
    if artefact is None:
        return manifest
    if artefact.name not in ARTEFACTS.values():
        raise InputError(f"{artefact} is nothing that a run leaves; expected one of {', '.join(ARTEFACTS.values())}")
    remedy = f"Delete {artefact} and run the workflow again"
    integrity.verify(artefact.parent, integrity.read(artefact.with_name("record.json")), remedy=remedy)
    if artefact.name == ARTEFACTS[config.Full]:
        return manifest | {"folder": str(artefact.parent), "weights": {}, integrity.KEY: {}}  # compared above
    return manifest


def _tuned(model: nn.Module, artefact: Path, manifest: dict[str, Any], merged: bool) -> Tuned:
    """Puts a run's artefact into its base: a patch into the weights, adapters beside them, a LoRA in either way.

    A LoRA beside the weights keeps its weights and products in float32, whatever the model's dtype; a module's sum is
    rounded to that dtype once. It is trained like this, and PEFT serves it like this.
    """
    match artefact.name:
        case "patch.safetensors":
            patch.apply(artefact, model)
        case "adapter_model.safetensors":
            from peft import PeftModel

            adapted = PeftModel.from_pretrained(model, artefact.parent)  # puts its modules into the model itself
            model = adapted.merge_and_unload() if merged else model
        case "adapters.safetensors":
            return Tuned(model, Adapters.load(artefact, model, manifest))
    return Tuned(model)
