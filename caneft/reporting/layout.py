"""Printed tables, and their Markdown form; the LaTeX form is in `latex`."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

BEST, SECOND = "best", "second"
NONE = "–"
"""Printed in place of a missing number."""


@dataclass(frozen=True)
class Cell:
    """A printed value: `text`, and the standard deviation `deviation` if there are several seeds.

    mark: BEST, SECOND or empty. signs: superscripts for significance, or for a variant that is told the domain.
    """

    text: str
    deviation: str = ""
    mark: str = ""
    signs: str = ""


@dataclass(frozen=True)
class Column:
    """Header of a column; `group` is set once above adjacent columns that share it. Text columns are left-aligned."""

    name: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A printed table. label: for LaTeX's references. notes: lines below the table. footer: rows under a rule."""

    label: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    footer: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


Printed = tuple[Column, list[Cell]]
"""A column with its cells."""


def of_columns(label: str, title: str, caption: str, columns: Iterable[Printed], **more: list) -> Table:
    """A table made from its columns, from left to right. more: its footer and notes."""
    heads, cells = zip(*columns, strict=True)
    return Table(label, title, caption, list(heads), [list(row) for row in zip(*cells, strict=True)], **more)


def words(name: str, texts: Iterable[str], group: str = "") -> Printed:
    """A column of text."""
    return Column(name, group, numeric=False), [Cell(text) for text in texts]


def mark_best(texts: list[str], lowest: bool = False) -> list[str]:
    """Marks of a column of printed numbers: the highest (or `lowest`) is best, the next second. Numbers that are equal
    in print have equal marks."""
    values = sorted({float(text) for text in texts}, reverse=not lowest)
    marks = dict(zip(values, (BEST, SECOND), strict=False))
    return [marks.get(float(text), "") for text in texts]


def said_once(tables: list[Table]) -> list[Table]:
    """A series of tables in which none repeats the caption or notes of the one before."""
    found = tables[:1]
    for before, table in pairwise(tables):
        caption = "" if table.caption == before.caption else table.caption
        found.append(replace(table, caption=caption, notes=[n for n in table.notes if n not in before.notes]))
    return found


def markdown(tables: list[Table]) -> str:
    """A series of tables as Markdown: caption, table with aligned columns, notes; none of them repeated."""
    return "\n".join(map(_markdown, said_once(tables)))


def _markdown(table: Table) -> str:
    header = [f"{column.name} ({column.group})" if column.group else column.name for column in table.columns]
    body = [[_markdown_cell(cell) for cell in row] for row in (*table.rows, *table.footer)]
    for row in body[len(table.rows) :]:
        row[0] = f"*{row[0]}*"
    lines = [[text.replace("|", "\\|") for text in line] for line in [header, *body]]
    sizes = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shapes = [(">" if column.numeric else "<", size) for column, size in zip(table.columns, sizes, strict=True)]
    lines.insert(1, ["-" * (size - 1) + (":" if side == ">" else "-") for side, size in shapes])
    aligned = ([f"{text:{side}{size}}" for text, (side, size) in zip(line, shapes, strict=True)] for line in lines)
    rows = [f"| {' | '.join(line)} |" for line in aligned]
    parts = [f"**{table.title}.** {table.caption}".rstrip(), "\n".join(rows), *table.notes]
    return "\n\n".join(parts) + "\n"


def _markdown_cell(cell: Cell) -> str:
    opening, closing = {BEST: ("**", "**"), SECOND: ("<ins>", "</ins>")}.get(cell.mark, ("", ""))
    return f"{opening}{cell.text}{closing}{cell.signs}" + (f" ± {cell.deviation}" if cell.deviation else "")
