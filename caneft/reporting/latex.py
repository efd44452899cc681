"""Printed tables in LaTeX: floats of one or two columns that fit a two-column article and need only booktabs.

LaTeX has nothing to warn of: what does not fit at a small size continues below, or in another float.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from caneft.reporting.escaping import BREAK, breakable, escape
from caneft.reporting.layout import BEST, SECOND, Cell, Column, Table
from caneft.reporting.widths import (
    BOLD,
    CAPTION,
    NOTES,
    SIZES,
    Size,
    caption_height,
    deviation_width,
    notes_height,
    width,
)

HEAD = """\
% Needs \\usepackage{booktabs}, nothing else, and a LaTeX of 2018 or later. Every float fits the class article with
% [twocolumn], at 10 points. Letters other than Latin ones are printed by XeLaTeX and LuaLaTeX, with a font that has
% them; pdfLaTeX prints their code points.
"""
PAGE, COLUMN, HEIGHT = 405.0, 196.0, 530.0
"""Width of the text, width of one of its two columns, and height of a float, in points: a little below article's."""
LONGEST = 130.0
"""The largest width of a text cell in points: longer texts are broken into lines."""
MOST_ROWS = 40
"""The most rows of one tabular: a longer table continues in a second one."""


@dataclass(frozen=True)
class Fit:
    """How a table is set: the environment (`table` or `table*`), the size, and the widths of its columns."""

    environment: str
    size: Size
    widths: list[float]


SIGNS = {"§": r"\S", "†": r"\dagger", "‡": r"\ddagger", "↓": r"\downarrow"}
"""Signs, each with its LaTeX command for a superscript."""
SIGN_WIDTH = 0.9
"""Width of a sign, in digits."""


def latex(tables: list[Table]) -> str:
    """All tables as floats, to \\input into a document that loads booktabs."""
    return HEAD + "\n" + "\n".join(float_ for table in tables for float_ in _floats(table))


def _floats(table: Table) -> Iterator[str]:
    """A table as floats, each with as many tabulars as fit; the first has the caption, the last the notes."""
    fit = _fit(table)
    caption = breakable(f"{table.title}. {table.caption}".strip())
    line = COLUMN if fit.environment == "table" else PAGE
    head, foot = caption_height(caption, line), notes_height(table.notes, line)
    pages = _pages(table, fit, head, foot)
    for number, page in enumerate(pages, start=1):
        first, last = number == 1, number == len(pages)
        lines = [
            f"\\begin{{{fit.environment}}}[tp]",
            f"\\centering{fit.size.command}\\setlength{{\\tabcolsep}}{{{fit.size.gap:g}pt}}",
            f"\\caption{{{escape(caption if first else f'{breakable(table.title)} (continued).')}}}",
            f"\\label{{{table.label}{'' if first else f'-{number}'}}}",
            "\\vspace{1ex}",
            "\n\\par\\medskip\n".join(_tabular(part, fit) for part in page),
            *(_notes(table.notes) if last else []),
            f"\\end{{{fit.environment}}}",
        ]
        yield "\n".join(lines) + "\n"


def _pages(table: Table, fit: Fit, head: float, foot: float) -> list[list[Table]]:
    """The parts of a table in each of its floats. head, foot: heights of caption and notes, in points."""
    parts = [panel for rows in _rows_apart(table, fit, HEIGHT - head - foot) for panel in _panels(rows, fit)]
    pages, left = [[parts[0]]], HEIGHT - head - _height(parts[0], fit)
    for part in parts[1:]:
        height = _height(part, fit)
        if height > left:
            pages.append([])
            left = HEIGHT - caption_height(table.title, COLUMN)
        pages[-1].append(part)
        left -= height
    return pages if foot <= left or len(pages[-1]) == 1 else [*pages[:-1], pages[-1][:-1], pages[-1][-1:]]


def _fit(table: Table) -> Fit:
    """The largest size at which the table fits one column, else the text's width; else a size to cut into panels."""
    words = re.split(rf"[\s{BREAK}-]+", f"{table.title} {table.caption}")
    for environment, limit, sizes in (("table", COLUMN, SIZES[:2]), ("table*", PAGE, SIZES)):
        if environment == "table" and max(width(word, CAPTION) for word in words) > COLUMN / 2:
            continue  # a long word in a narrow caption would leave wide gaps in its lines
        for size in sizes:
            widths = column_widths(table, size)
            if sum(widths) <= limit:
                return Fit(environment, size, widths)
    return Fit("table*", SIZES[1], column_widths(table, SIZES[1]))


