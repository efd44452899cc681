"""HTML pages without scripts, to send and for the report, which also suit phones and dark mode; from `templates/`.

Every rule of their CSS is limited to `.page`, because the report shows such a page inside its own.
"""

from collections.abc import Iterator
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from caneft.reporting.layout import Cell, Column, Table, said_once

OPENING, CLOSING = '<main class="page">\n', "\n</main>"


def html(tables: list[Table], absent: str = "") -> str:
    """A page of tables with captions and notes, none of them repeated. absent: a sentence to show if there are none."""
    return render("tables.html", title=tables[0].title if tables else absent, tables=said_once(tables), absent=absent)


def render(template: str, **content: Any) -> str:
    """Renders a template of `templates/` with this content, and escapes all of it."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    blocks = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    made = Environment(loader=folder, autoescape=True, finalize=_escaped, undefined=StrictUndefined, **blocks)
    made.globals.update(groups=_groups, aligned=_aligned)
    return made


def _escaped(value: Any) -> Markup:
    """Escapes a value, with quotes as `html.escape` writes them."""
    return value if isinstance(value, Markup) else Markup(escape(str(value)))  # noqa: S704 (it is escaped)


def body_of(page: str) -> str:
    """The content of a page, without its head and end."""
    return page.partition(OPENING)[2].rpartition(CLOSING)[0]


def _groups(columns: list[Column]) -> list[tuple[str, list[Column]]]:
    return [(name, list(members)) for name, members in groupby(columns, key=lambda column: column.group)]


def _aligned(table: Table, row: list[Cell]) -> Iterator[tuple[Cell, Column, int, int]]:
    """Each cell of a row with its column, and the lengths of the longest signs and longest deviation in that column."""
    for cell, column, cells in zip(row, table.columns, zip(*table.rows, strict=True), strict=False):
        yield cell, column, max(len(other.signs) for other in cells), max(len(other.deviation) for other in cells)
