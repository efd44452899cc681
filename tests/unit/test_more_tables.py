"""Tables of trials and interference, and what the main table says about grids, heads, adapters and examples."""

import itertools
import json
import re
import statistics

import fake_results
import numpy as np
import pandas as pd
import pytest

from caneft.plan import Plan
from caneft.reporting import columns, inputs, interference, results, tables, trials
from caneft.reporting.labels import signed
from caneft.reporting.latex import MOST_ROWS, latex
from caneft.reporting.layout import BEST, Cell, Column, Table
from tests.messages import assert_names, refused

GRID = [1e-5, 2.5e-4, 1e-3]
METHODS = {
    "base": {"method": "base"},
    "shown": {"method": "icl", "examples": 2, "retrieval": "bm25"},
    "full": {"method": "full", "learning_rate": GRID},
    "equal": {"method": "lora", "learning_rate": 1e-2, "equal_to": "caneft"},
    "adapters": {"method": "adapters", "learning_rate": GRID},
    "random": {"method": "random", "learning_rate": GRID, "layers_of": "caneft"},
    "caneft": {"method": "caneft", "learning_rate": GRID},
    "heads": {"method": "caneft-attention", "learning_rate": GRID},
}
DEV = {  # a best rate in the middle, a tie, the highest rate, a divergence
    "full": (60.0, 70.0, None),
    "adapters": (50.0, 50.0, 40.0),
    "random": (60.0, 61.0, 60.5),
    "caneft": (60.0, 61.0, 62.0),
    "heads": (60.0, 61.0, 60.0),
}
SINGLE = {
    "all": {"de-en": ["it", "law"]},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law", "koran"], "methods": ["base", "full"]}},
    "only-law": {"de-en": {"domains": ["law"], "test": ["it", "koran"], "methods": ["base", "full", "shown"]}},
}


def dev(variant, rate):
    return DEV[variant][GRID.index(rate)]


@pytest.fixture(scope="module")
def plan():
    return fake_results.plan(METHODS, seeds=(1, 2))


@pytest.fixture
def root(tmp_path, plan):
    """The test's own tree, which it may change."""
    fake_results.write(plan, tmp_path, dev=dev)
    return tmp_path


@pytest.fixture(scope="module")
def untouched(tmp_path_factory, plan):
    """A tree that no test changes."""
    root = tmp_path_factory.mktemp("tables")
    fake_results.write(plan, root, dev=dev)
    return root


@pytest.fixture(scope="module")
def main(plan, untouched):
    """(frame, printed tables) of that tree's main table."""
    return main_of(plan, untouched)


def main_of(plan, root):
    scores, records = results.scores(plan, root), results.records(plan, root)
    frame = tables.main_table(plan, scores, records)
    return frame, list(tables.main_tables(plan, frame, scores, records, {}, {}, results.decoded(plan, root)))


def content(root, path):
    return json.loads((root / path).read_text())


# --- which files ----------------------------------------------------------------------------------------------------


def test_units_are_those_that_the_variants_of_a_block_select():
    def found(*variants):
        plan = fake_results.plan({name: METHODS[name] for name in variants})
        return inputs.units(plan, ("tiny", "de-en", "all"))

    assert found("base", "full", "shown") == []
    assert found("heads") == ["head"]
    assert found("heads", "caneft") == ["neuron", "head"]
    plan = fake_results.plan(METHODS, mixtures=SINGLE)
    assert inputs.units(plan, ("tiny", "de-en", "only-it")) == []


def test_heads_have_information_of_their_own_and_no_stability(plan):
    assert {file.path for file in inputs.information_files(plan)} == {
        "neurons/tiny/de-en/all/information.parquet",
        "heads/tiny/de-en/all/information.parquet",
    }
    assert [file.path for file in inputs.stability_files(plan)] == ["neurons/tiny/de-en/all/stability.json"]
    assert "heads/tiny/de-en/all/heads/draw0.npz" in {file.path for file in inputs.neuron_files(plan)}
    assert not any(path.startswith("heads/") for path in inputs.figure_inputs(plan))


def test_shown_are_mixtures_of_several_domains_or_all_where_there_is_none():
    assert fake_results.plan(METHODS, mixtures=SINGLE).shown_blocks() == [("tiny", "de-en", "all")]
    one = {"all": {"de-en": ["it", "law"]}, "other": {"de-en": ["law", "it"]}}
    assert len(fake_results.plan(METHODS, mixtures=one).shown_blocks()) == 2


