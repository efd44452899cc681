"""Loss of finished runs on dev pairs that nothing was chosen on: far more exact than BLEU of as many sentences.

    python -m benchmarks.held_out_loss results/gemma-seeds --pairs 500 --out docs/study/gemma

Measures the base and every finished run of one mixture, as it is served, on as many pairs of each seen domain. The
mixture's dev set does not have these pairs. Writes `held_out_loss.csv`, a row for each run and domain, and
`held_out_differences.csv`: the method (`significance.method`) less each other variant, averaged over domains, by the
test of methods of docs/method.md. The losses of single pairs stay in the results folder, so a second call measures new
runs only.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from caneft.commands.finished import open_plan
from caneft.corpora import store
from caneft.errors import InputError, did_you_mean
from caneft.models import loading, manifests
from caneft.models.loss import response_losses
from caneft.plan import Plan, Run, comparison, settings
from caneft.prompts import Example, Prompts, batches, collate
from caneft.runtime.cli import step
from caneft.runtime.devices import prepare
from caneft.scoring.significance import Difference, holm, pooled_deviation
from caneft.storage.files import atomic_write
from caneft.tuning import methods

RESAMPLES, SEED = 2000, 0


def examples(
    plan: Plan, root: Path, block: tuple[str, str, str], prompts: Prompts, pairs: int
) -> dict[str, list[Example]]:
    """By seen domain the first pairs of its dev set that the mixture's does not have and that are not too long."""
    _, direction, mixture = block
    used = {row.id for row in store.read(root / f"mixtures/{direction}/{mixture}/dev.jsonl")}
    found = {}
    for domain in plan.seen(direction, mixture):
        rows = [row for row in store.read(root / f"corpora/{direction}/{domain}/dev.jsonl") if row.id not in used]
        told = ((row.source, row.target, domain) for row in rows)
        found[domain] = prompts.encode_training(told, plan.config.tuning.max_tokens).examples[:pairs]
        if len(found[domain]) < pairs:
            raise InputError(f"{domain} has {len(found[domain])} dev pairs left; ask for so many (--pairs)")
    return found


@torch.no_grad()
def segment_losses(model: torch.nn.Module, pairs: Sequence[Example], tokens: int = 4096) -> np.ndarray:
    """Loss of each pair, summed over its response tokens, in nats: float64 (pairs,)."""
    losses = np.empty(len(pairs))
    for chosen in batches([len(pair) for pair in pairs], tokens):
        batch = collate([pairs[i] for i in chosen], 0)
        of_positions = response_losses(model, batch).double()
        losses[chosen] = torch.zeros(len(chosen)).double().index_add_(0, batch.rows, of_positions).numpy()
    return losses


def measured(
    plan: Plan, root: Path, block: tuple[str, str, str], variants: Sequence[str], pairs: int, threads: int
) -> Iterator[tuple[Run | None, dict]]:
    """The base and each finished run of the variants, with the losses of its pairs and their tokens, by domain."""
    model, direction, _ = block
    manifest = manifests.read_manifest(root / f"models/{model}/manifest.json")
    prompts = Prompts.of(loading.load_tokenizer(manifest), settings.prompt(plan.config, model, direction))
    given = examples(plan, root, block, prompts, pairs)
    lengths = {domain: np.array([len(pair.response) for pair in own]) for domain, own in given.items()}
    dtype, device = plan.config.models[model].dtype, prepare(threads)
    asked = (run for run in plan.trained_runs(*block) if run.variant in variants)
    finished = [run for run in asked if (root / run.folder / "record.json").exists()]
    for run in [None, *finished]:
        kept = root / "held-out" / (f"{run.folder}.npz" if run else f"{model}-{direction}.npz")
        if not kept.exists():
            artefact = root / plan.artefact(run) if run else None
            merged = bool(run) and settings.translation(plan.config, model, direction, run.variant).lora == "merged"
            tuned = methods.load(manifest, dtype, device, artefact=artefact, merged=merged).model
            kept.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(kept) as beside, beside.open("wb") as file:
                np.savez(file, **{domain: segment_losses(tuned, own) for domain, own in given.items()})
            print(f"measured {run.name if run else 'base'}", flush=True)
        losses = dict(np.load(kept, allow_pickle=False))
        if any(len(losses[domain]) != pairs for domain in given):
            raise InputError(f"{kept}: is of another number of pairs. Delete {root / 'held-out'} and begin again")
        yield run, {domain: (losses[domain], lengths[domain]) for domain in given}


