"""Examples of the runs' outputs: which test segments are shown, and with which outputs."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from caneft.config import target_code
from caneft.corpora import store
from caneft.plan import Plan
from caneft.reporting.example_page import Example, Output, Section, page
from caneft.reporting.inputs import Block
from caneft.reporting.labels import METRICS, UNTRAINED, label
from caneft.reporting.shown import example_files
from caneft.scoring import metrics, translated

DIFFERENT, DRAWN = 3, 2
"""How many segments of a domain are shown: those where outputs differ most, and those drawn at random."""
WHY = {True: "one of those where outputs differ most", False: "drawn at random"}


def example_page(plan: Plan, root: str | Path) -> str:
    """HTML of the examples of every shown block. Raises InputError if a file is missing or does not fit."""
    title, measure = plan.config.report.title, METRICS[plan.config.scoring.judge]
    introduction = (
        f"Outputs for a few segments of each test set: {DIFFERENT} where the trained methods differ most in"
        f" {measure}, of the rest {DRAWN} drawn at random. So the examples are not a sample of the test set: the"
        " former show disagreement, not quality. Of each kind of method the first variant is shown, at its first seed."
        f" {plan.config.report.note.strip()}"
    )
    return page(
        f"Examples: {title}" if title else "Examples", introduction.strip(), measure, list(sections(plan, root))
    )


def sections(plan: Plan, root: str | Path) -> Iterator[Section]:
    """Examples by shown block and domain, both in the order of the main table."""
    for block in plan.shown_blocks():
        tested = plan.tested(*block[1:])
        corpora = [Path(root) / f"corpora/{block[1]}/{domain}/test.jsonl" for domain in tested]
        references = store.read_testset(tested, corpora)
        lines = _lines(plan, Path(root), block, references)
        for domain in tested:
            unseen = " (unseen)" if domain in plan.unseen(*block[1:]) else ""
            found = _examples(plan, block, domain, references[domain], lines[domain])
            yield Section(", ".join(block), label(plan, domain) + unseen, tuple(found))


def _lines(plan: Plan, root: Path, block: Block, references: dict[str, list[store.Row]]) -> dict[str, dict[str, list]]:
    """Lines of the translations by domain and variant, with variants in the order of `example_files`."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {domain: {} for domain in references}
    for file in (file for file in example_files(plan) if file.block == block):
        read = translated.read(root / file.path, {domain: references[domain] for domain in file.domains})
        for domain, lines in read.items():
            found[domain][file.variant] = lines
    return found


def _examples(
    plan: Plan, block: Block, domain: str, rows: list[store.Row], lines: dict[str, list]
) -> Iterator[Example]:
    metric = metrics.METRICS[plan.config.scoring.judge].make(target_code(block[1]))
    pairs = [[(line["hypothesis"], row.target) for line, row in zip(o, rows, strict=True)] for o in lines.values()]
    scores = np.array([[metric.corpus_score([text], [[target]]).score for text, target in own] for own in pairs])
    trained = [plan.config.methods[variant].method not in UNTRAINED for variant in lines]
    for number, different in choose(scores[trained] if sum(trained) > 1 else scores, f"{block[1]} {domain}"):
        outputs = [
            Output(label(plan, variant), found[number]["hypothesis"], score, _notes(plan, found[number]))
            for (variant, found), score in zip(lines.items(), scores[:, number].tolist(), strict=True)
        ]
        row = rows[number]
        yield Example(row.id, WHY[different], row.source, row.target, tuple(outputs))


def choose(scores: np.ndarray, seed: str) -> list[tuple[int, bool]]:
    """Numbers of the segments to show, each with whether it is shown because outputs differ.

    scores: (runs, segments). First come the segments with the largest difference between the best and the worst run
    (of equal ones, the first), then a draw from the rest in the order of the test set.
    """
    spread = np.ptp(scores, axis=0)
    different = np.lexsort((np.arange(len(spread)), -spread))[:DIFFERENT].tolist()
    rest = [number for number in range(len(spread)) if number not in different]
    drawn = Random(seed).sample(rest, min(DRAWN, len(rest)))
    return [(number, True) for number in different] + [(number, False) for number in sorted(drawn)]


def _notes(plan: Plan, line: dict[str, Any]) -> tuple[str, ...]:
    adapter = [f"adapter of {label(plan, line['adapter'])}"] if "adapter" in line else []
    return (*adapter, *line["flags"])
