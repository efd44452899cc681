"""Makes the importance dump of one domain: draws the samples, scores them in batches, writes scores and sidecar."""

import hashlib
import json
import logging
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from caneft.config import Importance
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.importance.dumps import Dump, Part, Progress, save_statistics
from caneft.importance.hooks import Taps, importance, stored
from caneft.importance.sending import Sender
from caneft.models.units import unit_layers, unit_parameters
from caneft.neurons import HEAD, NEURON
from caneft.plan.settings import DumpSettings
from caneft.prompts import Example, Prompts, batches, collate
from caneft.runtime.parallel import ALONE, Team
from caneft.storage import integrity, records
from caneft.storage.bounded import LARGEST_JSON
from caneft.storage.files import sha256, write_json

logger = logging.getLogger(__name__)
PATIENCE = 60  # seconds within which files that another machine has written become visible
OF_SIDECAR = 100_000
"""Upper bound on the bytes of a sidecar outside its list of samples."""

MEANING = {
    NEURON: "stored = 2**scale_exponent * mean over response positions of |a * dL/da|, L the summed loss",
    HEAD: "stored = 2**scale_exponent * mean over response positions of |sum of a * dL/da over the inputs a of o_proj"
    " that belong to the head|, L the summed loss; query heads that share a key and value head count as one",
}
"""The meaning of a dump's numbers, by unit."""


@dataclass(frozen=True)
class Samples:
    """The drawn samples of a domain, in the order of the draw. left_out: pairs excluded before it, by reason."""

    domain: str
    ids: list[str]
    examples: list[Example]
    left_out: dict[str, int]

    def part(self, start: int, stop: int) -> "Samples":
        """The samples from `start` up to `stop`."""
        return Samples(self.domain, self.ids[start:stop], self.examples[start:stop], self.left_out)


