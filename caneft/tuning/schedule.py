"""The learning-rate schedule of pretraining and tuning."""

import math
from collections.abc import Callable


def schedule(steps: int, warmup: float) -> Callable[[int], float]:
    """Maps a step to the factor of the learning rate: linear up to 1 over the `warmup` share, then cosine to 0."""
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor
