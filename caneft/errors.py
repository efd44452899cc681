"""The one exception that is shown to people as a message, without a traceback."""

import difflib
from collections.abc import Iterable

LINES, LINE = 30, 1000


class InputError(ValueError):
    """Something given from outside (configuration, corpus, model, artefact) cannot be used.

    The message says what was wrong, where (file, line or key), and what to do. It has at most LINES lines. A line of
    over LINE characters, which quotes what someone wrote, is cut to its beginning and end.
    """

    def __init__(self, message: object):
        lines = str(message).split("\n")[:LINES]
        super().__init__("\n".join(f"{x[:600]} ... {x[-300:]}" if len(x) > LINE else x for x in lines))


def did_you_mean(name: str, known: Iterable[str], taken: Iterable[str] = ()) -> str:
    """Sentence that lists the known names and suggests one that is close, if any, but never one that is `taken`."""
    known = sorted(known)
    close = difflib.get_close_matches(name, sorted({*known} - {*taken}), n=1)
    listing = f"Known: {', '.join(known) if known else 'none'}."
    return listing + (f" Did you mean '{close[0]}'?" if close else "")
