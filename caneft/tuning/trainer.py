"""Neuron tuning with the `Trainer` of transformers, and with trainers built on it.

    trainer = NeuronTrainer(model=model, neurons=neurons, args=TrainingArguments("tuned"), train_dataset=pairs)
    trainer.train()
    trainer.save_model()  # writes tuned/patch.safetensors

    class NeuronSFTTrainer(TunesNeurons, SFTTrainer):
        pass

The masters are parameters of the model while it is tuned. So the trainer's optimizer, its clipping, and its exchange of
gradients between processes find them by themselves.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from caneft import patch
from caneft.errors import InputError
from caneft.neurons import NeuronSet
from caneft.tuning.neuron_rows import NeuronRows

PATCH, MASTERS = "patch.safetensors", "masters.safetensors"
UNFIT = {
    "bf16_full_eval": "It rounds the weights for good. Load the model in bfloat16 (dtype)",
    "fp16_full_eval": "It rounds the weights for good. Load the model in float16 (dtype)",
    "use_liger_kernel": "It replaces the modules that train the neurons",
}
"""Trainer arguments that neuron tuning does not support, and why, or what to do."""


class Masters(nn.ParameterList):
    """Parameters of a model that are not part of its weights: no state dict contains them."""

    def _save_to_state_dict(self, *_) -> None: ...

    def _load_from_state_dict(self, *_) -> None: ...


class WriteBack(TrainerCallback):
    """Writes the masters into the weights after every optimizer step."""

    def __init__(self, tuned: NeuronRows):
        self.tuned = tuned

    def on_optimizer_step(self, args, state, control, **_) -> None:
        self.tuned.after_step()


class TunesNeurons:
    """Makes a `Trainer` class tune the units of a set and nothing else. List it before that class as a base.

    model: of transformers, of a known architecture, loaded in the dtype in which it will be served. neurons: from a
    selection, or any others. base: what the patch says about the model, by default the name by which it was loaded. The
    other arguments are the trainer's. Raises InputError for arguments that neuron tuning does not support.

    `save_model` and checkpoints write a patch instead of a model; checkpoints contain the masters too, so a resumed run
    continues as if nothing had happened.
    """

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        neurons: NeuronSet,
        args: TrainingArguments,
        base: dict[str, Any] | None = None,
        **options: Any,
    ):
        _check(model, args)
        if getattr(model, "hf_device_map", None) is None:
            model.to(args.device)  # before the slices are taken out
        self.tuned = NeuronRows(model, neurons, base or {"id": _name(model)})
        model.neuron_masters = Masters(self.tuned.parameters())
        super().__init__(model=model, args=args, **options)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise InputError(
                "neuron tuning keeps the whole model in each process: start them without FSDP and DeepSpeed"
            )
        if self.model is not model:
            raise InputError(
                f"the trainer has put a {type(self.model).__name__} around the model: leave out peft_config"
            )
        self.add_callback(WriteBack(self.tuned))

    def detach(self) -> PreTrainedModel:
        """Ends the tuning; returns the model with its own modules and the tuned weights."""
        self.tuned.detach()
        del self.tuned.model.neuron_masters
        return self.tuned.model

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if self.args.should_save:
            folder = Path(output_dir or self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            patch.save(folder / PATCH, self.tuned.as_patch())

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            masters = {str(place): master.detach() for place, master in enumerate(self.tuned.parameters())}
            save_file(masters, Path(output_dir, MASTERS))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        path = Path(resume_from_checkpoint, PATCH)
        self.tuned.put(patch.read(path), str(path))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint and (path := Path(checkpoint, MASTERS)).exists():  # else the patch's, rounded to its dtype
            masters = load_file(path)
            self.tuned.put_back([masters[str(place)] for place in range(len(masters))])

    def _load_best_model(self) -> None:
        self._load_from_checkpoint(self.state.best_model_checkpoint)


class NeuronTrainer(TunesNeurons, Trainer):
    """The `Trainer` of transformers, tuning neurons."""


def _check(model: PreTrainedModel, args: TrainingArguments) -> None:
    """Raises InputError for what would fail later, or train something else."""
    if not isinstance(model, PreTrainedModel):
        raise InputError(f"neuron tuning takes a model of transformers that is loaded, not {type(model).__name__}")
    if args.mixed_precision != "no":
        raise InputError(
            f"neuron tuning computes in the model's dtype, not in mixed precision ({args.mixed_precision}). Set"
            f" {args.mixed_precision}=False, or `accelerate launch --mixed_precision no`, and load the model in"
            " bfloat16 if it is to be smaller: masters and optimizer stay in float32"
        )
    for name, remedy in UNFIT.items():
        if getattr(args, name):
            raise InputError(f"neuron tuning does not go with {name}=True. {remedy}")
    if args.n_gpu > 1:
        raise InputError(
            f"this process sees {args.n_gpu} GPUs, and the trainer would copy the model to each at every step. Start a"
            " process for each with `torchrun`, or let this one see one (CUDA_VISIBLE_DEVICES)"
        )


def _name(model: PreTrainedModel) -> str:
    """The hub's name of a model, or that of its folder."""
    path = Path(model.name_or_path)
    return path.resolve().name if path.is_dir() else model.name_or_path
