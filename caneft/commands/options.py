"""Numbers that options of commands take, with their bounds."""

import argparse
import math
from collections.abc import Callable


def number(kind: type[int] | type[float], least: float, most: float = math.inf) -> Callable[[str], float]:
    """An argparse type: a finite number of this kind from `least` to `most`, both included."""
    wanted = f"a {'whole ' if kind is int else ''}number of at least {least}"
    wanted += f" and at most {most}" if most < math.inf else ""

    def parsed(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and math.isfinite(value)):
            raise argparse.ArgumentTypeError(f"is {text!r}, but must be {wanted}")
        return value

    return parsed
