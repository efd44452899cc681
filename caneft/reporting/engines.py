"""Which engine decoded what, by the records of the translations."""

from pathlib import Path

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import inputs
from caneft.reporting.reading import checked, naming, read_json
from caneft.reporting.results import BLOCK

SAID = {"engine": "name", "version": "version", "dtype": "dtype"}
"""Columns, and where a record has them."""


def decoded(plan: Plan, root: str | Path) -> pd.DataFrame:
    """One row per block and translated test set of a final run. No rows where transformers alone is planned.

    Columns: model, direction, mixture, variant, engine, version, dtype.
    """
    rows = []
    for file in inputs.cost_files(plan) if plan.config.decoding.engine != "transformers" else ():
        if file.stage == "translation":
            path = Path(root) / file.path
            cost = read_json(path)
            with naming(path):
                said = {column: checked(cost["engine"][key], str) for column, key in SAID.items()}
            rows.append(dict(zip(BLOCK, file.block, strict=True)) | {"variant": file.variant} | said)
    return pd.DataFrame(rows, columns=[*BLOCK, "variant", *SAID])
