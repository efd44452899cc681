"""The command line of patches: `python -m caneft patch ...`."""

import argparse
from pathlib import Path

PATCH_HELP = "patch, such as the patch.safetensors of a neuron run"
BASE_HELP = "model folder, or the manifest.json that this workflow keeps of a model"


def add(commands) -> None:
    """Adds `patch` and its subcommands to a parser's commands."""
    about = "put a neuron patch into a model folder and out again, merge it, make it a LoRA adapter, compare patches"
    parser = commands.add_parser("patch", help=about, description=about)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    verb = _verb(verbs, "inspect", "say what a patch holds")
    verb.add_argument("patch", type=Path, help=PATCH_HELP)
    verb.add_argument("--json", action="store_true", help="as JSON")

    verb = _verb(verbs, "apply", "change a model folder's weight files in place, and leave an undo patch")
    verb.add_argument("folder", type=Path, help="model folder with the weights that the patch was made for")
    verb.add_argument("patch", type=Path, help=PATCH_HELP)
    verb.add_argument("--undo", type=Path, help="undo patch to write (default: FOLDER/caneft/undo.safetensors)")
    verb.add_argument("--force", action="store_true", help="also where FOLDER is part of a results folder")

    verb = _verb(verbs, "revert", "bring back the bytes that `apply` replaced")
    verb.add_argument("folder", type=Path, help="model folder that a patch was applied to")
    verb.add_argument(
        "undo",
        type=Path,
        nargs="?",
        help="what `apply` left (default: FOLDER/caneft/undo.safetensors, which then goes)",
    )

    for name, about in (
        ("merge", "leave base and patch as an ordinary model folder"),
        ("to-lora", "leave the patch as a PEFT LoRA adapter, exact in float32"),
    ):
        verb = _verb(verbs, name, about)
        verb.add_argument("base", type=Path, help=BASE_HELP)
        verb.add_argument("patch", type=Path, help=PATCH_HELP)
        verb.add_argument("out", type=Path, help="new folder")
    verb.add_argument("--own-ranks", action="store_true", help="a smaller file, for PEFT and vLLM: no module is padded")

    verb = _verb(verbs, "diff", "say how two patches differ")
    verb.add_argument("a", type=Path, help=PATCH_HELP)
    verb.add_argument("b", type=Path, help="patch that it is compared with")
    verb.add_argument("--base", type=Path, help=f"for the cosine of the updates: {BASE_HELP}")

    verb = _verb(verbs, "compose", "join patches of one base on disjoint units")
    verb.add_argument("patches", type=Path, nargs="+", metavar="patch", help="patches that share no neuron")
    verb.add_argument("out", type=Path, help="new patch")


def _verb(verbs, name: str, about: str) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=about, description=about)
    verb.set_defaults(run=run, verb=name)
    return verb


def run(args: argparse.Namespace) -> None:
    from caneft.patch import command  # late: it imports torch

    command.VERBS[args.verb](args)
