"""Tables of unseen domains, criteria, budgets and decoding health, and the file of all scores: numbers by hand."""

import json
from pathlib import Path

import fake_results
import numpy as np
import pandas as pd
import pytest

from caneft import neurons
from caneft.reporting import budget, criteria, health, listing, results, tables, tidy, unseen
from caneft.reporting.contents import every_table
from caneft.reporting.layout import BEST
from tests.messages import assert_names

GRID = [1e-5, 2.5e-4, 1e-3]
BLOCK = ("tiny", "de-en", "all")


def found(plan, root):
    scores, records = results.scores(plan, root), results.records(plan, root)
    return tables.main_table(plan, scores, records), records


def printed_main(plan, root):
    """The first main table as it is printed."""
    (main, records), scores = found(plan, root), results.scores(plan, root)
    return next(tables.main_tables(plan, main, scores, records, {}, {}, results.decoded(plan, root)))


def texts(row):
    return [cell.text + (f" ± {cell.deviation}" if cell.deviation else "") for cell in row]


# --- unseen ---------------------------------------------------------------------------------------------------------

GIVEN = {  # base; a method that forgets; one that gains below a point on seen domains; one that transfers
    "base": {"it": 40.0, "law": 50.0, "koran": 30.0, "news": 20.0},
    "full": {"it": 60.0, "law": 70.0, "koran": 20.0, "news": 20.0},
    "lora": {"it": 40.9, "law": 50.9, "koran": 33.0, "news": 27.0},
    "caneft": {"it": 50.0, "law": 60.0, "koran": 33.0, "news": 27.0},
}
METHODS = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": GRID},
    "lora": {"method": "lora", "learning_rate": 1e-2},
    "caneft": {"method": "caneft", "learning_rate": GRID},
}


@pytest.fixture
def apart(tmp_path):
    plan = fake_results.plan(METHODS, seeds=(1, 3), unseen=("koran", "news"))

    def score(method, variant, domain, seed, metric):  # seeds are a point above and below
        return 0.0 if variant == "copy" else GIVEN[variant][domain] + {1: 1.0, 3: -1.0}.get(seed, 0.0)

    def trial(variant, rate, domain):  # the lower the rate, the less it forgets
        return 50.0 - 10 * GRID.index(rate) + (2 if domain == "news" else 0)

    def dev(variant, rate):  # full chooses the highest rate, caneft the middle one; its lowest diverged
        return {"full": (50.0, 60.0, 70.0), "caneft": (None, 70.0, 60.0)}[variant][GRID.index(rate)]

    fake_results.write(plan, tmp_path, score=score, trial=trial, dev=dev)
    return plan, tmp_path, unseen.unseen_table(plan, found(plan, tmp_path)[0])


def test_differences_gains_and_transfer(apart):
    frame = apart[2].set_index(["variant", "domain"])
    row = frame.loc["caneft", "news"]
    assert row[["score_mean", "base", "difference", "gain_seen"]].tolist() == pytest.approx([27, 20, 7, 10])
    assert row["score_std"] == pytest.approx(np.sqrt(2)) and row["n_seeds"] == 2
    average = frame.xs("average_unseen", level="domain")
    assert average["difference"].to_dict() == pytest.approx({"base": 0, "full": -5, "lora": 5, "caneft": 5})
    assert average.loc[["full", "caneft"], "transfer"].tolist() == pytest.approx([-0.25, 0.5])
    assert average.loc[["base", "lora"], "transfer"].isna().all(), "0.9 points are no gain to divide by"
    assert set(frame.index.get_level_values("domain")) == {"koran", "news", "average_unseen"}
    assert "copy" not in average.index


