"""The text of a TMX segment. Inline markup is dropped, but leaves a space if it was between two words.

`bpt`, `ept`, `it`, `ph` and `ut` hold the markup of another format, with `sub` flows such as footnotes inside; `x`,
`bx` and `ex` are XLIFF's. Text in any other element, such as `hi`, is kept.

Two kinds of markup separate words: a break (`<br/>`, `\\par`, white space), whatever surrounds it; and a placeholder
(`ph` or `x` that is not formatting) between two letters. In scripts without spaces, only a break does.
"""

import html
import re
import unicodedata
from collections.abc import Mapping

MARKUP = {"bpt", "ept", "it", "ph", "ut", "x", "bx", "ex"}
PLACEHOLDERS = {"ph", "x"}
BREAKS = {"lb", "pb", "cb", "br"}
"""Values of `type` and `ctype`, and names of elements, for line, page and column breaks."""
FORMATTING = {"b", "bold", "i", "italic", "u", "ulined", "dulined", "underlined", "color", "font", "scap"}
"""Values of `type` and `ctype` of markup that may be inside a word."""
LONGEST_MARKUP = 1000
"""Number of characters of markup that are examined."""

BLOCKS = (
    "br|p|div|li|[uod]l|dt|dd|t[rdh]|table|h[1-6]|hr|pre|blockquote|option|w:br|w:tab|w:cr|text:line-break|text:tab"
)
BREAK = re.compile(
    rf"</?\s*(?:{BLOCKS})(?=[\s/>])|[\[{{](?:br|lb|lf|nl|tab)[\]}}]|\\(?:n|r|t|par|line|tab|page|cell|row)(?![A-Za-z])",
    re.IGNORECASE,
)
INLINE = "b|i|u|s|em|strong|small|big|sub|sup|font|span|tt|code|mark|ins|del|a|g|cf|wbr"
WITHIN = re.compile(
    rf"(?:</?(?:{INLINE})(?:\s[^<>]*)?/?>|[\u00ad\u200b-\u200d\u2060\ufeff])+|(?:\{{?(?:\\[A-Za-z]+-?\d* ?)+)|\}}+",
    re.IGNORECASE,
)
UNSPACED = re.compile(  # Thai, Lao, Tibetan, Burmese, Khmer, Tai; Han, kana, bopomofo
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf"
    "\u2e80-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)

NONE, BETWEEN_LETTERS, ALWAYS = range(3)
"""Where dropped markup leaves a space: nowhere, between two letters, wherever there is none already."""


class Segment:
    """Collects the elements and texts of a segment in turn. length: number of characters of text so far."""

    def __init__(self) -> None:
        self.length = 0
        self._parts: list[str] = []
        self._gap = NONE
        self._depth = self._flow = 0  # open elements from the outermost markup on; the flow's depth
        self._outermost, self._markup = NONE, ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        kinds = {attributes.get(key, "").removeprefix("x-").removeprefix("html-") for key in ("type", "ctype")}
        if self._depth or name in MARKUP:
            self._depth += 1
            if self._depth == 1:
                self._outermost = BETWEEN_LETTERS if name in PLACEHOLDERS and not kinds & FORMATTING else NONE
                self._markup = attributes.get("equiv-text", "")
            elif name == "sub" and not self._flow:
                self._flow = self._depth
        if not self._flow and {name, *kinds} & BREAKS:
            self._gap = ALWAYS

    def end(self) -> bool:
        """Ends an element. False if it is not in markup: then it may be the segment itself."""
        if not self._depth:
            return False
        if self._flow == self._depth:
            self._flow = 0
        self._depth -= 1
        if not self._depth:
            self._gap = max(self._gap, _gap(html.unescape(self._markup), self._outermost))
        return True

    def add(self, text: str) -> None:
        if self._depth:
            if not self._flow and len(self._markup) < LONGEST_MARKUP:
                self._markup += text[:LONGEST_MARKUP]
            return
        if self._parts and _parts_words(self._gap, self._parts[-1][-1], text[0]):
            self._parts.append(" ")
        self._gap = NONE
        self._parts.append(text)
        self.length += len(text)

    def text(self) -> str:
        return "".join(self._parts)


def _gap(markup: str, otherwise: int) -> int:
    if markup.isspace() or BREAK.search(markup):
        return ALWAYS
    return NONE if WITHIN.fullmatch(markup) else otherwise


def _parts_words(gap: int, before: str, after: str) -> bool:
    if gap == BETWEEN_LETTERS:
        return all(unicodedata.category(x)[0] in "LM" and not UNSPACED.match(x) for x in (before, after))
    return gap == ALWAYS and not before.isspace() and not after.isspace()
