"""Signs and the table of differences: p values by hand, adjusted over the comparisons that each table prints."""

import json

import fake_results
import pytest

from caneft.plan import comparison
from caneft.reporting import significant
from tests.messages import assert_names, refused

BLOCK = ("tiny", "de-en", "all")
RAW = {  # (a, b, column): difference, p; by default 1 and 0.2
    ("caneft", "base", "it"): (5.0, 0.004),
    ("lora", "base", "it"): (-2.0, 0.0045),
    ("caneft", "lora", "it"): (-1.0, 0.0048),
    ("caneft", "base", "law"): (3.0, 0.0056),
}


def results_in(tmp_path, rival="lora", metrics=("chrf",), **sections):
    """A plan of base, lora and caneft, and its tests: three comparisons in it, law, koran and the seen average.

    RAW applies to the last metric.
    """
    plan = fake_results.plan(scoring={"metrics": list(metrics)}, **sections)
    content = fake_results.significance(plan, BLOCK) | {"rival": rival, "rival_by": "dev_loss"}
    for entry in content["metrics"][metrics[-1]]["comparisons"]:
        key = entry["a"], entry["b"], entry["column"]
        entry["difference"], entry["p"] = RAW.get(key, (entry["difference"], entry["p"]))
    content["metrics"][metrics[-1]]["scores"] = {"caneft": {"it": {"score": 60.0, "low": 58.5, "high": 61.25}}}
    path = tmp_path / comparison.path(BLOCK)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    return plan


def signs_of(plan, root, metric="chrf"):
    found = significant.of_main_tables(plan, root, significant.comparisons(plan, root))[*BLOCK, metric]
    return found.by_cell, found.caption


def test_signs_follow_holm_over_the_main_table(tmp_path):
    # 12 tests: 12 * .004 = .048, 11 * .0045 = .0495; 10 * .0048 = .048, but no lower than the one before; 9 * .0056 =
    # .0504
    signs, caption = signs_of(results_in(tmp_path), tmp_path)
    assert signs == {("caneft", "it"): "†", ("lora", "it"): "↓‡"}
    assert_names(caption, 12, "lora", "p < 0.05")


def test_in_a_metric_of_errors_less_is_better(tmp_path):
    """With the differences of the test above, 5 more edits are worse, 2 fewer better; caneft has fewer than lora."""
    plan = results_in(tmp_path, metrics=["chrf", "ter"])
    assert signs_of(plan, tmp_path, "ter")[0] == {("caneft", "it"): "↓‡", ("lora", "it"): "†"}


def test_without_a_rival_the_family_is_smaller(tmp_path):
    # 8 tests: 8 * .004 = .032, 7 * .0045 = .0315, 6 * .0056 = .0336
    signs, caption = signs_of(results_in(tmp_path, rival=None), tmp_path)
    assert signs == {("caneft", "it"): "†", ("lora", "it"): "↓", ("caneft", "law"): "†"}
    assert_names(caption, 8)
    assert "lora" not in caption and "‡" not in caption


def test_a_stricter_level_needs_no_new_tests(tmp_path):
    assert signs_of(results_in(tmp_path, significance={"alpha": 0.01}), tmp_path)[0] == {}


def test_with_three_seeds_the_signs_are_of_the_test_of_methods(tmp_path):
    """p of segments is as above. p of methods is low in one comparison, which alone is significant: 12 * .004 = .048.

    The stored table has both, and says which one is adjusted.
    """
    plan = results_in(tmp_path, seeds=(1, 2, 3))
    path = tmp_path / comparison.path(BLOCK)
    content = json.loads(path.read_text())
    for entry in content["metrics"]["chrf"]["comparisons"]:
        entry["p_runs"] = 0.004 if (entry["a"], entry["b"], entry["column"]) == ("caneft", "base", "law") else 0.5
    path.write_text(json.dumps(content))
    signs, caption = signs_of(plan, tmp_path)
    assert signs == {("caneft", "law"): "†"}
    assert_names(caption, 12, "8 degrees of freedom")
    table = significant.significance_table(plan, significant.comparisons(plan, tmp_path)).set_index(
        ["a", "b", "column"]
    )
    row = table.loc["caneft", "base", "it"]
    assert (row["p"], row["p_runs"], row["p_holm"], row["test"]) == (0.004, 0.5, 1, "runs")


def test_a_small_p_is_stored_as_such(tmp_path):
    plan = results_in(tmp_path)
    table = significant.significance_table(plan, significant.comparisons(plan, tmp_path)).assign(p=5e-5)
    assert set(significant.stored(table)["p"]) == {"5.0e-05"}
    assert set(table["test"]) == {"segments"}


def test_the_table_of_differences_is_a_family_of_its_own(tmp_path):
    plan = results_in(tmp_path, report={"note": "Made up."})
    table = significant.significance_table(plan, significant.comparisons(plan, tmp_path))
    found = {(row.a, row.b, row.column): row.p_holm for row in table.itertuples()}
    expected = {
        ("caneft", "base", "it"): 8 * 0.004,
        ("caneft", "lora", "it"): 7 * 0.0048,
        ("caneft", "base", "law"): 7 * 0.0048,  # 6 * .0056 is the same
        ("caneft", "lora", "law"): 1,
        ("lora", "base", "it"): 4 * 0.0045,
    }
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert len(table) == 12
    (printed,) = significant.significance_tables(plan, table)
    assert_names(printed.caption, 8)
    assert printed.caption.endswith("Made up.")
    assert [[cell.text + cell.signs for cell in row] for row in printed.rows] == [
        ["base", "+5.0†", "+3.0†", "+1.0", "+1.0"],
        ["lora", "−1.0†", "+1.0", "+1.0", "+1.0"],
    ]


def test_intervals_stand_by_variant_and_column(tmp_path):
    plan = results_in(tmp_path)
    assert significant.intervals(plan, tmp_path) == {(*BLOCK, "chrf", "caneft", "it"): (58.5, 61.25)}


@pytest.mark.parametrize(
    "name", ["a", "b", "column", "difference", "low", "high", "p", "se_segments", "se_runs", "df", "p_runs"]
)
def test_a_value_of_the_wrong_kind_is_refused_with_its_file(tmp_path, name):
    plan, path = results_in(tmp_path), tmp_path / comparison.path(BLOCK)
    content = json.loads(path.read_text())
    content["metrics"]["chrf"]["comparisons"][3][name] = ["$(x)"]
    path.write_text(json.dumps(content))
    with refused(path):
        significant.comparisons(plan, tmp_path)