def test_unseen_as_printed(apart):
    plan, root, frame = apart
    (printed,) = unseen.unseen_tables(plan, frame, results.trials(plan, root))
    names = [(column.group, column.name) for column in printed.columns[1:]]
    scores = [(name, kind) for name in ("koran", "news", "average") for kind in ("score", "difference")]
    rest = [("seen", "gain"), ("seen", "transfer (%)"), ("trials", "chosen rate"), ("trials", "best rate")]
    assert names == scores + rest
    rows = {row[0].text: texts(row[1:]) for row in printed.rows}
    assert rows["base"] == ["30.0", "–", "20.0", "–", "25.0", "–", "–", "–", "–", "–"]
    # full chose its third rate, with 30 and 32 unseen; the first is best for unseen domains, with 50 and 52
    assert rows["full"] == [
        "20.0 ± 1.4",
        "−10.0",
        "20.0 ± 1.4",
        "+0.0",
        "20.0 ± 1.4",
        "−5.0",
        "+20.0",
        "−25",
        "31.0",
        "51.0",
    ]
    assert rows["caneft"][-4:] == ["+10.0", "50", "41.0", "41.0"], "what diverged has no scores"
    assert rows["lora"][-4:] == ["+0.9", "–", "–", "–"], "a fixed rate has no trials"
    assert_names(printed.caption, "seeds 0, 100", 2, "1, 3")


def test_one_unseen_domain_is_its_own_average(tmp_path):
    plan = fake_results.plan()
    fake_results.write(plan, tmp_path)
    frame = unseen.unseen_table(plan, found(plan, tmp_path)[0])
    (printed,) = unseen.unseen_tables(plan, frame, results.trials(plan, tmp_path))
    assert [column.group for column in printed.columns] == ["", "koran", "koran", "seen", "seen"], (
        "no trials, no columns"
    )


@pytest.mark.parametrize("without", ["unseen domain", "base"])
def test_without_unseen_domain_or_base_there_is_no_table(tmp_path, without):
    methods = {name: METHODS[name] for name in ("lora", *(["base"] if without != "base" else []))}
    plan = fake_results.plan(methods, unseen=() if without != "base" else ("koran",))
    fake_results.write(plan, tmp_path)
    frame = unseen.unseen_table(plan, found(plan, tmp_path)[0])
    assert (
        frame.empty
        and "transfer" in frame
        and not list(unseen.unseen_tables(plan, frame, results.trials(plan, tmp_path)))
    )


# --- criteria -------------------------------------------------------------------------------------------------------


@pytest.fixture
def equal(tmp_path):
    """Sets of 4 of 6 neurons in 2 layers: caneft has 0 1 2 3, joint 1 2 3 4; random drew 0 1 2 3 and 2 3 4 5."""
    methods = {
        "base": {"method": "base"},
        "caneft-1": {"method": "caneft", "learning_rate": 1e-3, "fraction": 0.17},
        "random": {"method": "random", "learning_rate": 1e-3},
        "joint": {"method": "joint", "learning_rate": 1e-3},
        "caneft": {"method": "caneft", "learning_rate": 1e-3},
        "heads": {"method": "caneft-attention", "learning_rate": 1e-3},
    }
    plan = fake_results.plan(methods, seeds=(1, 2))
    fake_results.write(plan, tmp_path)
    sets = {("caneft-1", 0): [5], ("random", 1): [0, 1, 2, 3], ("random", 2): [2, 3, 4, 5]}
    sets |= {("joint", 0): [1, 2, 3, 4], ("caneft", 0): [0, 1, 2, 3]}
    for (variant, draw), chosen in sets.items():
        path = tmp_path / f"neurons/tiny/de-en/all/{variant}/draw{draw}.npz"
        neurons.save(path, neurons.NeuronSet.from_flat(2, 3, chosen), {})
    return plan, tmp_path, criteria.criteria_table(plan, tmp_path, found(plan, tmp_path)[0])


