"""Counts the pairs that steps will need of each domain. The plan tells, so that all shortages are reported at once."""

import json
import os

from caneft.config import Config, Neurons
from caneft.plan import ARTEFACTS, Plan

SAMPLES = "CANEFT_SAMPLES"
"""Environment variable that tells the draw of a mixture how many samples importance will need. The draw reports a
shortage, but its result does not depend on the number."""

Needs = dict[str, int]
"""Numbers of pairs, by the key that asks for them."""


def of_splits(config: Config, direction: str) -> dict[tuple[str, str], Needs]:
    """Numbers of pairs that keys ask for, by domain and split of a direction."""
    plan, tuning = Plan(config), config.tuning
    found: dict[tuple[str, str], Needs] = {}
    for mixture in plan.mixtures(direction):
        for domain in plan.seen(direction, mixture) if plan.variants_on(direction, mixture, *ARTEFACTS) else ():
            if domain in tuning.pairs:
                found.setdefault((domain, "train"), {})[f"tuning.pairs.{domain}"] = tuning.pairs[domain]
            elif tuning.temperature is None:  # with a temperature, a small domain gives what it has
                found.setdefault((domain, "train"), {})["tuning.pairs_per_domain"] = tuning.pairs_per_domain
            found.setdefault((domain, "dev"), {})["tuning.dev_pairs_per_domain"] = tuning.dev_pairs_per_domain
    for mixture in _selected_on(plan, direction):
        for domain in plan.seen(direction, mixture):
            key, number = samples(config)
            found.setdefault((domain, "train"), {})[key] = number
    return found


def samples(config: Config) -> tuple[str, int]:
    """The key that sets how many pairs of a domain importance needs at least, and that number."""
    section = config.importance
    if section.samples == "auto":
        return "importance.auto.smallest", section.auto.smallest
    return "importance.samples", section.samples


def publish_samples(config: Config) -> None:
    """Puts the number of samples that importance needs of each `{direction}/{mixture}` into the environment, where the
    draws read it."""
    plan = Plan(config)
    mixtures = [f"{direction}/{name}" for direction in config.directions for name in _selected_on(plan, direction)]
    os.environ[SAMPLES] = json.dumps(dict.fromkeys(mixtures, samples(config)))


def samples_of(mixture: str) -> tuple[str, int] | None:
    """As `samples`, for the draw of a mixture; None if no neurons are selected on it."""
    found = json.loads(os.environ.get(SAMPLES) or "{}").get(mixture)
    return tuple(found) if found else None


def _selected_on(plan: Plan, direction: str) -> list[str]:
    """Mixtures on which neurons are selected."""
    selecting = [name for name in plan.mixtures(direction) if plan.variants_on(direction, name, Neurons)]
    return list(dict.fromkeys(plan.selected_on(direction, name) for name in selecting))
