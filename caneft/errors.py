"""The one exception that is shown to people as a message, without a traceback."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something given from outside (configuration, corpus, model, artefact) cannot be used.

    The message says what was wrong, where (file, line or key), and what to do.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Sentence that lists the known names and, where one is close, suggests it."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    listing = f"Known: {', '.join(known) if known else 'none'}."
    return listing + (f" Did you mean '{close[0]}'?" if close else "")
