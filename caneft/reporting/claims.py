"""Verdicts on claims (a) to (g) of docs/method.md, which follow from the numbers by rules that can come out either way.

Claims (a) to (d) are the paper's, as far as it was read; (e) to (g) are this project's own questions.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from caneft.config import Base
from caneft.neurons import NeuronSet
from caneft.plan import Plan
from caneft.reporting import curves, evidence, roles, stability
from caneft.reporting.curves import Matched
from caneft.reporting.evidence import Quoted
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, label, p_text, signed
from caneft.reporting.measures import of_block
from caneft.reporting.results import AVERAGES
from caneft.scoring.significance import TOLERANCE

SUPPORTED, CONTRADICTED = "supported", "contradicted"
OPEN, UNTESTED = "not distinguishable", "no verdict"
MOST = 0.8
"""Share of the largest gain that a small budget must keep."""
SPLITS, BEYOND = 10, 3
"""For a verdict on a curve of stability: the least number of splits, and the standard errors it must be above noise."""
AGREED, CORRECTED, CLIMBING = 0.8, 0.75, 0.05
"""Thresholds for the end of that curve: the Jaccard at which halves agree, the least share of the way from noise to 1,
and the gain per doubling above which the curve climbs."""

CLAIMS = {
    "a": "On seen domains it is better than full fine-tuning and LoRA",
    "b": "On unseen domains it beats full tuning and LoRA at equal seen scores",
    "c": "It harms other domains than its own less than full fine-tuning and LoRA",
    "d": "Its criterion is better than others and chance at the same budget",
    "e": "The smallest budget keeps most of the gain",
    "f": "Among its candidates, the criterion prefers some layers",
    "g": "The selected set stops changing within the samples that were used",
}


class Verdict(NamedTuple):
    """claim: a letter. reason: a sentence or more. numbers: the evidence for and against the claim, one line each."""

    claim: str
    verdict: str
    reason: str
    numbers: list[str]


class Found(NamedTuple):
    """The material for verdicts on one block; scores, records and trials may include other blocks.

    scores, records, trials, stability: from `results`. tests: content of the block's file of significance. single: the
    same for each mixture of one domain, by name. neurons: the first set of each variant that selects neurons.
    candidates: for each variant, the number of candidates in each layer.
    """

    scores: pd.DataFrame
    records: pd.DataFrame
    trials: pd.DataFrame
    stability: pd.DataFrame
    tests: Mapping[str, Any]
    single: Mapping[str, Mapping[str, Any]]
    neurons: Mapping[str, NeuronSet]
    candidates: Mapping[str, Sequence[int]]


SEEN, MATCHED, OTHERS, KEEPS = "seen", "matched", "others", "keeps"
"""Kinds of comparison: the seen average; the unseen average at equal seen scores; scores on other domains than the
trained one; and the smallest budget's gain, against `MOST` of the largest gain and against random neurons."""


