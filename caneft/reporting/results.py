"""Results of a plan as tidy frames. A missing, broken or incomplete file raises an InputError that names it."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pandas as pd

from caneft import neurons
from caneft.config import Neurons, Scope
from caneft.config.methods import MASKED
from caneft.config.metrics import MEASURES, NEURAL, best
from caneft.config.names import AVERAGE_SEEN, AVERAGE_UNSEEN
from caneft.errors import InputError
from caneft.neurons import NeuronSet, read_description
from caneft.plan import Plan, parts
from caneft.reporting import inputs
from caneft.reporting.inputs import BLOCK, Block
from caneft.reporting.reading import checked, missing, naming, number, opened, read_lines
from caneft.storage import integrity
from caneft.storage.bounded import parse

AVERAGES = [AVERAGE_SEEN, AVERAGE_UNSEEN]
SCALE = {metric: 100 for metric in NEURAL if not MEASURES[metric].lower_is_better}
"""Neural metrics are shown times this factor, except those that count errors."""
FLAGS = ["empty", "truncated", "overlong", "wrong_language"]
"""Faults of an output; the last is missing if the target language cannot be identified."""
AGREEMENT = [f"{noise}{name}" for noise in ("", "noise_") for name in ("jaccard", "phi", "correlation", "held_out")]


def scores(plan: Plan, root: str | Path, blocks: Iterable[Block] | None = None) -> pd.DataFrame:
    """One row per block, variant, seed, domain and metric; base and copy are repeated in every block.

    Columns: model, direction, mixture, variant, method, seed (missing for base, icl and copy), domain, seen, metric,
    score, signature, segments, empty, truncated, overlong, wrong_language (missing if the target language cannot be
    identified), and adapter (the chosen one), oracle (the best one in this metric), oracle_score, which neural metrics
    and runs without a choice of adapters lack. Copy has variant and method `copy`. Only shown blocks have neural
    metrics. blocks: only these.
    """
    files = inputs.score_files(plan, blocks)
    frame = pd.DataFrame([row for file in files for row in _score_rows(plan, file, Path(root))])
    return frame.astype({"seed": "Int64", "wrong_language": "Int64"})


def _score_rows(plan: Plan, file: inputs.ScoreFile, root: Path) -> Iterator[dict[str, Any]]:
    """Rows of surface metrics, then of neural ones, scaled by `SCALE` and with the same counts of outputs."""
    seen, counts = plan.seen(*file.block[1:]), {}
    with opened(root / file.path, with_format=True) as surface:
        for domain in file.domains:
            entry = surface["domains"][domain]
            scored = {m: _scored(entry[m]) | _adapter(entry, m) for m in plan.config.scoring.metrics}
            health = {flag: int(checked(entry["health"][flag], int)) for flag in FLAGS[:-1]}
            health["wrong_language"] = checked(entry["health"]["wrong_language"], int)
            counts[domain] = {"segments": int(checked(entry["segments"], int)), **health}
            for metric, found in scored.items():
                about = {"domain": domain, "seen": domain in seen, "metric": metric}
                yield file.row | about | found | counts[domain]
    for metric, name in file.neural.items():
        with opened(root / name, with_format=True) as neural:
            for domain in file.domains:
                about = {"domain": domain, "seen": domain in seen, "metric": metric}
                found = _scored(neural["domains"][domain], SCALE.get(metric, 1))
                yield file.row | about | found | _adapter({}, metric) | counts[domain]


def _scored(entry: Mapping[str, Any], scale: int = 1) -> dict[str, Any]:
    return {"score": scale * float(entry["score"]), "signature": checked(entry["signature"], str)}


def metric_training(plan: Plan, root: str | Path) -> dict[str, dict[str, Any]]:
    """How well each neural metric that is trained here detects corrupted translations: `training` of its manifest."""
    found = {}
    for metric, name in inputs.metric_files(plan).items():
        with opened(Path(root) / name, with_format=True) as manifest:
            if "training" in manifest:
                for judge in ("comet", "chrf"):
                    float(manifest["training"][judge]["pearson"])
                found[metric] = dict(manifest["training"])
    return found


def _adapter(entry: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """If several adapters have translated: the chosen one, whose score this is, and the best one in this metric."""
    if "adapters" not in entry:
        return {"adapter": None, "oracle": None, "oracle_score": float("nan")}
    reached = {adapter: float(found[metric]["score"]) for adapter, found in sorted(entry["adapters"].items())}
    oracle = best(metric, reached)
    return {"adapter": str(entry["chosen"]), "oracle": oracle, "oracle_score": reached[oracle]}


def records(plan: Plan, root: str | Path, blocks: Iterable[Block] | None = None) -> pd.DataFrame:
    """One row per block, variant and seed, with what the captions say about the runs. Base and icl train nothing.

    Columns: model, direction, mixture, variant, method, seed, learning_rate, choice (content of choice.json, None for a
    fixed rate), trainable, total, pairs, steps, dev_loss (nats per token), commit (of the code; missing if unknown),
    and unit, neurons, fraction, gamma, neuron_parameters (missing for variants that select neither neurons nor heads).
    blocks: only these.
    """
    blocks = list(plan.blocks() if blocks is None else blocks)
    rows = [
        {**dict(zip(BLOCK, block, strict=True)), "variant": run.variant, "method": inputs.method_of(plan, run)}
        | {"trainable": 0}
        for block in blocks
        for run in plan.untrained_runs(*block)
    ]
    rows += [_record_row(plan, file, Path(root) / file.path) for file in inputs.record_files(plan, blocks)]
    frame = pd.DataFrame(rows, columns=[*BLOCK, "variant", "method", "seed", "learning_rate", "choice", *RECORD])
    kinds = {column: {int: "Int64", float: "Float64", str: object}[kind] for column, (_, kind) in RECORD.items()}
    frame = frame.astype({"seed": "Int64", "learning_rate": "Float64", "choice": object} | kinds)
    for column in ("choice", *(name for name, (_, kind) in RECORD.items() if kind is str)):
        frame[column] = frame[column].where(frame[column].notna(), None)
    return frame


RECORD = {
    "trainable": ("parameters trainable", int),
    "total": ("parameters total", int),
    "pairs": ("tuning examples", int),
    "steps": ("tuning steps", int),
    "dev_loss": ("tuning dev_loss", float),
    "commit": ("code commit", str),
    "unit": ("selection unit", str),
    "neurons": ("selection neurons", int),
    "fraction": ("selection fraction", float),
    "gamma": ("selection gamma", float),
    "neuron_parameters": ("selection parameters", int),
}
"""Columns of `records`: section and entry of a record, and the kind of its values."""


def _record_row(plan: Plan, file: inputs.File, path: Path) -> dict[str, Any]:
    record = _read_record(plan, file, path)
    with naming(path):
        selects = isinstance(plan.config.methods[file.variant], Neurons)  # LoRA of equal size has a selection, too
        selection = {"unit": "neuron"} | dict(record["selection"]) if selects else {}
        row = file.row | {"learning_rate": float(record["settings"]["learning_rate"]), "choice": record.get("choice")}
        if row["choice"] is not None:
            dict(row["choice"]["grid"]), float(row["choice"]["learning_rate"]), row["choice"]["edge"]
        for column, (way, kind) in RECORD.items():
            section, name = way.split()
            value = selection.get(name) if section == "selection" else record[section][name]
            row[column] = checked(value, *((int, float) if kind is float else (kind,)))
        return row


def _read_record(plan: Plan, file: inputs.File, path: Path, rate: float | None = None) -> dict[str, Any]:
    """Record of a run. Raises InputError if its settings are not those of the plan. rate: that of a trial."""
    model, direction, _ = file.block
    asked = parts.tune(plan.config, model, direction, file.variant, rate).model_dump(mode="json")
    with opened(path, with_format=True) as record:
        stale = sorted(key for key, value in asked.items() if record["settings"][key] != value)
    if stale:  # Snakemake knows nothing about a results folder that was copied or renamed
        raise InputError(
            f"{path}: this run was made with other settings ({', '.join(stale)}) than the configuration asks for."
            " Delete its folder and run the workflow again"
        )
    return record


def trials(plan: Plan, root: str | Path, blocks: Iterable[Block] | None = None) -> pd.DataFrame:
    """One row per learning rate tried, by block (with the mixture that rates are chosen on), variant and rate.

    Columns: model, direction, mixture, variant, method, learning_rate, n_seeds, dev (mean over seeds and the mixture's
    domains, in the metric that chooses), behind and behind_se (how far dev is below the highest of the grid, and the
    standard error of that), chosen, edge (`low` or `high` if the rate is chosen and a better one may be outside the
    grid), diverged_at (the first step at which a trial diverged), average_seen and average_unseen (headline metric on
    the test sets, mean over seeds). A rate has no scores if one of its trials diverged. blocks: only these.
    """
    columns = [*BLOCK, "variant", "method", "learning_rate", "n_seeds", "dev", "behind", "behind_se", "chosen", "edge"]
    columns += ["diverged_at", *AVERAGES]
    by_rate: dict[tuple, list] = {}
    for file in inputs.trial_files(plan, blocks):
        by_rate.setdefault((file.block, file.variant, file.rate), []).append(file)
    rows = [_trial_row(plan, files, Path(root)) for files in by_rate.values()]
    kinds = dict.fromkeys(["learning_rate", "dev", "behind", "behind_se", *AVERAGES], float) | {"chosen": bool}
    return pd.DataFrame(rows, columns=columns).astype(kinds | {"diverged_at": "Int64"})


def _trial_row(plan: Plan, files: list[inputs.TrialFile], root: Path) -> dict[str, Any]:
    """The row of one rate. files: those of its seeds."""
    first, rate = files[0], f"{files[0].rate:g}"
    with opened(root / first.choice, with_format=True) as choice:
        dev, error, edge = number(choice["grid"][rate]), number(choice["errors"][rate]), choice["edge"]
        highest = number(choice["grid"][f"{choice['best']:g}"])
        chosen = choice["learning_rate"] == first.rate
    stops = [_diverged_at(plan, file, root) for file in files]
    averages = [_trial_averages(plan, file, root) for file in files] if not math.isnan(dev) else []
    return first.row | {
        **{"learning_rate": first.rate, "n_seeds": len(files), "dev": dev, "behind": highest - dev, "behind_se": error},
        **{"chosen": chosen, "edge": edge if chosen else None},
        "diverged_at": min((step for step in stops if step is not None), default=None),
        **{name: _mean([found[name] for found in averages]) for name in AVERAGES if averages},
    }


def _diverged_at(plan: Plan, file: inputs.TrialFile, root: Path) -> int | None:
    """Step at which a trial diverged; None if it did not, or if its record is too old to say."""
    record = _read_record(plan, file, root / file.path, file.rate)
    with naming(root / file.path):
        return dict(record["tuning"]).get("diverged_at")


def _trial_averages(plan: Plan, file: inputs.TrialFile, root: Path) -> dict[str, float]:
    """A trial's mean headline scores over the seen and over the unseen domains."""
    if file.scores is None:
        return dict.fromkeys(AVERAGES, float("nan"))
    groups = dict(zip(AVERAGES, (plan.seen(*file.block[1:]), plan.unseen(*file.block[1:])), strict=True))
    with opened(root / file.scores, with_format=True) as found:
        entries, metric = found["trials"][file.attempt], plan.config.scoring.metrics[0]
        return {name: _mean([float(entries[d][metric]["score"]) for d in domains]) for name, domains in groups.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def losses(plan: Plan, root: str | Path, blocks: Iterable[Block] | None = None) -> pd.DataFrame:
    """One row per block, variant, seed and optimizer step: loss and dev_loss (missing at most steps), nats per token.

    Columns: model, direction, mixture, variant, method, seed, step, loss, dev_loss. blocks: only these.
    """
    rows = [row for file in inputs.log_files(plan, blocks) for row in _loss_rows(file, Path(root) / file.path)]
    columns = [*BLOCK, "variant", "method", "seed", "step", "loss", "dev_loss"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "int64", "loss": float, "dev_loss": float})


