"""Neural metrics, the COMET family and MetricX: finds a checkpoint and what it needs, and scores segments.

`find` runs in the workflow's environment; `load` and `score` run in COMET's (envs/comet.yaml), which has another
transformers. A COMET checkpoint is what unbabel-comet writes: `hparams.yaml` and `checkpoints/*.ckpt`, a pickle.
Source: R. Rei et al., COMET (EMNLP 2020); unbabel-comet.
"""

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from caneft.config.metrics import MetricX, NeuralMetric
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.scoring import metricx
from caneft.storage import hub, integrity
from caneft.storage.files import sha256

TRAINED_HERE = "trained here"
"""Replaces the id of a checkpoint that the workflow trained."""
MANIFEST = {"folder": str, "class": str}
"""Keys of every manifest, with their types."""
OWN_ENCODER = "encoder"
"""Folder beside `checkpoints` with the encoder's configuration and tokenizer, if the checkpoint includes them."""
WITHOUT_REFERENCE = ("referenceless_regression_metric",)
DECIMALS = 6


def find(metric: NeuralMetric, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """Manifest of a checkpoint on the hub or in a folder, made by `describe`.

    Downloads what is on the hub, unless it is cached, and also the configuration and tokenizer of the encoder that a
    checkpoint names, as jobs work offline. Raises InputError if any of these is not available.
    """
    if isinstance(metric, MetricX):
        return _find_metricx(metric, resolve)
    if metric.path is not None:
        folder = resolve(metric.path).resolve()
        manifest = describe(folder, folder.name, None)
    else:
        folder = _download(metric.hub, metric.revision, ["hparams.yaml", "checkpoints/*", f"{OWN_ENCODER}/*"])
        manifest = describe(folder, metric.hub, folder.name)
    if manifest["encoder"] != OWN_ENCODER:
        _download(manifest["encoder"], None, ["*.json", "*.model", "tokenizer*", "vocab*", "merges.txt"])
    return manifest


def _find_metricx(metric: MetricX, resolve: Callable[[str], Path]) -> dict[str, Any]:
    """Like `find`, for MetricX, whose tokenizer may be in another repository."""
    if metric.path is not None:
        folder = resolve(metric.path).resolve()
        manifest = metricx.describe(folder, folder.name, None)
    else:
        folder = _download(metric.hub, metric.revision, metricx.FILES)
        manifest = metricx.describe(folder, metric.hub, folder.name)
    if "tokenizer" not in manifest:
        manifest["tokenizer"] = str(_download(metric.tokenizer, None, metricx.TOKENIZER))
    return {"format": integrity.FORMAT, **manifest}


def describe(folder: Path, name: str, revision: str | None) -> dict[str, Any]:
    """Facts that identify a folder's checkpoint. Raises InputError if the folder holds none, or more than one."""
    checkpoints = sorted((folder / "checkpoints").glob("*.ckpt"))
    if len(checkpoints) != 1 or not (folder / "hparams.yaml").is_file():
        raise InputError(
            f"{folder} is not a COMET checkpoint: hparams.yaml and one file checkpoints/*.ckpt are needed, found "
            f"{len(checkpoints)} of these. Check scoring.*.hub or path"
        )
    try:
        hparams = yaml.safe_load((folder / "hparams.yaml").read_text(encoding="utf-8"))
        encoder, kind = hparams["pretrained_model"], hparams["class_identifier"]
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'hparams.yaml'}: cannot be used ({error!r})") from None
    return {
        "format": integrity.FORMAT,
        "checkpoint": name,
        "revision": revision,
        "folder": str(folder),
        "file": str(checkpoints[0].relative_to(folder)),
        "sha256": sha256(checkpoints[0]),
        "class": kind,
        "encoder": OWN_ENCODER if (folder / OWN_ENCODER).is_dir() else encoder,
    }


