"""What every step of the workflow shares: a step parses, calls the package, writes."""

import functools
import logging
import os
import sys
import warnings
from collections.abc import Callable

from caneft.errors import InputError

SAID = "CANEFT_SAID"
"""Names a file to the processes of one step: who fails first makes it, and the others end without a word."""


def step(main: Callable[[], None]) -> Callable[[], None]:
    """Decorator of a step's `main`: logging to stderr, and an InputError as a message with exit code 1."""

    @functools.wraps(main)
    def wrapped() -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            main()
        except InputError as error:
            if _first_to_fail():
                print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("Interrupted. Nothing half-written is taken for a result; the same command goes on.", file=sys.stderr)
            sys.exit(130)
        except Exception:
            if _first_to_fail():
                raise
            sys.exit(1)  # it lost its connection to the one that failed, or met the same

    return wrapped


def _first_to_fail() -> bool:
    """Whether no other process of this step has said why it failed; true for one on its own."""
    path = os.environ.get(SAID)
    if not path:
        return True
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except OSError:
        return False
    return True
