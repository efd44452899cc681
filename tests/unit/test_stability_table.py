"""The table of stability compared with its file, and the gains of a curve by hand."""

import json
import statistics

import fake_results
import numpy as np
import pandas as pd
import pytest
from pytest import approx

from caneft.reporting import inputs, results, stability
from tests.messages import assert_names, refused

METHODS = {"base": {"method": "base"}, "caneft": {"method": "caneft", "learning_rate": 1e-2}}
PATH = "neurons/tiny/de-en/all/stability.json"


@pytest.fixture
def plan():
    return fake_results.plan(METHODS, report={"labels": {"joint": "Joint MI"}, "note": "A note."})


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    return tmp_path


@pytest.fixture
def table(plan, root):
    return stability.stability_table(results.stability(plan, root))


def test_each_row_is_a_point_of_the_file(root, table):
    points = json.loads((root / PATH).read_text())["points"]
    assert list(zip(table["criterion"], table["scope"], table["samples"], strict=True)) == [
        (point["criterion"], point["scope"], point["samples"]) for point in points
    ]
    assert set(table["model"] + table["direction"] + table["mixture"]) == {"tinyde-enall"}
    assert set(table["splits"]) == {3} and set(table["neurons"]) == {115} and set(table["total"]) == {1152}
    for row, point in zip(table.to_dict("records"), points, strict=True):
        for name in ("jaccard", "phi", "correlation", "held_out"):
            scale = 1000 if name == "held_out" else 1
            noise = [value for value in point[f"noise_{name}"] if value is not None]
            assert row[f"{name}_mean"] == approx(scale * statistics.mean(point[name]))
            assert row[f"{name}_error"] == approx(scale * statistics.stdev(point[name]) / 3**0.5)
            assert row[f"noise_{name}_mean"] == approx(scale * statistics.mean(noise))
        above = [a - b for a, b in zip(point["jaccard"], point["noise_jaccard"], strict=True)]
        assert row["above_mean"] == approx(statistics.mean(above))
        assert row["above_error"] == approx(statistics.stdev(above) / 3**0.5)


def test_a_gain_is_of_each_split_and_doubling():
    """Half of 200 is 100; from there splits gained 0.3 and 0. 60 is over half of 100, so the size before is 50."""
    found = {50: (0.1, 0.2), 60: (0.3, 0.3), 100: (0.2, 0.4), 200: (0.5, 0.4)}
    rows = [(n, split, value, 0.1) for n, values in found.items() for split, value in enumerate(values)]
    curve = pd.DataFrame(rows, columns=["samples", "split", "jaccard", "noise_jaccard"])
    found = stability.rise(curve.sample(frac=1, random_state=0))
    assert found["before"].tolist() == [pd.NA, pd.NA, 50, 100]
    assert found.loc[[100, 200], "gain_mean"].tolist() == approx([0.15, 0.15])
    assert found.loc[[100, 200], "gain_error"].tolist() == approx([0.05, 0.15])  # half of the differences
    without = stability.rise(curve[curve["samples"] != 100])
    assert without.loc[200, ["before", "gain_mean", "gain_error"]].tolist() == approx(
        [60, 0.15 / np.log2(200 / 60), 0.05 / np.log2(200 / 60)]
    )
    one = stability.rise(curve[curve["split"] == 0])
    assert one.loc[200, "gain_mean"] == approx(0.3) and np.isnan(one.loc[200, "gain_error"])
    assert stability.rise(curve[:0]).empty


def test_the_largest_sizes_are_printed_and_the_best_marked(plan, table):
    (printed,) = stability.stability_tables(plan, table)
    assert [(column.group, column.name) for column in printed.columns[2:]] == [
        (n, name) for n in ("100", "200", "400") for name in ("Jaccard", "Phi", "held out")
    ]
    last = table[table["samples"] == 400].reset_index(drop=True)
    assert [row[0].text for row in printed.rows[::2]] == ["caneft", "caneft-geometric", "caneft-harmonic", "Joint MI"]
    assert [row[8].text for row in printed.rows] == [f"{value:.2f}" for value in last["jaccard_mean"]]
    assert [row[10].text for row in printed.rows] == [f"{value:.2f}" for value in last["held_out_mean"]]
    best = max(float(row[8].text) for row in printed.rows)
    assert [row[8].text for row in printed.rows if row[8].mark == "best"][0] == f"{best:.2f}"
    noise = last.groupby("scope")["noise_held_out_mean"].mean()
    assert [row[10].text for row in printed.footer] == [f"{noise[scope]:.2f}" for scope in ("model", "layer")]
    assert_names(printed.caption, 115, "1,152", "3 splits", "A note.")


def test_what_is_undefined_is_not_printed_as_a_number(plan, root):
    content = json.loads((root / PATH).read_text())
    for point in content["points"]:
        point["phi"] = [None] * 3
    (root / PATH).write_text(json.dumps(content))
    table = stability.stability_table(results.stability(plan, root))
    (printed,) = stability.stability_tables(plan, table)
    assert {row[9].text for row in printed.rows} == {"–"} and table["phi_mean"].isna().all()


def test_a_curve_without_its_criterion_is_refused_by_name(plan, root):
    """Files of older versions have one curve and do not name its criterion."""
    content = json.loads((root / PATH).read_text())
    points = [{k: v for k, v in point.items() if k not in ("criterion", "scope")} for point in content["points"]]
    (root / PATH).write_text(json.dumps(content | {"points": points}))
    with refused(root / PATH, "'criterion'"):
        results.stability(plan, root)


@pytest.mark.parametrize(
    "change", [{"criterion": "random"}, {"criterion": []}, {"scope": "row"}, {"scope": None}], ids=str
)
def test_a_curve_of_nothing_known_is_refused_by_name(plan, root, change):
    content = json.loads((root / PATH).read_text())
    content["points"][3] |= change
    (root / PATH).write_text(json.dumps(content))
    with refused(root / PATH):
        results.stability(plan, root)


def test_without_neurons_there_is_no_table(tmp_path):
    plan = fake_results.plan({"base": {"method": "base"}, "full": {"method": "full", "learning_rate": 1e-3}})
    fake_results.write(plan, tmp_path)
    table = stability.stability_table(results.stability(plan, tmp_path))
    assert table.empty and list(stability.stability_tables(plan, table)) == []
    assert not any("stability" in path for path in inputs.table_inputs(plan))


@pytest.mark.parametrize(
    ("scope", "mask"), [("layer", {"task_relevant_scope": "layer"}), ("off", {"task_relevant": None})]
)
def test_the_methods_own_curve_is_that_of_its_mask(tmp_path, scope, mask):
    plan = fake_results.plan(METHODS, selection={"fraction": 0.1, **mask})
    fake_results.write(plan, tmp_path)
    content = json.loads((tmp_path / PATH).read_text())
    more = [point | {"scope": "off"} for point in content["points"] if point["scope"] == "model"]
    (tmp_path / PATH).write_text(json.dumps(content | {"points": content["points"] + more}))
    frame = results.stability(plan, tmp_path)
    own = results.own_curve(plan, frame, "caneft")
    assert set(zip(own["criterion"], own["scope"], strict=True)) == {("caneft", scope)} and len(own) == 5 * 3
    assert results.own_curve(plan, frame, "base").empty and results.own_curve(plan, frame, None).empty
