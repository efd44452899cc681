"""Datasets that the `datasets` library loads."""

from collections.abc import Iterable, Iterator

from caneft.config import Hub
from caneft.corpora.readers import records
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.errors import InputError, did_you_mean


def read(source: Hub, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by record."""
    located = (
        (number, f"dataset {source.name}: record {number}", record)
        for number, record in enumerate(_dataset(source, resolve), start=1)
    )
    yield from records.pairs(located, source.source, source.target, records.CORRECT_NAMES)  # no user edits its records


def _dataset(source: Hub, resolve: Resolve) -> Iterable[dict]:
    """The dataset itself: from a folder if `name` is one, else from the hub or its cache."""
    try:
        import datasets  # imported late: it takes seconds, and other formats do not need it
    except ImportError:
        raise InputError(f"dataset {source.name}: install the package `datasets`, or use another format.") from None
    folder = source.folder(resolve)
    try:
        if folder is None:
            return datasets.load_dataset(source.name, source.subset, split=source.split, revision=source.revision)
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever the library's back ends raise: OSError, ValueError, errors of HTTP clients
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"dataset {source.name}: cannot be loaded: {reason}\n"
            "Check name, subset, split and revision. If it was not fetched, or into another cache (HF_HOME), run"
            " `snakemake fetch` where there is a network; or download it elsewhere with"
            " datasets.load_dataset(...).save_to_disk(FOLDER), copy FOLDER here and set name to it."
        ) from error
    if not isinstance(loaded, datasets.DatasetDict):
        return loaded
    if source.split not in loaded:
        raise InputError(f"dataset {source.name}: no split '{source.split}'. {did_you_mean(source.split, loaded)}")
    return loaded[source.split]
