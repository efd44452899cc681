"""MetricX, an mT5 that rates the errors of a translation: 0 is perfect, 25 the worst.

The score is one logit of the decoder's first step, clipped; source, hypothesis and reference are one input. It runs in
COMET's environment, which has the sentencepiece that reads mT5's tokenizer, and a transformers that follows the
checkpoint in whether input and output embeddings are tied. MetricX's are not tied, but transformers 5 ties them.
Source: J. Juraska et al., MetricX-24 (WMT 2024); google-research/metricx.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.storage.files import sha256

CLASS = "metricx"
"""The `class` in the manifest, where a COMET model has its own."""
TOKENIZER = ("*.json", "*.model")
FILES = (*TOKENIZER, "*.safetensors", "pytorch_model*.bin")
SCORE = 250_089
"""The entry of mT5's vocabulary whose logit is the score, <extra_id_10>."""
WORST = 25.0
LONGEST = 1536
"""Most tokens of an input, as in the training of the published models. Their code cuts longer inputs, too."""


class Loaded(NamedTuple):
    """A model with the tokenizer of its inputs."""

    model: Any
    tokenizer: Any


def describe(folder: Path, name: str, revision: str | None) -> dict[str, Any]:
    """Facts that identify a folder's checkpoint. Raises InputError if it holds no weights.

    `tokenizer` is None if the folder has its own, and missing otherwise.
    """
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not files or not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a MetricX checkpoint: config.json and *.safetensors or pytorch_model*.bin are needed. "
            "Check scoring.metricx.hub or path"
        )
    weights = {file.name: sha256(file) for file in files}
    own = any((folder / file).is_file() for file in ("tokenizer.json", "spiece.model"))
    return {
        "checkpoint": name,
        "revision": revision,
        "folder": str(folder),
        "weights": weights,
        "sha256": checksum(weights),
        "class": CLASS,
        **({"tokenizer": None} if own else {}),
    }


def checksum(weights: Mapping[str, str]) -> str:
    """The checksum of a single file, or one over all files with their names. weights: checksum by name."""
    if len(weights) == 1:
        return next(iter(weights.values()))
    return hashlib.sha256("".join(f"{name} {found}\n" for name, found in sorted(weights.items())).encode()).hexdigest()


def load(manifest: Mapping[str, Any]) -> Loaded:
    """Model and tokenizer of a manifest, on the CPU, in float32.

    Raises InputError if the weights are not the manifest's, or do not fill an mT5.
    """
    import torch
    from transformers import AutoTokenizer, MT5ForConditionalGeneration

    folder = Path(manifest["folder"])
    for name, wanted in manifest["weights"].items():
        if not (folder / name).is_file() or sha256(folder / name) != wanted:
            raise InputError(
                f"{folder / name}: is not what its manifest says. Delete the manifest and run the workflow again"
            )
    model, found = MT5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if found["missing_keys"]:
        raise InputError(f"{folder}: lacks the weights {', '.join(sorted(found['missing_keys'])[:3])} of an mT5")
    return Loaded(model.eval(), AutoTokenizer.from_pretrained(manifest["tokenizer"] or folder))


def score(
    loaded: Loaded, rows: Sequence[Row], hypotheses: Sequence[str], batch_size: int, device: str = "cpu"
) -> list[float]:
    """Score of each hypothesis, 0..25. Takes long inputs first: little padding, and a lack of memory shows at once."""
    import torch

    model = loaded.model.to(device)
    inputs = [encode(loaded.tokenizer, *parts) for parts in zip(rows, hypotheses, strict=True)]
    order = sorted(range(len(inputs)), key=lambda index: -len(inputs[index]))
    scores = [0.0] * len(inputs)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        longest = len(inputs[batch[0]])
        padded = torch.zeros(len(batch), longest, dtype=torch.long, device=device)
        mask = torch.zeros_like(padded)
        for place, index in enumerate(batch):
            padded[place, : len(inputs[index])] = torch.tensor(inputs[index], device=device)
            mask[place, : len(inputs[index])] = 1
        first = torch.zeros(len(batch), 1, dtype=torch.long, device=device)
        with torch.inference_mode():
            logits = model(input_ids=padded, attention_mask=mask, decoder_input_ids=first).logits[:, 0, SCORE]
        for index, value in zip(batch, logits.clamp(0, WORST).tolist(), strict=True):
            scores[index] = value
    return scores


def encode(tokenizer, row: Row, hypothesis: str) -> list[int]:
    """Token ids of an input, without the end of sequence that the tokenizer appends."""
    text = f"source: {row.source} candidate: {hypothesis} reference: {row.target}"
    return list(tokenizer(text, max_length=LONGEST, truncation=True)["input_ids"])[:-1]
