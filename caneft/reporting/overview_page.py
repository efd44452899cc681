"""The overview as the report's first page, and as text for the terminal."""

from html import escape
from itertools import zip_longest

from caneft.reporting import claims
from caneft.reporting.claims import CLAIMS, OPEN, Verdict
from caneft.reporting.inputs import Block
from caneft.reporting.layout import Cell, Table
from caneft.reporting.listing import FIGURES, TABLES
from caneft.reporting.overview import Overview
from caneft.reporting.page import document, fragment

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
"""Tables and figures that a claim is about, by name."""
STYLE = """
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin: 2em 0 .5em; } h3 { font-size: 1em; margin: 1.2em 0 .2em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: 0; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; } ul { margin: .2em 0; padding-left: 1.3em; }
.claim { border-left: 4px solid #bbb; padding: .1em 0 .1em 1em; margin: 1em 0; break-inside: avoid; }
.claim h3 { margin: 0; } .claim p { margin: .2em 0; color: inherit; } .claim ul { color: #444; font-size: .93em; }
.verdict { font-weight: 600; border: 1px solid #999; border-radius: .6em; padding: 0 .5em; margin-left: .5em; }
.supported { border-left-color: #00745a; } .supported .verdict { background: #d5efe6; border-color: #00745a; }
.contradicted { border-left-color: #a33c00; } .contradicted .verdict { background: #fbe2d3; border-color: #a33c00; }
.where { color: #555; font-size: .93em; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; } }"""


def html(overview: Overview) -> str:
    """One page without scripts or links."""
    several = len(overview.main) > 1
    parts = [f"<h1>{escape(overview.title)}</h1>", f"<p>{escape(overview.note)}</p>" if overview.note else ""]
    parts += ["<h2>What was run</h2>", _definitions(overview.what)]
    parts += ["<h2>Main result</h2>", *map(fragment, overview.main.values())]
    parts += [f"<p>{escape(_pointer('main', 'scores'))}</p>"]
    if several:
        counts = claims.counted(overview.verdicts)
        rows = {f"({claim}) {CLAIMS[claim]}": counts[claim] for claim in CLAIMS}
        parts += [f"<h2>Claims over {len(overview.main)} blocks</h2>", _definitions(rows)]
    for block, found in overview.verdicts.items():
        of = f"{', '.join(overview.named[block][:1])}{_of(block) if several else ''}"
        parts += [f"<h2>Claims about {escape(of)}</h2>", *map(_claim, found)]
    parts += [f"<p>{escape(line)}</p>" for line in explanation()]
    for block, lines in overview.warnings.items():
        if lines:
            parts += [f"<h2>To know before believing{escape(_of(block)) if several else ''}</h2>", _list(lines)]
    parts += ["<h2>Made by</h2>", _definitions(overview.made_by)]
    return document(overview.title, "\n".join(filter(None, parts)), STYLE)


def explanation() -> list[str]:
    """How verdicts come about, for readers who have only this page."""
    return [
        "A verdict follows from the numbers by a fixed rule that can come out either way; docs/method.md has the rules."
        " Differences are those of the method to the one named. The standard error has a part of the test segments and"
        " one of the runs; p is by Student's t, adjusted by Holm over all differences that are quoted for a block. A"
        " comparison at fixed learning rates, or of fewer than three seeds, is shown but decides nothing."
    ]


def _claim(verdict: Verdict) -> str:
    kind = verdict.verdict.split()[0]
    head = f"({verdict.claim}) {CLAIMS[verdict.claim]}"
    return (
        f'<div class="claim {kind}"><h3>{escape(head)} <span class="verdict">{escape(verdict.verdict)}</span></h3>\n'
        f"<p>{escape(verdict.reason)}</p>\n{_list(verdict.numbers)}\n"
        f'<p class="where">{escape(_pointer(*SHOWN_IN[verdict.claim]))}</p></div>'
    )


def _pointer(*names: str) -> str:
    """Where in the report more of it is."""
    tables, figures = ([of[name] for name in names if name in of] for of in (TABLES, FIGURES))
    said = [f"{kind} {', '.join(found)}" for kind, found in (("table", tables), ("figure", figures)) if found]
    return f"More: {'; '.join(said)}."


def _of(block: Block) -> str:
    return f" on {', '.join(block[:2])}, mixture {block[2]}"


def _definitions(rows: dict[str, str]) -> str:
    entries = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows.items())
    return f"<dl>\n{entries}\n</dl>"


def _list(lines: list[str]) -> str:
    return f"<ul>\n{''.join(f'<li>{escape(line)}</li>' for line in lines)}\n</ul>" if lines else ""


def summary(overview: Overview, rows: int = 12) -> str:
    """Markdown of at most 100 columns: main numbers and verdicts of each shown block, then where the rest is.

    rows: of each block's table; of a longer one those that the claims name and the best by the last column.
    """
    lines = [f"# {overview.title}", ""]
    for block, table in overview.main.items():
        lines += [f"**{table.title}**", "", *_columns(table, overview.named[block], rows), ""]
        lines += [*map(_verdict_line, overview.verdicts[block]), ""]
    return "\n".join(lines)


def _columns(table: Table, named: list[str], rows: int) -> list[str]:
    """A table's rows in aligned columns; of more than `rows` the named and those with the highest last column."""
    ranked = sorted(table.rows, key=lambda row: (row[0].text not in named, -float(row[-1].text)))[:rows]
    body = [row for row in table.rows if row in ranked]
    names = [f"{column.group} {column.name}".strip() for column in table.columns]
    texts = [names, *([_text(cell) for cell in row] for row in body)]
    widths = [max(map(len, column)) for column in zip_longest(*texts, fillvalue="")]
    aligned = [
        "  ".join([text[0].ljust(widths[0]), *(t.rjust(w) for t, w in zip(text[1:], widths[1:], strict=True))])
        for text in texts
    ]
    left_out = len(table.rows) - len(body)
    more = [f"    … and {left_out} more in tables/main.md"] if left_out else []
    return [f"    {line}"[:WIDTH] for line in aligned] + more


def _text(cell: Cell) -> str:
    return cell.text + (f" ± {cell.deviation}" if cell.deviation else "")


def _verdict_line(verdict: Verdict) -> str:
    return f"    ({verdict.claim}) {verdict.verdict:<{len(OPEN)}}  {CLAIMS[verdict.claim]}"
