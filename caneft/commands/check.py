"""The command line `python -m caneft check`: finds what is wrong with a configuration before anything runs."""

import argparse
import sys
from pathlib import Path


def add(commands) -> None:
    """Adds `check` to a parser's commands."""
    about = "say what is wrong with a configuration, with file, key and line, before anything runs"
    parser = commands.add_parser("check", help=about, description=about)
    parser.add_argument("files", type=Path, nargs="+", help="as after --configfile: each is laid over the one before")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints warnings and the number of runs. Raises InputError for a problem, which ends with exit code 1."""
    from caneft.commands import checking  # late: --help does not need the configuration
    from caneft.plan import Plan

    raw, files = checking.from_files(args.files)
    config = checking.checked(raw, files)
    for said in checking.warnings(config):
        print(f"Warning: {said}", file=sys.stderr)
    plan, names = Plan(config), ", ".join(map(str, args.files))
    print(
        f"{names}: nothing is wrong that can be seen without running. Runs: {len(plan.runs())}, in blocks of model,"
        f" direction and mixture: {len(list(plan.blocks()))}. Results: {config.results_root}/."
    )
