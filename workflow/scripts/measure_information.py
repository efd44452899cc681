"""Measure, for every neuron (or attention head) of a mixture, what its importance says about the domain."""

import argparse
from functools import partial
from pathlib import Path

from tqdm import tqdm

from caneft.plan.settings import InformationSettings
from caneft.runtime.cli import step
from caneft.selection import information_table
from caneft.storage import integrity, records
from caneft.storage.files import atomic_write, write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=InformationSettings.model_validate_json, required=True)
    parser.add_argument("--dumps", type=Path, nargs="+", required=True, help=".npy; .json and .stats.npz stand beside")
    parser.add_argument("--manifest", type=Path, required=True, help="of the model that the dumps must be of")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", type=Path, required=True, help=".parquet; .json and .cost.json stand beside")
    args = parser.parse_args()
    with records.cost(args.table.with_suffix(".cost.json"), "information", args.threads):
        progress = partial(tqdm, unit="tile", mininterval=2)
        table, about = information_table.measure(args.dumps, args.settings, args.manifest, args.threads, progress)
        with atomic_write(args.table) as beside:
            table.to_parquet(beside, index=False)
        write_json(args.table.with_suffix(".json"), about | {integrity.KEY: integrity.sums(args.table)})


if __name__ == "__main__":
    main()
