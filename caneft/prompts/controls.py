"""Special tokens that a text spells out: they are read as text, so none is obeyed and none is lost.

A conversation is one string, in which the tokenizer finds control tokens by their names. A mark inside each name that a
source or target spells hides it; the tokens of marks are then removed. The rest is tokenized as before.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

from caneft.errors import InputError

MARK = "\ufdd0"
"""A noncharacter, which Unicode reserves for uses outside texts."""


class UnusableText(InputError):
    """A source that cannot be a prompt, or a target that cannot be a response, as it stands."""


class Controls:
    """Special tokens of one tokenizer.

    One whose name is a single character is left alone, as it mostly stands for that character: some models pad with
    `!`. ids: of those that the tokenizer keeps apart from text.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()  # Gemma 3 lists few as special
        names = {index: token.content for index, token in added if token.special and len(token.content) > 1}
        self.ids = frozenset(names)
        self._names = frozenset([*names.values(), *(name for name in tokenizer.all_special_tokens if len(name) > 1)])
        self._lengths = sorted({len(name) for name in self._names}, reverse=True)
        first = sorted({name[0] for name in self._names})
        self._first = re.compile(f"[{''.join(map(re.escape, first))}]" if first else "(?!)")
        self._borders: dict[str, int] = {}

    def as_text(self, text: str) -> str:
        """The text with a mark inside each name that it spells."""
        return self._marked(text, (start + self._border(name) for start, name in self._spelt(text)))

    def apart(self, text: str, edges: Collection[int]) -> str:
        """The text with a mark at each of these edges that is inside a name."""
        names = ((start, start + len(name)) for start, name in self._spelt(text))
        return self._marked(text, (edge for start, end in names for edge in edges if start < edge < end))

    def obeyed(self, text: str) -> UnusableText | None:
        """The error if a text is not read as it stands, else None: without token offsets, marks cannot be removed."""
        found = None if self.tokenizer.is_fast else next(self._spelt(text), None)
        if found is None:
            return None
        return UnusableText(
            f"a text contains the special token {found[1]}, which this model's tokenizer"
            f" ({type(self.tokenizer).__name__}) cannot read as text: drop this line from its corpus\n{text!r}"
        )

    def _spelt(self, text: str) -> Iterator[tuple[int, str]]:
        """Each place in a text where a name begins, with the longest such name."""
        for found in self._first.finditer(text):
            start = found.start()
            parts = (text[start : start + length] for length in self._lengths)
            if name := next((part for part in parts if part in self._names), None):
                yield start, name

    def _border(self, name: str) -> int:
        """Length of a name's first token when it is read as text: a mark there leaves the tokens unchanged."""
        if name not in self._borders:
            ids = self.tokenizer(name, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True)
            self._borders[name] = next((end for _, end in ids.offset_mapping if 0 < end < len(name)), 1)
        return self._borders[name]

    def _marked(self, text: str, places: Iterable[int]) -> str:
        if not self.tokenizer.is_fast:  # see `obeyed`
            return text
        return MARK.join(text[start:end] for start, end in pairwise([0, *sorted(set(places)), len(text)]))


def token_ids(tokenizer, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Token ids of each text as it stands, with nothing before it and without those of `MARK`."""
    if not texts:
        return []
    ids = [tuple(found) for found in tokenizer(list(texts), add_special_tokens=False).input_ids]
    for place, text in enumerate(texts):
        if MARK in text:
            ids[place] = _unmarked_ids(tokenizer, text)
    return ids


def _unmarked_ids(tokenizer, text: str) -> tuple[int, ...]:
    """Token ids of a text without the tokens that are (bytes of) a mark."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pairs = zip(found.input_ids, found.offset_mapping, strict=True)
    return tuple(token for token, (start, end) in pairs if text[start:end] != MARK)


def unmarked(text: str) -> str:
    """A text as it was before its special tokens were marked."""
    return text.replace(MARK, "")