def _download(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    return hub.snapshot(name, revision, patterns, "scoring.*")


def read_manifest(path: str | Path) -> dict[str, Any]:
    """Manifest of a metric, with an absolute `folder`, resolved from the manifest. InputError if a file is missing."""
    path = Path(path)
    manifest = integrity.read_manifest(path, MANIFEST)
    names = [manifest[key] for key in ("file", "tokenizer") if manifest.get(key)] + list(manifest.get("weights", ()))
    folder = hub.located(manifest, path, f"the metric {manifest.get('checkpoint')}", names)
    return manifest | {"folder": str(folder)}


def load(manifest: Mapping[str, Any]):
    """The model of a manifest, on the CPU. Raises InputError if the checkpoint is not the one that was found.

    Loads an encoder beside the checkpoint from there, even if the folder was moved.
    """
    if manifest["class"] == metricx.CLASS:
        return metricx.load(manifest)
    from comet.models import load_from_checkpoint, str2model

    folder = Path(manifest["folder"])
    checkpoint = folder / manifest["file"]
    if not checkpoint.is_file() or sha256(checkpoint) != manifest["sha256"]:
        raise InputError(f"{checkpoint}: is not what its manifest says. Delete the manifest and run the workflow again")
    if manifest["encoder"] != OWN_ENCODER:
        return load_from_checkpoint(str(checkpoint), local_files_only=True)
    hparams = yaml.safe_load((folder / "hparams.yaml").read_text(encoding="utf-8"))
    patched = hparams.get("layer_transformation") == "sparsemax_patch"  # the library's own loader replaces it, too
    return str2model[manifest["class"]].load_from_checkpoint(
        checkpoint,
        map_location="cpu",
        strict=False,
        load_pretrained_weights=False,
        local_files_only=True,
        pretrained_model=str(folder / OWN_ENCODER),
        **({"layer_transformation": "softmax"} if patched else {}),
    )


def score(
    model, manifest: Mapping[str, Any], rows: Sequence[Row], hypotheses: Sequence[str], batch_size: int, gpus: int
) -> list[float]:
    """Score of each hypothesis, rounded to six decimals. gpus: 0 or 1. A metric without reference is given none."""
    if manifest["class"] == metricx.CLASS:
        found = metricx.score(model, rows, hypotheses, batch_size, "cuda" if gpus else "cpu")
        return [round(value, DECIMALS) for value in found]
    known = {"src": (row.source for row in rows), "mt": iter(hypotheses)}
    if manifest["class"] not in WITHOUT_REFERENCE:
        known["ref"] = (row.target for row in rows)
    samples = [dict(zip(known, texts, strict=True)) for texts in zip(*known.values(), strict=True)]
    stand_alone()
    found = model.predict(samples, batch_size=batch_size, gpus=gpus, progress_bar=False)
    return [round(float(value), DECIMALS) for value in found["scores"]]


def score_domains(
    stored: Mapping[str, Any],
    references: Mapping[str, Sequence[Row]],
    hypotheses: Mapping[str, Sequence[str]],
    manifest: Mapping[str, Any],
    batch_size: int,
    version: int,
) -> dict[str, dict[str, Any]]:
    """For each domain: mean score, signature, the score of each segment, and `made_from`, a checksum of what is scored.

    stored: what an earlier call returned; scores whose checksum is still the same are taken from there. The model is
    loaded once, and only if a domain is left to score. version: raised when stored scores no longer hold.
    """
    found, model = {}, None
    for domain, rows in references.items():
        made_from = _checksum(rows, hypotheses[domain], manifest, version)
        segments = _kept(stored.get(domain), made_from, len(rows))
        if segments is None:
            if model is None:
                import torch

                model, gpus = load(manifest), int(torch.cuda.is_available())
            segments = score(model, manifest, rows, hypotheses[domain], batch_size, gpus)
        mean = sum(segments) / len(segments)
        about = {"score": mean, "signature": signature(manifest), "made_from": made_from}
        found[domain] = about | {"segments": segments}
    return found


def _checksum(rows: Sequence[Row], hypotheses: Sequence[str], manifest: Mapping[str, Any], version: int) -> str:
    """SHA-256 of the texts, of the checkpoint that scores them, and of the versions of its libraries."""
    from importlib.metadata import version as installed

    texts = [[row.source, row.target] for row in rows]
    libraries = [signature(manifest), *(installed(name) for name in ("torch", "transformers"))]
    content = [version, libraries, manifest["sha256"], texts, list(hypotheses)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _kept(entry: Any, made_from: str, count: int) -> list[float] | None:
    """The segments of an entry with this `made_from` and a finite score for each; else None."""
    if not isinstance(entry, dict) or entry.get("made_from") != made_from:
        return None
    segments = entry.get("segments")
    if not isinstance(segments, list) or len(segments) != count:
        return None
    return segments if all(isinstance(score, float) and math.isfinite(score) for score in segments) else None


def stand_alone() -> None:
    """Keeps lightning quiet, and keeps it from joining the processes of a Slurm job: this one is alone."""
    os.environ["SLURM_JOB_NAME"] = "interactive"  # tells lightning that srun did not start it
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*srun.*")


def signature(manifest: Mapping[str, Any]) -> str:
    """Checkpoint, its revision or checksum, precision and version of the library."""
    from importlib.metadata import version

    kind, library = ("metricx", "transformers") if manifest["class"] == metricx.CLASS else ("comet", "unbabel-comet")
    which = f"revision:{manifest['revision']}" if manifest["revision"] else f"sha256:{manifest['sha256'][:12]}"
    name = manifest["checkpoint"].replace(" ", "-")
    return f"{kind}|checkpoint:{name}|{which}|precision:float32|version:{version(library)}"