def draw(rows: Sequence[Row], prompts: Prompts, domain: str, settings: Importance, count: int | None) -> Samples:
    """Draws `count` (None: all) of the rows that have at most `max_tokens` tokens and a target that can be a response.

    A smaller draw is the beginning of a larger one. Raises InputError if there are too few.
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
    path: Path,
    model: nn.Module,
    samples: Samples,
    prompts: Prompts,
    settings: Importance,
    about: dict[str, Any],
    team: Team = ALONE,
) -> None:
    """Scores every sample and writes `{domain}.npy`, `{domain}.stats.npz` and the sidecar `{domain}.json`.

    Resumes a killed job of the same model, corpus and settings, and ends with the same bytes.
    about: the sidecar's entries on model, corpus and settings; `unit` says what to score, by default neurons.
    team: the processes that share the batches, all of which must call this function. The bytes are the same as with one
    process. When the function returns in the main process, the dump is complete.
    Raises InputError for scores that float16 cannot hold.
    """
    examples = samples.examples
    # Longest first: a batch too large for the memory fails at once, and the time left is not underestimated.
    plan = batches([len(example) for example in examples], settings.tokens_per_batch)[::-1]
    about = described(about, samples)
    _check_sidecar(samples)
    with Taps(model, about.get("unit", NEURON)) as taps:
        shape = (len(taps.layers), len(examples), taps.width)
        name, folder = about["model"]["name"], path.with_name(f".{path.stem}.partial")
        given = settings.scale_exponent, name, _identity(about, samples, model)
        dump = Dump(folder, shape, plan, *given) if team.main else None
        try:
            mine = _dealt(team, dump, len(plan))
            part = dump or (Sender if team.apart else Part)(folder, plan, mine, *given)
            part.mine = mine
            _fill(part, model, taps, examples, prompts.tokenizer.pad_token_id, settings.scale_exponent, team)
            team.wait()
            if dump:
                dump.take(PATIENCE if team.apart else 0)
                dump.check()
                stats = path.with_suffix(".stats.npz")
                save_statistics(stats, dump.progress.statistics())
                sums = {path.name: dump.checksum()} | integrity.sums(stats)
                sidecar = _sidecar(samples, shape, dump.progress, prompts, settings, about) | {integrity.KEY: sums}
                write_json(path.with_suffix(".json"), sidecar)
                dump.finish(path)
        except InputError:
            if dump:
                dump.discard()
            raise
        finally:
            if dump:
                dump.release()


def _dealt(team: Team, dump: Dump | None, count: int) -> list[int]:
    """The batches, of `count`, that this process scores. The dump of the main process knows which are missing."""
    missing = set(dump.mine) if dump else set()
    lacking = team.sum([float(index in missing) for index in range(count)])
    left = [index for index, lacks in enumerate(lacking) if lacks]
    if team.main and len(left) < count:
        logger.info("resuming after batch %d of %d", count - len(left), count)
    return left[team.rank :: team.count]


def _fill(
    part: Part,
    model: nn.Module,
    taps: Taps,
    examples: Sequence[Example],
    pad: int,
    scale_exponent: int,
    team: Team,
) -> None:
    """Scores and writes the batches of this process."""
    sizes = [len(chosen) * max(len(examples[i]) for i in chosen) for chosen in part.batches]
    total, own = sum(sizes), sum(sizes[index] for index in part.mine)
    left = (collate([examples[i] for i in part.batches[index]], pad) for index in tuple(part.mine))
    start, done, shown = time.perf_counter(), 0, {"unit": "token", "unit_scale": True, "mininterval": 2}
    with tqdm(total=total, initial=max(0, total - own * team.count), disable=not team.main, **shown) as bar:
        for batch in stored(importance(model, left, taps), scale_exponent):
            tokens = sizes[part.mine[0]]
            done += len(batch.loss)
            part.write(batch)
            rate = team.count * done / (time.perf_counter() - start)
            bar.set_postfix_str(f"{rate:.1f} samples/s", refresh=False)
            bar.update(team.count * tokens)
            if team.orphaned:
                sys.exit(128 + signal.SIGTERM)  # its parent is gone: nobody would stop it or use what it writes


def about(
    name: str, model: nn.Module, manifest: dict[str, Any], corpus: Path, settings: DumpSettings
) -> dict[str, Any]:
    """A sidecar's entries on model, corpus and settings. name: the model's name in the configuration."""
    known = {key: manifest[key] for key in ("id", "hidden_size", "weights")}
    weights = unit_parameters(unit_layers(model, settings.unit)[0])
    return {
        "model": {"name": name, **known, "unit_parameters": weights},
        "unit": settings.unit,
        "corpus_sha256": sha256(corpus),
        "settings": settings.model_dump(mode="json"),
    }


def described(about: dict[str, Any], samples: Samples) -> dict[str, Any]:
    """The first entries of a dump's sidecar: what made it, and from what, except for the samples' ids."""
    tokens = _tokens_hash(samples.examples)
    return {**records.provenance(), **about, "domain": samples.domain, "tokens_sha256": tokens}


def _tokens_hash(examples: Sequence[Example]) -> str:
    """SHA-256 of the token ids that the model is given, which depend on tokenizer and chat template."""
    return hashlib.sha256(json.dumps([[e.prompt, e.response] for e in examples]).encode()).hexdigest()


def _identity(about: dict[str, Any], samples: Samples, model: nn.Module) -> str:
    """Hash of everything that a dump's bytes depend on; a partial dump is resumed only if its identity matches."""
    device = next(model.parameters()).device.type
    content = [about, samples.ids, device, torch.get_num_threads()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _check_sidecar(samples: Samples) -> None:
    """Raises InputError, before any scoring, if there are so many samples that their sidecar could not be read."""
    widest = {"loss": -sys.float_info.max, "tokens": 10**9, "response_tokens": 10**9}
    listed = {"samples": [{"id": name, **widest} for name in samples.ids]}
    size = len(json.dumps(listed, indent=1, ensure_ascii=False).encode("utf-8")) + OF_SIDECAR
    if size > LARGEST_JSON:
        most = len(samples.ids) * (LARGEST_JSON - OF_SIDECAR) // (size - OF_SIDECAR)
        raise InputError(
            f"importance.samples: {len(samples.ids):,} samples of {samples.domain} have a sidecar of up to {size:,}"
            f" bytes, and one of more than {LARGEST_JSON:,} is not read. Ask for {max(most, 1):,} at most"
        )


def _sidecar(
    samples: Samples,
    shape: tuple[int, int, int],
    progress: Progress,
    prompts: Prompts,
    settings: Importance,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Everything that is needed to read the dump without this program."""
    unit = about.get("unit", NEURON)
    return {
        **about,
        "shape": list(shape),
        "axes": ["layer", "sample", unit],
        "dtype": "float16",
        "scale_exponent": settings.scale_exponent,
        "meaning": MEANING[unit],
        "prompt": prompts.described(),
        "token_scope": "response",
        "samples": [
            {"id": name, "loss": float(value), "tokens": len(example), "response_tokens": len(example.response)}
            for name, value, example in zip(samples.ids, progress.loss, samples.examples, strict=True)
        ],
        "left_out": samples.left_out,
    }
