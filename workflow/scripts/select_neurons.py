"""Select the neurons, or attention heads, of one variant from the information table of a mixture."""

import argparse
from pathlib import Path

from caneft import neurons
from caneft.plan.settings import SelectionSettings
from caneft.runtime.cli import step
from caneft.selection import criteria as selection
from caneft.selection import information_table


@step
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=SelectionSettings.model_validate_json, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--draw", type=int, default=0, help="seed of the criterion `random`")
    parser.add_argument("--like", type=Path, help="neuron set whose numbers in each layer are the budget")
    parser.add_argument("--neurons", type=Path, required=True)
    args = parser.parse_args()
    table, about = information_table.read_table(args.table)
    like = neurons.load(args.like) if args.like else None
    chosen, description = selection.choose(table, about, args.settings, args.draw, like)
    neurons.save(args.neurons, chosen.neurons, description)


if __name__ == "__main__":
    main()
