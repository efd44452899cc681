"""Finds how many samples an importance dump needs: the pilot of `importance.samples: auto`.

The number of samples per domain is doubled until the neurons that disjoint halves select, by the geometric mean of the
one-vs-rest MI, agree hardly better than before. No sample is scored twice: a larger dump begins with the smaller one,
and the workflow's dump with the pilot's.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from caneft.errors import InputError
from caneft.importance.growing import Source
from caneft.plan.settings import PilotSettings
from caneft.runtime.parallel import ALONE, Team
from caneft.selection import information_table, stability
from caneft.selection.stability import Point
from caneft.storage import integrity

logger = logging.getLogger(__name__)

CRITERION = "caneft-geometric"
"""The criterion whose curve decides: it needs fewer samples than `caneft` to agree as well, and loses no consensus."""


def decide(
    sources: Mapping[str, Source], dumps: Mapping[str, Path], settings: PilotSettings, team: Team = ALONE
) -> dict[str, Any]:
    """Content of `samples.json`: the number of samples per domain, and the agreement that led to it.

    sources, dumps: for each domain, how its dumps are made, and the path of the pilot's dump. team: all processes
    score; only the main one compares and returns the full content. Raises InputError if a domain has fewer samples than
    the pilot begins with.
    """
    auto, points, flat = settings.auto, [], False
    most = min(auto.largest, *(len(source.samples.ids) for source in sources.values()))
    if most < auto.smallest:
        raise InputError(f"a domain has {most} pairs only, but importance.auto.smallest is {auto.smallest}; lower it")
    count = auto.smallest
    while True:
        for domain, source in sources.items():
            source.grow(dumps[domain], count)
        if team.main:
            points.append(_agreement(list(dumps.values()), count, settings))
            flat = stability.flat(points, auto.gain) is not None
        (enough,) = team.sum([flat or count == most if team.main else False])
        if enough:
            break
        count = min(2 * count, most)
    return {
        "format": integrity.FORMAT,
        "samples": count,
        "flat": flat,
        "criterion": CRITERION,
        "domains": sorted(sources),
        "points": [asdict(point) for point in points],
        "settings": settings.model_dump(mode="json"),
    }


def _agreement(dumps: Sequence[Path], count: int, settings: PilotSettings) -> Point:
    """The point of CRITERION's curve at half of all samples so far."""
    table, about = information_table.measure(dumps, settings.information)
    halves = [count // 2]
    points = stability.agreement(information_table.open_dumps(dumps), table, about, halves, settings.stability)
    (point,) = stability.of(points, CRITERION, settings.stability.budget.mask)
    logger.info("%d samples: Jaccard %.3f, noise %.3f", count, np.mean(point.jaccard), np.mean(point.noise_jaccard))
    return point
