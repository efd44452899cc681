"""Verdicts on the claims a to g of docs/method.md, made from numbers by rules that can come out either way."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import evidence, stability
from caneft.reporting.evidence import Tests
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label
from caneft.reporting.results import of_block

SUPPORTED, CONTRADICTED = "supported", "contradicted"
OPEN, UNTESTED = "not distinguishable", "not tested"
MOST, HALF = 0.8, 0.5
"""Shares of the gain: a small budget that keeps `MOST` keeps most of it, one that keeps less than `HALF` does not."""
SPLITS, BEYOND = 10, 3
"""Of a curve of stability: splits that a verdict takes, and standard errors by which it must lie above its noise."""
AGREED, CLIMBING = 0.8, 0.05
"""Jaccard of halves from which on they select the same, and its gain by doubling the samples that is a rise."""

CLAIMS = {
    "a": "On seen domains it is better than full fine-tuning and LoRA",
    "b": "On unseen domains it is better than full fine-tuning and LoRA",
    "c": "It harms other domains than its own less than full fine-tuning and LoRA",
    "d": "Its criterion is better than others and chance at the same budget",
    "e": "The smallest budget keeps most of the gain",
    "f": "The selected neurons crowd in some layers",
    "g": "The selected set stops changing within the samples that were used",
}


class Verdict(NamedTuple):
    """claim: a letter. reason: of the verdict, a sentence. numbers: what speaks for it or against it, a line each."""

    claim: str
    verdict: str
    reason: str
    numbers: list[str]


class Found(NamedTuple):
    """What verdicts on one block are made from; `scores` and `records` may be of other blocks too.

    scores, records, stability: from `results`. tests: content of the block's file of significance. neurons: the first
    set of each variant that selects neurons.
    """

    scores: pd.DataFrame
    records: pd.DataFrame
    stability: pd.DataFrame
    tests: Mapping[str, Any]
    neurons: Mapping[str, NeuronSet]


def verdicts(plan: Plan, block: Block, found: Found) -> list[Verdict]:
    """Verdicts on all claims, in order. Tests are corrected by Holm over all that are quoted for this block."""
    method = found.tests["method"]
    if method is None:
        return [Verdict(claim, UNTESTED, "The block has no run of the method.", []) for claim in CLAIMS]
    rivals, controls = evidence.rivals(plan, block), evidence.controls(plan, block, method)
    criteria = evidence.criteria(plan, block, method)
    seen, unseen = evidence.columns(plan, block)
    pairs = [(column, other) for column in (seen, unseen) if column for other in rivals + controls]
    tests = Tests(found.tests, plan.config.scoring.metrics[0], [*pairs, *((seen, other) for other in criteria)])
    against = [variant for variant in controls if variant in evidence.chance(plan, block, method)]
    best = evidence.best_on_dev(of_block(found.records, block), criteria)
    return [
        _against(plan, block, found, "a", tests, seen, rivals, controls),
        _against(plan, block, found, "b", tests, unseen, rivals, controls),
        _interference(plan, block, found, method, rivals),
        _against(plan, block, found, "d", tests, seen, [*([best] if best else []), *against], criteria),
        _budget(plan, block, found, method),
        _layers(plan, found, method),
        _stability(found),
    ]


def _against(
    plan: Plan, block: Block, found: Found, claim: str, tests: Tests, column: str | None, rivals: list[str], others
) -> Verdict:
    """Better than each of the rivals on a column, or worse than one of them; `others` are shown beside them."""
    named = dict.fromkeys([*rivals, *others])
    numbers = [tests.say(plan, column, other) for other in named] if column else []
    lacking = _lacking(plan, block, claim, rivals)
    if column is None:
        return Verdict(claim, UNTESTED, "No domain is unseen.", [])
    if reason := lacking or evidence.unfair(plan, [found.tests["method"], *rivals]):
        return Verdict(claim, UNTESTED, reason, numbers)
    signs = {other: tests.sign(column, other, plan.config.significance.alpha) for other in rivals}
    return Verdict(claim, *_judged(plan, signs, "significantly"), numbers)


def _lacking(plan: Plan, block: Block, claim: str, rivals: list[str]) -> str:
    """Why there is nothing to compare with; empty if there is."""
    if claim == "d":
        if all(plan.config.methods[variant].method == "random" for variant in rivals):
            return "No other criterion has the same budget."
        if all(plan.config.methods[variant].method != "random" for variant in rivals):
            return "No random neurons of the same budget."
        return ""
    kinds = {plan.config.methods[variant].method for variant in rivals}
    missing = [kind for kind in ("full", "lora") if kind not in kinds]
    return f"The block has no {' and no '.join(missing)}." if missing else ""


def _judged(plan: Plan, signs: Mapping[str, int], how: str) -> tuple[str, str]:
    """Verdict and reason from the sign of the difference to each rival, 0 where it may be chance."""
    names = {sign: ", ".join(label(plan, other) for other in signs if signs[other] == sign) for sign in (1, 0, -1)}
    if names[-1]:
        return CONTRADICTED, f"It is {how} worse than {names[-1]}."
    if not names[0]:
        return SUPPORTED, f"It is {how} better than {names[1]}."
    better = f"It is {how} better than {names[1]}, but not" if names[1] else f"It is not {how} better"
    return OPEN, f"{better} than {names[0]}, and {how} worse than none."


def _interference(plan: Plan, block: Block, found: Found, method: str, rivals: list[str]) -> Verdict:
    """Mean difference to base on domains that a single-domain run was not trained on."""
    off, on = (evidence.off_diagonal(plan, block, found.scores, own_domain) for own_domain in (False, True))
    metric = METRICS[plan.config.scoring.metrics[0]]
    numbers = [
        f"{label(plan, variant)}: {_signed(mean)} ± {_number(deviation)} {metric} on other domains, "
        f"{_signed(on[variant][0])} on its own ({n} seeds)"
        for variant, (mean, deviation, n) in off.items()
    ]
    if not off or method not in off:
        return Verdict("c", UNTESTED, "The method is trained on no single domain, or there is no base.", numbers)
    rivals = [variant for variant in rivals if variant in off]
    if reason := _lacking(plan, block, "c", rivals) or evidence.unfair(plan, [method, *rivals]):
        return Verdict("c", UNTESTED, reason, numbers)
    signs = {other: evidence.beyond(off[method], off[other]) for other in rivals}
    verdict, reason = _judged(plan, signs, "clearly")
    return Verdict("c", verdict, f"{reason} {evidence.CLEARLY}", numbers)


def _budget(plan: Plan, block: Block, found: Found, method: str) -> Verdict:
    """Share of the sweep's largest gain over the base that its smallest budget keeps, against random neurons."""
    sweep = evidence.sweep(plan, block, method, of_block(found.records, block))
    gains = evidence.gains(plan, of_block(found.scores, block))
    if len(sweep) < 2 or not gains:
        return Verdict("e", UNTESTED, "There is no sweep over budgets, or no base to gain over.", [])
    numbers = []
    for count, variants in sweep.items():
        of_each = ", ".join(f"{label(plan, v)} {_signed(gains[v][0])} ± {_number(gains[v][1])}" for v in variants)
        numbers.append(f"{count:,} neurons: gain over the base {of_each}")
    smallest = next(iter(sweep.values()))
    own, *chance = [gains[variant] for variant in smallest]
    largest = max(gains[variants[0]][0] for variants in sweep.values())
    if reason := evidence.unfair(plan, [variant for variants in sweep.values() for variant in variants]):
        return Verdict("e", UNTESTED, reason, numbers)
    if not chance:
        return Verdict("e", UNTESTED, "No random neurons of the smallest budget.", numbers)
    if largest <= 0:
        return Verdict("e", OPEN, "No budget gains anything over the base.", numbers)
    share, sign = own[0] / largest, evidence.beyond(own, chance[0])
    said = f"The smallest budget keeps {100 * share:.0f} % of the largest gain, "
    said += {1: "clearly more", 0: "and not clearly another amount", -1: "clearly less"}[sign]
    said += f" than random neurons of that budget. {evidence.CLEARLY}"
    if share >= MOST and sign > 0:
        return Verdict("e", SUPPORTED, said, numbers)
    return Verdict("e", CONTRADICTED if share < HALF or sign < 0 else OPEN, said, numbers)


