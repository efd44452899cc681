"""The subjects of the tuning benchmarks: a model, the way it is tuned, and an optimizer."""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.ways import Everything
from caneft.models.loss import response_losses
from caneft.models.norms import as_published
from caneft.prompts import Batch
from caneft.tuning.base import TuningMethod

RATE = 1e-4
MB = 2**20
IGNORED = -100  # the label that transformers leaves out of the loss


class Subject:
    """A model, the way it is tuned and an optimizer: steps to time, and what can be counted."""

    def __init__(self, model: nn.Module, way: TuningMethod, optimizer: Callable[..., torch.optim.Optimizer]):
        self.model, self.way = model.train(), way
        parameters = list(way.parameters())
        self.trainable = sum(parameter.numel() for parameter in parameters)
        self.optimizer = optimizer(parameters, lr=RATE) if parameters else None

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy of the response positions, in nats."""
        return response_losses(self.model, batch).mean()

    def backward(self, batch: Batch) -> None:
        self.loss(batch).backward()

    def step(self, batch: Batch) -> None:
        self.backward(batch)
        if isinstance(self.way, Everything):
            self.way.before_step()
        if self.optimizer:
            self.optimizer.step()
            self.way.after_step()
            self.optimizer.zero_grad(set_to_none=True)

    def optimizer_bytes(self) -> int:
        """Bytes of all tensors in the optimizer's state, after a step."""
        states = self.optimizer.state.values() if self.optimizer else ()
        tensors = (value for state in states for value in state.values() if isinstance(value, torch.Tensor))
        return sum(value.numel() * value.element_size() for value in tensors)

    def kept(self, batch: Batch) -> Counter:
        """Bytes that one forward pass keeps for its backward pass, by shape and dtype, without weights.

        Do not call it with checkpointing, which hides what it keeps from these hooks.
        """
        weights = {value.untyped_storage().data_ptr() for value in (*self.model.parameters(), *self.model.buffers())}
        found: dict[int, tuple[str, int]] = {}

        def pack(value: torch.Tensor) -> torch.Tensor:
            for part in (value._indices(), value._values()) if value.is_sparse else (value,):
                storage = part.untyped_storage()
                if storage.data_ptr() not in weights:
                    found[storage.data_ptr()] = (f"{tuple(part.shape)} {part.dtype}", storage.nbytes())
            return value

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            loss = self.loss(batch)
        counted: Counter = Counter()
        for described, size in found.values():
            counted[described] += size
        del loss  # not earlier: the next storage may reuse the address of a freed one
        return counted

    def saved_bytes(self) -> int:
        """Size of the file that the way saves. Call it last: slices then return the model."""
        if hasattr(self.way, "saved_bytes"):
            return self.way.saved_bytes()
        with tempfile.TemporaryDirectory() as folder:
            self.way.save(Path(folder))
            return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


class ByTrainer(Subject):
    """PEFT's LoRA as its users train it: `training_step` and optimizer of `transformers.Trainer`, with its defaults.

    This is the model's own forward pass with labels, whose loss needs the logits of every position. What `train` does
    beyond that (clipping, schedule, log) is left out, as for the other subjects.
    """

    def __init__(self, model: nn.Module, way: TuningMethod, optimizer: type[torch.optim.Optimizer]):
        super().__init__(model, way, optimizer)
        from transformers import Trainer, TrainingArguments

        as_published(model)

        self.folder = tempfile.TemporaryDirectory()  # Trainer requires one, but writes nothing there
        settings = {"output_dir": self.folder.name, "report_to": "none", "learning_rate": RATE, "optim": "adamw_torch"}
        self.trainer = Trainer(way.adapted, TrainingArguments(**settings, use_cpu=model.device.type == "cpu"))
        self.trainer.current_gradient_accumulation_steps = 1  # as `train` sets it
        self.optimizer = self.trainer.create_optimizer()

    def loss(self, batch: Batch) -> torch.Tensor:
        return self.trainer.compute_loss(self.way.adapted, as_users_have_it(batch))

    def backward(self, batch: Batch) -> None:
        responses = torch.tensor(len(batch.targets), device=batch.targets.device)  # `train` counts them at each step
        self.trainer.training_step(self.way.adapted, as_users_have_it(batch), responses)


def as_users_have_it(batch: Batch) -> dict[str, torch.Tensor]:
    """The batch as a data collator makes it; labels: the response's tokens at their own positions, else IGNORED."""
    before = batch.response.roll(1, dims=1)  # the last position has no next token, so nothing wraps around
    labels = batch.input_ids.where(before, IGNORED)
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": labels}