def test_criteria_share_neurons_with_caneft(equal):
    frame = equal[2].set_index("variant")
    assert frame.index.tolist() == ["random", "joint", "caneft"], "caneft-1 has another budget, heads are no neurons"
    assert frame["neurons"].unique().tolist() == [4]
    # 3 of 5; for the draws 1, and 2 of 6
    assert frame["jaccard"].to_dict() == pytest.approx({"random": (1 + 2 / 6) / 2, "joint": 3 / 5, "caneft": 1})
    # two random sets of 4 of 6 share 16/6 on average: (16/6) / (8 - 16/6)
    assert frame["chance_jaccard"].tolist() == pytest.approx([0.5] * 3)
    # layer 0 has 3 and 1 neurons of random's sets, 2 of joint's 4, and 3 of caneft's
    assert frame["top_layer"].to_dict() == {"random": 0, "joint": 0, "caneft": 0}
    assert frame["top_layer_share"].to_dict() == pytest.approx({"random": 4 / 8, "joint": 2 / 4, "caneft": 3 / 4})


def test_criteria_repeat_the_main_table_s_averages(equal):
    plan, root, frame = equal
    main = found(plan, root)[0].query("metric == 'bleu'").set_index("variant")
    for column in criteria.STATISTICS:
        assert frame.set_index("variant")[column].tolist() == main.loc[["random", "joint", "caneft"], column].tolist()
    (printed,) = criteria.criteria_tables(plan, frame)
    assert [column.name for column in printed.columns] == ["Method", "seen", "unseen", "Jaccard", "layer", "share (%)"]
    assert [texts(row)[3:] for row in printed.rows] == [["0.67", "0", "50"], ["0.60", "0", "50"], ["1.00", "0", "75"]]
    assert_names(printed.caption, 4, "0.50")


def test_without_two_equal_budgets_there_are_no_criteria(tmp_path):
    methods = {"caneft": METHODS["caneft"], "random": {"method": "random", "learning_rate": 1e-3, "fraction": 0.02}}
    plan = fake_results.plan(methods)
    fake_results.write(plan, tmp_path)
    frame = criteria.criteria_table(plan, tmp_path, found(plan, tmp_path)[0])
    assert frame.empty and not list(criteria.criteria_tables(plan, frame))


def test_without_caneft_there_is_nothing_to_share_with(tmp_path):
    methods = {name: {"method": name, "learning_rate": 1e-3} for name in ("joint", "random")}
    plan = fake_results.plan(methods)
    fake_results.write(plan, tmp_path)
    frame = criteria.criteria_table(plan, tmp_path, found(plan, tmp_path)[0])
    (printed,) = criteria.criteria_tables(plan, frame)
    assert [row[3].text for row in printed.rows] == ["–", "–"] and "Jaccard" not in printed.caption


# --- budgets --------------------------------------------------------------------------------------------------------


def sweep(tmp_path, methods, **sections):
    plan = fake_results.plan(methods, seeds=(1, 2), **sections)
    fake_results.write(plan, tmp_path)
    return plan, budget.budget_table(plan, *found(plan, tmp_path))


