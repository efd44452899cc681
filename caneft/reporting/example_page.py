"""The page of examples: source, reference and outputs side by side, as HTML without scripts or external links."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape

from caneft.reporting.page import render

WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Chinese characters
)
TOKEN = re.compile(rf"[{WITHOUT_SPACES}]|(?:(?![{WITHOUT_SPACES}])\w)+|[^\w\s]")
"""A word, a mark of punctuation, or a character of a script that puts no space between words."""


@dataclass(frozen=True)
class Output:
    """One run's output for a segment. score: of the segment, 0 to 100. notes: flags of decoding, the adapter's name."""

    name: str
    text: str
    score: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A test segment with the outputs of several runs. why: the reason that it is shown."""

    id: str
    why: str
    source: str
    reference: str
    outputs: tuple[Output, ...]

    @property
    def best(self) -> float | None:
        """The highest of the scores as they are printed."""
        return max((round(output.score, 1) for output in self.outputs), default=None)


@dataclass(frozen=True)
class Section:
    """Examples of one domain of a block."""

    block: str
    domain: str
    examples: tuple[Example, ...]


def page(title: str, introduction: str, measure: str, sections: list[Section]) -> str:
    """The page: a table for each example, by block and domain. measure: name of the metric of the outputs' scores."""
    blocks: dict[str, dict[int, Section]] = {}
    for number, section in enumerate(sections):
        blocks.setdefault(section.block, {})[number] = section
    about = {"title": title, "introduction": introduction, "measure": measure}
    return render("examples.html", **about, blocks=blocks, compared=compared)


def compared(text: str, reference: str) -> str:
    """Text as HTML: marks what the reference lacks, and inserts, struck through, what the text lacks. Where words
    differ, only those of the text are shown.

    Compares words, or characters in scripts that put no space between words; ignores white space.
    """
    return "".join(_compared(text, reference))


def _compared(text: str, reference: str) -> Iterator[str]:
    own, other = list(TOKEN.finditer(text)), list(TOKEN.finditer(reference))
    matcher = SequenceMatcher(None, _words(other), _words(own), autojunk=False)
    done = 0
    for kind, i, i_end, j, j_end in matcher.get_opcodes():
        if kind == "delete":
            yield f"<del>{escape(reference[other[i].start() : other[i_end - 1].end()])}</del>"
            continue
        start, end = own[j].start(), own[j_end - 1].end()
        yield escape(text[done:start])
        part = escape(text[start:end])
        yield part if kind == "equal" else f"<mark>{part}</mark>"
        done = end
    yield escape(text[done:])


def _words(tokens: Iterable[re.Match]) -> list[str]:
    return [token[0] for token in tokens]
