"""The importance dump of one domain: which samples, in which batches, and what is written beside the scores."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from caneft import records
from caneft.config import Importance
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.files import replacing, write_json
from caneft.importance import Dump, Taps, importance, save_statistics
from caneft.prompts import Example, Prompts, batches, collate


@dataclass(frozen=True)
class Samples:
    """The drawn samples of a domain, in file order; `too_long`: how many were left out before the draw."""

    domain: str
    ids: list[str]
    examples: list[Example]
    too_long: int


def draw(rows: Sequence[Row], prompts: Prompts, domain: str, settings: Importance) -> Samples:
    """Draws `settings.samples` of the rows that have at most `max_tokens` tokens."""
    encoded = [prompts.encode(row.source, row.target, domain) for row in rows]
    fitting = [i for i, example in enumerate(encoded) if len(example) <= settings.max_tokens]
    if len(fitting) < settings.samples:
        raise InputError(
            f"{domain} has {len(fitting)} training pairs of at most {settings.max_tokens} tokens,"
            f" but importance.samples is {settings.samples}; lower it (all domains of a mixture need the same number)"
        )
    generator = np.random.default_rng(settings.seed)
    chosen = sorted(generator.choice(len(fitting), settings.samples, replace=False).tolist())
    picked = [fitting[i] for i in chosen]
    return Samples(domain, [rows[i].id for i in picked], [encoded[i] for i in picked], len(rows) - len(fitting))


def write(
    path: Path,
    model: nn.Module,
    samples: Samples,
    prompts: Prompts,
    settings: Importance,
    about: dict[str, Any],
    progress: Callable[[int], Any],
) -> None:
    """Scores every sample and leaves `{domain}.npy`, `{domain}.stats.npz` and the sidecar `{domain}.json`.

    about: what the sidecar says of model, corpus and settings; progress: called with the samples of each batch.
    """
    examples = samples.examples
    loss = np.zeros(len(examples), dtype=np.float32)
    plan = batches([len(example) for example in examples], settings.tokens_per_batch)
    collated = (collate([examples[i] for i in chosen], prompts.tokenizer.pad_token_id) for chosen in plan)
    with Taps(model) as taps, replacing(path) as beside:
        shape = (len(taps.layers), len(examples), taps.layers[0].down.in_features)
        dump = Dump(beside, shape, settings.scale_exponent, about["model"]["name"])
        for chosen, scores in zip(plan, importance(model, collated, taps), strict=True):
            dump.write(chosen, scores.importance)
            loss[chosen] = scores.loss
            progress(len(chosen))
        dump.close()
    save_statistics(path.with_suffix(".stats.npz"), taps.statistics())
    write_json(path.with_suffix(".json"), _sidecar(samples, shape, loss, settings, about))


def _sidecar(
    samples: Samples, shape: tuple[int, int, int], loss: np.ndarray, settings: Importance, about: dict[str, Any]
) -> dict[str, Any]:
    """All that is needed to read the dump without this program."""
    return {
        **records.provenance(),
        **about,
        "domain": samples.domain,
        "shape": list(shape),
        "axes": ["layer", "sample", "neuron"],
        "dtype": "float16",
        "scale_exponent": settings.scale_exponent,
        "meaning": "stored = 2**scale_exponent * mean over response positions of |a * dL/da|, L the summed loss",
        "token_scope": "response",
        "samples": [
            {"id": name, "loss": float(value), "response_tokens": len(example.response)}
            for name, value, example in zip(samples.ids, loss, samples.examples, strict=True)
        ],
        "left_out_too_long": samples.too_long,
    }
