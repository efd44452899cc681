"""Measure how well disjoint halves of a mixture's samples agree in the neurons they select, by number of samples."""

import argparse
from pathlib import Path

from tqdm import tqdm

from caneft.plan.settings import StabilitySettings
from caneft.runtime.cli import step
from caneft.selection import information_table, stability
from caneft.storage import records
from caneft.storage.files import write_json


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=StabilitySettings.model_validate_json, required=True)
    parser.add_argument("--dumps", type=Path, nargs="+", required=True, help=".npy; .json and .stats.npz stand beside")
    parser.add_argument("--table", type=Path, required=True, help="information.parquet; its .json stands beside")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stability", type=Path, required=True, help=".json; .cost.json stands beside")
    args = parser.parse_args()
    with records.cost(args.stability.with_suffix(".cost.json"), "stability", args.threads):
        dumps = information_table.open_dumps(args.dumps)
        table, about = information_table.read_table(args.table)
        with tqdm(total=args.settings.splits * len(table), unit="neuron", mininterval=2) as bar:
            found = stability.measure(dumps, table, about, args.settings, args.threads, bar.update)
        write_json(args.stability, found)


if __name__ == "__main__":
    main()
