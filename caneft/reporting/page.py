"""HTML form of printed tables: one page without scripts or links, for the report."""

from html import escape
from itertools import groupby

from caneft.reporting.layout import BEST, SECOND, Cell, Table, said_once

STYLE = """\
body { font: 14px/1.5 system-ui, sans-serif; color: #222; margin: 2em; max-width: 75em; }
table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 1em 0; }
caption { caption-side: top; text-align: left; padding-bottom: .7em; min-width: 42em; }
th, td { padding: .25em .8em; text-align: right; font-variant-numeric: tabular-nums; }
th { font-weight: normal; } .text { text-align: left; }
.group { text-align: center; border-bottom: 1px solid #999; }
tbody { border-top: 1px solid; } .second { text-decoration: underline; }
td:not(.text) { white-space: nowrap; }
.deviation, .signs { display: inline-block; text-align: left; white-space: pre; }
sup { line-height: 0; }
p { color: #555; }"""


def html(tables: list[Table], absent: str = "") -> str:
    """Tables one under the other: caption, table, notes; none of it twice. absent: what to say if there are none."""
    body = "\n".join(map(fragment, said_once(tables))) or f"<p>{escape(absent)}</p>"
    return document(tables[0].title if tables else absent, body)


def document(title: str, body: str, style: str = "") -> str:
    """A whole page. body: HTML. style: CSS beside that of all pages."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>\n{STYLE}{style}\n</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def fragment(table: Table) -> str:
    """A table without the page around it: caption, table, notes."""
    lines = [f"<table><caption><strong>{escape(table.title)}.</strong> {escape(table.caption)}</caption>", "<thead>"]
    if any(column.group for column in table.columns):
        lines.append(_row([_group(*group) for group in groupby(table.columns, key=lambda column: column.group)]))
    lines.append(_row([_tag("th", escape(column.name), "" if column.numeric else "text") for column in table.columns]))
    lines.append("</thead>")
    for rows in (table.rows, table.footer):
        if rows:
            lines += ["<tbody>", *(_row(_cells(table, row)) for row in rows), "</tbody>"]
    notes = [f"<p>{escape(note).replace('`', '')}</p>" for note in table.notes]
    return "\n".join([*lines, "</table>", *notes])


def _group(name: str, members) -> str:
    return f'<th class="{"group" if name else ""}" colspan="{len(list(members))}">{escape(name)}</th>'


def _cells(table: Table, row: list[Cell]) -> list[str]:
    columns = list(zip(*table.rows, strict=True))
    widest = [max((len(cell.deviation) for cell in column), default=0) for column in columns]
    signs = [max((len(cell.signs) for cell in column), default=0) for column in columns]
    numeric = [column.numeric for column in table.columns]
    return [_cell(*parts) for parts in zip(row, numeric, widest, signs, strict=True)]


def _cell(cell: Cell, numeric: bool, widest: int, signs: int) -> str:
    """A cell; all of a column leave the same room for signs and deviation: points stand below each other."""
    text = escape(cell.text)
    text = {BEST: f"<strong>{text}</strong>", SECOND: f'<span class="second">{text}</span>'}.get(cell.mark, text)
    if signs:
        text += f'<sup class="signs" style="min-width: {0.7 * signs:.1f}ch">{escape(cell.signs)}</sup>'
    if widest:
        deviation = f" ± {escape(cell.deviation)}" if cell.deviation else ""
        text += f'<span class="deviation" style="min-width: {widest + 2.5}ch">{deviation}</span>'
    return _tag("td", text, "" if numeric else "text")


def _tag(name: str, text: str, style: str) -> str:
    return f'<{name} class="{style}">{text}</{name}>' if style else f"<{name}>{text}</{name}>"


def _row(cells: list[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"
