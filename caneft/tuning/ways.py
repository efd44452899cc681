"""From a configured method to a trainable model, and from what a run left to the tuned model."""

from pathlib import Path

from torch import nn

from caneft import config, patch
from caneft.errors import InputError
from caneft.models.loading import DTYPES
from caneft.neurons import NeuronSet
from caneft.plan import ARTEFACTS
from caneft.tuning.full import Full
from caneft.tuning.loop import Trainable
from caneft.tuning.lora import Lora
from caneft.tuning.neuron_rows import NeuronRows


def trainable(
    model: nn.Module, method: config.Method, dtype: str, neurons: NeuronSet | None = None, base: dict | None = None
) -> Trainable:
    """The model made trainable by a method. neurons: for neuron methods; base: id of the model, for the patch."""
    match method:
        case config.Full():
            return Full(model, DTYPES[dtype])
        case config.Lora():
            return Lora(model, method)
        case config.Neurons() if neurons is not None:
            return NeuronRows(model, neurons, base)
    raise InputError(f"method '{method.method}' cannot be trained" + ("" if neurons else " without neurons"))


def restore(model: nn.Module, artefact: Path) -> nn.Module:
    """The tuned model: `model` is the base, `artefact` what a run left (its name tells which kind)."""
    match artefact.name:
        case "patch.safetensors":
            patch.apply(artefact, model)
            return model
        case "adapter_model.safetensors":
            from peft import PeftModel

            return PeftModel.from_pretrained(model, artefact.parent).merge_and_unload()
        case "model.safetensors":
            from transformers import AutoModelForCausalLM

            tuned = AutoModelForCausalLM.from_pretrained(artefact.parent, dtype=model.dtype, use_safetensors=True)
            return tuned.eval().to(model.device)
    raise InputError(f"{artefact} is nothing that a run leaves; expected one of {', '.join(ARTEFACTS.values())}")