def test_trials_come_once_under_the_mixture_that_rates_are_chosen_on():
    plan = fake_results.plan(METHODS, mixtures=SINGLE)
    files = [file for file in inputs.trial_files(plan) if file.variant == "full"]
    assert [file.path for file in files] == [
        f"runs/tiny/de-en/all/full/lr{rate}-seed{seed}/record.json"
        for rate in ("1e-05", "0.00025", "0.001")
        for seed in (0, 100)
    ]
    assert {file.choice for file in files} == {"runs/tiny/de-en/all/full/choice.json"}
    assert {file.scores for file in files} == {"runs/tiny/de-en/all/full/trials.json"}
    assert files[0].attempt == "lr1e-05-seed0" and len({file.attempt for file in files}) == 6
    assert not list(inputs.trial_files(plan, [("tiny", "de-en", "only-it")]))


# --- trials ---------------------------------------------------------------------------------------------------------


def test_trials_show_what_the_files_hold(plan, untouched):
    root = untouched
    frame = results.trials(plan, root).set_index(["variant", "learning_rate"])
    assert len(frame) == 15
    entries = content(root, "runs/tiny/de-en/all/caneft/trials.json")["trials"]
    assert len(entries) == 3 * 2
    own = [entries[f"lr0.00025-seed{seed}"] for seed in (0, 100)]
    scores = [trial[domain] for trial in own for domain in ("it", "law")]
    koran = [trial["koran"]["bleu"]["score"] for trial in own]
    row = frame.loc[("caneft", 2.5e-4)]
    means = [61.0, sum(domain["bleu"]["score"] for domain in scores) / 4, sum(koran) / 2]
    assert row[["dev", "average_seen", "average_unseen"]].tolist() == pytest.approx(means)
    assert (row["n_seeds"], row["behind"], row["behind_se"]) == (2, 1.0, 0.4)
    chosen = frame[frame["chosen"]]
    assert chosen.index.tolist() == [
        ("full", 2.5e-4),
        ("adapters", 1e-5),
        ("random", 2.5e-4),
        ("caneft", 1e-3),
        ("heads", 2.5e-4),
    ]
    assert [edge if isinstance(edge, str) else None for edge in chosen["edge"]] == [None, "low", None, "high", None]
    assert frame[~frame["chosen"]]["edge"].isna().all()


def test_a_trial_that_diverged_has_no_scores(plan, untouched):
    row = results.trials(plan, untouched).set_index(["variant", "learning_rate"]).loc[("full", 1e-3)]
    assert row["diverged_at"] == 17
    assert row[["dev", "average_seen", "average_unseen"]].isna().all()
    printed = next(trials.trial_tables(plan, results.trials(plan, untouched)))
    cells = [cell.text for cell in next(r for r in printed.rows if [c.text for c in r[:2]] == ["full", "1e-3"])]
    assert cells[:-1] == ["full", "1e-3", "–", "–", "–", "–"] and re.findall(r"\d+", cells[-1]) == ["17"]


def test_trials_that_translated_no_test_set_have_no_columns_for_them(plan, untouched):
    config = plan.config
    untested = Plan(config.model_copy(update={"trials": config.trials.model_copy(update={"test_sets": False})}))
    whole, frame = results.trials(plan, untouched), results.trials(untested, untouched)
    assert frame["average_seen"].isna().all() and not whole["average_seen"].isna().all()
    assert frame["dev"].equals(whole["dev"]) and frame["chosen"].equals(whole["chosen"])
    (before,), (printed,) = trials.trial_tables(plan, whole), trials.trial_tables(untested, frame)
    assert [len(row) for row in before.rows] == [len(row) + 2 for row in printed.rows]
    assert [row[:4] + row[-1:] for row in before.rows] == [list(row) for row in printed.rows]


def test_printed_trials_mark_the_choice_and_its_edge(plan, untouched):
    (printed,) = trials.trial_tables(plan, results.trials(plan, untouched))
    rows = {(row[0].text, row[1].text): row for row in printed.rows}
    chosen = rows["full", "2.5e-4"][-1].text
    high, low = rows["caneft", "1e-3"][-1].text, rows["adapters", "1e-5"][-1].text
    assert chosen != "" == rows["full", "1e-5"][-1].text
    assert high.startswith(chosen) and low.startswith(chosen)
    assert "high" in high.removeprefix(chosen) and "low" in low.removeprefix(chosen)
    assert {row[2].text for row in printed.rows if row[2].mark == BEST} == {"70.0", "50.0", "61.0", "62.0"}
    assert_names(printed.caption, 0, 100)


