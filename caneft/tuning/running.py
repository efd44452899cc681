"""Tunes a run from files to files, in one process or in each of a team."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from caneft import config, neurons
from caneft.corpora import store
from caneft.errors import InputError
from caneft.models import loading, manifests
from caneft.plan import Run
from caneft.plan.settings import TuneSettings
from caneft.prompts import Example, Prompts
from caneft.runtime import devices
from caneft.runtime.devices import prepare
from caneft.runtime.parallel import Team
from caneft.storage import integrity, records
from caneft.storage.files import atomic_folder, sync, write_json
from caneft.tuning import loop, memory
from caneft.tuning import methods as tuning_methods
from caneft.tuning.base import TuningMethod
from caneft.tuning.checkpoint import Checkpoints, identity


@dataclass(frozen=True)
class Job:
    """One tuning job: what is tuned, on what, and how.

    manifest: of the base; train, dev: pairs of the mixture; neurons: set of a neuron method, or of LoRA of its size;
    choice: of the learning rate, if the method has a grid; gpus: one process each; nodes: machines that have them, with
    one process each if there are no GPUs; out: the run's folder.
    """

    settings: TuneSettings
    run: Run
    seed: int
    choice: Path | None
    manifest: Path
    train: Path
    dev: Path
    neurons: Path | None
    threads: int
    gpus: int
    nodes: int
    checkpoint_seconds: float
    device_map: str
    out: Path

    @property
    def inputs(self) -> list[Path | None]:
        """Files that the job reads. The manifest has the checksums of the base's weights."""
        return [self.manifest, self.train, self.dev, self.neurons, self.choice]

    @property
    def processes(self) -> int:
        """Number of processes that share each step; one if the model itself is spread over the GPUs."""
        return devices.processes(self.gpus, self.device_map, self.nodes)


def tune(job: Job, team: Team) -> Checkpoints:
    """Writes artefact, log and record to the run's folder; returns the checkpoints, which must be discarded last.

    Raises InputError if the inputs do not fit each other, and for a final run that diverges.
    """
    choice = store.read_json(job.choice) if job.choice else None
    rate = choice["learning_rate"] if choice else job.settings.method.learning_rate
    device = prepare(job.threads, job.seed)
    manifest = manifests.read_manifest(job.manifest)
    prompts = Prompts.of(loading.load_tokenizer(manifest), job.settings.prompt)
    limit = job.settings.tuning.max_tokens
    train, train_left_out = loop.encode(store.read(job.train), prompts, limit)
    dev, dev_left_out = loop.encode(store.read(job.dev), prompts, limit)
    dtype = _dtype(job, manifest, device)
    model = loading.load_model(manifest, dtype, device, job.device_map)
    total = sum(parameter.numel() for parameter in model.parameters())
    base = manifests.base(manifest)
    way = _way(job, model, base, train)
    record = _record(job, way, prompts, base, choice, rate, total)
    where = {"device": device.type, "threads": job.threads, "processes": team.count, "device_map": job.device_map}
    identified = identity(record | where, train, dev)
    checkpoints = Checkpoints(job.out / ".checkpoint", identified, job.checkpoint_seconds, team)
    log, trial = checkpoints.folder / "log.jsonl", job.run.rate is not None
    pad, settings = prompts.tokenizer.pad_token_id, job.settings.tuning
    try:
        outcome = loop.train(model, way, train, dev, settings, rate, job.seed, pad, log, trial, checkpoints, team)
    except InputError:
        checkpoints.discard()  # a resumed run would end like this again
        raise
    if team.main:
        with atomic_folder(job.out) as beside:
            way.save(beside)
            sums = integrity.sums(*beside.iterdir())
        sync(log)
        os.replace(log, job.out / "log.jsonl")
        left_out = {"train": train_left_out, "dev": dev_left_out}
        write_json(
            job.out / "record.json",
            record | {"tuning": loop.as_record(outcome) | {"left_out": left_out}, integrity.KEY: sums},
        )
    return checkpoints


def _dtype(job: Job, manifest: dict[str, Any], device: torch.device) -> str:
    """The dtype to load the model in: for `full`, float32 unless its masters are elsewhere, never pure bfloat16."""
    method, dtype = job.settings.method, job.settings.dtype
    if not isinstance(method, config.Full):
        return dtype
    if method.optimizer == "adamw-offload" and job.processes > 1:
        raise InputError(
            f"adamw-offload keeps its masters in one process, but {job.processes} are to share the steps.\n"
            "Set methods.*.resources gpu: 1, or a device_map, which spreads the model over the GPUs of one process."
        )
    if device.type == "cuda":
        memory.check(method, manifest, dtype, memory.cards(job.device_map))
    return "float32" if method.optimizer == "adamw" else dtype


def _way(job: Job, model: nn.Module, base: dict[str, Any], train: list[Example]) -> TuningMethod:
    chosen = neurons.load(job.neurons) if job.neurons else None
    domains = sorted({example.domain for example in train})
    return tuning_methods.trainable(model, job.settings.method, job.settings.dtype, chosen, base, domains)


def _record(
    job: Job,
    way: TuningMethod,
    prompts: Prompts,
    base: dict[str, Any],
    choice: dict[str, Any] | None,
    rate: float,
    total: int,
) -> dict[str, Any]:
    """The record of a run, without its outcome."""
    method, trainable = job.settings.method, sum(parameter.numel() for parameter in way.parameters())
    selection = neurons.read_description(job.neurons) if isinstance(method, config.Neurons) else None
    return {
        **records.provenance(),
        **asdict(job.run),
        "method": method.method,
        "settings": job.settings.model_dump() | {"learning_rate": rate},
        "prompt": prompts.described(),
        "seed": job.seed,
        "choice": choice,
        "base": base,
        "data": {
            "train_sha256": records.sha256(job.train),
            "dev_sha256": records.sha256(job.dev),
            "neurons_sha256": records.sha256(job.neurons) if job.neurons else None,
        },
        "selection": selection | {"parameters": trainable} if selection else None,
        "parameters": {"trainable": trainable, "total": total},
        "sizes": way.described(),
    }
