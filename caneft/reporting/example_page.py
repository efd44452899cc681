"""The page of examples: source, reference and outputs side by side, as HTML without scripts or links to elsewhere."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from itertools import groupby

from caneft.reporting.page import document

WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Chinese characters
)
TOKEN = re.compile(rf"[{WITHOUT_SPACES}]|(?:(?![{WITHOUT_SPACES}])\w)+|[^\w\s]")
"""A word, a mark of punctuation, or a character of a script that puts no space between words."""

STYLE = """
.page { --given: #f6f6f6; --mark: #ffe2b8; --part: #e4e4e4; }
@media (prefers-color-scheme: dark) { .page { --given: #24272b; --mark: #6b4a10; --part: #3a3d42; } }
.page h2 { border-bottom: 2px solid; margin-top: 2em; } .page h3 { margin-bottom: .2em; }
.page table { width: 100%; margin: .8em 0 1.6em; border-width: 1px; break-inside: avoid; }
.page caption { text-align: left; color: var(--dim); font-size: 13px; padding-bottom: .2em; }
.page th, .page td { padding: .2em .7em; text-align: left; vertical-align: top; border-top: 1px solid var(--part); }
.page th { color: var(--dim); width: 9em; overflow-wrap: anywhere; }
.page td.text { white-space: pre-wrap; overflow-wrap: anywhere; text-align: start; position: static; }
.page tr.given td, .page tr.given th { background: var(--given); }
.page td.score { text-align: right; width: 3.5em; } .page td.notes { font-size: 13px; width: 8em; white-space: normal; }
.page tr.best td.score { font-weight: bold; }
.page mark { background: var(--mark); color: inherit; border-bottom: 2px solid #d55e00; }
.page del { color: var(--dim); margin: 0 .1em 0 .3em; } .page nav a { margin-right: 1em; color: inherit; }
@media (max-width: 40em) { .page th { width: 5em; } .page th, .page td { padding: .2em .3em; }
  .page td.notes { width: auto; } }
@media print { .page { font-size: 10pt; } .page nav { display: none; } .page mark { print-color-adjust: exact; } }"""


@dataclass(frozen=True)
class Output:
    """What one run made of a segment. score: of the segment, 0 to 100. notes: flags of decoding, an adapter's name."""

    name: str
    text: str
    score: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """A test segment with the outputs of several runs. why: how it was chosen."""

    id: str
    why: str
    source: str
    reference: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Section:
    """Examples of one domain of a block."""

    block: str
    domain: str
    examples: tuple[Example, ...]


def page(title: str, introduction: str, measure: str, sections: list[Section]) -> str:
    """The page: blocks, in them domains, in them a table for each example. measure: what the outputs' scores are."""
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(introduction)}</p>",
        f"<p>{LEGEND.format(escape(measure))}</p>",
        _contents(sections),
    ]
    numbered = list(enumerate(sections))
    for block, members in groupby(numbered, key=lambda item: item[1].block):
        body.append(f"<h2>{escape(block)}</h2>")
        for number, section in members:
            body.append(f'<h3 id="part{number}">{escape(section.domain)}</h3>')
            body += map(_table, section.examples)
    return document(title, "\n".join(body), STYLE)


LEGEND = (
    "<mark>Marked</mark>: not in the reference at this place. <del>Struck through</del>: in the reference, missing"
    " here. The number is the {} of the segment; the highest is bold."
)


def _contents(sections: list[Section]) -> str:
    lines = []
    for block, members in groupby(enumerate(sections), key=lambda item: item[1].block):
        links = "".join(f'<a href="#part{number}">{escape(section.domain)}</a>' for number, section in members)
        lines.append(f"<div>{escape(block)}: {links}</div>")
    return f"<nav>{''.join(lines)}</nav>"


def _table(example: Example) -> str:
    given = (("source", example.source), ("reference", example.reference))
    rows = [_row(name, escape(text), style="given") for name, text in given]
    best = max((round(output.score, 1) for output in example.outputs), default=None)
    for output in example.outputs:
        score, style = f"{output.score:.1f}", "best" if round(output.score, 1) == best else ""
        rows.append(_row(output.name, compared(output.text, example.reference), score, ", ".join(output.notes), style))
    caption = f"<caption>{escape(example.id)}, {escape(example.why)}</caption>"
    return f"<table>{caption}\n" + "\n".join(rows) + "\n</table>"


def _row(name: str, text: str, score: str = "", notes: str = "", style: str = "") -> str:
    """text: HTML. Its direction is that of its first letter, on its own: it turns nothing around it."""
    opening = f'<tr class="{style}">' if style else "<tr>"
    cells = (
        f'<td class="text" dir="auto">{text}</td><td class="score">{score}</td><td class="notes">{escape(notes)}</td>'
    )
    return f'{opening}<th scope="row">{escape(name)}</th>{cells}</tr>'


def compared(text: str, reference: str) -> str:
    """Text as HTML, with what is not in the reference marked, and what is missing struck through.

    By words, or characters where a script puts no space between words; white space does not count.
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
