"""From the dumps of a mixture's domains to its information table: opening, checking, and what stands beside it."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from caneft import information
from caneft.corpora.store import read_json
from caneft.errors import InputError
from caneft.settings import InformationSettings

SIDECAR = ("domain", "model", "samples", "scale_exponent", "shape")
"""What is read of a sidecar."""


def open_dump(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, Any]]:
    """Scores (a read-only memory map), statistics and sidecar of one dump. Raises InputError naming a broken file."""
    sidecar = read_json(path.with_suffix(".json"))
    try:
        if missing := [name for name in SIDECAR if name not in sidecar]:
            raise ValueError(f"its sidecar lacks {', '.join(missing)}")
        scores = np.load(path, mmap_mode="r", allow_pickle=False)
        with np.load(path.with_suffix(".stats.npz"), allow_pickle=False) as archive:
            stats = {name: archive[name] for name in information.STATISTICS}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable dump: {error}. Delete it and run the workflow again.") from None
    if list(scores.shape) != sidecar["shape"] or scores.dtype != np.float16:
        raise InputError(
            f"{path}: holds {scores.dtype} of shape {scores.shape}, but its sidecar says float16 {sidecar['shape']}."
            " Delete both and run the workflow again."
        )
    return scores, stats, sidecar


def measure(paths: Sequence[Path], settings: InformationSettings) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Information table of the domains whose dumps are given, and a description: null, length confound, samples.

    Raises InputError if the dumps are of different models.
    """
    dumps, stats, scales, lengths, models = {}, {}, {}, {}, {}
    for path in sorted(paths):
        scores, own, sidecar = open_dump(path)
        domain = sidecar["domain"]
        dumps[domain], stats[domain], scales[domain] = scores, own, 2.0 ** sidecar["scale_exponent"]
        lengths[domain] = [sample["response_tokens"] for sample in sidecar["samples"]]
        models[domain] = sidecar["model"]["weights"]
    if any(weights != models[domain] for weights in models.values()):
        raise InputError(f"the dumps {', '.join(map(str, paths))} are of different models; delete the old ones")
    table, null = information.table(
        dumps, stats, settings.bins, settings.null_permutations, settings.seed, scales=scales
    )
    length = information.length_information(lengths, settings.bins)
    return table, {
        "domains": sorted(dumps),
        "samples": {domain: scores.shape[1] for domain, scores in dumps.items()},
        "bins": settings.bins,
        "null": {
            "error_rate": settings.error_rate,
            "quantile": information.null_quantile(null, settings.error_rate),
            "permutations": settings.null_permutations,
        },
        "length": {"joint": length["joint"], "one_vs_rest": length["domains"]},
        "entropy_of_domain": _entropy([scores.shape[1] for scores in dumps.values()]),
    }


def _entropy(counts: Sequence[int]) -> float:
    total = sum(counts)
    return -sum(count / total * math.log(count / total) for count in counts)
