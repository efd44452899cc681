"""What the package does outside the workflow."""

import argparse

from caneft.commands import check, compare, explain, init, patch, verify
from caneft.errors import InputError
from caneft.runtime.cli import step


@step
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m caneft", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (init, check, patch, compare, explain, verify):
        module.add(commands)
    args = parser.parse_args()
    try:
        args.run(args)
    except OSError as error:  # a full disk, a folder that may not be written
        raise InputError(str(error)) from error


if __name__ == "__main__":
    main()