def _loss_rows(file: inputs.File, path: Path) -> Iterator[dict[str, Any]]:
    texts = read_lines(path)
    with naming(path):
        for line in map(parse, texts):
            losses = {"loss": float(line["loss"]), "dev_loss": number(line.get("dev_loss"))}
            yield file.row | {"step": int(checked(line["step"], int))} | losses


def costs(
    plan: Plan, root: str | Path, blocks: Iterable[Block] | None = None, stage: str | None = None
) -> pd.DataFrame:
    """Time and memory: one row per block and process. blocks: only these. stage: only this one.

    Columns: model, direction, mixture, stage, variant and method (missing if variants share the stage), seed (of a
    final run or its draw, else missing), wall_seconds, cpu_seconds, peak_memory_mb, cuda_peak_memory_mb (missing on
    CPU), device, threads.
    """
    measured = ("wall_seconds", "cpu_seconds", "peak_memory_mb", "cuda_peak_memory_mb", "threads")
    rows = []
    for file in inputs.cost_files(plan, blocks):
        if stage in (None, file.stage):
            with opened(Path(root) / file.path) as cost:
                numbers = {name: checked(cost[name], int, float) for name in measured}
                rows.append(file.row | {"stage": file.stage, "device": checked(cost["device"], str)} | numbers)
    columns = [*BLOCK, "variant", "method", "seed", "stage", *measured, "device"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64", "cuda_peak_memory_mb": "Float64"})


def decoded(plan: Plan, root: str | Path) -> pd.DataFrame:
    """The engines that decoded: one row per block, final run and domain; empty if the plan has only transformers.

    Columns: model, direction, mixture, variant, engine, version, dtype.
    """
    files = inputs.cost_files(plan) if plan.config.decoding.engine != "transformers" else ()
    rows = []
    for file in files:
        if file.stage == "translation":
            with opened(Path(root) / file.path) as cost:
                for domain in plan.tested(*file.block[1:]):
                    engine = cost["domains"][domain]["engine"]
                    said = [checked(engine[name], str) for name in ("name", "version", "dtype")]
                    rows.append((*file.block, file.variant, *said))
    return pd.DataFrame(rows, columns=[*BLOCK, "variant", "engine", "version", "dtype"])


def neuron_counts(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per selection, neuron variant, draw and layer: how many neurons are selected (`neurons`) of `width`.

    Columns: model, direction, mixture (that neurons are selected on), variant, method, draw, layer, neurons, width, and
    by_chance (how many to expect in this layer from a random draw of equal size among the same candidates).
    """
    rows = []
    for selection, blocks in inputs.selections(plan).items():
        for file, chosen, about in neuron_sets(plan, root, blocks):
            candidates = about.get("candidates_per_layer", [chosen.width] * chosen.layers)
            named = (*selection, file.variant, file.method, file.seed)
            for layer, (count, among) in enumerate(zip(chosen.per_layer().tolist(), candidates, strict=True)):
                rows.append((*named, layer, count, chosen.width, len(chosen) * among / sum(candidates)))
    columns = [*BLOCK, "variant", "method", "draw", "layer", "neurons", "width", "by_chance"]
    return pd.DataFrame(rows, columns=columns)


def neuron_sets(
    plan: Plan, root: str | Path, blocks: Iterable[Block]
) -> Iterator[tuple[inputs.File, NeuronSet, dict[str, Any]]]:
    """Each set of neurons of these blocks with its file and description; one that several blocks share comes once."""
    files = {file.path: file for file in inputs.neuron_files(plan, blocks) if file.unit == "neuron"}
    for path, file in files.items():
        yield file, read_neurons(Path(root) / path), read_description(Path(root) / path)


class Information(NamedTuple):
    """One row per neuron: layer, neuron, importance (mean over the domains), consensus (nats), selected.

    All are of the shared draw of importance samples. sidecar: content of `information.json`. variant: the one whose
    neurons are `selected`, the first of method `caneft`; without one, nothing is selected.
    """

    table: pd.DataFrame
    sidecar: dict[str, Any]
    variant: str | None = None


def information(plan: Plan, root: str | Path) -> dict[Block, Information]:
    """Mutual information of neurons, by (model, direction, mixture that neurons are selected on)."""
    return {s: _information(plan, Path(root), blocks) for s, blocks in inputs.selections(plan).items()}


def _information(plan: Plan, root: Path, blocks: list[Block]) -> Information:
    frame, sidecar = information_table(plan, root, blocks, "importance")
    frame["importance"] = frame[[f"importance_{domain}" for domain in sidecar["domains"]]].mean(axis=1)
    frame["selected"] = False
    chosen = inputs.shared_set(plan, blocks)
    if chosen is not None:
        neuron_set = read_neurons(root / chosen.path)
        frame["selected"] = (frame["layer"] * neuron_set.width + frame["neuron"]).isin(neuron_set.flat())
    columns = ["layer", "neuron", "importance", "consensus", "selected"]
    return Information(frame[columns], sidecar, chosen.variant if chosen else None)


def information_table(plan: Plan, root: Path, blocks: list[Block], measure: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row per neuron: layer, neuron, consensus, `{measure}_{domain}` of each domain; and the table's sidecar."""
    file = next(file for file in inputs.information_files(plan, blocks) if file.unit == "neuron")
    with opened(root / inputs.sidecar(file)) as sidecar:
        domains = [checked(domain, str) for domain in sidecar["domains"]]
        float(sidecar["null"]["quantile"]), float(sidecar["null"]["error_rate"])
    columns = ["layer", "neuron", "consensus", *(f"{measure}_{domain}" for domain in domains)]
    return read_parquet(root / file.path, columns), sidecar


def stability(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per selection, criterion, scope, number of samples and split: how far two disjoint halves agree.

    Columns: model, direction, mixture (that neurons are selected on), criterion, scope (of the mask: `model`, `layer`,
    or `off` without one), samples (of each domain in each half), split, jaccard, phi, correlation (these two missing if
    undefined), held_out (consensus MI on the other half less its null, in nats), the same four with `noise_` for
    shuffled labels, neurons (the budget) and total (all neurons of the model). Empty if no variant of the plan selects
    neurons.
    """
    rows = []
    for selection, blocks in inputs.selections(plan).items():
        rows += _stability_rows(selection, Path(root) / next(inputs.stability_files(plan, blocks)).path)
    columns = [*BLOCK, "criterion", "scope", "samples", "split", *AGREEMENT, "neurons", "total"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(AGREEMENT, float))


def own_curve(plan: Plan, frame: pd.DataFrame, variant: str | None) -> pd.DataFrame:
    """The rows of `stability` for a variant's criterion and mask; none if its mask or budget has no curve."""
    if not isinstance(plan.config.methods.get(variant), Neurons):
        return frame[:0]
    own, shared = parts.selection(plan.config, variant), plan.config.selection
    budget = all(getattr(own, key) == getattr(shared, key) for key in ("fraction", "parameters", "gamma"))
    if not budget or own.task_relevant not in (None, shared.task_relevant):
        return frame[:0]
    return frame[(frame["criterion"] == own.criterion) & (frame["scope"] == own.mask)]


def _stability_rows(selection: Block, path: Path) -> Iterator[dict[str, Any]]:
    with opened(path) as found:
        sizes = {"neurons": int(found["neurons"]), "total": int(found["neurons_of_the_model"])}
        for point in found["points"]:
            about = {"criterion": point["criterion"], "scope": point["scope"], "samples": int(point["samples"])}
            if about["criterion"] not in MASKED or about["scope"] not in (*get_args(Scope), "off"):
                raise ValueError(f"no curve is of {about['criterion']!r} and {about['scope']!r}")
            for split, values in enumerate(zip(*(point[name] for name in AGREEMENT), strict=True)):
                agreement = {name: checked(value, int, float) for name, value in zip(AGREEMENT, values, strict=True)}
                yield dict(zip(BLOCK, selection, strict=True)) | about | {"split": split} | agreement | sizes


def read_parquet(path: Path, columns: list[str]) -> pd.DataFrame:
    """Reads these columns of a table."""
    integrity.verify_beside(path, path.with_suffix(".json"))
    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError) as error:
        raise InputError(f"{path}: cannot be used: {error}.\nDelete it and run the workflow again.") from None


def read_neurons(path: Path) -> NeuronSet:
    """Reads a set of neurons or heads."""
    try:
        return neurons.load(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{error}.\nDelete {path} and run the workflow again.") from None
