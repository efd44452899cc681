"""What every step of the workflow shares: a step parses, calls the package, writes."""

import functools
import logging
import sys
import warnings
from collections.abc import Callable

from caneft.errors import InputError


def step(main: Callable[[], None]) -> Callable[[], None]:
    """Decorator of a step's `main`: logging to stderr, and an InputError as a message with exit code 1."""

    @functools.wraps(main)
    def wrapped() -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            main()
        except InputError as error:
            print(f"Error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("Interrupted. Nothing half-written is taken for a result; the same command goes on.", file=sys.stderr)
            sys.exit(130)

    return wrapped
