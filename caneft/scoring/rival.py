"""Chooses the best of a method's rivals, on dev, as for every choice."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from caneft.config.metrics import best
from caneft.corpora.store import read_json
from caneft.errors import InputError
from caneft.plan import comparison


def best_rival(dev: Mapping[str, float], by: str | None) -> str | None:
    """The variant with the best dev score, by the metric `by` or by `dev_loss`; the first among equals.

    None if there are no rivals.
    """
    if not dev:
        return None
    return min(dev, key=dev.__getitem__) if by == "dev_loss" else best(by, dev)


def dev_results(files: Mapping[str, Sequence[Path]], by: str | None) -> dict[str, float]:
    """Each rival's result on dev: the score that chose its rate, or the mean dev loss of its seeds.

    files: from `comparison.dev_files`. Raises InputError if a file lacks the result.
    """
    return {variant: sum(_dev(path, by) for path in paths) / len(paths) for variant, paths in files.items()}


def _dev(path: Path, by: str | None) -> float:
    found = read_json(path)
    try:
        if by == "dev_loss":
            return float(found["tuning"]["dev_loss"])
        return comparison.reached(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: does not tell {by} ({error!r}); delete it and run the workflow again") from None