class Case:
    """The basis for claims (a) to (e) in one block: which variants are compared, and all differences (`quoted`).

    seen, unseen: columns; unseen is None if no domain is. errors: by column. matched: by variant, None if the curves
    cannot be compared. on, off: by variant, for each seed, what single-domain runs gain on their own domain and on the
    others. sweep: variants by budget.
    """

    def __init__(self, plan: Plan, block: Block, found: Found, method: str):
        metric = plan.config.scoring.metrics[0]
        self.plan, self.block, self.found, self.method, self.unit = plan, block, found, method, METRICS[metric]
        self.seen, self.unseen = evidence.columns(plan, block)
        self.errors = evidence.errors(found.tests, metric)
        self.rivals, self.controls = roles.rivals(plan, block, method), roles.controls(plan, block, method)
        self.criteria = roles.criteria(plan, block, method)
        self.sweep = evidence.sweep(plan, block, method, of_block(found.records, block))
        scored = self.errors[self.seen]
        self.base = next((variant for variant in plan.variants(Base) if variant in scored.score), None)
        single = roles.single_domains(plan, block)
        self.off, self.on = (
            evidence.on_single_domains(plan, block, found.scores, single, own) for own in (False, True)
        )
        compared = [*self.rivals, *self.controls]
        quoted = {(SEEN, v): scored.contrast({method: 1, v: -1}) for v in dict.fromkeys(compared + self.criteria)}
        self.matched = {v: self._matched(v) for v in compared} if self.unseen is not None else {}
        quoted |= {(MATCHED, v): both.difference for v, both in self.matched.items() if both}
        tests = {mixture: evidence.errors(content, metric) for mixture, content in found.single.items()}
        self.harmed = list(dict.fromkeys(compared + roles.rivals(plan, block, method, self.off)))
        for other in self.harmed:
            if (harm := evidence.interference(plan, block, found.scores, tests, method, other)) is not None:
                quoted[OTHERS, other] = harm
        if len(self.sweep) > 1 and self.base is not None:
            smallest, *chance = next(iter(self.sweep.values()))
            largest = max((variants[0] for variants in self.sweep.values()), key=scored.score.__getitem__)
            weights = {smallest: 1 - MOST} if smallest == largest else {smallest: 1, largest: -MOST}
            quoted[KEEPS, smallest] = scored.contrast(weights | {self.base: MOST - 1})
            quoted |= {(KEEPS, other): scored.contrast({smallest: 1, other: -1}) for other in chance}
        self.quoted = Quoted(quoted, scored.enough([method]))

    def _matched(self, other: str) -> Matched | None:
        """The method against another variant on unseen domains at equal scores on seen ones."""
        pair, own = (self.method, other), of_block(self.found.trials, self.block)
        own = own.dropna(subset=AVERAGES).sort_values("learning_rate")
        points = [list(own.loc[own["variant"] == v, AVERAGES].itertuples(index=False, name=None)) for v in pair]
        columns = (self.seen, self.unseen)
        differences = [self.errors[column].contrast({self.method: 1, other: -1}) for column in columns]
        scale = math.sqrt(len(self.plan.config.seeds) / len(self.plan.config.trials.seeds))
        return curves.matched(*points, *differences, scale)

    def names(self, variants: Iterable[str]) -> str:
        """Labels of the variants, joined by commas."""
        return ", ".join(label(self.plan, variant) for variant in variants)

    def numbers(self, what: str, others: Iterable[str]) -> list[str]:
        """A line for each of the others that has such a comparison with the method."""
        compared = [other for other in dict.fromkeys(others) if (what, other) in self.quoted.found]
        return [f"against {self.names([other])}: {self.quoted.say(what, other, self.unit)}" for other in compared]

    def signs(self, what: str, rivals: Iterable[str]) -> dict[str, int | None]:
        """By rival, the sign of the method's difference to it, 0 if not significant; None if they are not compared."""
        return {other: self.quoted.sign(what, other, self.plan.config.significance.alpha) for other in rivals}

    def untested(self, claim: str, rivals: list[str]) -> str:
        """Why a comparison with these rivals decides nothing; empty if it does."""
        return self._lacking(claim, rivals) or evidence.unfair(self.plan, [self.method, *rivals])

    def _lacking(self, claim: str, rivals: list[str]) -> str:
        kinds = {self.plan.config.methods[variant].method for variant in rivals}
        if claim == "d":
            if kinds <= {"random"}:
                return "No other criterion has the same budget."
            return "" if "random" in kinds else "No random neurons of the same budget."
        missing = [name for kind, name in (("full", "full fine-tuning"), ("lora", "LoRA")) if kind not in kinds]
        return f"It was not compared with {' or '.join(missing)}." if missing else ""

    def judged(self, signs: Mapping[str, int | None], where: str = "") -> tuple[str, str]:
        """Verdict and reason from the sign of the difference to each rival: 0 if it may be chance, None if there is
        nothing to compare."""
        names = {sign: self.names(other for other in signs if signs[other] == sign) for sign in (1, 0, -1, None)}
        where = f" {where}" if where else ""
        if names[-1]:
            return CONTRADICTED, f"It is significantly worse than {names[-1]}{where}."
        if names[None]:
            return UNTESTED, f"It cannot be compared with {names[None]}{where}."
        if not names[0]:
            return SUPPORTED, f"It is significantly better than {names[1]}{where}."
        better = (
            f"It is significantly better than {names[1]}, but not" if names[1] else "It is not significantly better"
        )
        return OPEN, f"{better} than {names[0]}{where}, and significantly worse than none."


def verdicts(plan: Plan, block: Block, found: Found) -> list[Verdict]:
    """Verdicts on all claims, in order. Holm's correction is over all tests that are quoted for this block."""
    method = found.tests["method"]
    if method is None:
        return [Verdict(claim, UNTESTED, "The block has no run of the method.", []) for claim in CLAIMS]
    case = Case(plan, block, found, method)
    best = evidence.best_on_dev(of_block(found.records, block), case.criteria)
    against = [variant for variant in case.controls if variant in roles.chance(plan, block, method)]
    return [
        _seen(case, "a", case.rivals, case.controls),
        _unseen(case),
        _interference(case),
        _seen(case, "d", [*([best] if best else []), *against], case.criteria),
        _budget(case),
        _layers(plan, found, method),
        _stability(found),
    ]


