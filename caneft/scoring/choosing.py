"""Chooses the learning rate of a grid: the fairness rule, the same for every method."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caneft.config import metrics
from caneft.corpora.store import Row
from caneft.errors import InputError
from caneft.plan.settings import ChoiceSettings
from caneft.scoring import comparing, significance
from caneft.scoring.significance import Errors
from caneft.storage.integrity import FORMAT

BOOTSTRAP = 1000
"""Number of resamples of the dev segments."""

Trial = tuple[float, int]
"""Learning rate and seed."""


def choose(
    settings: ChoiceSettings,
    dev: Mapping[str, Sequence[Row]],
    outputs: Mapping[Trial, Mapping[str, Sequence[str]] | None],
) -> dict[str, Any]:
    """The content of `choice.json`: the lowest rate whose dev score is within one standard error of the best.

    dev: pairs by domain. outputs: hypotheses of every trial by domain, None if it diverged; a rate with such a trial is
    not taken. The score of a rate is the mean over its seeds and the domains; ties go to the lower rate. The standard
    error is that of the difference from the best: it combines the segments, resampled for both alike, and the deviation
    between seeds, pooled over the rates; with one seed, it covers only the segments.
    `edge` says that a better rate may be outside the grid: `high` if the highest rate has the best score, `low` if the
    lowest is taken. If all rates above the best diverged, there is no `high` edge.
    Raises InputError if no rate is left.
    """
    rates = sorted({rate for rate, _ in outputs})
    diverged = {rate for (rate, _), found in outputs.items() if found is None}
    left = {trial: found for trial, found in outputs.items() if trial[0] not in diverged}
    if not left:
        raise InputError(f"every rate diverged ({', '.join(f'{rate:g}' for rate in rates)}): lower them")
    errors = _errors(settings, dev, left)
    best = metrics.best(settings.metric, errors.score)
    behind = {name: errors.contrast({best: 1, name: -1}) for name in errors.score if name != best}
    level = [name for name, difference in behind.items() if abs(difference.value) <= difference.error]
    chosen = min([best, *level], key=float)
    edge = "high" if float(best) == rates[-1] else "low" if float(chosen) == rates[0] else None
    names = [f"{rate:g}" for rate in rates]
    return {
        "format": FORMAT,
        "learning_rate": float(chosen),
        "metric": settings.metric,
        "grid": {name: errors.score.get(name) for name in names},
        "best": float(best),
        "errors": {name: behind[name].error if name in behind else None for name in names},
        "edge": edge,
    }


def _errors(
    settings: ChoiceSettings, dev: Mapping[str, Sequence[Row]], outputs: Mapping[Trial, Mapping[str, Sequence[str]]]
) -> Errors:
    """Scores of the rates, by their names, with what their errors are computed from."""
    systems = [(f"{rate:g}", seed) for rate, seed in sorted(outputs)]
    targets = {domain: [row.target for row in dev[domain]] for domain in settings.domains}
    ordered = {trial: outputs[trial] for trial in sorted(outputs)}
    of_runs, drawn = [], []
    for domain, sample in comparing.surface_samples(settings.metric, settings.target_language, targets, ordered):
        draws = np.random.default_rng(zlib.crc32(domain.encode()))
        of_runs.append(sample.score(sample.systems.sum(axis=1)))
        resampled = significance.bootstrapped(sample.systems, sample.score, BOOTSTRAP, draws)
        drawn.append(comparing.over_seeds(systems, resampled))
    scores = np.mean(of_runs, axis=0).round(comparing.DECIMALS)
    return comparing.errors(systems, scores, np.mean(drawn, axis=0))
