"""What one language brings to the demo's corpus."""

from collections.abc import Callable
from typing import NamedTuple

from caneft.demo.english import Order
from caneft.demo.sampling import Writer
from caneft.demo.trees import Sentence


class Twin(NamedTuple):
    """A source language: who writes its sentences, how they are spelt and ordered.

    length: of a source, in words or characters; pairs whose source is not of one of `lengths` are left out.
    """

    writer: type[Writer]
    spelt: Callable[[Sentence], str]
    order: Order
    length: Callable[[str], int]
    lengths: range

    @property
    def domains(self) -> tuple[str, ...]:
        return self.writer.vocabulary.domains
