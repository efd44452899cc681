"""Translation memories (TMX 1.4b), read unit by unit.

`segment` decides what is text in a segment, and what markup leaves behind.

XML declares its encoding (UTF-16 is common), so a TMX file need not be UTF-8. Entities of a DTD are an error: they can
be expansion bombs, and skipping them would lose text. DTDs outside the file are not opened.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from caneft.config import Tmx
from caneft.config.languages import is_exactly, is_in
from caneft.corpora.readers.pair import Pair, Resolve
from caneft.corpora.readers.segment import Segment
from caneft.corpora.sides import visible
from caneft.corpora.text import LONGEST_LINE, opened
from caneft.errors import InputError

CHUNK = 2**16
LANGUAGE = ("xml:lang", "lang")  # the second is that of TMX 1.1


def read(source: Tmx, split: str, resolve: Resolve) -> Iterator[Pair]:
    """Pairs by unit, from 1; a side that a unit lacks is empty, so that cleaning counts it.

    Of several variants in a language, those with text come first, then those with exactly the code, then the earlier
    ones; none fills both sides. Raises InputError if the XML is broken or has a segment that is far too long, and at
    the end if no unit has both languages.
    """
    path = resolve(source.path)
    memory = _Memory(path, (source.source_language, source.target_language))
    number = complete = 0
    with opened(path, source.format) as file:
        for number, sides in enumerate(memory.units(file), start=1):
            complete += None not in sides
            yield Pair(number, sides[0] or "", sides[1] or "")
    if number and not complete:
        raise InputError(
            f"{path}: no unit has both {source.source_language} and {source.target_language}.\n"
            f"It has {', '.join(sorted(memory.languages)) or 'no language'}: correct source_language, target_language."
        )


class _Unit:
    """The variants of a unit that may fill a side. Of equivalent ones it keeps two, one for each side."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = codes
        self.variants: dict[tuple, list[tuple[int, str]]] = {}
        self.count = 0

    def add(self, language: str, text: str) -> None:
        """Adds the segment of a variant in one of the languages."""
        kind = (not visible(text).strip(), *(_likeness(language, code) for code in self.codes))
        if len(alike := self.variants.setdefault(kind, [])) < 2:
            alike.append((self.count, text))
        self.count += 1

    def sides(self) -> list[str | None]:
        """Two variants, chosen for the most sides with text, then the most exact codes, then the earliest place."""
        candidates: list[list[tuple]] = [[(2, 0, 0, None)], [(2, 0, 0, None)]]  # no variant: worse than an empty one
        for (empty, *likeness), alike in self.variants.items():
            for side in (0, 1):
                candidates[side] += [(empty, -likeness[side], *variant) for variant in alike if likeness[side]]
        pairs = [(a, b) for a in candidates[0] for b in candidates[1] if a[3] is None or b[3] is None or a[2] != b[2]]
        a, b = min(pairs, key=lambda pair: [first + second for first, second in zip(*map(_merit, pair), strict=True)])
        return [a[3], b[3]]


def _merit(candidate: tuple) -> tuple[int, int, int]:
    return candidate[:3]


@lru_cache(maxsize=4096)
def _likeness(language: str, code: str) -> int:
    """2 if a variant has exactly this code, 1 if it is in the code's range, else 0."""
    return is_in(language, code) + is_exactly(language, code)


class _Memory:
    """The handlers that expat calls as it parses a file, and the units that are complete so far."""

    def __init__(self, path: Path, codes: Sequence[str]) -> None:
        self.path, self.codes = path, codes
        self.languages: set[str] = set()
        self.whole: list[list[str | None]] = []
        self.unit = _Unit(codes)
        self.language = ""  # of the open variant
        self.segment: Segment | None = None
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self.parser.SkippedEntityHandler = self._entity

    def units(self, file: BinaryIO) -> Iterator[list[str | None]]:
        """The two sides of each unit; None for a side that it lacks."""
        fed = 0
        for chunk in chain(iter(lambda: file.read(CHUNK), b""), [b""]):
            fed += len(chunk)
            self._parse(chunk)
            if fed - self.parser.CurrentByteIndex > LONGEST_LINE:
                raise self._error("a tag or comment that does not end", "Is the file complete?")
            yield from self.whole
            self.whole.clear()

    def _parse(self, chunk: bytes) -> None:
        try:
            self.parser.Parse(chunk, not chunk)
        except InputError:
            raise
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise self._error(f"not well-formed XML: {reason}", "Correct the file or download it again.") from None
        except (LookupError, ValueError) as error:  # encodings that expat does not support
            raise self._error(f"cannot be decoded: {error}", "Convert it to UTF-8, with its declaration.") from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if self.segment is not None:
            self.segment.start(name, attributes)
        elif name == "tu":
            self.unit = _Unit(self.codes)
        elif name == "tuv":
            self.language = next((attributes[key] for key in LANGUAGE if key in attributes), "")
            self.languages.add(self.language)
        elif name == "seg" and any(_likeness(self.language, code) for code in self.codes):
            self.segment = Segment()

    def _end(self, name: str) -> None:
        name = name.rpartition(":")[2]
        if self.segment is not None and self.segment.end():
            return
        if name == "seg" and self.segment is not None:
            self.unit.add(self.language, self.segment.text())
            self.segment = None
        elif name == "tu":
            self.whole.append(self.unit.sides())

    def _text(self, text: str) -> None:
        if self.segment is None:
            return
        self.segment.add(text)
        if self.segment.length > LONGEST_LINE:
            raise self._error(f"a segment of more than {LONGEST_LINE:,} characters", "Remove its unit.")

    def _entity(self, name: str, *_: object) -> None:
        raise self._error(f"the entity '{name}' of a DTD", "Put what it stands for in its place: none is expanded.")

    def _error(self, what: str, remedy: str) -> InputError:
        return InputError(f"{self.path}:{self.parser.CurrentLineNumber}: {what}.\n{remedy}")