@dataclass(frozen=True)
class Set:
    """A column as it is set."""

    column: Column
    cells: list[Cell]

    @cached_property
    def deviation(self) -> str:
        """The widest deviation among the cells."""
        return max((cell.deviation for cell in self.cells), key=len, default="")

    @cached_property
    def signs(self) -> str:
        """The widest signs among the cells."""
        return max((cell.signs for cell in self.cells), key=len, default="")

    def width(self, size: Size) -> float:
        """Width in points, including the gaps on both sides."""
        cells = max((width(cell.text, size) * (BOLD if cell.mark == BEST else 1) for cell in self.cells), default=0)
        beside = deviation_width(self.deviation, size) if self.deviation else 0
        cells += max(beside, SIGN_WIDTH * len(self.signs) * width("0", size))
        found = max(cells, *(width(line, size) for line in self.header()))
        return (found if self.column.numeric else min(found, LONGEST)) + 2 * size.gap

    def header(self) -> tuple[str, str]:
        """Two lines of header; the first is empty unless the name has several words and is wider than its column."""
        name, size, words = self.column.name, SIZES[0], self.column.name.split(" ")
        if len(words) == 1 or width(name, size) <= self.longest(size):
            return "", name
        cuts = [(" ".join(words[:cut]), " ".join(words[cut:])) for cut in range(1, len(words))]
        return min(cuts, key=lambda cut: max(width(line, size) for line in cut))

    def longest(self, size: Size) -> float:
        """Width of the longest text."""
        return max((width(cell.text, size) for cell in self.cells), default=0)

    def broken(self, size: Size) -> bool:
        """Whether the cells are set as paragraphs, because one of them is too long for a line."""
        return not self.column.numeric and self.longest(size) > LONGEST

    def cell(self, cell: Cell, broken: bool) -> str:
        """A cell, padded to the widest deviation and signs of the column so that decimal points are aligned."""
        command = {BEST: r"\textbf", SECOND: r"\underline"}.get(cell.mark)
        text = escape(breakable(cell.text) if broken else cell.text)
        text = rf"\raggedright {text}" if broken else f"{command}{{{text}}}" if command else text
        widest = self.deviation and rf"\pm{self.deviation}"
        if not cell.signs and not cell.deviation:
            space = _beside(_signs_of(self.signs), widest)
            return text + (rf"\phantom{{{space}}}" if space else "")
        below = cell.deviation and rf"\pm{cell.deviation}"
        missing = "0" * (len(self.deviation) - len(cell.deviation)) if below else widest
        above = _filled(_signs_of(cell.signs), _signs_of(self.signs[len(cell.signs) :]))
        return text + _beside(above, _filled(below, missing))


def _sets(table: Table) -> list[Set]:
    rows = [*table.rows, *table.footer]
    return [Set(column, [row[number] for row in rows]) for number, column in enumerate(table.columns)]


def column_widths(table: Table, size: Size) -> list[float]:
    """Widths of the columns in points, including their gaps. A group's header can widen the group's last column."""
    widths, start = [column.width(size) for column in _sets(table)], 0
    for name, members in groupby(table.columns, key=lambda column: column.group):
        end = start + len(list(members))
        widths[end - 1] += max(0.0, width(name, size) + 2 * size.gap - sum(widths[start:end])) if name else 0
        start = end
    return widths


