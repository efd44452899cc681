"""The overview, as one page to send, with which the report opens, and as text for the terminal."""

from base64 import b64encode
from collections.abc import Iterable

from caneft.reporting import claims, page
from caneft.reporting.claims import CLAIMS, OPEN
from caneft.reporting.layout import Cell, Table
from caneft.reporting.listing import FIGURES, TABLES
from caneft.reporting.overview import Overview

WIDTH = 100
"""Columns of the terminal."""
SHOWN_IN = {
    "a": ("main", "significance", "scores"),
    "b": ("unseen", "significance", "overlap", "seen_unseen"),
    "c": ("interference",),
    "d": ("criteria", "significance", "scores"),
    "e": ("budget", "quality_cost"),
    "f": ("criteria", "neurons_per_layer", "jaccard", "importance_information"),
    "g": ("stability",),
}
"""Names of the tables and figures that show the evidence for a claim."""
FIRST = ("scores", "seen_unseen")
"""Figures that are shown with the main result; the others are folded below."""


def html(overview: Overview) -> str:
    """One page without scripts or external links: verdicts, main result and its figures, then all the rest."""

    def more(names: Iterable[str]) -> dict[str, dict[str, str]]:
        """By kind, labels of those of these tables and figures that exist."""
        kinds = (("table", TABLES, overview.tables), ("figure", FIGURES, overview.figures))
        found = {kind: {name: of[name] for name in names if name in made} for kind, of, made in kinds}
        return {kind: labels for kind, labels in found.items() if labels}

    counts = claims.counted(overview.verdicts)
    return page.render(
        "overview.html",
        title=overview.title,
        overview=overview,
        several=len(overview.main) > 1,
        counts={f"({claim}) {CLAIMS[claim]}": counts[claim] for claim in CLAIMS},
        others=[name for name in overview.figures if name not in FIRST],
        more=more,
        encoded=lambda picture: b64encode(picture).decode(),
        **{"CLAIMS": CLAIMS, "FIGURES": FIGURES, "FIRST": FIRST, "SHOWN_IN": SHOWN_IN, "TABLES": TABLES},
    )


def summary(overview: Overview, rows: int = 12) -> str:
    """Markdown of at most 100 columns: the main numbers and verdicts of each shown block.

    rows: the most rows of a table; a longer one keeps those that the claims name and the best by the last column.
    """
    lines = [f"# {overview.title}", ""]
    for block, table in overview.main.items():
        lines += [f"**{table.title}**", "", *_columns(table, overview.named[block], rows), ""]
        lines += [f"    ({v.claim}) {v.verdict:<{len(OPEN)}}  {CLAIMS[v.claim]}" for v in overview.verdicts[block]] + [
            ""
        ]
    return "\n".join(lines)


def _columns(table: Table, named: list[str], rows: int) -> list[str]:
    """A table's rows in aligned columns; of more than `rows`, the named ones and those with the highest last column."""
    ranked = sorted(table.rows, key=lambda row: (row[0].text not in named, -float(row[-1].text)))[:rows]
    body = [row for row in table.rows if row in ranked]
    texts = [[f"{column.group} {column.name}".strip() for column in table.columns], *(map(_text, row) for row in body)]
    first, *others = zip(*texts, strict=True)
    columns = [[text.ljust(max(map(len, first))) for text in first]]
    columns += [[text.rjust(max(map(len, column))) for text in column] for column in others]
    left_out = len(table.rows) - len(body)
    more = [f"    … and {left_out} more in tables/main.md"] if left_out else []
    return [f"    {'  '.join(line)}"[:WIDTH] for line in zip(*columns, strict=True)] + more


def _text(cell: Cell) -> str:
    return cell.text + (f" ± {cell.deviation}" if cell.deviation else "")
