"""Results of a plan as tidy frames. A file that is missing, broken or incomplete is an InputError that names it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from caneft import neurons, settings
from caneft.config import Base
from caneft.errors import InputError
from caneft.plan import Plan
from caneft.reporting import inputs
from caneft.reporting.inputs import Block

BLOCK = ["model", "direction", "mixture"]
AGREEMENT = ["jaccard", "correlation", "noise_jaccard", "noise_correlation"]


def scores(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, variant, seed, domain and metric; base and copy are repeated in every block.

    Columns: model, direction, mixture, variant, method, seed (missing for base and copy), domain, seen, metric, score,
    signature, segments, empty, truncated, overlong. Copy has variant and method `copy`.
    """
    return _frame(row for file in inputs.score_files(plan) for row in _score_rows(plan, file, Path(root) / file.path))


def _score_rows(plan: Plan, file: inputs.ScoreFile, path: Path) -> Iterator[dict[str, Any]]:
    found = _read_json(path, with_format=True)
    seen = plan.seen(*file.block[1:])
    with _naming(path):
        for domain in file.domains:
            entry = found["domains"][domain]
            for metric in plan.config.scoring.metrics:
                yield {
                    **_identity(file),
                    "domain": domain,
                    "seen": domain in seen,
                    "metric": metric,
                    "score": float(entry[metric]["score"]),
                    "signature": entry[metric]["signature"],
                    "segments": int(entry["segments"]),
                    **{flag: int(entry["health"][flag]) for flag in ("empty", "truncated", "overlong")},
                }


