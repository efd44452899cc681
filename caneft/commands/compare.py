"""The command line `python -m caneft compare`: says what differs between two results folders."""

import argparse
import csv
import io
import json
import textwrap
from pathlib import Path
from typing import Any

from caneft.commands.options import number

WIDTH = 100
HEAD = [
    "model",
    "direction",
    "mixture",
    "variant",
    "metric",
    "column",
    "a",
    "b",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
]


def add(commands) -> None:
    """Adds `compare` to a parser's commands."""
    about = "say what differs between two results folders: configuration, runs, scores, and whether it is significant"
    parser = commands.add_parser("compare", help=about, description=about)
    parser.add_argument("a", type=Path, help="results folder, such as results/before")
    parser.add_argument("b", type=Path, help="results folder that it is compared with")
    parser.add_argument("--resamples", type=number(int, 1), default=20000, help="randomisations (%(default)s)")
    parser.add_argument("--alpha", type=number(float, 0, 1), default=0.05, help="level of what is marked (%(default)s)")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="of the randomisations (%(default)s)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="everything as JSON")
    form.add_argument("--csv", action="store_true", help="the scores as CSV")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from caneft.commands import differences  # late: it imports pandas
    from caneft.commands.finished import open_plan

    plans = [open_plan(folder) for folder in (args.a, args.b)]
    found = differences.between(*plans, args.a, args.b, args.resamples, args.seed)
    if args.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    elif args.csv:
        print(_csv(found["scores"]), end="")
    else:
        print("\n".join(lines(found, args.alpha)))


def _csv(scores: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, HEAD, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(scores)
    return text.getvalue()


def lines(found: dict[str, Any], alpha: float) -> list[str]:
    """A comparison as lines to read, of at most 100 columns unless names are longer."""
    said = [f"a  {found['a']}", f"b  {found['b']}", "", *_configuration(found["configuration"])]
    for side, other in (("a", "b"), ("b", "a")):
        if only := found[f"only_{side}"]:
            names = f"{len(only)} runs in {side} and not in {other}: {', '.join(only)}"
            said += textwrap.wrap(names, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    said += [f"not tested: {note}" for note in found["notes"]]
    if not found["scores"]:
        return [*said, "", "No run is in both, so there are no scores to compare."]
    said += _scores(found["scores"], alpha)
    tested = sum(row["p"] is not None for row in found["scores"])
    if tested:
        text = (
            f"* p < {alpha:g} after Holm's correction over the {tested} comparisons shown: paired approximate"
            f" randomisation, {found['resamples']:,} resamples. The difference is b minus a, with the interval that"
            " holds 95 % of bootstrap resamples."
        )
        least = tested / (found["resamples"] + 1)
        if least >= alpha:
            text += f" So many comparisons at so few resamples: no p can be below {least:.2g}. Raise --resamples."
        said += ["", *textwrap.wrap(text, WIDTH)]
    return said


def _configuration(keys: list[dict[str, Any]]) -> list[str]:
    if not keys:
        return ["The configurations are the same."]
    said = ["Configuration:"]
    for entry in keys:
        a, b = (textwrap.shorten(json.dumps(entry[side], ensure_ascii=False), 34, placeholder="…") for side in "ab")
        said.append(f"  {entry['key']}: {a} -> {b}")
    return said


def _scores(scores: list[dict[str, Any]], alpha: float) -> list[str]:
    """Lines of scores in groups; variants without a changed score share a line at the end."""
    from caneft.reporting.labels import p_text

    changed = {row["variant"] for row in scores if row["difference"] != 0}
    same = ", ".join(dict.fromkeys(row["variant"] for row in scores if row["variant"] not in changed))
    said, group = [], None
    width = max(len(row["variant"]) for row in scores)
    column = max(len(row["column"]) for row in scores)
    for row in scores:
        if row["variant"] not in changed:
            continue
        if (here := (row["model"], row["direction"], row["mixture"], row["metric"])) != group:
            group = here
            said += ["", f"{row['metric']} of {row['model']}, {row['direction']}, mixture {row['mixture']}"]
            said += [f"  {'':<{width}}  {'':<{column}} {'a':>7} {'b':>7}  {'b - a':>6}"]
        tested = row["p"] is not None
        mark = "*" if tested and row["p_holm"] < alpha else " "
        text = f"[{row['low']:+.1f}, {row['high']:+.1f}]  {p_text(row['p_holm'])}" if tested else ""
        numbers = f"{row['a']:7.1f} {row['b']:7.1f}  {row['difference']:+6.1f}{mark}"
        said.append(f"  {row['variant']:<{width}}  {row['column']:<{column}} {numbers}  {text}".rstrip())
    if same:
        said += ["", *textwrap.wrap(f"No score differs of: {same}", WIDTH, break_on_hyphens=False)]
    return said