def average(losses: dict[str, tuple[np.ndarray, np.ndarray]], drawn: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Mean over domains of the loss per response token; drawn: indices of pairs, (resamples, pairs) by domain."""
    of_domains = []
    for domain, (loss, tokens) in losses.items():
        picked = np.arange(len(loss))[None] if drawn is None else drawn[domain]
        of_domains.append(loss[picked].sum(axis=1) / tokens[picked].sum(axis=1))
    return np.mean(of_domains, axis=0)


def differences(found: dict[tuple[str, int], dict], method: str) -> pd.DataFrame:
    """The method less each other variant, with both parts of the error. found: by variant and seed, 0 for the base."""
    rng = np.random.default_rng(SEED)
    some = next(iter(found.values()))
    drawn = {domain: rng.integers(0, len(loss), (RESAMPLES, len(loss))) for domain, (loss, _) in some.items()}
    by_variant: dict[str, list] = {}
    for (variant, _), losses in found.items():
        by_variant.setdefault(variant, []).append(losses)
    means = {name: [float(average(run)[0]) for run in runs] for name, runs in by_variant.items()}
    resampled = {name: np.mean([average(run, drawn) for run in runs], axis=0) for name, runs in by_variant.items()}
    deviation, df = pooled_deviation([runs for name, runs in means.items() if name != "base"])
    rows = []
    for name in by_variant:
        if name != method:
            shares = sum(1 / len(means[each]) for each in (method, name) if each != "base")
            value = float(np.mean(means[method]) - np.mean(means[name]))
            segments = float((resampled[method] - resampled[name]).std(ddof=1))
            both = Difference(value, segments, deviation * shares**0.5, df)
            low, high = both.interval
            rows.append([method, name, value, low, high, segments, both.runs, df, both.p])
    table = pd.DataFrame(
        rows, columns=["a", "b", "difference", "low", "high", "se_segments", "se_runs", "df", "p_runs"]
    )
    return table.assign(p_holm=holm(table["p_runs"].tolist()))


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder, such as results/gemma-seeds")
    parser.add_argument("--mixture", default="all")
    parser.add_argument("--variants", nargs="+", help="by default all that have finished runs")
    parser.add_argument("--pairs", type=int, default=500, help="of each domain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the two tables")
    args = parser.parse_args()
    plan = open_plan(args.results)
    (block,) = [block for block in plan.blocks() if block[2] == args.mixture]
    trained = list(dict.fromkeys(run.variant for run in plan.trained_runs(*block)))
    if unknown := set(args.variants or ()) - set(trained):
        raise InputError(f"--variants {min(unknown)}: {did_you_mean(min(unknown), trained)}")
    found, rows = {}, []
    for run, losses in measured(plan, args.results, block, args.variants or trained, args.pairs, args.threads):
        name = (run.variant, run.seed) if run else ("base", 0)
        found[name] = losses
        for domain, (loss, tokens) in losses.items():
            rows.append([*block, *name, domain, len(loss), int(tokens.sum()), loss.sum() / tokens.sum()])
    columns = ["model", "direction", "mixture", "variant", "seed", "domain", "pairs", "response_tokens", "loss"]
    args.out.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=columns).to_csv(args.out / "held_out_loss.csv", index=False, float_format="%.6f")
    table = differences(found, comparison.method(plan, block))
    table.to_csv(args.out / "held_out_differences.csv", index=False, float_format="%.6g")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
