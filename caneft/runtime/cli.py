"""The frame of every workflow step, which parses its arguments, calls the package and writes files."""

import functools
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType

from caneft.errors import InputError
from caneft.runtime import machine

SAID = "CANEFT_SAID"
"""Environment variable: names a file, which the first process of a step to fail creates, so the others end silently."""


def step(main: Callable[[], None]) -> Callable[[], None]:
    """Decorates a step's `main`: logs to stderr, and shows an error that people can fix as a message, with exit code 1.

    Such errors are InputError and those that `machine.in_words` knows.
    """

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
            print("Interrupted. Nothing half-written counts as a result; the same command resumes.", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if not _first_to_fail():
                sys.exit(1)  # it lost its connection to the one that failed, or hit the same error
            if (words := machine.in_words(error)) is None:
                raise
            print(f"Error: {words}", file=sys.stderr)
            sys.exit(1)

    return wrapped


def explain_imports(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A sys.excepthook: says what is wrong with an environment, before a step's `main` is reached."""
    words = machine.in_words(error) if isinstance(error, ImportError | OSError) else None
    if words is None:
        traceback.print_exception(kind, error, trace)
    else:
        print(f"Error: {words}", file=sys.stderr)


def _first_to_fail() -> bool:
    """Whether no other process of this step has reported a failure; always true for a single process."""
    path = os.environ.get(SAID)
    if not path:
        return True
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except OSError:
        return False
    return True