def _layers(plan: Plan, found: Found, method: str) -> Verdict:
    """The fullest layer's share against sets of as many neurons drawn at random, and overlap with other criteria."""
    chosen = found.neurons.get(method)
    if chosen is None or not len(chosen) or chosen.layers < 2:
        return Verdict("f", UNTESTED, "The method selects no neurons, or the model has one layer.", [])
    counts = chosen.per_layer()
    drawn = evidence.fullest_by_chance(chosen)
    above, below = ((op.sum() + 1) / (len(drawn) + 1) for op in (drawn >= counts.max(), drawn <= counts.max()))
    where = int(np.argmax(counts))
    numbers = [
        f"layer {where} of 0 to {chosen.layers - 1} holds {100 * counts.max() / len(chosen):.1f} % of {len(chosen):,}"
        f" neurons; an even spread would be {100 / chosen.layers:.1f} %",
        f"random sets: as full a layer with p {_p(above)}, none fuller with p {_p(below)} ({len(drawn):,} draws)",
        *evidence.overlaps(plan, method, found.neurons),
    ]
    alpha = plan.config.significance.alpha
    if above < alpha:
        return Verdict("f", SUPPORTED, "The fullest layer is fuller than chance would have it.", numbers)
    if below < alpha:
        return Verdict("f", CONTRADICTED, "The neurons are spread more evenly than chance would have it.", numbers)
    return Verdict("f", OPEN, "The fullest layer is about as full as chance would have it.", numbers)


