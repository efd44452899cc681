"""The overview: one page to send, with which the report opens; and as text for the terminal."""

from base64 import b64encode
from collections.abc import Iterable
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
FIRST = ("scores", "seen_unseen")
"""Figures that stand beside the main result; the others are folded below."""
STYLE = """
.page h1 { font-size: 1.5em; margin: .5em 0; font-weight: 700; color: inherit; }
.page h2 { font-size: 1.15em; margin: 2em 0 .5em; font-weight: 700; color: inherit; }
.page h3 { font-size: 1em; margin: 0; font-weight: 700; color: inherit; }
.page dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: 0; }
.page dt { color: var(--dim); font-weight: 400; } .page dd { margin: 0; padding: 0; overflow-wrap: anywhere; }
@media (max-width: 40em) { .page dl { grid-template-columns: 1fr; } .page dd { margin-bottom: .5em; } }
.page ul { margin: .2em 0; padding-left: 1.3em; list-style: disc; } .page li { color: inherit; }
.page a { color: inherit; font-weight: inherit; }
.page img { min-width: 44em; width: 100%; max-width: 58em; margin: 0; background: #fff; }
.page summary { cursor: pointer; } .page details { margin: .3em 0; }
.page .claim { border-left: 4px solid var(--line); padding: .1em 0 .1em 1em; margin: 1em 0; break-inside: avoid; }
.page .claim p { margin: .2em 0; color: inherit; } .page .claim details { color: var(--dim); font-size: .93em; }
.page .verdict { border: 1px solid var(--line); border-radius: .6em; padding: 0 .5em; font-weight: 600;
  display: inline-block; }
.page .supported { border-left-color: #00745a; } .page .supported .verdict { background: #00745a; color: #fff; }
.page .contradicted { border-left-color: #a33c00; } .page .contradicted .verdict { background: #a33c00; color: #fff; }
@media print { .page { max-width: none; font-size: 11px; } .page h2 { break-after: avoid; }
  .page details::details-content { content-visibility: visible; block-size: auto; } }"""


def html(overview: Overview) -> str:
    """One page without scripts or links to elsewhere: verdicts, main result and its figures, then all the rest."""
    several = len(overview.main) > 1
    claimed = []
    for block, found in overview.verdicts.items():
        of = f"{', '.join(overview.named[block][:1])}{_of(block) if several else ''}"
        claimed += [f"<h2>Claims about {escape(of)}</h2>", *(_claim(verdict, overview) for verdict in found)]
    claimed += [f"<p>{escape(line)}</p>" for line in explanation()]
    result = [
        "<h2>Main result</h2>",
        *map(fragment, overview.main.values()),
        _pointer(("main", "significance"), overview),
    ]
    result += [_figure(name, overview.figures[name]) for name in FIRST if name in overview.figures]
    parts = [f"<h1>{escape(overview.title)}</h1>", f"<p>{escape(overview.note)}</p>" if overview.note else ""]
    if several:
        counts = claims.counted(overview.verdicts)
        rows = {f"({claim}) {CLAIMS[claim]}": counts[claim] for claim in CLAIMS}
        parts += [f"<h2>Claims over {len(overview.main)} blocks</h2>", _definitions(rows), *result, *claimed]
    else:
        parts += [*claimed, *result]
    for block, lines in overview.warnings.items():
        if lines:
            parts += [f"<h2>To know before believing{escape(_of(block)) if several else ''}</h2>", _list(lines)]
    parts += [
        "<h2>Tables</h2>",
        *(_folded("table", TABLES[name], name, text) for name, text in overview.tables.items()),
    ]
    others = {name: picture for name, picture in overview.figures.items() if name not in FIRST}
    parts += ["<h2>More figures</h2>"] if others else []
    parts += [_folded("figure", FIGURES[name], name, _picture(name, picture)) for name, picture in others.items()]
    parts += ["<h2>What was run</h2>", _definitions(overview.what), "<h2>Made by</h2>", _definitions(overview.made_by)]
    return document(overview.title, "\n".join(filter(None, parts)), STYLE)


def _figure(name: str, picture: bytes) -> str:
    return f'<figure id="figure-{name}">{_picture(name, picture)}</figure>'


def _picture(name: str, picture: bytes) -> str:
    data = b64encode(picture).decode()
    return f'<div class="wide"><img alt="{escape(FIGURES[name])}" src="data:image/png;base64,{data}"></div>'


def _folded(kind: str, label: str, name: str, content: str) -> str:
    """A part that its title opens, and a link to it."""
    title = label[0].upper() + label[1:]
    return f'<details><summary>{escape(title)}</summary><div id="{kind}-{name}">\n{content}\n</div></details>'


def explanation() -> list[str]:
    """How verdicts come about, for readers who have only this page."""
    return [
        "A verdict follows from the numbers by a fixed rule that can come out either way; docs/method.md has the rules."
        " Differences are those of the method to the one named. The standard error has a part of the test segments and"
        " one of the runs; p is by Student's t, adjusted by Holm over all differences that are quoted for a block. A"
        " comparison at fixed learning rates, or of fewer than three seeds, is shown but decides nothing."
    ]


def _claim(verdict: Verdict, overview: Overview) -> str:
    kind = verdict.verdict.split()[0]
    head = f"({verdict.claim}) {CLAIMS[verdict.claim]}"
    numbers = f"<details><summary>Numbers</summary>{_list(verdict.numbers)}</details>\n" if verdict.numbers else ""
    return (
        f'<div class="claim {kind}"><h3>{escape(head)} <span class="verdict">{escape(verdict.verdict)}</span></h3>\n'
        f"<p>{escape(verdict.reason)}</p>\n{numbers}{_pointer(SHOWN_IN[verdict.claim], overview)}</div>"
    )


def _pointer(names: Iterable[str], overview: Overview) -> str:
    """Links to where more of it is, further below; nothing where there is no more."""
    said = []
    for kind, of, found in (("table", TABLES, overview.tables), ("figure", FIGURES, overview.figures)):
        links = [f'<a href="#{kind}-{name}">{escape(of[name])}</a>' for name in names if name in found]
        said += [f"{kind} {', '.join(links)}"] if links else []
    return f"<p>More: {'; '.join(said)}.</p>" if said else ""


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