def _rows_apart(table: Table, fit: Fit, height: float) -> Iterator[Table]:
    """The table, or parts of it whose rows fit on one page; rows with the same first cell stay together."""
    most = min(MOST_ROWS, len(table.rows) // math.ceil(_height(table, fit) / max(height, HEIGHT / 4)) + 1)
    starts, rows = [0], table.rows
    for row in range(1, len(rows)):
        if row - starts[-1] >= most:
            starts.append(max((i for i in range(starts[-1] + 1, row + 1) if rows[i][0] != rows[i - 1][0]), default=row))
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        yield replace(table, rows=rows[start:end], footer=table.footer if end == len(rows) else [])


def _height(table: Table, fit: Fit) -> float:
    """Height of a tabular in points: the lines of its rows, and five lines for header and rules."""
    return (5 + sum(_lines(table, row, fit) for row in (*table.rows, *table.footer))) * fit.size.line


def _lines(table: Table, row: list[Cell], fit: Fit) -> int:
    texts = [cell.text for cell, column in zip(row, table.columns, strict=True) if not column.numeric]
    longest = max((width(text, fit.size) for text in texts), default=0)
    return 1 if longest <= LONGEST else 1 + math.ceil(longest / (0.9 * LONGEST))


def _panels(table: Table, fit: Fit) -> Iterator[Table]:
    """The table, or parts whose columns fit the page: each repeats the text columns; most groups stay whole."""
    if sum(fit.widths) <= PAGE:
        yield table
        return
    kept = next(number for number, column in enumerate(table.columns) if column.numeric)
    room = PAGE - sum(fit.widths[:kept])
    panels: list[list[int]] = [[]]
    left = room
    for group in _unbroken(table, fit, kept, room):
        wanted = sum(fit.widths[number] for number in group)
        for part in [group] if wanted <= left or left < room / 2 else [[number] for number in group]:
            needed = sum(fit.widths[number] for number in part)
            if needed > left and panels[-1]:
                panels.append([])
                left = room
            panels[-1] += part
            left -= needed
    for panel in panels:
        chosen = [*range(kept), *panel]
        cells = {"rows": table.rows, "footer": table.footer}
        picked = {name: [[row[number] for number in chosen] for row in rows] for name, rows in cells.items()}
        yield replace(table, columns=[table.columns[number] for number in chosen], **picked)


def _unbroken(table: Table, fit: Fit, kept: int, room: float) -> Iterator[list[int]]:
    """Numbers of the columns that stay side by side: those of a group if they fit a panel, else each column alone."""
    numbers = range(kept, len(table.columns))
    for name, members in groupby(numbers, key=lambda number: table.columns[number].group):
        group = list(members)
        whole = name and sum(fit.widths[number] for number in group) <= room
        yield from [group] if whole else [[number] for number in group]


def _tabular(table: Table, fit: Fit) -> str:
    sets = _sets(table)
    broken = [column.broken(fit.size) for column in sets]
    headers = [column.header() for column in sets]
    kinds = zip(sets, broken, strict=True)
    alignment = [f"p{{{LONGEST:g}pt}}" if long else "r" if found.column.numeric else "l" for found, long in kinds]
    groups, rules = _groups(table.columns)
    rows, footer = (
        [_row([column.cell(*pair) for column, *pair in zip(sets, row, broken, strict=True)]) for row in part]
        for part in (table.rows, table.footer)
    )
    lines = [
        f"\\begin{{tabular}}{{{''.join(alignment)}}}",
        "\\toprule",
        *([groups, rules] if rules else []),
        *([_row([escape(first) for first, _ in headers])] if any(first for first, _ in headers) else []),
        _row([escape(last) for _, last in headers]),
        "\\midrule",
        *rows,
        *(["\\midrule", *footer] if footer else []),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines)


def _notes(notes: list[str]) -> list[str]:
    """The notes below a table; Markdown's `code` is set in typewriter."""
    if not notes:
        return []
    text = re.sub(r"`([^`]*)`", _code, escape(" ".join(map(breakable, notes))))
    return [f"\n\\smallskip\n\\parbox{{\\linewidth}}{{{NOTES.command}\\raggedright {text}}}"]


def _code(found: re.Match) -> str:
    """Code in typewriter, which has its own bar."""
    text = found[1].replace(r"\textbar", "|")
    return rf"\texttt{{{text}}}"


def _groups(columns: list[Column]) -> tuple[str, str]:
    """The line of group headers above the columns, and the rules below them."""
    cells, rules, start = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        end = start + len(list(members))
        cells += [f"\\multicolumn{{{end - start}}}{{c}}{{{escape(group)}}}"] if group else [""] * (end - start)
        rules += [f"\\cmidrule(lr){{{start}-{end - 1}}}"] if group else []
        start = end
    return _row(cells), "".join(rules)


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _beside(above: str, below: str) -> str:
    """Signs as a superscript and a deviation as a subscript."""
    return f"${f'^{{{above}}}' * bool(above)}{f'_{{{below}}}' * bool(below)}$" if above or below else ""


def _signs_of(signs: str) -> str:
    return "".join(SIGNS[sign] for sign in signs)


def _filled(text: str, missing: str) -> str:
    return text + (rf"\phantom{{{missing}}}" if missing else "")
