"""Section about the cleaning of raw text."""

from typing import Annotated, Literal

from pydantic import Field

from caneft.config.section import Positive, Section


class Cleaning(Section):
    """Repairs and filters for train, dev and pretraining text (docs/method.md). Test sets are only normalised."""

    mojibake: Literal["repair", "drop", "keep"] = "repair"
    """Text decoded in a wrong encoding (`fÃ¼r`)."""
    near_duplicates: Literal["drop", "keep"] = "drop"
    """Pairs that differ from an earlier one only in case, punctuation and white space."""
    copies: Literal["drop", "keep"] = "keep"
    """Pairs whose target is their source."""
    max_characters: Positive | None = 5000
    """Drop pairs with a longer side."""
    max_ratio: Annotated[float, Field(gt=1)] | None = 3.0
    """Drop pairs whose target is over this many times longer or shorter than usual."""
    wrong_language: Literal["drop", "keep"] = "keep"
    """Pairs with a side in another language, by py3langid."""
    language_bytes: Positive = 60
    """The language check skips sides whose letters have fewer bytes."""
