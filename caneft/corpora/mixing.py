"""Training data of a mixture: equal or tempered shares of its domains, without any source that one of them tests on."""

import math
from collections.abc import Callable, Mapping, Sequence

from caneft.corpora.cleaning import held_out_forms, sample, without_leakage
from caneft.corpora.store import HELD_OUT, Row
from caneft.errors import InputError

KEYS = {"train": "tuning.pairs_per_domain (or tuning.pairs)", "dev": "tuning.dev_pairs_per_domain"}

Corpora = Mapping[str, Mapping[str, Sequence[Row]]]
Numbers = dict[str, int]


def mix(
    corpora: Corpora,
    pairs_per_domain: int,
    dev_pairs_per_domain: int,
    seed: int,
    temperature: float | None = None,
    pairs: Mapping[str, int] | None = None,
    samples: tuple[str, int] | None = None,
) -> tuple[list[Row], list[Row], dict]:
    """Train and dev rows of a mixture, with `domain` set, domain after domain in file order, and a report.

    corpora: for each domain of the mixture, the prepared rows of train, dev and test. Before the draw, train rows are
    removed if their source is like one in dev or test of any domain of the mixture, and dev rows if it is like one in a
    test. The draw depends on number, seed, domain and split; other domains affect it only by what leaks from them and,
    with a temperature, by their sizes.
    temperature: as for `tempered`, with a total of `pairs_per_domain` times the domains; None: `pairs_per_domain` from
    each.
    pairs: numbers for single domains that replace `pairs_per_domain`; not with a temperature.
    samples: key and number of the train rows of each domain that importance needs later; they are not drawn here.
    Report: [split][domain] has `read`, `kept`, `dropped` by reason, and `leakage` by held-out set (`law.test`).
    Raises one InputError for everything that is too few: a domain, or with a temperature the mixture, that has fewer
    rows than requested.
    """

    def train_numbers(sizes: Numbers) -> Numbers:
        if temperature is not None:
            return tempered(sizes, pairs_per_domain * len(sizes), temperature)
        return dict.fromkeys(sizes, pairs_per_domain) | {d: n for d, n in (pairs or {}).items() if d in sizes}

    splits = {"train": train_numbers, "dev": lambda sizes: dict.fromkeys(sizes, dev_pairs_per_domain)}
    drawn, too_few = {}, []
    for split, numbers_of in splits.items():
        try:
            drawn[split] = _drawn(corpora, split, numbers_of, seed)
        except InputError as error:
            too_few.append(str(error))
    too_few += _too_few_samples(corpora, *samples) if samples else []
    if too_few:
        raise InputError("\n".join(too_few))
    (train, train_report), (dev, dev_report) = drawn["train"], drawn["dev"]
    return train, dev, {"train": train_report, "dev": dev_report}


def _too_few_samples(corpora: Corpora, key: str, number: int) -> list[str]:
    """A message about domains with fewer train rows than importance needs; no message if all have enough."""
    sizes = {domain: len(corpora[domain]["train"]) for domain in sorted(corpora)}
    short = {domain: size for domain, size in sizes.items() if size < number}
    if not short:
        return []
    return [
        f"importance: {key} asks for {number} train pairs of each domain, but these have fewer: {_listed(short)}.\n"
        f"Lower {key} to at most {min(short.values())}, or add pairs to these domains."
    ]


def tempered(sizes: Mapping[str, int], total: int, temperature: float) -> Numbers:
    """Numbers that sum to `total`, proportional to size^(1/temperature), none of them larger than its size.

    Pairs that a domain lacks come from the others, in the same proportions. Numbers are rounded down; the missing pairs
    go to the largest remainders, with ties to the larger domain, then by name. So a larger domain never gets fewer
    than a smaller one. Raises InputError if the sizes sum to less than the total.
    """
    if sum(sizes.values()) < total:
        raise InputError(
            f"mixture: {total} train pairs are asked for (tuning.pairs_per_domain for each of {len(sizes)} domains, "
            f"shared out by tuning.temperature), but there are {sum(sizes.values())}: {_listed(sizes)}.\n"
            f"Lower tuning.pairs_per_domain to at most {sum(sizes.values()) // len(sizes)}, or add pairs."
        )
    weights, numbers = {domain: size ** (1 / temperature) for domain, size in sizes.items()}, {}
    while True:
        free, left = weights.keys() - numbers.keys(), total - sum(numbers.values())
        unit = left / (sum(weights[domain] for domain in free) or 1)
        full = {domain: sizes[domain] for domain in free if unit * weights[domain] >= sizes[domain]}
        if not full:
            break
        numbers |= full
    rounded = {domain: math.floor(unit * weights[domain]) for domain in free}
    by_remainder = sorted(free, key=lambda domain: (rounded[domain] - unit * weights[domain], -sizes[domain], domain))
    for domain in by_remainder[: left - sum(rounded.values())]:
        rounded[domain] += 1
    return numbers | rounded


def _drawn(corpora: Corpora, split: str, numbers_of: Callable[[Numbers], Numbers], seed: int) -> tuple[list[Row], dict]:
    held_out = {
        f"{domain}.{other}": held_out_forms(corpora[domain][other])
        for domain in sorted(corpora)
        for other in HELD_OUT[split]
    }
    apart, leakage = {}, {}
    for domain in sorted(corpora):
        apart[domain], leakage[domain] = without_leakage(corpora[domain][split], held_out)
    numbers = numbers_of({domain: len(rows) for domain, rows in apart.items()})
    report = {
        domain: _report(corpora[domain][split], apart[domain], numbers[domain], leakage[domain]) for domain in apart
    }
    _check_numbers(apart, report, split, numbers)
    drawn = {domain: sample(rows, numbers[domain], f"{seed}:{domain}:{split}") for domain, rows in apart.items()}
    return [row._replace(domain=domain) for domain, rows in drawn.items() for row in rows], report


def _report(rows: Sequence[Row], apart: Sequence[Row], number: int, leakage: dict) -> dict:
    dropped = {"leakage": len(rows) - len(apart), "limit": len(apart) - number}
    return {"read": len(rows), "kept": number, "dropped": dropped, "leakage": leakage}


def _check_numbers(apart: Mapping[str, list[Row]], report: Mapping[str, dict], split: str, numbers: Numbers) -> None:
    short = {domain: len(rows) for domain, rows in apart.items() if len(rows) < numbers[domain]}
    if short:
        found = "; ".join(
            f"{numbers[domain]} {split} pairs of {domain}, which has {left}"
            f" ({report[domain]['dropped']['leakage']} more are held out)"
            for domain, left in short.items()
        )
        raise InputError(
            f"mixture: asked for are {found}.\n"
            f"Lower {KEYS[split]} to at most {min(short.values())}, or add pairs to these domains."
        )


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{domain} {size}" for domain, size in sizes.items())