def test_rates_are_stored_in_full(plan, untouched, tmp_path):
    found = results.trials(plan, untouched)
    tables.write(tmp_path / "out" / "trials", trials.trial_table(found), list(trials.trial_tables(plan, found)))
    read = pd.read_csv(tmp_path / "out" / "trials.csv")
    assert read["learning_rate"].unique().tolist() == GRID
    assert read["chosen"].sum() == 5


def test_without_grids_every_form_of_the_table_says_so(tmp_path):
    plan = fake_results.plan()
    fake_results.write(plan, tmp_path)
    found = results.trials(plan, tmp_path)
    assert found.empty and not list(trials.trial_tables(plan, found))
    tables.write(tmp_path / "out" / "trials", trials.trial_table(found), [], trials.ABSENT)
    for suffix in ("md", "tex", "html"):
        assert trials.ABSENT in (tmp_path / f"out/trials.{suffix}").read_text()
    assert (tmp_path / "out/trials.csv").read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("name", "change", "shown"),
    [
        ("caneft/choice.json", {"grid": {"0.001": 3.0}}, "'1e-05'"),
        ("caneft/lr0.001-seed0/record.json", {"tuning": None}, "NoneType"),
        ("caneft/trials.json", {"trials": {}}, "'lr1e-05-seed0'"),
        ("caneft/trials.json", {"trials": {f"lr1e-05-seed{seed}": {} for seed in (0, 100)}}, "'it'"),
    ],
)
def test_an_unusable_file_of_a_trial_is_named(plan, root, name, change, shown):
    path = root / "runs/tiny/de-en/all" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with refused(f"{path}:", shown):
        results.trials(plan, root)


def test_a_trial_made_with_other_settings_is_refused(plan, root):
    path = root / "runs/tiny/de-en/all/caneft/lr0.001-seed0/record.json"
    path.write_text(path.read_text().replace('"epochs": 2', '"epochs": 3'))
    with refused(f"{path}:", "tuning"):
        results.trials(plan, root)


def test_a_record_without_divergence_is_of_an_older_version(plan, root):
    path = root / "runs/tiny/de-en/all/caneft/lr0.001-seed0/record.json"
    record = json.loads(path.read_text())
    del record["tuning"]["diverged_at"]
    path.write_text(json.dumps(record))
    assert results.trials(plan, root)["diverged_at"].count() == 1


# --- cost -----------------------------------------------------------------------------------------------------------


def test_trials_cost_their_tuning_and_the_translation_of_dev(plan, untouched):
    root = untouched
    costs, records = results.costs(plan, root), results.records(plan, root)
    frame = tables.cost_table(plan, costs, records)
    paths = [
        f"runs/tiny/de-en/all/caneft/lr{rate}-seed{seed}/{file}"
        for seed in (0, 100)
        for rate in ("1e-05", "0.00025", "0.001")
        for file in ("cost.json", "translations/dev.cost.json")
    ]
    row = frame.query("stage == 'trials' and variant == 'caneft'").iloc[0]
    assert row["wall_seconds"] == pytest.approx(sum(content(root, path)["wall_seconds"] for path in paths))
    assert row["peak_memory_mb"] == max(content(root, path)["peak_memory_mb"] for path in paths)
    assert frame["stage"].unique().tolist() == [
        "pretraining",
        "importance",
        "information",
        "importance of heads",
        "information of heads",
        "trials",
        "tuning",
        "translation",
    ]
    assert_names(next(tables.cost_tables(plan, frame, costs)).caption, "dev")
    assert "shown" in set(frame.query("stage == 'translation'")["variant"])


# --- the main table -------------------------------------------------------------------------------------------------


def test_examples_train_nothing_and_have_one_run(main, untouched):
    row = main[0].query("variant == 'shown' and metric == 'bleu'").iloc[0]
    assert (row["trainable_parameters"], row["n_seeds"]) == (0, 1) and pd.isna(row["it_std"])
    path = "runs/tiny/de-en/all/shown/scores/test.json"
    assert row["koran_mean"] == content(untouched, path)["domains"]["koran"]["bleu"]["score"]


def clauses(text, *facts):
    """The clauses of a text that name all these facts."""
    return [part for part in re.split(r"[.;] ", text) if all(fact in part for fact in facts)]


