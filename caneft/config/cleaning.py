"""Section about what is done to raw text."""

from typing import Annotated, Literal

from pydantic import Field

from caneft.config.section import Positive, Section


class Cleaning(Section):
    """What is repaired in, and dropped from, train, dev and pretraining text. Test sets are normalised only, and what
    these rules would have found there is counted. Every report says what each rule did."""

    mojibake: Literal["repair", "drop", "keep"] = "repair"
    """Text that was read in a wrong encoding (`fÃ¼r`), where ftfy can tell what it was."""
    near_duplicates: Literal["drop", "keep"] = "drop"
    """Pairs that differ from an earlier one in case, punctuation and white space alone."""
    copies: Literal["drop", "keep"] = "keep"
    """Pairs whose target is their source. Test sets may be full of them: then a model has to know when to copy."""
    max_characters: Positive | None = 5000
    """Pairs with a longer side are dropped; null: none is."""
    max_ratio: Annotated[float, Field(gt=1)] | None = 3.0
    """Pairs with a target so many times longer or shorter than is usual in their corpus are dropped; null: none is."""
    wrong_language: Literal["drop", "keep"] = "keep"
    """Pairs with a side that py3langid finds in another language than the direction's name says (`de-en`)."""
    language_bytes: Positive = 60
    """Sides whose letters have fewer bytes in UTF-8 (a Chinese one has three) are not judged by their language."""
