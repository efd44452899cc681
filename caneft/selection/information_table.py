"""From the dumps of a mixture's domains to its information table: opens and checks dumps, and describes the table."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from caneft.corpora.store import read_json
from caneft.errors import InputError
from caneft.importance.dumps import SUMS, DumpReader, DumpSet
from caneft.neurons import NEURON
from caneft.plan.settings import InformationSettings
from caneft.selection import information
from caneft.storage import integrity
from caneft.storage.bounded import AGAIN, read_arrays


def open_dump(path: Path) -> tuple[DumpReader, dict[str, np.ndarray], dict[str, Any]]:
    """Scores, statistics and sidecar of one dump. Raises InputError naming the faulty file and the fault."""
    sidecar, scores = _sidecar(path.with_suffix(".json")), DumpReader(path)
    integrity.verify(path.parent, sidecar.get(integrity.KEY, {}))
    said = sidecar["shape"], len(sidecar["samples"])
    if said != (list(scores.shape), scores.shape[1]):
        raise InputError(
            f"{path}: holds float16 of shape {scores.shape}, but its sidecar says {said[0]} and names {said[1]}"
            " samples. Delete both and run the workflow again."
        )
    return scores, _statistics(path.with_suffix(".stats.npz"), scores.shape[::2]), sidecar


def open_dumps(paths: Iterable[Path]) -> DumpSet:
    """Opens all dumps of a mixture, as `open_dump` does."""
    paths = sorted(paths)
    opened = [open_dump(path) for path in paths]
    domains = [sidecar["domain"] for _, _, sidecar in opened]
    for place, domain in enumerate(domains):
        if domain in domains[:place]:
            raise InputError(
                f"{paths[domains.index(domain)]} and {paths[place]} are both dumps of the domain '{domain}', by their"
                " sidecars. Delete the one whose name is another domain's, and run the workflow again."
            )
    return DumpSet(*(dict(zip(domains, parts, strict=True)) for parts in zip(*opened, strict=True)))


def _sidecar(path: Path) -> dict[str, Any]:
    """Content of a sidecar, checked for all entries that are read anywhere."""
    content = read_json(path)
    try:
        _check_kinds(content)
    except KeyError as error:
        raise InputError(f"{path}: not the sidecar of a dump: it lacks {error}. {AGAIN}") from None
    except TypeError as error:
        raise InputError(f"{path}: not the sidecar of a dump: {error}. {AGAIN}") from None
    return content


def _check_kinds(sidecar: Mapping[str, Any]) -> None:
    """Raises KeyError for a missing entry, and TypeError for a value that no dump has."""
    exponent, tokens = sidecar["scale_exponent"], [sample["response_tokens"] for sample in sidecar["samples"]]
    losses = [sample["loss"] for sample in sidecar["samples"]]
    sidecar["shape"], sidecar["model"]["weights"]
    if not isinstance(sidecar["domain"], str) or not isinstance(sidecar["model"]["id"], str | None):
        raise TypeError("domain and model must be strings")
    if type(exponent) is not int or not -1000 < exponent < 1000:
        raise TypeError("scale_exponent must be an integer between -1000 and 1000")
    if not all(type(count) is int and 0 <= count < 2**31 for count in tokens):
        raise TypeError("response_tokens must be numbers of tokens")
    if not all(type(loss) in (int, float) and 0 <= loss < math.inf for loss in losses):
        raise TypeError("losses are not finite numbers of at least 0")


def _statistics(path: Path, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Statistics of a dump, by name. shape: (layers, neurons) of the dump."""
    try:
        stats = read_arrays(path, SUMS)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not the statistics of a dump: {error}. {AGAIN}") from None
    for name, values in stats.items():
        if values.dtype.kind != "f":
            raise InputError(f"{path}: {name} holds {values.dtype}, not numbers. {AGAIN}")
        if values.shape != shape:
            raise InputError(f"{path}: {name} is of shape {values.shape}, the dump beside it of {shape}. {AGAIN}")
    return stats


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Information table and its sidecar. Raises InputError naming the faulty file and the fault."""
    about = read_json(path.with_suffix(".json"))
    integrity.verify_beside(path, path.with_suffix(".json"))
    try:
        return pd.read_parquet(path), about
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not an information table: {error}. {AGAIN}") from None


def measure(
    paths: Sequence[Path],
    settings: InformationSettings,
    manifest: Path | None = None,
    threads: int = 1,
    progress: Callable[[Sequence], Iterable] = iter,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Information table of the domains of these dumps, and its description: null, confounds, samples.

    The table is that of `information.table` with another column, null_quantile: the consensus MI that a neuron without
    information exceeds with probability `error_rate`. As the null is pooled over neurons, this is a single number. It
    is repeated in each row, so that the table alone shows which neurons exceed it.
    manifest: that of the model that the dumps must belong to; None if they only need to belong to the same model.
    threads, progress: as for `information.table`.
    Raises InputError naming the file if a dump is broken, of another model, or of other units than the first.
    """
    dumps = open_dumps(paths)
    _refuse_other_models(dumps, manifest)
    _refuse_other_units(dumps)
    strata = _strata(dumps.lengths, settings)
    table, null = information.table(
        dumps.scores,
        dumps.statistics,
        settings.bins,
        settings.null_permutations,
        settings.seed,
        scales=dumps.scales,
        strata=strata,
        threads=threads,
        progress=progress,
    )
    quantile = information.null_quantile(null, settings.error_rate)
    return table.assign(null_quantile=quantile), _description(dumps, strata, settings, quantile)