def _seen(case: Case, claim: str, rivals: list[str], others: list[str]) -> Verdict:
    """Whether the method is better than all rivals on seen domains, or worse than one; `others` are only shown."""
    numbers = case.numbers(SEEN, [*rivals, *others])
    if reason := case.untested(claim, rivals):
        return Verdict(claim, UNTESTED, reason, numbers)
    return Verdict(claim, *case.judged(case.signs(SEEN, rivals)), numbers)


def _unseen(case: Case) -> Verdict:
    """Whether the method is better than all rivals on unseen domains at equal seen scores, or worse than one."""
    if case.unseen is None:
        return Verdict("b", UNTESTED, "No domain is unseen.", [])
    if not case.plan.config.trials.test_sets and len(of_block(case.found.trials, case.block)):
        return Verdict("b", UNTESTED, "Trials did not translate the test sets (trials.test_sets).", [])
    numbers = []
    for other, both in case.matched.items():
        said = "no trials, fewer than three rates up to a best seen score, or no seen scores in common"
        where = ""
        if both is not None:
            where = f" where both reach {both.low:.1f} to {both.high:.1f} on seen domains"
            gaps = ", ".join(f"{signed(gap)} at {seen:.1f}" for seen, gap in both.at)
            said = f"{case.quoted.say(MATCHED, other, case.unit)}; over the grids {gaps}"
        numbers.append(f"against {case.names([other])}{where}: {said}")
    if reason := case.untested("b", case.rivals):
        return Verdict("b", UNTESTED, reason, numbers)
    return Verdict("b", *case.judged(case.signs(MATCHED, case.rivals), "at equal scores on seen domains"), numbers)


def _interference(case: Case) -> Verdict:
    """Whether the method, trained on single domains, harms other domains less than all rivals, or more than one.

    Harm grows with learning. So less harm counts only if the method's dev loss on its own domain is at most the
    rival's, and more harm only if it is not lower.
    """
    plan, block, method, records = case.plan, case.block, case.method, case.found.records
    losses = evidence.dev_losses(block, records, roles.single_domains(plan, block))
    numbers = [
        f"{label(plan, variant)}: {signed(np.mean(values))} {case.unit} on other domains,"
        f" {signed(np.mean(case.on[variant]))} on its own, where the dev loss is {losses[variant]:.4f}"
        for variant, values in case.off.items()
    ] + case.numbers(OTHERS, case.harmed)
    if method not in case.off:
        return Verdict("c", UNTESTED, "The method is trained on no single domain, or there is no base.", numbers)
    rivals = roles.rivals(plan, block, method, case.off)
    if reason := case.untested("c", rivals):
        return Verdict("c", UNTESTED, reason, numbers)
    signs = case.signs(OTHERS, rivals)
    learnt = {v: evidence.dev_losses(block, records, evidence.common_mixtures(plan, block, method, v)) for v in rivals}
    less = [v for v in rivals if signs[v] == 1 and not learnt[v][method] <= learnt[v][v]]  # nor where one is nan
    more = [v for v in rivals if signs[v] == -1 and not learnt[v][method] >= learnt[v][v]]
    verdict, reason = case.judged(signs | dict.fromkeys([*less, *more], 0), "on other domains")
    unequal = [(less, "less harm than", "higher"), (more, "more harm than", "lower")]
    said = [
        f"It does {how} {case.names(others)}, but its own dev loss is {loss}."
        for others, how, loss in unequal
        if others
    ]
    return Verdict("c", verdict, " ".join([reason, *said]), numbers)


def _budget(case: Case) -> Verdict:
    """Whether the smallest budget keeps most of the largest gain over the base, and more than random neurons do."""
    if len(case.sweep) < 2 or case.base is None:
        return Verdict("e", UNTESTED, "There is no sweep over budgets, or no base to gain over.", [])
    score = case.errors[case.seen].score
    gains = {v: score[v] - score[case.base] for variants in case.sweep.values() for v in variants}
    numbers = [
        f"{count:,} neurons: gain over the base {', '.join(f'{case.names([v])} {signed(gains[v])}' for v in variants)}"
        for count, variants in case.sweep.items()
    ]
    smallest, *chance = next(iter(case.sweep.values()))
    largest = max(gains[variants[0]] for variants in case.sweep.values())
    above = f"above {100 * MOST:.0f} % of the largest gain: {case.quoted.say(KEEPS, smallest, case.unit)}"
    numbers += [f"{case.names([smallest])} {above}", *case.numbers(KEEPS, chance)]
    if reason := evidence.unfair(case.plan, list(gains)):
        return Verdict("e", UNTESTED, reason, numbers)
    if not chance:
        return Verdict("e", UNTESTED, "No random neurons of the smallest budget.", numbers)
    if largest <= 0:
        return Verdict("e", OPEN, "No budget gains anything over the base.", numbers)
    signs = case.signs(KEEPS, [smallest, *chance])
    amount: dict[int | None, str] = {
        1: "significantly more",
        0: "not significantly more or less",
        -1: "significantly less",
    }
    said = f"The smallest budget keeps {100 * gains[smallest] / largest:.0f} % of the largest gain,"
    said += f" {amount[signs[smallest]]} than {100 * MOST:.0f} %."
    said += f" It gains {amount[signs[chance[0]]]} than random neurons of that budget."
    if set(signs.values()) == {1}:
        return Verdict("e", SUPPORTED, said, numbers)
    return Verdict("e", CONTRADICTED if -1 in signs.values() else OPEN, said, numbers)


