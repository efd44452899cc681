"""Options of the command line that Snakemake would read otherwise than they look."""

import shlex
from collections.abc import Sequence

from caneft.errors import InputError

LISTS = {"--configfile": ("--configfile", "--configfiles"), "--config": ("--config", "-C")}
"""Options that take several values at once, by their usual name. If one is repeated, only the last counts."""


def refuse_repeated(arguments: Sequence[str]) -> None:
    """Raises InputError if an option of `LISTS` is given more than once, with how to give it once.

    arguments: those of `snakemake`, such as `sys.argv[1:]`.
    """
    for usual, names in LISTS.items():
        values = _values(arguments, names)
        if len(values) > 1:
            together = shlex.join(value for of_one in values for value in of_one)
            raise InputError(
                f"{usual} is given {len(values)} times, and Snakemake would read only the last.\n"
                f"Give all values after one: {usual} {together}"
            )


def _values(arguments: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    """Values after each use of an option."""
    found: list[list[str]] = []
    inside = False
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name in names:
            found.append([value] if value else [])
            inside = not value
        elif argument.startswith("-"):
            inside = False
        elif inside:
            found[-1].append(argument)
    return found
