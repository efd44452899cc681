"""Files of numbers opened for tables and figures, as `reading` opens texts; pandas and numpy are needed here only."""

from pathlib import Path

import pandas as pd

from caneft import neurons
from caneft.errors import InputError
from caneft.reporting.reading import missing
from caneft.storage import integrity


def read_parquet(path: Path, columns: list[str]) -> pd.DataFrame:
    """Columns of a table."""
    integrity.verify_beside(path, path.with_suffix(".json"))
    try:
        return pd.read_parquet(path, columns=columns)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError) as error:
        raise InputError(f"{path}: cannot be used: {error}.\nDelete it and run the workflow again.") from None


def read_neurons(path: Path) -> neurons.NeuronSet:
    """A set of neurons or heads."""
    try:
        return neurons.load(path)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{error}.\nDelete {path} and run the workflow again.") from None
