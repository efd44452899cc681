"""What one language contributes to the demo's corpus."""

from collections.abc import Callable
from typing import NamedTuple

from caneft.demo.english import Order
from caneft.demo.sampling import Writer
from caneft.demo.trees import Sentence


class Twin(NamedTuple):
    """A source language: the writer of its sentences, and how they are spelt and ordered.

    length: measures a source, in words or characters; pairs whose source's length is not in `lengths` are left out.
    """

    writer: type[Writer]
    spelt: Callable[[Sentence], str]
    order: Order
    length: Callable[[str], int]
    lengths: range

    @property
    def domains(self) -> tuple[str, ...]:
        return self.writer.vocabulary.domains
