"""The table of decoding health: counts of outputs that are empty, cut, over-long or in a wrong language."""

from collections.abc import Iterator

import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import methods, numbers
from caneft.reporting.inputs import COPY
from caneft.reporting.layout import NONE, Cell, Column, Table, of_columns, words
from caneft.reporting.measures import of_block
from caneft.reporting.results import BLOCK, FLAGS

ABSENT = "No table of decoding health: no output is empty, cut at the length limit, over-long or in a wrong language."
HEADERS = {"empty": "empty", "truncated": "cut", "overlong": "over-long", "wrong_language": "wrong language"}


def health_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per block, variant and domain: sums over seeds.

    Columns: model, direction, mixture, variant, method, domain, seen, n_seeds, segments, empty, truncated, overlong,
    wrong_language (missing if the target language cannot be identified). Copy is left out: it is no model's output.
    """
    one_metric = scores[(scores["method"] != COPY) & (scores["metric"] == scores["metric"].iloc[0])]
    keys = [*BLOCK, "variant", "method", "domain", "seen"]
    found = one_metric.groupby(keys, sort=False)
    sums = found[["segments", *FLAGS]].sum(min_count=1).astype("Int64")
    sums.insert(0, "n_seeds", found.size())
    return sums.reset_index()


def health_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per shown block that has such outputs."""
    for block in plan.shown_blocks():
        found = of_block(table, block)
        sums = found.groupby(["variant", "seen"], sort=False)[["segments", *FLAGS]].sum(min_count=1)
        rows = sums[sums[FLAGS].sum(axis=1) > 0].reset_index()
        if rows.empty:
            continue
        fine = found["variant"].nunique() - rows["variant"].nunique()
        none = f"; {fine} method{'s' * (fine > 1)} ha{'ve' if fine > 1 else 's'} none at all" if fine else ""
        shares = {flag: [_share(*pair) for pair in zip(rows[flag], rows["segments"], strict=True)] for flag in FLAGS}
        yield of_columns(
            "tab:health-" + "-".join(block),
            f"Decoding health of {block[0]}, {block[1]}, mixture {block[2]}",
            captions.said(
                plan,
                "Outputs that are empty, cut at the length limit, over-long (more than twice the reference's characters"
                " plus 20), or in another language than the target: number and per cent of the segments, summed over"
                f" domains{' and seeds' if len(plan.config.seeds) > 1 else ''}. All of them count in the scores.",
                f"Not shown is where there are none{none}.",
                "The target language cannot be told." if rows["wrong_language"].isna().all() else "",
            ),
            [
                methods(plan, rows["variant"]),
                words("Domains", ("seen" if seen else "unseen" for seen in rows["seen"])),
                numbers("Segments", rows["segments"], ","),
                *((Column(f"{name} (%)"), list(map(Cell, shares[flag]))) for flag, name in HEADERS.items()),
            ],
        )


def _share(count: int, segments: int) -> str:
    return NONE if pd.isna(count) else f"{count:,} ({100 * count / segments:.2f})"
