"""The command line `python -m caneft held-out`: the loss of finished runs on dev pairs that no choice has used."""

import argparse
from pathlib import Path

from caneft.commands.options import number
from caneft.errors import InputError, did_you_mean


def add(commands) -> None:
    """Adds `held-out` to a parser's commands."""
    about = "measure the loss of finished runs on dev pairs that no training and no choice has used"
    parser = commands.add_parser("held-out", help=about, description=about)
    parser.add_argument("results", type=Path, help="results folder (`results_root`), such as results")
    parser.add_argument("out", type=Path, help="folder for held_out_loss.csv and held_out_differences.csv")
    parser.add_argument("--mixture", default="all", help="whose runs; default: all")
    parser.add_argument("--variants", nargs="+", help="by default all that have finished runs")
    parser.add_argument("--pairs", type=number(int, 1), default=200, help="of each domain; default: 200")
    parser.add_argument("--threads", type=number(int, 1), default=1)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measures the runs that have not been measured yet, writes both tables and prints the second."""
    from caneft.commands.finished import open_plan  # late: --help does not need torch
    from caneft.plan import comparison
    from caneft.translation import held_out

    plan = open_plan(args.results)
    blocks = [block for block in plan.blocks() if block[2] == args.mixture]
    if not blocks:
        raise InputError(f"--mixture {args.mixture}: {did_you_mean(args.mixture, plan.config.mixtures)}")
    if len(blocks) > 1:
        raise InputError(f"--mixture {args.mixture}: {len(blocks)} blocks of model and direction have it, not one")
    (block,) = blocks
    trained = list(dict.fromkeys(run.variant for run in plan.trained_runs(*block)))
    if unknown := set(args.variants or ()) - set(trained):
        raise InputError(f"--variants {min(unknown)}: {did_you_mean(min(unknown), trained)}")
    method = comparison.method(plan, block)
    if method not in (args.variants or trained):
        raise InputError(f"--variants lacks {method}, which the others are compared with (significance.method)")
    for name in ("pairs", "threads"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} {getattr(args, name)}: at least one is needed")
    if args.out.exists() and not args.out.is_dir():
        raise InputError(f"{args.out}: is a file. Name a folder")
    found = []
    for one, losses in held_out.measured(plan, args.results, block, args.variants or trained, args.pairs, args.threads):
        found.append((one, losses))
        print(f"measured: {one.name if one else held_out.BASE}", flush=True)
    runs: dict[str, list] = {}
    for one, losses in found:
        runs.setdefault(one.variant if one else held_out.BASE, []).append(losses)
    if method not in runs:
        raise InputError(f"no run of {method} is finished, which the others are compared with (significance.method)")
    args.out.mkdir(parents=True, exist_ok=True)
    held_out.table(block, found).to_csv(args.out / "held_out_loss.csv", index=False, float_format="%.6f")
    table = held_out.differences(runs, method)
    table.to_csv(args.out / "held_out_differences.csv", index=False, float_format="%.6g")
    print(table.to_string(index=False))
