"""Which learning rate of a grid is taken: the fairness rule, the same for every method."""

from collections.abc import Mapping
from typing import Any

from caneft.errors import InputError
from caneft.integrity import FORMAT


def mean_score(domains: Mapping[str, Mapping[str, Any]], metric: str) -> float:
    """Mean over the domains of a score file in one metric."""
    return sum(entry[metric]["score"] for entry in domains.values()) / len(domains)


def choose(trials: Mapping[float, float | None], metric: str) -> dict[str, Any]:
    """The rate with the highest score, ties to the lower rate, and what each rate of the grid reached.

    trials: score by rate in that metric, None for a trial that diverged. `edge` says whether the chosen rate is the
    `low` or the `high` end of the rates: then a better one may lie outside the grid. A rate above which all diverged is
    no edge.
    Raises InputError if every trial diverged.
    """
    reached = {rate: score for rate, score in trials.items() if score is not None}
    if not reached:
        raise InputError(
            f"every trial diverged (rates {', '.join(f'{rate:g}' for rate in sorted(trials))}): lower them"
        )
    best = min(reached, key=lambda rate: (-reached[rate], rate))
    edge = "low" if best == min(trials) else "high" if best == max(trials) else None
    grid = {f"{rate:g}": trials[rate] for rate in sorted(trials)}
    return {"format": FORMAT, "learning_rate": best, "metric": metric, "grid": grid, "edge": edge}