def test_a_series_differs_in_its_budget_alone(tmp_path):
    neuron = {"learning_rate": 1e-3}
    methods = {
        "base": {"method": "base"},
        "full": {"method": "full", **neuron},
        "lora": {"method": "lora", **neuron},
        "lora-2": {"method": "lora", "rank": 2, "learning_rate": 5e-2},
        "lora-dropout": {"method": "lora", "rank": 4, "dropout": 0.1, **neuron},
        "equal": {"method": "lora", "equal_to": "caneft", **neuron},
        "caneft": {"method": "caneft", **neuron},
        "caneft-unfiltered": {"method": "caneft", "task_relevant": None, **neuron},
        "caneft-20": {"method": "caneft", "fraction": 0.2, **neuron},
        "random": {"method": "random", **neuron},
        "random-layers": {"method": "random", "layers_of": "caneft", **neuron},
        "random-5": {"method": "random", "fraction": 0.05, **neuron},
        "joint": {"method": "joint", **neuron},
    }
    plan, frame = sweep(tmp_path, methods)
    series = {name: part["variant"].tolist() for name, part in frame.groupby("series", sort=False)}
    assert series == {
        "lora": ["lora-2", "lora", "equal"],
        "caneft": ["caneft", "caneft-20"],
        "random": ["random-5", "random"],
    }
    rows = frame.set_index("variant")
    assert rows.loc["lora-2", "trainable_parameters"] == 2 * 4320 and pd.isna(rows.loc["lora-2", "neurons"])
    assert rows.loc["caneft-20", ["trainable_parameters", "neurons"]].tolist() == [230 * 288, 230]
    assert rows.loc["caneft-20", ["share", "fraction"]].tolist() == pytest.approx([230 * 288 / 560000, 230 / 1152])
    main = found(plan, tmp_path)[0].query("metric == 'bleu'").set_index("variant")
    assert rows["average_unseen_mean"].tolist() == main.loc[rows.index, "average_unseen_mean"].tolist()
    (printed,) = budget.budget_tables(plan, frame)
    shown = {row[0].text: texts(row)[1:6] for row in printed.rows}
    assert shown["caneft-20"] == ["66,240", "11.8", "230", "20.0", "0.0010"]
    assert shown["random-5"] == ["16,704", "3.0", "58", "5.0", "–"], "gamma is no cut of random's"
    assert shown["lora"] == ["69,120", "12.3", "–", "–", "–"]


def test_gamma_is_stored_in_full(tmp_path):
    _, frame = sweep(tmp_path, {"caneft": METHODS["caneft"], "small": METHODS["caneft"] | {"fraction": 0.02}})
    frame["gamma"] = frame["gamma"] * 1e-3
    tables.write(tmp_path / "out" / "budget", budget.stored(frame), [])
    read = pd.read_csv(tmp_path / "out/budget.csv").set_index("variant")["gamma"]
    assert read.to_dict() == pytest.approx({"small": 0.0104e-3, "caneft": 0.0021e-3}, rel=1e-5)


@pytest.mark.parametrize(
    "other", [{"method": "joint", "learning_rate": 1e-3}, {"method": "caneft", "learning_rate": 2e-3}]
)
def test_one_budget_makes_no_series(tmp_path, other):
    plan, frame = sweep(tmp_path, {"caneft": METHODS["caneft"], "other": other})
    assert frame.empty and "gamma" in frame and not list(budget.budget_tables(plan, frame))


# --- health ---------------------------------------------------------------------------------------------------------


def bad(variant, domain):
    return {("full", "it"): {"empty": 1, "truncated": 3}, ("full", "koran"): {"wrong_language": 5}}.get(
        (variant, domain), {}
    )


@pytest.fixture
def ill(tmp_path):
    plan = fake_results.plan(METHODS, seeds=(1, 2))
    fake_results.write(plan, tmp_path, health=bad)
    return plan, tmp_path


def test_health_sums_seeds_for_each_domain(ill):
    frame = health.health_table(results.scores(*ill)).set_index(["variant", "domain"])
    assert frame.loc[("full", "it"), ["n_seeds", "segments", *results.FLAGS]].tolist() == [2, 800, 2, 6, 0, 0]
    assert frame.loc[("full", "koran"), ["segments", *results.FLAGS]].tolist() == [800, 0, 0, 0, 10]
    assert frame.loc[("base", "law"), ["n_seeds", "segments"]].tolist() == [1, 400]
    assert len(frame) == 4 * 3 and "copy" not in frame.index.get_level_values("variant")


def test_health_is_printed_where_something_is_wrong(ill):
    plan, root = ill
    (printed,) = health.health_tables(plan, health.health_table(results.scores(plan, root)))
    assert [texts(row) for row in printed.rows] == [
        ["full", "seen", "1,600", "2 (0.12)", "6 (0.38)", "0 (0.00)", "0 (0.00)"],
        ["full", "unseen", "800", "0 (0.00)", "0 (0.00)", "0 (0.00)", "10 (1.25)"],
    ]
    assert_names(printed.caption, 3)
    notes = printed_main(plan, root).notes
    assert_names(notes[1], "full", "decoding health")


