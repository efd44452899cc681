"""Training data of a mixture: the same number of pairs from each domain, none of whose sources any domain tests on."""

from collections.abc import Mapping, Sequence

from caneft.corpora.cleaning import sample, without_leakage
from caneft.corpora.store import HELD_OUT, Row
from caneft.errors import InputError

KEYS = {"train": "tuning.pairs_per_domain", "dev": "tuning.dev_pairs_per_domain"}

Corpora = Mapping[str, Mapping[str, Sequence[Row]]]


def mix(
    corpora: Corpora, pairs_per_domain: int, dev_pairs_per_domain: int, seed: int
) -> tuple[list[Row], list[Row], dict]:
    """Train and dev rows of a mixture, with `domain` set, domain after domain in file order, and a report.

    corpora: per domain of the mixture the prepared rows of train, dev and test. Train rows whose source stands in
    dev or test of any domain of the mixture are removed before the draw, dev rows against the tests likewise. The
    draw follows from seed, domain and split: other domains matter to it only by what they make leak.
    Report: [split][domain] has `read`, `kept`, `dropped` by reason, and `leakage` by held-out set (`law.test`).
    Raises InputError if a domain has fewer rows than asked for.
    """
    train, train_report = _drawn(corpora, "train", pairs_per_domain, seed)
    dev, dev_report = _drawn(corpora, "dev", dev_pairs_per_domain, seed)
    return train, dev, {"train": train_report, "dev": dev_report}


def _drawn(corpora: Corpora, split: str, count: int, seed: int) -> tuple[list[Row], dict]:
    held_out = {f"{domain}.{other}": corpora[domain][other] for domain in sorted(corpora) for other in HELD_OUT[split]}
    apart, report = {}, {}
    for domain in sorted(corpora):
        rows = corpora[domain][split]
        apart[domain], leakage = without_leakage(rows, held_out)
        dropped = {"leakage": len(rows) - len(apart[domain]), "limit": len(apart[domain]) - count}
        report[domain] = {"read": len(rows), "kept": count, "dropped": dropped, "leakage": leakage}
    _check_counts(apart, report, split, count)
    drawn = {domain: sample(rows, count, f"{seed}:{domain}:{split}") for domain, rows in apart.items()}
    return [row._replace(domain=domain) for domain, rows in drawn.items() for row in rows], report


def _check_counts(apart: Mapping[str, list[Row]], report: Mapping[str, dict], split: str, count: int) -> None:
    short = {domain: len(rows) for domain, rows in apart.items() if len(rows) < count}
    if short:
        held_out = {domain: report[domain]["dropped"]["leakage"] for domain in short}
        found = "; ".join(
            f"{domain} has {left} ({held_out[domain]} more are held out)" for domain, left in short.items()
        )
        raise InputError(
            f"mixture: {count} {split} pairs per domain are asked for, but {found}.\n"
            f"Lower {KEYS[split]} to at most {min(short.values())}, or add pairs to these domains."
        )
