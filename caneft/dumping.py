"""The importance dump of one domain: which samples, in which batches, and what is written beside the scores."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from caneft import integrity, records
from caneft.config import Importance
from caneft.corpora.store import Row
from caneft.dumps import Dump, Progress, save_statistics
from caneft.errors import InputError
from caneft.files import sha256, write_json
from caneft.importance import Taps, importance, stored
from caneft.models.units import unit_layers, unit_parameters
from caneft.neurons import HEAD, NEURON
from caneft.prompts import Example, Prompts, batches, collate
from caneft.settings import DumpSettings

logger = logging.getLogger(__name__)

MEANING = {
    NEURON: "stored = 2**scale_exponent * mean over response positions of |a * dL/da|, L the summed loss",
    HEAD: "stored = 2**scale_exponent * mean over response positions of |sum of a * dL/da over the inputs a of o_proj"
    " that belong to the head|, L the summed loss; query heads that share a key and value head count as one",
}
"""Of a dump's numbers, by unit."""


@dataclass(frozen=True)
class Samples:
    """The drawn samples of a domain, in the order of the draw; `left_out`: how many pairs before it, by reason."""

    domain: str
    ids: list[str]
    examples: list[Example]
    left_out: dict[str, int]

    def part(self, start: int, stop: int) -> "Samples":
        """Those from `start` up to `stop`."""
        return Samples(self.domain, self.ids[start:stop], self.examples[start:stop], self.left_out)


def draw(rows: Sequence[Row], prompts: Prompts, domain: str, settings: Importance, count: int | None) -> Samples:
    """Draws `count` (None: all) of the rows that have at most `max_tokens` tokens and a target that can be a response.

    A smaller draw is the beginning of a larger one. Raises InputError if there are not so many.
    """
    encoded = prompts.encode_training(((row.source, row.target, domain) for row in rows), settings.max_tokens)
    fitting = len(encoded.examples)
    if count is not None and fitting < count:
        raise InputError(
            f"{domain} has {fitting} training pairs of at most {settings.max_tokens} tokens, but importance asks"
            f" for {count}; lower importance.samples (all domains of a mixture need the same number)"
        )
    picked = np.random.default_rng(settings.seed).permutation(fitting)[:count]
    ids = [rows[encoded.kept[i]].id for i in picked]
    return Samples(domain, ids, [encoded.examples[i] for i in picked], encoded.left_out)


def write(
    path: Path, model: nn.Module, samples: Samples, prompts: Prompts, settings: Importance, about: dict[str, Any]
) -> None:
    """Scores every sample and leaves `{domain}.npy`, `{domain}.stats.npz` and the sidecar `{domain}.json`.

    What a killed job of the same model, corpus and settings had finished is taken over, to the same bytes.
    about: what the sidecar says of model, corpus and settings; its `unit` is what is scored, by default neurons.
    Raises InputError for scores that float16 cannot hold.
    """
    examples = samples.examples
    # Longest first: a batch that is too large for the memory is met at once, and the time left is not underestimated.
    plan = batches([len(example) for example in examples], settings.tokens_per_batch)[::-1]
    about = described(about, samples)
    with Taps(model, about.get("unit", NEURON)) as taps:
        shape = (len(taps.layers), len(examples), taps.width)
        name, folder = about["model"]["name"], path.with_name(f".{path.stem}.partial")
        dump = Dump(folder, shape, plan, settings.scale_exponent, name, _identity(about, samples, model))
        try:
            _fill(dump, model, taps, examples, prompts.tokenizer.pad_token_id, settings.scale_exponent)
            dump.check()
            save_statistics(path.with_suffix(".stats.npz"), dump.progress.statistics())
            sums = {path.name: dump.checksum()} | integrity.sums(path.with_suffix(".stats.npz"))
            sidecar = _sidecar(samples, shape, dump.progress, settings, about) | {integrity.KEY: sums}
            write_json(path.with_suffix(".json"), sidecar)
            dump.finish(path)
        except InputError:
            dump.discard()
            raise
        finally:
            dump.release()


def _fill(dump: Dump, model: nn.Module, taps: Taps, examples: Sequence[Example], pad: int, scale_exponent: int) -> None:
    """Scores the batches that the dump lacks."""
    sizes = [len(chosen) * max(len(examples[i]) for i in chosen) for chosen in dump.batches]
    begun = dump.finished
    if begun:
        logger.info("going on after batch %d of %d", begun, len(sizes))
    left = (collate([examples[i] for i in chosen], pad) for chosen in dump.batches[begun:])
    start, done = time.perf_counter(), 0
    with tqdm(total=sum(sizes), initial=sum(sizes[:begun]), unit="token", unit_scale=True, mininterval=2) as bar:
        for batch in stored(importance(model, left, taps), scale_exponent):
            tokens = sizes[dump.finished]
            done += len(batch.loss)
            dump.write(batch)
            bar.set_postfix_str(f"{done / (time.perf_counter() - start):.1f} samples/s", refresh=False)
            bar.update(tokens)


def about(
    name: str, model: nn.Module, manifest: dict[str, Any], corpus: Path, settings: DumpSettings
) -> dict[str, Any]:
    """What a sidecar says of model, corpus and settings. name: of the model in the configuration."""
    known = {key: manifest[key] for key in ("id", "hidden_size", "weights")}
    weights = unit_parameters(unit_layers(model, settings.unit)[0])
    return {
        "model": {"name": name, **known, "unit_parameters": weights},
        "unit": settings.unit,
        "corpus_sha256": sha256(corpus),
        "settings": settings.model_dump(mode="json"),
    }


def described(about: dict[str, Any], samples: Samples) -> dict[str, Any]:
    """The beginning of a dump's sidecar: what made it and of what, but for the samples' ids."""
    tokens = _tokens_hash(samples.examples)
    return {**records.provenance(), **about, "domain": samples.domain, "tokens_sha256": tokens}


def _tokens_hash(examples: Sequence[Example]) -> str:
    """Of what the model is given: covers tokenizer and chat template."""
    return hashlib.sha256(json.dumps([[e.prompt, e.response] for e in examples]).encode()).hexdigest()


def _identity(about: dict[str, Any], samples: Samples, model: nn.Module) -> str:
    """Of all that a dump's bytes depend on: only what has the same identity is ever gone on with."""
    device = next(model.parameters()).device.type
    content = [about, samples.ids, device, torch.get_num_threads()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sidecar(
    samples: Samples, shape: tuple[int, int, int], progress: Progress, settings: Importance, about: dict[str, Any]
) -> dict[str, Any]:
    """All that is needed to read the dump without this program."""
    unit = about.get("unit", NEURON)
    return {
        **about,
        "shape": list(shape),
        "axes": ["layer", "sample", unit],
        "dtype": "float16",
        "scale_exponent": settings.scale_exponent,
        "meaning": MEANING[unit],
        "token_scope": "response",
        "samples": [
            {"id": name, "loss": float(value), "tokens": len(example), "response_tokens": len(example.response)}
            for name, value, example in zip(samples.ids, progress.loss, samples.examples, strict=True)
        ],
        "left_out": samples.left_out,
    }
