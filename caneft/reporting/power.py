"""The smallest difference between methods that a configuration can detect, computed before anything runs."""

import math
from typing import NamedTuple

from caneft.config.metrics import LABELS
from caneft.plan import Block, Plan, comparison
from caneft.reporting import roles

FOUND = 0.8
"""Probability of finding the smallest difference."""
ASSUMED = 2000
"""Test segments of a domain for which the configuration gives no number."""


class Power(NamedTuple):
    """difference: in points of the headline metric, nan with too few seeds for a verdict. segments: of the block's seen
    test sets; known: whether the configuration gives their number. comparisons: those in the family of the verdicts."""

    difference: float
    segments: int
    known: bool
    seeds: int
    comparisons: int


def smallest(plan: Plan, block: Block) -> Power | None:
    """The smallest difference of seen averages that is found with a probability of 80 %; None without method or rivals.

    It is tested at `significance.alpha` after Holm's correction, whose first step divides alpha by the number of
    comparisons. Errors are as in `significance.Errors`, from the deviations that the section `significance` expects.
    """
    from scipy.special import stdtrit  # here, because a plan does not need numpy

    from caneft.scoring.significance import LEAST_RUNS

    section, method = plan.config.significance, comparison.method(plan, block)
    if method is None or not (compared := _comparisons(plan, block, method)):
        return None
    sizes = [_test_size(plan, block[1], domain) for domain in plan.seen(*block[1:])]
    segments = [size or ASSUMED for size in sizes]
    seeds = len(plan.config.seeds)
    df = len({run.variant for run in plan.trained_runs(*block)}) * (seeds - 1)
    of_segments = section.expected_segments**2 * sum(1 / size for size in segments) / len(segments) ** 2
    error = math.sqrt(of_segments + 2 * section.expected_runs**2 / seeds)
    quantiles = (
        stdtrit(df, 1 - section.alpha / (2 * compared)) + stdtrit(df, FOUND) if seeds >= LEAST_RUNS else math.nan
    )
    return Power(float(quantiles * error), sum(segments), all(sizes), seeds, compared)


def sentence(plan: Plan, block: Block) -> str:
    """The result of `smallest` in words; empty if that is None."""
    from caneft.scoring.significance import LEAST_RUNS

    found = smallest(plan, block)
    if found is None:
        return ""
    if math.isnan(found.difference):
        return f"{found.seeds} seed{'s' * (found.seeds > 1)}: a verdict on methods takes at least {LEAST_RUNS}."
    about = "" if found.known else f" (taken to be {ASSUMED:,} a domain)"
    metric, own = plan.config.scoring.metrics[0], {"expected_segments", "expected_runs"}
    borrowed = metric != "bleu" and not own <= plan.config.significance.model_fields_set
    return (
        f"With {found.segments:,} seen test segments{about} and {found.seeds} seeds, a difference of"
        f" {found.difference:.1f} {LABELS[metric]} is found with a probability of"
        f" {100 * FOUND:.0f} % (p < {plan.config.significance.alpha:g} after Holm's correction over"
        f" {found.comparisons} comparisons)."
    ) + (f" This takes BLEU's deviations: set significance.{' and '.join(sorted(own))}." if borrowed else "")


def _comparisons(plan: Plan, block: Block, method: str) -> int:
    """The number of comparisons of the method that claims (a) to (d) quote."""
    direct = {*roles.rivals(plan, block, method), *roles.controls(plan, block, method)} - {method}
    unseen = plan.unseen(*block[1:])
    alone = len(roles.single_domains(plan, block)) > 0
    return len(direct | set(roles.criteria(plan, block, method))) + len(direct) * (bool(unseen) + alone)


def _test_size(plan: Plan, direction: str, domain: str) -> int | None:
    """The number of test segments of a domain; None if the configuration does not say."""
    corpus = plan.config.directions[direction].domains[domain].test
    return getattr(corpus, "limit", None) or getattr(corpus, "pairs", None)
