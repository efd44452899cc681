"""The command line `python -m caneft plan`: says what a configuration will take, before anything runs."""

import argparse
from pathlib import Path

from caneft.commands.options import number


def add(commands) -> None:
    """Adds `plan` to a parser's commands."""
    about = "say what a configuration will take: jobs, model loads, hours, disk and memory of each stage"
    parser = commands.add_parser("plan", help=about, description=about)
    parser.add_argument("files", type=Path, nargs="+", help="as after --configfile: each is laid over the one before")
    parser.add_argument(
        "--device", choices=("cpu", "h100"), help="whose rates; default: h100 where models ask for a GPU, else cpu"
    )
    parser.add_argument("--price", type=number(float, 0), help="of an hour of one device")
    for name, default in (("prompt", 75), ("response", 25)):
        about = f"tokens of a {name}; default: by the training corpora, or {default}"
        parser.add_argument(f"--{name}", type=number(float, 1), help=about)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints the table and the assumptions behind it."""
    from dataclasses import replace  # late: --help does not need the configuration

    from caneft import config as configuration
    from caneft.commands import checking, costs

    config = configuration.load(*checking.from_files(args.files), check_files=False)
    asked = any(model.resources.gpu for model in config.models.values())
    device = costs.DEVICES[args.device or ("h100" if asked else "cpu")]
    given = {name: getattr(args, name) for name in ("prompt", "response") if getattr(args, name) is not None}
    texts = {model: replace(text, **given) for model, text in costs.texts_of(config).items()}
    rows = list(costs.Estimate(config, device, texts).rows())
    hours = sum(row.seconds for row in rows) / 3600
    print(costs.table(rows))
    print(
        f"\nHours of one {args.device or ('h100' if asked else 'cpu core')}, jobs one after the other: {hours:,.1f}"
        + (f", at {args.price:g} an hour {hours * args.price:,.0f}" if args.price is not None else "")
        + f".\nRates: {device.source}.\nTokens of a prompt and a response: "
        + "; ".join(f"{model} {text.prompt:.0f} and {text.response:.0f}" for model, text in texts.items())
        + "."
        "\nNot in the hours: corpora, neuron sets, scores, tables."
    )
