"""HTML form of printed tables: pages without scripts, to send and for the report; readable in the dark, on a phone."""

from html import escape
from itertools import groupby

from caneft.reporting.layout import BEST, SECOND, Cell, Table, said_once

OPENING, CLOSING = '<main class="page">\n', "\n</main>"
# Every rule is of `.page`: the report opens with such a page inside its own.
STYLE = """\
.page { color-scheme: light dark; --ink: #222; --dim: #555; --line: #999; --paper: #fff;
  font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 75em;
  padding: 1.5em; box-sizing: border-box; }
@media (prefers-color-scheme: dark) {
  .page { --ink: #dcdcdc; --dim: #a6a6a6; --line: #777; --paper: #17191c; } body:has(> .page) { background: #17191c; } }
@media (max-width: 40em) { .page { padding: .8em; } }
body:has(> .page) { margin: 0; }
.page figure { margin: 1em 0; }
.page figcaption { margin: 0 0 .5em; max-width: 60em; font-size: 1em; color: inherit; line-height: inherit; }
.page .wide { overflow-x: auto; }
.page table { border-collapse: collapse; border-top: 2px solid; border-bottom: 2px solid; margin: 0; width: auto;
  font-size: 1em; line-height: inherit; }
.page th, .page td { padding: .25em .8em; text-align: right; font-variant-numeric: tabular-nums; color: inherit; }
@media (max-width: 40em) { .page th, .page td { padding: .25em .5em; } }
.page th { font-weight: normal; } .page .text { text-align: left; }
.page .text:first-child { position: sticky; left: 0; background: var(--paper); }
.page .group { text-align: center; border-bottom: 1px solid var(--line); }
.page tbody { border-top: 1px solid; } .page tr { border: 0; } .page .second { text-decoration: underline; }
.page td:not(.text) { white-space: nowrap; }
.page .deviation, .page .signs { display: inline-block; text-align: left; white-space: pre; }
.page sup { line-height: 0; }
.page p { color: var(--dim); margin: 1em 0; overflow-wrap: anywhere; } .page strong { color: inherit; }"""


def html(tables: list[Table], absent: str = "") -> str:
    """Tables one under the other: caption, table, notes; none of it twice. absent: what to say if there are none."""
    body = "\n".join(map(fragment, said_once(tables))) or f"<p>{escape(absent)}</p>"
    return document(tables[0].title if tables else absent, body)


def document(title: str, body: str, style: str = "") -> str:
    """A whole page. body: HTML. style: CSS beside that of all pages."""
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{escape(title)}</title><style>\n{STYLE}{style}\n</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{OPENING}{body}{CLOSING}\n</body></html>\n'


def body_of(page: str) -> str:
    """What `document` has put a page around."""
    return page.partition(OPENING)[2].rpartition(CLOSING)[0]


def fragment(table: Table) -> str:
    """A table without the page around it: caption, table in a box that scrolls, notes."""
    caption = f" {escape(table.caption)}" if table.caption else ""
    lines = [f"<figure><figcaption><strong>{escape(table.title)}.</strong>{caption}</figcaption>"]
    lines += ['<div class="wide"><table>', "<thead>"]
    if any(column.group for column in table.columns):
        lines.append(_row([_group(*group) for group in groupby(table.columns, key=lambda column: column.group)]))
    lines.append(_row([_tag("th", escape(column.name), "" if column.numeric else "text") for column in table.columns]))
    lines.append("</thead>")
    for rows in (table.rows, table.footer):
        if rows:
            lines += ["<tbody>", *(_row(_cells(table, row)) for row in rows), "</tbody>"]
    notes = [f"<p>{escape(note).replace('`', '')}</p>" for note in table.notes]
    return "\n".join([*lines, "</table></div>", *notes, "</figure>"])


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