def _stability(found: Found) -> Verdict:
    """Agreement of disjoint halves at the end of the curve, and what the last doubling of the samples added."""
    curve = stability.rise(found.stability)
    if curve["before"].isna().all():
        return Verdict("g", UNTESTED, "There is no curve over numbers of samples.", [])
    *_, end = curve.itertuples()
    above, error, gain, gain_error = end.above_mean, end.above_error, end.gain_mean, end.gain_error
    means = found.stability.groupby("samples")[["jaccard", "noise_jaccard"]].mean()
    agreement, noise = means.loc[end.Index]
    numbers = [
        f"Jaccard of halves of {end.Index:,} samples of each domain {agreement:.3f}, with shuffled labels {noise:.3f};"
        f" {above:.3f} ± {error:.3f} above ({end.splits} splits)",
        f"gain per doubling from {end.before:,} samples on: {gain:+.3f} ± {gain_error:.3f}",
        "after ±: standard errors over splits, which share samples; the true ones are larger",
    ]
    if end.splits < SPLITS:
        return Verdict("g", UNTESTED, f"The curve has {end.splits} splits; a verdict takes {SPLITS}.", numbers)
    if above <= BEYOND * error:
        return Verdict("g", CONTRADICTED, "The halves agree no more than with shuffled labels.", numbers)
    if gain - 2 * gain_error > CLIMBING:
        return Verdict("g", CONTRADICTED, "The curve is still climbing.", numbers)
    if agreement >= AGREED and gain + 2 * gain_error < CLIMBING:
        return Verdict("g", SUPPORTED, f"The curve is flat, and the halves agree by {AGREED} or more.", numbers)
    if agreement < AGREED:
        said = f"The halves agree by less than {AGREED}, and it is not sure that more samples would change it."
        return Verdict("g", OPEN, said, numbers)
    return Verdict("g", OPEN, "The curve is neither sure to be flat nor sure to climb.", numbers)


def counted(by_block: Mapping[Block, list[Verdict]]) -> dict[str, str]:
    """By claim how often which verdict came out over several blocks, such as `supported 2, not tested 1`."""
    came = {claim: [v.verdict for found in by_block.values() for v in found if v.claim == claim] for claim in CLAIMS}
    order = (SUPPORTED, CONTRADICTED, OPEN, UNTESTED)
    return {c: ", ".join(f"{name} {found.count(name)}" for name in order if name in found) for c, found in came.items()}


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0:+.1f}".replace("-", "−")


def _number(value: float) -> str:
    return "unknown" if pd.isna(value) else f"{value:.1f}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