def test_the_caption_tells_of_grids_sizes_units_and_examples(main):
    caption = main[1][0].notes[-1]
    for facts in [
        ["shown", "2", "BM25"],
        ["random, caneft", "115 neurons", "9.98 %", "33,120"],
        ["heads", "3 heads", "25 %", "30,720"],
        ["caneft, heads", "0.0021 nats"],
        ["equal", "caneft", "rank"],
        ["random", "caneft", "layer"],
        ["chrF2", "3", "seeds 0, 100", "full, random, heads 2.5e-4"],
        ["adapters 1e-5"],
        ["caneft 1e-3"],
        ["adapters (low)"],
        ["caneft (high)"],
        ["full", " 1e-3"],
        ["equal 1e-2"],
    ]:
        assert clauses(caption, *facts), facts
    assert not clauses(caption, "equal", "115"), "LoRA takes its size from a selection and selects nothing"


def test_many_equal_budgets_are_named_together(tmp_path):
    methods = METHODS | {name: {"method": name, "learning_rate": GRID} for name in ("joint", "gradient")}
    plan = fake_results.plan(methods)
    fake_results.write(plan, tmp_path)
    caption = main_of(plan, tmp_path)[1][0].notes[-1]
    assert clauses(caption, "3 heads", "25 %", "30,720")
    (others,) = clauses(caption, "115")
    assert not any(re.search(rf"\b{name}\b", others) for name in methods), "too many to be listed"


