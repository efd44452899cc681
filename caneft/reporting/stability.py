"""The table of stability: whether disjoint halves of the samples select the same, and how a set does on the other."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from caneft.plan import Plan
from caneft.reporting import captions
from caneft.reporting.columns import printed
from caneft.reporting.labels import hundredths, label
from caneft.reporting.layout import NONE, Cell, Column, Table, mark_best, of_columns, words
from caneft.reporting.results import AGREEMENT, BLOCK

ABSENT = "No table of stability: no method of this configuration selects neurons."
CURVE = [*BLOCK, "criterion", "scope"]
MASKS = {"model": "over all layers", "layer": "in each layer", "off": "none"}
"""Where a neuron's importance is ranked, by scope of the mask."""
MEASURES = {"jaccard": "Jaccard", "phi": "Phi", "held_out": "held out"}
NOISE = [f"noise_{name}_mean" for name in MEASURES]
PRINTED = 3
"""How many sizes are printed, the largest ones; the CSV file has all."""


def rise(curve: pd.DataFrame) -> pd.DataFrame:
    """How far one curve's Jaccard index is above its noise, and its gain per doubling, by samples (the frame's index).

    curve: rows of `results.stability` of one criterion and scope. Columns: splits; above_mean and above_error (of
    jaccard less noise_jaccard); before (the largest size that is at most half of this one), gain_mean and gain_error
    (of the gain per doubling since `before`). Means and standard errors are over splits, and each split is compared
    with itself. Errors are missing for one split, gains if there is no smaller size to compare with.
    """
    by_size = {n: rows.set_index("split") for n, rows in curve.groupby("samples")}
    rows = []
    for n, here in by_size.items():
        before = max((size for size in by_size if size <= n / 2), default=None)
        above, above_error = over_splits(here["jaccard"] - here["noise_jaccard"])
        row = {"samples": n, "splits": len(here), "above_mean": above, "above_error": above_error, "before": before}
        if before is not None:
            gain = (here["jaccard"] - by_size[before]["jaccard"]) / np.log2(n / before)
            row |= dict(zip(("gain_mean", "gain_error"), over_splits(gain), strict=True))
        rows.append(row)
    columns = ["samples", "splits", "above_mean", "above_error", "before", "gain_mean", "gain_error"]
    return pd.DataFrame(rows, columns=columns).astype({"before": "Int64"}).set_index("samples")


def over_splits(values: pd.Series) -> tuple[float, float]:
    """Mean and standard error over splits; the error is missing for one split."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def stability_table(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per selection, criterion, scope and number of samples. frame: from `results.stability`.

    Columns: model, direction, mixture, criterion, scope, samples, neurons, total; for each measure of
    `results.AGREEMENT` its `_mean` and, except for noise, its standard error over splits as `_error`; and the columns
    of `rise`. Held-out consensus is in millinats.
    """
    frame = frame.assign(**{name: 1000 * frame[name] for name in ("held_out", "noise_held_out")})
    parts = []
    for key, curve in frame.groupby(CURVE, sort=False):
        by_size = curve.groupby("samples")
        means, errors = by_size[AGREEMENT].mean(), by_size[AGREEMENT[: len(AGREEMENT) // 2]].sem()
        found = [by_size[["neurons", "total"]].first(), means.add_suffix("_mean"), errors.add_suffix("_error")]
        parts.append(
            pd.concat([*found, rise(curve)], axis=1).reset_index().assign(**dict(zip(CURVE, key, strict=True)))
        )
    if not parts:
        return pd.DataFrame(columns=[*CURVE, "samples"])
    table = pd.concat(parts)
    return table[[*CURVE, *table.columns.drop(CURVE)]]


def stability_tables(plan: Plan, table: pd.DataFrame) -> Iterator[Table]:
    """The printed tables, one per selection."""
    for selection, rows in table.groupby(BLOCK, sort=False):
        sizes = sorted(rows["samples"].unique())[-PRINTED:]
        by_size = {n: rows[rows["samples"] == n] for n in sizes}
        curves = by_size[sizes[0]]
        noise = pd.concat([part.groupby("scope", sort=False)[NOISE].mean() for part in by_size.values()], axis=1)
        below = {scope: [Cell(printed(value, hundredths)) for value in noise.loc[scope]] for scope in noise.index}
        yield of_columns(
            "tab:stability-" + "-".join(selection),
            f"Stability of the selection, {', '.join(selection)}",
            _caption(plan, pd.concat(by_size.values())),
            [
                words("Criterion", (label(plan, criterion) for criterion in curves["criterion"])),
                words("mask", (MASKS[scope] for scope in curves["scope"])),
                *(
                    (Column(title, f"{n:,}"), _marked(part[f"{name}_mean"]))
                    for n, part in by_size.items()
                    for name, title in MEASURES.items()
                ),
            ],
            footer=[[Cell("shuffled labels"), Cell(MASKS[scope]), *cells] for scope, cells in below.items()],
        )


def _caption(plan: Plan, shown: pd.DataFrame) -> str:
    splits, neurons, total = shown[["splits", "neurons", "total"]].iloc[0]
    agreement, held_out = (
        shown[names].max(axis=None) for names in (["jaccard_error", "phi_error"], ["held_out_error"])
    )
    return captions.said(
        plan,
        f"Sets of {neurons:,} of {total:,} neurons, selected on two halves of the samples that share none. Jaccard and"
        " Phi (Nogueira's measure, 0 for random sets of all neurons) say how far the two are the same; held out is the"
        " consensus MI of a set on the half that did not select it, less its null, in millinats, comparable at one"
        f" number of samples alone. Means over {splits} split{'s' * (splits != 1)}. The numbers above are samples of"
        " each domain in a half.",
        "Mask: among whose neurons a task-relevant one's importance is ranked. Below: sets that are selected after"
        " shuffling the labels, mean over the criteria.",
        f"Standard errors are at most {agreement:.2f} and, of the last, {held_out:.2f}. They are over splits, which"
        " share samples: the true ones are larger."
        if splits > 1
        else "",
        "The best of a column is bold, the second underlined.",
    )


def _marked(values: pd.Series) -> list[Cell]:
    texts = [printed(value, hundredths) for value in values]
    marks = iter(mark_best([text for text in texts if text != NONE]))
    return [Cell(text, mark="" if text == NONE else next(marks)) for text in texts]
