"""LaTeX form of printed tables. Needs the package booktabs and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from caneft.reporting.layout import BEST, SECOND, Cell, Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar\allowbreak{}",  # sacrebleu's signatures have no other place to break a line at
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return re.sub("[" + re.escape("".join(_ESCAPES)) + "]", lambda match: _ESCAPES[match.group()], text)


MOST_ROWS = 40
"""Of one page; a longer table goes on in a second environment."""


def latex(tables: list[Table]) -> str:
    """One table environment after the other, to be \\input into a document that loads booktabs."""
    parts = (part for table in tables for part in _pages(table))
    return "% needs \\usepackage{booktabs}\n\n" + "\n".join(map(_latex, parts))


def _pages(table: Table) -> Iterator[Table]:
    """A table, or parts of it that fit on a page each; rows with the same first cell stay together."""
    starts, rows = [0], table.rows
    for row in range(1, len(rows)):
        if row - starts[-1] >= MOST_ROWS:
            starts.append(max((i for i in range(starts[-1] + 1, row + 1) if rows[i][0] != rows[i - 1][0]), default=row))
    for number, start in enumerate(starts, start=1):
        last = number == len(starts)
        yield replace(
            table,
            label=table.label + (f"-{number}" if number > 1 else ""),
            title=table.title + (" (continued)" if number > 1 else ""),
            caption=table.caption if number == 1 else "",
            rows=rows[start:] if last else rows[start : starts[number]],
            footer=table.footer if last else [],
            notes=table.notes if number == 1 else [],
        )


def _latex(table: Table) -> str:
    caption = " ".join([f"{escape(table.title)}. {escape(table.caption)}".strip(), *map(_note, table.notes)])
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    groups, rules = _groups(table)
    wide = len(table.columns) > 8
    lines = [
        "\\begin{table*}[t]",
        "\\centering" + (r"\footnotesize\setlength{\tabcolsep}{3pt}" if wide else r"\small\setlength{\tabcolsep}{4pt}"),
        f"\\caption{{{caption}}}",
        f"\\label{{{table.label}}}",
        "\\vspace{1ex}",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        *([groups, rules] if rules else []),
        _row([escape(column.name) for column in table.columns]),
        "\\midrule",
        *_body(table, table.rows),
        *(["\\midrule", *_body(table, table.footer)] if table.footer else []),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table*}",
    ]
    return "\n".join(lines) + "\n"


def _note(note: str) -> str:
    """A note in the caption; what Markdown shows as code becomes typewriter."""
    return re.sub(r"`([^`]*)`", r"\\texttt{\1}", escape(note))


def _groups(table: Table) -> tuple[str, str]:
    """The line of group headers above the columns, and the rules below them."""
    cells, rules, start = [], [], 1
    for group, members in groupby(table.columns, key=lambda column: column.group):
        end = start + len(list(members))
        cells += [f"\\multicolumn{{{end - start}}}{{c}}{{{escape(group)}}}"] if group else [""] * (end - start)
        rules += [f"\\cmidrule(lr){{{start}-{end - 1}}}"] if group else []
        start = end
    return _row(cells), "".join(rules)


def _body(table: Table, rows: list[list[Cell]]) -> list[str]:
    columns = zip(*table.rows, *table.footer, strict=True)
    widest = [max((cell.deviation for cell in column), key=len) for column in columns]
    return [_row([_cell(cell, deviation) for cell, deviation in zip(row, widest, strict=True)]) for row in rows]


def _row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, widest: str) -> str:
    """A cell, filled up to the widest deviation of its column so that the points stand below each other."""
    command = {BEST: r"\textbf", SECOND: r"\underline"}.get(cell.mark)
    text = f"{command}{{{escape(cell.text)}}}" if command else escape(cell.text)
    if not cell.deviation:
        return text + (rf"\phantom{{\,$\pm$\,{widest}}}" if widest else "")
    missing = "0" * (len(widest) - len(cell.deviation))
    return rf"{text}\,$\pm$\,{cell.deviation}" + (rf"\phantom{{{missing}}}" if missing else "")
