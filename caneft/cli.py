"""What every step of the workflow shares: a step parses, calls the package, writes."""

import functools
import logging
import sys
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType

from caneft import machine
from caneft.errors import InputError


def step(main: Callable[[], None]) -> Callable[[], None]:
    """Decorator of a step's `main`: logging to stderr, and an error that people can mend as a message with exit code 1.

    These are an InputError and what `machine.in_words` knows.
    """

    @functools.wraps(main)
    def wrapped() -> None:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
        warnings.filterwarnings("ignore", category=FutureWarning)
        try:
            main()
        except InputError as error:
            end(str(error))
        except KeyboardInterrupt:
            print("Interrupted. Nothing half-written is taken for a result; the same command goes on.", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if (words := machine.in_words(error)) is None:
                raise
            end(words)

    return wrapped


def end(words: str) -> None:
    """Says what is wrong and ends the process."""
    print(f"Error: {words}", file=sys.stderr)
    sys.exit(1)


def explain_imports(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """For sys.excepthook: what is wrong with an environment, before a step's `main` is reached."""
    words = machine.in_words(error) if isinstance(error, ImportError | OSError) else None
    if words is None:
        traceback.print_exception(kind, error, trace)
    else:
        print(f"Error: {words}", file=sys.stderr)
