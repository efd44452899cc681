"""The commands of CANEFT outside the workflow."""

import argparse
import os
import sys

from caneft.commands import check, compare, explain, held_out, init, patch, plan, tensorboard, verify
from caneft.errors import InputError
from caneft.runtime.cli import step

SHELLS = ("bash", "zsh", "tcsh")


class Version(argparse.Action):
    """Prints the version of the package."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata  # late: --help does not need it

        print(f"caneft {metadata.version('caneft')}")
        parser.exit()


class Completion(argparse.Action):
    """Prints the script by which a shell completes commands, options and files."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: str, *__: object) -> None:
        import shtab

        print(shtab.complete(parser, shell))
        parser.exit()


@step
def main() -> None:
    parser = argparse.ArgumentParser(prog="caneft", description=__doc__)
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and exit")
    parser.add_argument(
        "--print-completion", action=Completion, choices=SHELLS, help="print a shell's completion script"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (init, check, plan, patch, compare, explain, verify, held_out, tensorboard):
        module.add(commands)
    args = parser.parse_args()
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, a folder without write permission
        raise InputError(str(error)) from error


if __name__ == "__main__":
    main()
