"""Loss of finished runs on dev pairs that no choice was based on: more precise than the BLEU of as many sentences."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from caneft.corpora import store
from caneft.errors import InputError
from caneft.models import loading, manifests
from caneft.models.loss import response_losses
from caneft.plan import Block, Plan, Run, parts
from caneft.prompts import Example, Prompts, batches, collate
from caneft.runtime.devices import prepare
from caneft.scoring.significance import Errors, holm, pooled_deviation
from caneft.storage import integrity
from caneft.storage.bounded import read_arrays
from caneft.storage.files import atomic_write
from caneft.tuning import methods

RESAMPLES, SEED = 2000, 0
BASE = "base"
FOLDER = "held-out"
"""Folder of the results with the losses of single pairs, so that a second call measures only new runs."""


class Losses(NamedTuple):
    """For the pairs of one domain, (pairs,) each: the loss summed over response tokens, in nats, and their number."""

    sums: np.ndarray
    tokens: np.ndarray


ByDomain = dict[str, Losses]


def examples(plan: Plan, root: Path, block: Block, prompts: Prompts, pairs: int) -> dict[str, list[Example]]:
    """For each seen domain, the first pairs of its dev set that are not in the mixture's and not too long."""
    _, direction, mixture = block
    used = {row.id for row in store.read(root / f"mixtures/{direction}/{mixture}/dev.jsonl")}
    found = {}
    for domain in plan.seen(direction, mixture):
        rows = [row for row in store.read(root / f"corpora/{direction}/{domain}/dev.jsonl") if row.id not in used]
        told = ((row.source, row.target, domain) for row in rows)
        found[domain] = prompts.encode_training(told, plan.config.tuning.max_tokens).examples[:pairs]
        if len(found[domain]) < pairs:
            raise InputError(
                f"domain {domain}: {len(found[domain])} dev pairs are left beside those of the mixture, and {pairs} are"
                " asked for. Ask for fewer (--pairs), or give the domain more dev pairs"
            )
    return found


@torch.no_grad()
def pair_losses(tuned: methods.Tuned, pairs: Sequence[Example], tokens: int = 4096) -> np.ndarray:
    """Loss of each pair, summed over its response tokens, in nats: float64 (pairs,)."""
    losses, device = np.empty(len(pairs)), next(tuned.model.parameters()).device
    for chosen in batches([len(pair) for pair in pairs], tokens):
        picked = [pairs[i] for i in chosen]
        tuned.begin([pair.domain for pair in picked])
        batch = collate(picked, 0).to(device)
        of_pairs = torch.zeros(len(chosen), dtype=torch.float64)
        losses[chosen] = of_pairs.index_add_(0, batch.rows.cpu(), response_losses(tuned.model, batch).double().cpu())
    return losses


def measured(
    plan: Plan, root: Path, block: Block, variants: Sequence[str], pairs: int, threads: int
) -> Iterator[tuple[Run | None, ByDomain]]:
    """The finished runs of the variants, as they are served, with their losses; None comes first, for the base."""
    model, direction, mixture = block
    manifest = manifests.read_manifest(root / f"models/{model}/manifest.json")
    prompts = Prompts.of(loading.load_tokenizer(manifest), parts.prompt(plan.config, model, direction))
    given = examples(plan, root, block, prompts, pairs)
    dtype, device = plan.config.models[model].dtype, prepare(threads)
    asked = (run for run in plan.trained_runs(*block) if run.variant in variants)
    for run in [None, *(run for run in asked if (root / run.folder / "record.json").exists())]:
        what = integrity.read(root / run.folder / "record.json") if run else manifest["weights"]
        kept = root / FOLDER / f"{run.folder if run else mixture}-{_identity(what, given)}.npz"
        if not kept.exists():
            artefact = root / plan.artefact(run) if run else None
            merged = bool(run) and parts.translation(plan.config, model, direction, run.variant).lora == "merged"
            tuned = methods.load(manifest, dtype, device, artefact=artefact, merged=merged)
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as beside, beside.open("wb") as file:
                np.savez(file, **{domain: pair_losses(tuned, own) for domain, own in given.items()})
        try:
            losses = read_arrays(kept, given)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{kept}: cannot be read: {error}. Delete it and run this again") from None
        lengths = {domain: np.array([len(pair.response) for pair in own]) for domain, own in given.items()}
        yield run, {domain: Losses(losses[domain], tokens) for domain, tokens in lengths.items()}


def _identity(what: Any, given: dict[str, list[Example]]) -> str:
    """Hash of the pairs and of what is measured, by its weights' checksums: new ones do not replace kept losses."""
    pairs = {domain: [(pair.prompt, pair.response) for pair in own] for domain, own in given.items()}
    return hashlib.sha256(json.dumps([what, pairs], sort_keys=True).encode()).hexdigest()[:16]


def average(losses: ByDomain, drawn: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Mean over domains of the loss per response token. drawn: indices of pairs, (resamples, pairs) by domain."""
    of_domains = []
    for domain, (sums, tokens) in losses.items():
        picked = np.arange(len(sums))[None] if drawn is None else drawn[domain]
        of_domains.append(sums[picked].sum(axis=1) / tokens[picked].sum(axis=1))
    return np.mean(of_domains, axis=0)


def errors(runs: dict[str, list[ByDomain]]) -> Errors:
    """Mean losses, with the data for a difference's error. runs: by variant; the base is one that no seed changes."""
    rng = np.random.default_rng(SEED)
    some = next(iter(runs.values()))[0]
    drawn = {domain: rng.integers(0, len(sums), (RESAMPLES, len(sums))) for domain, (sums, _) in some.items()}
    means = {variant: [float(average(losses)[0]) for losses in own] for variant, own in runs.items()}
    resampled = [np.mean([average(losses, drawn) for losses in own], axis=0) for own in runs.values()]
    trained = {variant: own for variant, own in means.items() if variant != BASE}
    return Errors(
        {variant: float(np.mean(own)) for variant, own in means.items()},
        np.cov(resampled),
        {variant: len(trained.get(variant, ())) for variant in means},
        *pooled_deviation(trained.values()),
    )


def differences(runs: dict[str, list[ByDomain]], method: str) -> pd.DataFrame:
    """The method less each other variant, by the test between methods; p_holm covers all rows that have a p.

    A row has no p if one of its two variants was trained in fewer than three runs. runs: as for `errors`.
    """
    found, rows = errors(runs), []
    for name in (variant for variant in runs if variant != method):
        difference = found.contrast({method: 1, name: -1})
        p = difference.p if found.enough([method, name]) else math.nan
        parts = difference.segments, difference.runs, difference.df
        rows.append([method, name, difference.value, *difference.interval, *parts, p])
    columns = ["a", "b", "difference", "low", "high", "se_segments", "se_runs", "df", "p_runs"]
    table = pd.DataFrame(rows, columns=columns)
    tested = table["p_runs"].notna()
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p_runs"].tolist())
    return table.reindex(columns=[*columns, "p_holm"])


def table(block: Block, found: list[tuple[Run | None, ByDomain]]) -> pd.DataFrame:
    """A row for each run and domain: the loss per response token, in nats."""
    rows = []
    for run, losses in found:
        name = (run.variant, run.seed) if run else (BASE, 0)
        for domain, (sums, tokens) in losses.items():
            rows.append([*block, *name, domain, len(sums), tokens.sum(), sums.sum() / tokens.sum()])
    columns = ["model", "direction", "mixture", "variant", "seed", "domain", "pairs", "response_tokens", "loss"]
    return pd.DataFrame(rows, columns=columns)