def records(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, variant and seed: what the captions tell of the runs. Base trains nothing and has no rate.

    Columns: model, direction, mixture, variant, method, seed, learning_rate, trainable, total, pairs, steps, and for
    neuron variants neurons, fraction, gamma, neuron_parameters (missing elsewhere).
    """
    bases = plan.variants(Base)
    rows = [
        {**dict(zip(BLOCK, block, strict=True)), "variant": variant, "method": "base", "trainable": 0}
        for block in plan.blocks()
        for variant in bases
    ]
    rows += [_record_row(plan, file, Path(root) / file.path) for file in inputs.record_files(plan)]
    frame = _frame(rows)
    for column in ("learning_rate", "fraction", "gamma"):
        frame[column] = frame.get(column, pd.Series(index=frame.index)).astype("Float64")
    for column in ("trainable", "total", "pairs", "steps", "neurons", "neuron_parameters"):
        frame[column] = frame.get(column, pd.Series(index=frame.index)).astype("Int64")
    return frame


def _record_row(plan: Plan, file: inputs.RecordFile, path: Path) -> dict[str, Any]:
    record = _read_json(path, with_format=True)
    model, direction, _ = file.block
    asked = settings.tune(plan.config, model, direction, file.variant).model_dump(mode="json")
    with _naming(path):
        stale = sorted(key for key, value in asked.items() if record["settings"][key] != value)
        if stale:  # a copied or renamed results folder has lost what Snakemake knew of it
            raise InputError(
                f"{path}: this run was made with other settings ({', '.join(stale)}) than the configuration asks for."
                " Delete its folder and run the workflow again"
            )
        selection = record["selection"] or {}
        return {
            **_identity(file),
            "learning_rate": record["settings"]["learning_rate"],
            "trainable": record["parameters"]["trainable"],
            "total": record["parameters"]["total"],
            "pairs": record["tuning"]["examples"],
            "steps": record["tuning"]["steps"],
            "neurons": selection.get("neurons"),
            "fraction": selection.get("fraction"),
            "gamma": selection.get("gamma"),
            "neuron_parameters": selection.get("parameters"),
        }


def costs(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block and process: time and memory.

    Columns: model, direction, mixture, stage, variant, method, seed (these three missing where variants share the
    stage), wall_seconds, cpu_seconds, peak_memory_mb, cuda_peak_memory_mb (missing on CPU), device, threads.
    """
    measured = ("wall_seconds", "cpu_seconds", "peak_memory_mb", "cuda_peak_memory_mb", "device", "threads")
    rows = []
    for file in inputs.cost_files(plan):
        path = Path(root) / file.path
        cost = _read_json(path)
        with _naming(path):
            rows.append({**_identity(file), "stage": file.stage} | {name: cost[name] for name in measured})
    frame = _frame(rows)
    return frame.astype({"cuda_peak_memory_mb": "Float64"})


def neuron_counts(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, neuron variant, draw and layer: how many neurons are selected (`neurons`) of `width`."""
    rows = []
    for file in inputs.neuron_files(plan):
        chosen = _read_neurons(Path(root) / file.path)
        identity = {**dict(zip(BLOCK, file.block, strict=True)), "variant": file.variant, "method": file.method}
        for layer, count in enumerate(chosen.per_layer()):
            rows.append({**identity, "draw": file.draw, "layer": layer, "neurons": int(count), "width": chosen.width})
    columns = [*BLOCK, "variant", "method", "draw", "layer", "neurons", "width"]
    return pd.DataFrame(rows, columns=columns)


def information(plan: Plan, root: str | Path, block: Block) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Mutual information of one block's neurons and its sidecar; None if no variant of the plan needs it.

    Columns: layer, neuron, importance (mean over the domains), consensus (nats), selected (by the first `caneft`
    variant; False everywhere if there is none). One row per neuron.
    """
    file = next((file for file in inputs.information_files(plan) if file.block == block), None)
    if file is None:
        return None
    path = Path(root) / file.path
    sidecar = _read_json(Path(root) / file.sidecar)
    with _naming(Path(root) / file.sidecar):
        domains = sidecar["domains"]
        float(sidecar["null"]["quantile"]), float(sidecar["null"]["error_rate"])
    frame = _read_parquet(path, ["layer", "neuron", "consensus", *(f"importance_{domain}" for domain in domains)])
    frame["importance"] = frame[[f"importance_{domain}" for domain in domains]].mean(axis=1)
    frame["selected"] = False
    chosen = next((file for file in inputs.neuron_files(plan) if file.block == block and file.method == "caneft"), None)
    if chosen is not None:
        neuron_set = _read_neurons(Path(root) / chosen.path)
        frame["selected"] = (frame["layer"] * neuron_set.width + frame["neuron"]).isin(neuron_set.flat())
    return frame[["layer", "neuron", "importance", "consensus", "selected"]], sidecar


def stability(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block, number of samples and split: how far the selections of two disjoint halves agree.

    Columns: model, direction, mixture, samples (of each domain in each half), split, jaccard, correlation,
    noise_jaccard, noise_correlation (correlations are missing where undefined), neurons and total (the budget, and all
    neurons of the model). Empty if no variant of the plan selects neurons.
    """
    rows = [row for file in inputs.stability_files(plan) for row in _stability_rows(file, Path(root) / file.path)]
    return pd.DataFrame(rows, columns=[*BLOCK, "samples", "split", *AGREEMENT, "neurons", "total"]).astype(
        dict.fromkeys(AGREEMENT, float)
    )


def _stability_rows(file: inputs.StabilityFile, path: Path) -> Iterator[dict[str, Any]]:
    found = _read_json(path)
    with _naming(path):
        sizes = {"neurons": int(found["neurons"]), "total": int(found["neurons_of_the_model"])}
        for point in found["points"]:
            splits = zip(*(point[name] for name in AGREEMENT), strict=True)
            for split, values in enumerate(splits):
                agreement = dict(zip(AGREEMENT, values, strict=True))
                identity = {**dict(zip(BLOCK, file.block, strict=True)), "samples": int(point["samples"])}
                yield identity | {"split": split} | agreement | sizes


def _identity(file: Any) -> dict[str, Any]:
    return {
        **dict(zip(BLOCK, file.block, strict=True)),
        "variant": file.variant,
        "method": file.method,
        "seed": file.seed,
    }


def _frame(rows: Any) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    if "seed" not in frame:
        frame["seed"] = None
    return frame.astype({"seed": "Int64"})


def _read_json(path: Path, with_format: bool = False) -> dict[str, Any]:
    """A JSON object; `with_format`: its key `format` must be 1."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}.\nDelete it and run the workflow again.") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no JSON object.\nDelete it and run the workflow again.")
    if with_format and found.get("format") != 1:
        raise InputError(
            f"{path}: has format {found.get('format')!r}; this version reads format 1.\n"
            "Delete it and run the workflow again."
        )
    return found


def _read_parquet(path: Path, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be used: {error}.\nDelete it and run the workflow again.") from None


def _read_neurons(path: Path) -> neurons.NeuronSet:
    try:
        return neurons.load(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{error}.\nDelete {path} and run the workflow again.") from None


def _missing(path: Path) -> InputError:
    return InputError(f"{path}: does not exist.\nThe workflow makes it: run `snakemake` with the same configuration.")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn a missing key or a value of the wrong kind into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except KeyError as error:
        raise InputError(f"{path}: has no entry {error}.\nDelete it and run the workflow again.") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: has an unusable value: {error}.\nDelete it and run the workflow again.") from None
