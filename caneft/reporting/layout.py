"""A table as it is printed, and its Markdown form. `latex` has the other one."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

BEST, SECOND = "best", "second"


@dataclass(frozen=True)
class Cell:
    """A printed value: `text`, and the standard deviation `deviation` where there are several seeds.

    mark: BEST, SECOND or nothing. signs: of significance, or of what a row is told, set high beside the text.
    """

    text: str
    deviation: str = ""
    mark: str = ""
    signs: str = ""


@dataclass(frozen=True)
class Column:
    """Header of a column; `group` stands above neighbouring columns that share it. Text columns are left-aligned."""

    name: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """label: of the LaTeX table. notes: lines that stand below. footer: rows under a rule."""

    label: str
    title: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    footer: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def mark_best(texts: list[str], lowest: bool = False) -> list[str]:
    """Marks of a column of printed numbers: the highest (or `lowest`) is best, the next second; equal print,
    equal mark."""
    values = sorted({float(text) for text in texts}, reverse=not lowest)
    marks = dict(zip(values, (BEST, SECOND), strict=False))
    return [marks.get(float(text), "") for text in texts]


def said_once(tables: list[Table]) -> list[Table]:
    """Tables that stand one under the other, without what the one before says word for word."""
    found = tables[:1]
    for before, table in pairwise(tables):
        caption = "" if table.caption == before.caption else table.caption
        found.append(replace(table, caption=caption, notes=[n for n in table.notes if n not in before.notes]))
    return found


def markdown(tables: list[Table]) -> str:
    """Tables one under the other: caption, table with aligned columns, notes; none of it twice."""
    return "\n".join(map(_markdown, said_once(tables)))


def _markdown(table: Table) -> str:
    header = [f"{column.name} ({column.group})" if column.group else column.name for column in table.columns]
    body = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    body += [[f"*{_markdown_cell(row[0])}*", *map(_markdown_cell, row[1:])] for row in table.footer]
    lines = [[text.replace("|", "\\|") for text in line] for line in [header, *body]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numeric = [column.numeric for column in table.columns]
    rule = ["-" * (width - 1) + ":" if right else "-" * width for width, right in zip(widths, numeric, strict=True)]
    aligned = [
        [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        for line in lines
    ]
    rows = [f"| {' | '.join(line)} |" for line in [aligned[0], rule, *aligned[1:]]]
    parts = [f"**{table.title}.** {table.caption}".rstrip(), "\n".join(rows), *table.notes]
    return "\n\n".join(parts) + "\n"


def _markdown_cell(cell: Cell) -> str:
    opening, closing = {BEST: ("**", "**"), SECOND: ("<ins>", "</ins>")}.get(cell.mark, ("", ""))
    return f"{opening}{cell.text}{closing}{cell.signs}" + (f" ± {cell.deviation}" if cell.deviation else "")