def test_a_language_that_cannot_be_told_is_no_zero(ill):
    plan, root = ill
    for path in root.glob("runs/**/scores/*.json"):
        content = json.loads(path.read_text())
        for entry in content["domains"].values():
            entry.get("health", {})["wrong_language"] = None
        path.write_text(json.dumps(content))
    frame = health.health_table(results.scores(plan, root))
    assert frame["wrong_language"].isna().all()
    (printed,) = health.health_tables(plan, frame)
    assert [row[-1].text for row in printed.rows] == ["–"] and "language cannot" in printed.caption


def test_where_nothing_is_wrong_a_sentence_says_so(tmp_path):
    plan = fake_results.plan(METHODS)
    fake_results.write(plan, tmp_path, health=lambda *_: {})
    scores = results.scores(plan, tmp_path)
    assert not list(health.health_tables(plan, health.health_table(scores)))
    note = printed_main(plan, tmp_path).notes[1]
    assert "empty" in note and not any(name in note for name in (*METHODS, "decoding health"))


# --- all scores -----------------------------------------------------------------------------------------------------


def test_every_run_domain_and_metric_is_a_row(ill):
    plan, root = ill
    frame = tidy.runs(plan, root)
    # base and copy once; full, lora and caneft at two seeds; three domains, two metrics
    assert len(frame) == (2 + 3 * 2) * 3 * 2 and not frame.duplicated([*tidy.RUN, "domain", "metric"]).any()
    row = frame.query("variant == 'caneft' and seed == 2 and domain == 'koran' and metric == 'chrf'").iloc[0]
    content = json.loads((root / "runs/tiny/de-en/all/caneft/seed2/scores/test.json").read_text())["domains"]["koran"]
    record = json.loads((root / "runs/tiny/de-en/all/caneft/seed2/record.json").read_text())
    assert row["score"] == content["chrf"]["score"] and row["signature"] == content["chrf"]["signature"]
    assert row[["model", "direction", "mixture", "seen", "segments"]].tolist() == [*BLOCK, False, 400]
    assert row[["learning_rate", "trainable", "total"]].tolist() == [record["settings"]["learning_rate"], 33120, 560000]
    assert row[["neurons", "gamma", "commit"]].tolist() == [115, 0.0021, "c0ffee"]
    base = frame.query("variant == 'base'")
    assert base["seed"].isna().all() and base["commit"].isna().all() and base["trainable"].eq(0).all()
    assert frame.query("variant == 'copy'")["trainable"].isna().all()


def test_the_file_keeps_types_and_bytes(ill, tmp_path):
    plan, root = ill
    for name in ("a", "b"):
        tidy.write_runs(tmp_path / f"{name}.parquet", tidy.runs(plan, root))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    read = pd.read_parquet(tmp_path / "a.parquet")
    pd.testing.assert_frame_equal(read, tidy.runs(plan, root))
    kinds = {
        "seed": "Int64",
        "seen": "bool",
        "score": "float64",
        "neurons": "Int64",
        "gamma": "Float64",
        "commit": "str",
    }
    assert read.dtypes[list(kinds)].astype(str).to_dict() == kinds


# --- all tables -----------------------------------------------------------------------------------------------------


def test_every_table_is_made_in_the_report_s_order_with_a_caption(ill):
    assert [table.name for table in every_table(*ill)] == list(listing.TABLES)
    captions = Path(__file__).parents[2] / "workflow" / "report"
    assert all((captions / f"{name}.rst").is_file() for name in listing.TABLES)


def test_the_best_of_a_column_is_marked_in_every_new_table(equal):
    plan, _, frame = equal
    (printed,) = criteria.criteria_tables(plan, frame)
    best = frame["average_seen_mean"].idxmax()
    assert [row[1].mark == BEST for row in printed.rows] == [index == best for index in frame.index]