def test_rates_chosen_elsewhere_say_where(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "part": {"de-en": {"domains": ["it", "law"], "rates_on": "all"}}}
    plan = fake_results.plan(METHODS, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    captions = [table.notes[-1] for table in main_of(plan, tmp_path)[1]]
    assert [bool(clauses(caption, "mixture all", "dev")) for caption in captions] == [False, False, True, True]


def test_the_note_tells_of_the_chosen_and_the_best_adapter(main, untouched):
    _, (bleu, chrf) = main
    for metric, printed in (("bleu", bleu), ("chrf", chrf)):
        paths = [f"runs/tiny/de-en/all/adapters/seed{seed}/scores/test.json" for seed in (1, 2)]
        reported = sum(content(untouched, path)["domains"]["koran"][metric]["score"] for path in paths) / 2
        assert clauses(printed.notes[2], "adapters on koran", "it's", f"{reported:.1f}")
        assert clauses(printed.notes[2], "law's", f"{reported + 2:.1f}")
        row = next(row for row in printed.rows if row[0].text == "adapters")
        assert row[[c.name for c in printed.columns].index("koran")].text == f"{reported:.1f}"


def test_adapters_that_differ_between_seeds_and_metrics(plan, root):
    """The oracle is the best adapter in the table's own metric, whatever it is in the headline metric."""
    path = root / "runs/tiny/de-en/all/adapters/seed2/scores/test.json"
    found = json.loads(path.read_text())
    entry = found["domains"]["koran"]
    entry["chosen"], entry["bleu"] = "law", {"score": 80.0, "signature": entry["bleu"]["signature"]}
    for domain, (bleu, chrf) in {"it": (70.0, 90.0), "law": (80.0, 85.0)}.items():
        entry["adapters"][domain]["bleu"]["score"], entry["adapters"][domain]["chrf"]["score"] = bleu, chrf
    path.write_text(json.dumps(found))
    notes = [table.notes[2] for table in main_of(plan, root)[1]]
    both = "it's (1 seed) or law's (1 seed)"
    chosen, best = notes[0].rstrip(".").split("; ")
    assert_names(chosen, "koran", both)
    assert "law's" in best and "it's" not in best
    assert_names(notes[1].split("; ")[1], both)


def test_adapters_chosen_as_well_as_can_be(plan, root):
    for path in root.glob("runs/tiny/de-en/all/adapters/seed*/scores/test.json"):
        path.write_text(path.read_text().replace('"chosen": "it"', '"chosen": "law"'))
    (note,) = [note for note in main_of(plan, root)[1][0].notes if "law's" in note]
    assert note.count("law's") == 1 and len(re.findall(r"\d+\.\d", note)) == 1, "nothing better to tell of"


# --- interference ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """(plan, table of interference, tree) with mixtures of one domain."""
    plan, root = fake_results.plan(METHODS, seeds=(1, 2), mixtures=SINGLE), tmp_path_factory.mktemp("single")
    fake_results.write(plan, root, dev=dev)
    return plan, interference.interference_table(plan, results.scores(plan, root)), root


def in_file(root, mixture, seed, domain):
    """full's BLEU, read without the code under test."""
    path = f"runs/tiny/de-en/{mixture}/full/seed{seed}/scores/test.json"
    return content(root, path)["domains"][domain]["bleu"]["score"]


@pytest.mark.parametrize(
    ("mixture", "domain"), itertools.product(["all", "only-it", "only-law"], ["it", "law", "koran"]), ids=str
)
def test_interference_is_the_difference_to_base(single, mixture, domain):
    _, frame, root = single
    row = frame.query("variant == 'full' and mixture == @mixture and domain == @domain").iloc[0]
    base = content(root, "runs/tiny/de-en/base/scores/test.json")["domains"][domain]["bleu"]["score"]
    reached = [in_file(root, mixture, seed, domain) for seed in (1, 2)]
    assert row["difference_mean"] == pytest.approx(statistics.mean(reached) - base)
    assert row["difference_std"] == pytest.approx(statistics.stdev(reached))
    assert row["seen"] == (domain in row["trained_on"].split()) and row["n_seeds"] == 2
    assert row["trained_on"] == {"all": "it law", "only-it": "it", "only-law": "law"}[mixture]


def test_the_matrix_has_a_row_for_each_training_domain_and_one_for_all(single):
    plan, frame, _ = single
    full, shown = sorted(interference.interference_tables(plan, frame), key=lambda table: table.title)
    assert_names(full.title, "full", "tiny, de-en")
    assert [column.name for column in full.columns] == ["Trained on", "it", "law", "koran", "others"]
    assert [row[0].text for row in full.rows] == ["it", "law", "mixture all"]
    assert [[cell.mark for cell in row[1:]] for row in full.rows] == [
        [BEST, "", "", ""],
        ["", BEST, "", ""],
        ["", "", "", ""],
    ]
    values = frame.query("variant == 'full' and mixture == 'only-it'").set_index("domain")["difference_mean"]
    assert full.rows[0][-1].text == signed((values["law"] + values["koran"]) / 2)
    assert full.rows[2][-1].text == "–"
    assert [row[0].text for row in shown.rows] == ["law", "mixture all"], "icl is shown on what it is run on"


@pytest.mark.parametrize(
    ("value", "text"), [(1.26, "+1.3"), (-0.04, "+0.0"), (-1.25, "−1.2"), (float("nan"), "–")], ids=str
)
def test_differences_have_a_sign_and_no_minus_zero(value, text):
    assert columns.printed(value, signed) == text
    assert "$-$" in latex([Table("l", "t", "c", [Column("x")], [[Cell("−1.2")]])])


@pytest.mark.parametrize("without", ["single-domain mixtures", "base"])
def test_without_single_domains_or_base_there_is_no_interference(tmp_path, without):
    mixtures = SINGLE if without == "base" else None
    methods = {name: method for name, method in METHODS.items() if without != "base" or name != "base"}
    if mixtures:
        mixtures = {"all": SINGLE["all"], "only-it": {"de-en": {"domains": ["it"], "methods": ["full"]}}}
    plan = fake_results.plan(methods, mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    frame = interference.interference_table(plan, results.scores(plan, tmp_path))
    assert frame.empty and "difference_mean" in frame and not list(interference.interference_tables(plan, frame))
    tables.write(tmp_path / "out" / "interference", frame, [], interference.ABSENT)
    assert interference.ABSENT in (tmp_path / "out/interference.md").read_text()


# --- pages ----------------------------------------------------------------------------------------------------------


def test_long_tables_go_on_in_a_second_environment_between_two_methods():
    rng = np.random.default_rng(0)
    names = [name for name in "abcdefghijklmnopqrstuvwxyz" for _ in range(rng.integers(1, 6))]
    rows = [[Cell(name), Cell(str(number))] for number, name in enumerate(names)]
    table = Table("tab:x", "X", "Caption.", [Column("Method", numeric=False), Column("n")], rows, notes=["Note."])
    text = latex([table])
    parts = text.split(r"\begin{tabular}")[1:]
    found = [re.findall(r"^(\w) & (\d+) ", part, flags=re.MULTILINE) for part in parts]
    assert len(names) > MOST_ROWS and len(parts) > 1
    assert [number for part in found for _, number in part] == [str(number) for number in range(len(names))]
    for one, other in itertools.pairwise(found):
        assert len(one) <= MOST_ROWS and one[-1][0] != other[0][0]
    assert text.count("Caption.") == text.count("Note.") == 1
    assert len(set(re.findall(r"\\label{(.*?)}", text))) == text.count("(continued)") + 1 == len(parts)