def _refuse_other_models(dumps: DumpSet, manifest: Path | None) -> None:
    """Raises InputError naming a dump with other weights than the manifest or, without one, the first dump."""
    paths = {domain: scores.path for domain, scores in dumps.scores.items()}
    models = {domain: sidecar["model"] for domain, sidecar in dumps.sidecars.items()}
    first = next(iter(models))
    expected, source = (read_json(manifest), manifest) if manifest else (models[first], paths[first])
    for domain, model in models.items():
        if model["weights"] != expected["weights"]:
            raise InputError(
                f"{paths[domain]}: belongs to another model, {model['id']}: its weights are not those of"
                f" {expected['id']} ({source}). Delete the dump and run the workflow again."
            )


def _unit(sidecar: Mapping[str, Any]) -> str:
    """The units of a dump; neurons if its sidecar does not say."""
    return sidecar.get("unit", NEURON)


def _refuse_other_units(dumps: DumpSet) -> None:
    """Raises InputError naming a dump of other units (neurons or heads) than the first."""
    first = next(iter(dumps.sidecars))
    expected = _unit(dumps.sidecars[first])
    for domain, sidecar in dumps.sidecars.items():
        if _unit(sidecar) != expected:
            paths = dumps.scores[domain].path, dumps.scores[first].path
            raise InputError(
                f"{paths[0]}: is of {_unit(sidecar)}s, but {paths[1]} of {expected}s. A table is of one kind of units:"
                " measure their dumps apart"
            )


def _strata(lengths: Mapping[str, Sequence[int]], settings: InformationSettings) -> dict[str, np.ndarray] | None:
    """Strata of response length; None for a single one. Raises InputError if they have less than a sample per bin."""
    if settings.length_strata == 1:
        return None
    samples = sum(map(len, lengths.values()))
    if samples < settings.length_strata * settings.bins:
        raise InputError(
            f"selection.length_strata: {settings.length_strata} strata of {settings.bins} bins for {samples} samples of"
            f" {', '.join(sorted(lengths))}. Lower length_strata or bins, or raise importance.samples"
        )
    return information.length_strata(lengths, settings.length_strata)


def _description(
    dumps: DumpSet, strata: Mapping[str, np.ndarray] | None, settings: InformationSettings, quantile: float
) -> dict[str, Any]:
    """The content of `information.json`."""
    lengths = dumps.lengths
    samples = {domain: len(own) for domain, own in lengths.items()}
    sidecar = next(iter(dumps.sidecars.values()))
    return {
        "format": integrity.FORMAT,
        "unit": _unit(sidecar),
        "domains": sorted(samples),
        "samples": samples,
        "bins": settings.bins,
        "length_strata": settings.length_strata,
        "samples_by_stratum": _by_stratum(strata),
        "hidden_size": sidecar["model"].get("hidden_size"),
        "unit_parameters": sidecar["model"].get("unit_parameters"),
        "null": {"error_rate": settings.error_rate, "quantile": quantile, "permutations": settings.null_permutations},
        "length": _of_samples(lengths, settings.bins),
        "loss": _of_samples(dumps.losses, settings.bins),
        "entropy_of_domain": _entropy(list(samples.values())),
    }


def _of_samples(values: Mapping[str, Sequence[float]], bins: int) -> dict[str, Any]:
    """The entry of a confound in `information.json`: MI between the domain and a number of each sample."""
    found = information.sample_information(values, bins)
    return {"joint": found["joint"], "one_vs_rest": found["domains"]}


def _by_stratum(strata: Mapping[str, np.ndarray] | None) -> list[dict[str, int]] | None:
    """Samples of each domain in each stratum, in order of length; None for one stratum."""
    if strata is None:
        return None
    by_stratum = information.rows_of_strata(strata)
    return [{domain: len(rows) for domain, rows in by_domain.items()} for by_domain in by_stratum]


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)
