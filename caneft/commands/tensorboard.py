"""The command line `python -m caneft tensorboard`: writes losses and scores of finished runs for TensorBoard."""

import argparse
import math
from pathlib import Path

from caneft.errors import InputError


def add(commands) -> None:
    """Adds `tensorboard` to a parser's commands."""
    about = "write the losses and scores of a finished results folder for TensorBoard"
    parser = commands.add_parser("tensorboard", help=about, description=about)
    parser.add_argument("results", type=Path, help="results folder (`results_root`), such as results")
    parser.add_argument("out", type=Path, help="new folder, of which `tensorboard --logdir` makes a page")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Writes one log per run: loss and dev loss by step, and its scores at the last step."""
    from tensorboardX import SummaryWriter  # late: --help does not need it

    from caneft.commands.finished import open_plan
    from caneft.reporting import results

    plan = open_plan(args.results)
    if args.out.exists():
        raise InputError(f"{args.out}: exists already. Name another folder, or delete this one.")
    of_run = [*results.BLOCK, "variant", "seed"]
    scores = dict(list(results.scores(plan, args.results).dropna(subset="seed").groupby(of_run)))
    losses = results.losses(plan, args.results).groupby(of_run)
    for name, steps in losses:
        *folders, seed = name
        with SummaryWriter(str(args.out.joinpath(*folders, f"seed{seed}")), filename_suffix=".caneft") as writer:
            for row in steps.itertuples():
                writer.add_scalar("training/loss", row.loss, row.step)
                if not math.isnan(row.dev_loss):
                    writer.add_scalar("training/dev_loss", row.dev_loss, row.step)
            for row in scores[name].itertuples():
                writer.add_scalar(f"{row.metric}/{row.domain}", row.score, steps["step"].max())
    print(f"{args.out}: {len(losses)} runs. Look at them with: tensorboard --logdir {args.out}")