def _layers(plan: Plan, found: Found, method: str) -> Verdict:
    """Whether the set's layers are less even than those of random draws among its candidates; also overlaps of sets."""
    chosen, candidates = found.neurons.get(method), found.candidates.get(method)
    if chosen is None or not len(chosen) or chosen.layers < 2:
        return Verdict("f", UNTESTED, "The method selects no neurons, or the model has one layer.", [])
    if candidates is None:
        return Verdict("f", UNTESTED, "The set is of a version that did not count each layer's candidates.", [])
    if plan.config.selection.per_layer is not None:
        return Verdict("f", UNTESTED, "No layer may have more neurons than selection.per_layer, for any criterion.", [])
    if len(chosen) == sum(candidates) or np.count_nonzero(candidates) < 2:
        return Verdict("f", UNTESTED, "The candidates leave no choice between layers.", [])
    counts = chosen.per_layer()
    own = evidence.unevenness(counts, candidates)
    drawn = evidence.unevenness(evidence.per_layer_by_chance(candidates, len(chosen)), candidates)
    more, less = (drawn >= own - TOLERANCE), (drawn <= own + TOLERANCE)
    above, below = (min(1.0, 2 * (tail.sum() + 1) / (len(drawn) + 1)) for tail in (more, less))
    where = int(np.argmax(counts))
    numbers = [
        f"layer {where} (of {chosen.layers}, counted from 0) holds most: {100 * counts.max() / len(chosen):.1f} % of"
        f" {len(chosen):,} neurons, and {100 * candidates[where] / sum(candidates):.1f} % of the"
        f" {sum(candidates):,} candidates",
        f"chi-squared of all layers against their candidates {own:.1f}; of {len(drawn):,} random sets of candidates"
        f" {100 * more.mean():.1f} % have at least that, {100 * less.mean():.1f} % at most"
        f" ({p_text(min(above, below))}, two-sided)",
        *evidence.overlaps(plan, method, found.neurons, found.candidates),
    ]
    alpha = plan.config.significance.alpha
    if above < alpha:
        return Verdict("f", SUPPORTED, "Its layers are less even than a draw among the candidates.", numbers)
    if below < alpha:
        return Verdict("f", CONTRADICTED, "Its layers are more even than a draw among the candidates.", numbers)
    return Verdict("f", OPEN, "Its layers are about as even as a draw among the candidates.", numbers)


def _stability(found: Found) -> Verdict:
    """Whether disjoint halves agree at the end of the curve, and the last doubling of the samples added little."""
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
    if (agreement - noise) / (1 - noise) < CORRECTED <= agreement:
        return Verdict("g", OPEN, "The halves agree, but most of it is chance.", numbers)
    if agreement >= AGREED and gain + 2 * gain_error < CLIMBING:
        return Verdict("g", SUPPORTED, f"The curve is flat, and the halves agree by {AGREED} or more.", numbers)
    if agreement < AGREED:
        said = f"The halves agree by less than {AGREED}, and it is not sure that more samples would change it."
        return Verdict("g", OPEN, said, numbers)
    return Verdict("g", OPEN, "The curve is neither sure to be flat nor sure to climb.", numbers)


def counted(by_block: Mapping[Block, list[Verdict]]) -> dict[str, str]:
    """By claim, how often each verdict came out over several blocks, such as `supported 2, no verdict 1`."""
    came = {claim: [v.verdict for found in by_block.values() for v in found if v.claim == claim] for claim in CLAIMS}
    order = (SUPPORTED, CONTRADICTED, OPEN, UNTESTED)
    return {c: ", ".join(f"{name} {found.count(name)}" for name in order if name in found) for c, found in came.items()}
