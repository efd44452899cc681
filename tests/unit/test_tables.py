"""Tables: numbers compared with arithmetic done here, marks, captions, LaTeX, and messages on bad or missing files."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import fake_results
import numpy as np
import pandas as pd
import pytest

from caneft.reporting import inputs, labels, listing, results, serving, tables
from caneft.reporting.contents import every_table
from caneft.reporting.escaping import escape
from caneft.reporting.latex import latex
from caneft.reporting.layout import BEST, SECOND, Cell, Column, Table, mark_best
from caneft.reporting.page import html
from caneft.reporting.reading import read_config
from tests.messages import assert_names, refused

SEEDS = (1, 2)


def main_of(plan, root):
    """The main table as a frame and as printed tables."""
    scores, records = results.scores(plan, root), results.records(plan, root)
    frame = tables.main_table(plan, scores, records)
    return frame, list(tables.main_tables(plan, frame, scores, records, {}, {}, results.decoded(plan, root)))


def score_in_files(root, variant, seed, domain, metric):
    """A score read without the code under test."""
    path = root / f"runs/tiny/de-en/all/{variant}/seed{seed}/scores/test.json"
    return json.loads(path.read_text())["domains"][domain][metric]["score"]


@pytest.fixture
def plan():
    return fake_results.plan(seeds=SEEDS)


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    return tmp_path


@pytest.mark.parametrize("metric", ["bleu", "chrf"])
@pytest.mark.parametrize("variant", ["lora", "caneft"])
def test_means_and_deviations_equal_hand_arithmetic(plan, root, variant, metric):
    row = main_of(plan, root)[0].query("variant == @variant and metric == @metric").iloc[0]
    it, law, koran = (
        np.array([score_in_files(root, variant, seed, domain, metric) for seed in SEEDS])
        for domain in ("it", "law", "koran")
    )
    expected = {
        "it": it,
        "law": law,
        "koran": koran,
        "average_seen": (it + law) / 2,
        "average_unseen": koran,
        "average_all": (it + law + koran) / 3,
    }
    for name, values in expected.items():
        assert row[f"{name}_mean"] == pytest.approx(values.sum() / 2, abs=1e-12)
        assert row[f"{name}_std"] == pytest.approx(abs(values[0] - values[1]) / np.sqrt(2), abs=1e-12)


def test_base_and_copy_have_one_run_and_no_deviation(plan, root):
    frame = main_of(plan, root)[0].query("metric == 'bleu'").set_index("variant")
    assert frame.loc["base", "trainable_parameters"] == 0
    assert pd.isna(frame.loc["copy", "trainable_parameters"])
    assert frame.loc[["base", "copy", "lora"], "n_seeds"].tolist() == [1, 1, 2]
    assert frame.loc[["base", "copy"], "average_all_std"].isna().all()


def test_rows_follow_the_configuration_and_copy_comes_last(plan, root):
    frame, printed = main_of(plan, root)
    assert frame["variant"].tolist() == ["base", "lora", "caneft", "copy"] * 2
    assert frame["metric"].tolist() == ["bleu"] * 4 + ["chrf"] * 4
    assert [row[0].text for row in printed[0].rows] == ["base", "lora", "caneft"]
    assert [row[0].text for row in printed[0].footer] == ["copy"]


def test_base_is_restricted_to_each_block_s_domains(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "law": {"de-en": ["law"]}}
    plan = fake_results.plan(mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    frame, printed = main_of(plan, tmp_path)
    base = frame.query("variant == 'base' and metric == 'bleu'").set_index("mixture")
    assert base.loc["law", "law_mean"] == base.loc["all", "law_mean"]
    assert pd.isna(base.loc["law", "it_mean"])
    assert base.loc["law", "average_all_mean"] == pytest.approx(
        (base.loc["law", "law_mean"] + base.loc["law", "koran_mean"]) / 2
    )
    assert [table.title for table in printed] == [f"{m} of tiny, de-en, mixture all" for m in ("BLEU", "chrF2")]


def test_a_mixture_that_selects_on_another_says_so(tmp_path):
    mixtures = {"all": {"de-en": ["it", "law"]}, "part": {"de-en": {"domains": ["it", "law"], "select_on": "all"}}}
    plan = fake_results.plan(mixtures=mixtures)
    fake_results.write(plan, tmp_path)
    printed = main_of(plan, tmp_path)[1]
    assert ["selected on mixture all" in table.notes[-1] for table in printed] == [False, False, True, True]


def test_best_and_second_are_marked_as_printed_and_copy_never(tmp_path):
    plan = fake_results.plan(unseen=())
    given = {"base": 50.0, "lora": 70.04, "caneft": 69.96, "copy": 99.0}  # lora and caneft both print as 70.0
    fake_results.write(plan, tmp_path, score=lambda method, *_: given[method])
    table = main_of(plan, tmp_path)[1][0]
    assert [row[2].mark for row in table.rows] == [SECOND, BEST, BEST]
    assert [cell.mark for cell in table.footer[0]] == [""] * len(table.columns)
    text = tables.markdown([table])
    assert "**70.0**" in text and "<ins>50.0</ins>" in text and "**99.0**" not in text
    assert r"\textbf{70.0}" in latex([table]) and r"\underline{50.0}" in latex([table])


def test_marks_of_one_value_for_all():
    assert mark_best(["1.0", "1.0"]) == [BEST, BEST]


def test_averages_that_repeat_a_column_are_not_printed(tmp_path):
    plan = fake_results.plan(seen=("it", "law"), unseen=("koran", "news"))
    fake_results.write(plan, tmp_path)
    printed = main_of(plan, tmp_path)[1][0]
    shown = [(column.name, column.group) for column in printed.columns[2:]]
    seen = [("it", "seen"), ("law", "seen"), ("average", "seen")]
    assert shown == [*seen, ("koran", "unseen"), ("news", "unseen"), ("average", "unseen"), ("average", "all")]


def test_caption_states_rates_seeds_sizes_budget_and_signature(tmp_path):
    plan = fake_results.plan(report={"note": "Nothing follows from this.", "labels": {"caneft": "CANEFT"}})
    fake_results.write(plan, tmp_path)
    table = main_of(plan, tmp_path)[1][0]
    assert_names(table.caption, 400, "1,600", 2, "it, law", 800, "koran")
    assert_names(table.notes[-1], "lora 1e-2", "CANEFT 5e-4", 115, "9.98 %", "33,120", "0.0021 nats")
    assert table.caption.endswith("Nothing follows from this.")
    assert fake_results.SIGNATURES["bleu"] in table.notes[0]
    assert "base" in table.notes[1]  # it says how many hypotheses are wrong in some way


ROUNDED = {
    "base": {"method": "base"},
    "full": {"method": "full", "learning_rate": 1e-5},
    "offloaded": {"method": "full", "optimizer": "adamw-offload", "learning_rate": 1e-5},
    "lora": {"method": "lora", "learning_rate": 1e-4},
    "in-weights": {"method": "lora", "merged": True, "learning_rate": 1e-4},
    "adapters": {"method": "adapters", "learning_rate": 1e-4},
    **{name: {"method": name, "learning_rate": 1e-4} for name in ("random", "joint", "gradient", "caneft")},
}


def test_caption_says_what_was_rounded_in_which_dtype(tmp_path):
    methods = {"methods": ROUNDED, "models": {"tiny": {"hub": "owner/tiny", "dtype": "bfloat16"}}}
    plan = fake_results.plan(**methods)
    fake_results.write(plan, tmp_path)
    said = main_of(plan, tmp_path)[1][0].notes[-1].partition("bfloat16")[2]
    *others, neurons = said.split(";")
    of = {name: next(text for text in others if name in text) for name in list(ROUNDED)[1:6]}
    assert [name for name in of if "step" in of[name]] == ["offloaded"]
    assert [name for name in of if "float32" in of[name]] == ["lora", "adapters"]
    assert len(set(of.values())) == 5 and "merge" in of["in-weights"] and "step" in neurons


def test_in_float32_the_caption_only_says_which_lora_is_merged(tmp_path):
    for name in ("in-weights", "caneft"):
        plan = fake_results.plan({method: ROUNDED[method] for method in ("base", "lora", name)})
        fake_results.write(plan, tmp_path)
        note = main_of(plan, tmp_path)[1][0].notes[-1]
        assert not re.search("float|[Rr]ounded", note) and ("Merged" in note) is (name == "in-weights")


TOLD = {
    "base": {"method": "base"},
    "shots": {"method": "icl"},
    "adapters": {"method": "adapters", "learning_rate": 1e-4},
    "routed": {"method": "adapters", "route": "source_loss", "learning_rate": 1e-4},
    "caneft": {"method": "caneft", "learning_rate": 1e-4},
}


def test_who_is_told_the_test_domain_is_marked(tmp_path):
    plan = fake_results.plan(TOLD)
    fake_results.write(plan, tmp_path)
    table = main_of(plan, tmp_path)[1][0]
    assert {row[0].text for row in table.rows if row[0].signs == "§"} == {"shots", "adapters"}
    assert "§" in table.caption and "| shots§" in tables.markdown([table])
    assert r"shots$^{\S}$" in latex([table]) and 'shots<sup class="signs"' in html([table])
    assert sum(note.count("routed on") for note in table.notes) == 3, "what was chosen on each of its test sets"
    assert sum(note.count("adapters on") for note in table.notes) == 1


@pytest.mark.parametrize(
    "sections",
    [
        {"methods": {name: TOLD[name] for name in ("base", "routed", "caneft")}},
        {"methods": TOLD, "prompt": {"instruction": "{domain}:", "name_domain": True}},
    ],
    ids=["nobody", "everybody"],
)
def test_without_a_difference_nobody_is_marked(tmp_path, sections):
    plan = fake_results.plan(**sections)
    fake_results.write(plan, tmp_path)
    table = main_of(plan, tmp_path)[1][0]
    assert "§" not in table.caption and not any(row[0].signs for row in table.rows)


def test_with_one_seen_domain_there_is_nothing_to_be_told():
    plan = fake_results.plan(TOLD, mixtures={"all": {"de-en": ["it", "law"]}, "only": {"de-en": ["it"]}})
    told = {name: [v for v in TOLD if serving.told(plan, ("tiny", "de-en", name), v)] for name in ("all", "only")}
    assert told == {"all": ["shots", "adapters"], "only": []}


def test_caption_names_each_test_set_s_size_where_they_differ(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    for path in [*tmp_path.glob("runs/**/scores/test.json"), tmp_path / "scores/copy/de-en/test.json"]:
        found = json.loads(path.read_text())
        found["domains"]["koran"]["segments"] = 1234
        path.write_text(json.dumps(found))
    assert_names(main_of(plan, tmp_path)[1][0].caption, "it, law 400", "koran 1,234")


def test_several_seeds_print_deviations_that_latex_aligns(plan, root):
    table = main_of(plan, root)[1][0]
    assert_names(table.caption, "±", 2, "(1, 2)")
    assert re.search(r"\| lora .*\d\.\d(</ins>|\*\*)? ± \d+\.\d \|", tables.markdown([table]))
    lines = {line.split(" &")[0]: line for line in latex([table]).splitlines() if " & " in line}
    deviation = r"\$_{\\pm(\d+\.\d)(?:\\phantom{(0+)})?}\$"
    filled = [len(shown + more) for shown, more in re.findall(deviation, lines["lora"])]
    assert filled == [len(shown) for shown, _ in re.findall(r"\\phantom{" + deviation + "}", lines["base"])]
    assert len(filled) == len(table.columns) - 2


@pytest.mark.parametrize(("value", "text"), [(5e-4, "5e-4"), (1e-2, "1e-2"), (1.5e-5, "1.5e-5"), (1.0, "1")])
def test_scientific(value, text):
    assert labels.scientific(value) == text


def test_latex_escapes_every_special_character():
    assert escape(r"50 % of a_b & {c} #1 $ ~ ^ \x") == (
        r"50 \% of a\_b \& \{c\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}x"
    )


def test_latex_is_well_formed(tmp_path):
    plan = fake_results.plan(report={"labels": {"caneft": "CANEFT_1 & 50 %", "it": "I_T"}, "note": "100 % of {it}."})
    fake_results.write(plan, tmp_path)
    text = latex(main_of(plan, tmp_path)[1])
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"CANEFT\_1 \& 50 \% & 33,120" in text and r"I\_T" in text and r"100 \% of \{it\}." in text
    unescaped = re.sub(r"\\.", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    columns = len(re.search(r"\\begin{tabular}{(\w+)}", text).group(1))
    rows = [line for line in unescaped.splitlines() if line.count("&") and "ulticolumn" not in line]
    assert {line.count("&") for line in rows} == {columns - 1}


def test_markdown_columns_are_aligned(plan, root):
    lines = [line for line in tables.markdown([main_of(plan, root)[1][0]]).splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, sign in enumerate(line) if sign == "|") for line in lines}) == 1


def test_files_are_readable_and_identical_on_repeat(plan, root, tmp_path):
    frame, printed = main_of(plan, root)
    tables.write(tmp_path / "a/main", frame, printed)
    tables.write(tmp_path / "b/main", *main_of(plan, root))
    for suffix in ("csv", "html", "md", "tex"):
        assert (tmp_path / f"a/main.{suffix}").read_bytes() == (tmp_path / f"b/main.{suffix}").read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["main.csv", "main.html", "main.md", "main.tex"]
    read = pd.read_csv(tmp_path / "a/main.csv")
    assert read.columns[:8].tolist() == [
        "model", "direction", "mixture", "variant", "method", "metric", "trainable_parameters", "n_seeds",
    ]  # fmt: skip
    assert read["it_mean"].to_numpy() == pytest.approx(frame["it_mean"].to_numpy(), abs=5e-5)


def test_cost_table_adds_processes_and_averages_seeds(plan, root):
    costs, records = results.costs(plan, root), results.records(plan, root)
    frame = tables.cost_table(plan, costs, records)

    def read(path, key):
        return json.loads((root / path).read_text())[key]

    importance = [f"importance/tiny/de-en/{domain}.cost.json" for domain in ("it", "law")]
    row = frame.query("stage == 'importance'").iloc[0]
    assert row["wall_seconds"] == pytest.approx(sum(read(path, "wall_seconds") for path in importance))
    assert row["peak_memory_mb"] == max(read(path, "peak_memory_mb") for path in importance)
    run = "runs/tiny/de-en/all/lora/seed{}/"
    row = frame.query("stage == 'tuning' and variant == 'lora'").iloc[0]
    assert row["cpu_seconds"] == pytest.approx(sum(read(run.format(s) + "cost.json", "cpu_seconds") for s in SEEDS) / 2)
    assert row["trainable_parameters"] == 69120
    row = frame.query("stage == 'translation' and variant == 'lora'").iloc[0]
    paths = [run.format(s) + "translations/test.cost.json" for s in SEEDS]
    assert row["wall_seconds"] == pytest.approx(sum(read(path, "wall_seconds") for path in paths) / 2)
    assert frame["stage"].unique().tolist() == ["pretraining", "importance", "information", "tuning", "translation"]


def test_gpu_memory_is_a_column_only_where_there_was_a_gpu(plan, root):
    def headers():
        costs, records = results.costs(plan, root), results.records(plan, root)
        table = next(tables.cost_tables(plan, tables.cost_table(plan, costs, records), costs))
        return [column.name for column in table.columns]

    assert "GPU memory (MB)" not in headers()
    path = root / "runs/tiny/de-en/all/lora/seed1/cost.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cuda_peak_memory_mb": 1234.5, "device": "H200"}))
    assert "GPU memory (MB)" in headers()


def test_the_machines_of_a_cost_table_are_each_named_once(plan, root):
    path = root / "runs/tiny/de-en/all/lora/seed1/cost.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "cpu", "threads": 2}))
    path = root / "runs/tiny/de-en/all/lora/seed2/cost.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"device": "H200", "threads": 1}))
    costs, records = results.costs(plan, root), results.records(plan, root)
    caption = next(tables.cost_tables(plan, tables.cost_table(plan, costs, records), costs)).caption
    assert_names(caption, "cpu, 1 to 2 threads", "H200, 1 thread")
    assert caption.count("cpu") == 1


def test_a_configuration_without_neurons_or_base_has_tables(tmp_path):
    plan = fake_results.plan({"lora": {"method": "lora", "learning_rate": 1e-2}})
    fake_results.write(plan, tmp_path)
    frame, printed = main_of(plan, tmp_path)
    assert frame["variant"].unique().tolist() == ["lora", "copy"]
    assert "Budget" not in printed[0].caption


def test_every_kind_of_table_input_is_needed_and_named_when_missing(plan, root):
    for name in {Path(name).name: name for name in inputs.table_inputs(plan)}.values():
        kept = (root / name).read_bytes()
        (root / name).unlink()
        with refused(name):
            list(every_table(plan, root))
        (root / name).write_bytes(kept)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("{", "JSON"),
        ("[]", "JSON"),
        ('{"format": 2}', "format 2"),
        ('{"format": 1}', "'domains'"),
        ('{"format": 1, "domains": {"it": {"segments": 4, "health": {}}}}', "'bleu'"),
        ('{"format": 1, "domains": {"it": {"bleu": {"score": null}}}}', "NoneType"),
    ],
)
def test_a_broken_score_file_is_named(plan, root, content, fact):
    name = "runs/tiny/de-en/all/lora/seed2/scores/test.json"
    (root / name).write_text(content)
    with refused(name, fact):
        results.scores(plan, root)


def test_a_run_made_with_other_settings_is_refused(plan, root):
    name = "runs/tiny/de-en/all/lora/seed2/record.json"
    record = json.loads((root / name).read_text())
    record["settings"]["tuning"]["epochs"] += 1
    (root / name).write_text(json.dumps(record))
    with refused(name, "tuning"):
        results.records(plan, root)


def test_the_step_writes_the_tables_and_reports_a_missing_file(plan, root, tmp_path, monkeypatch, capsys):
    from workflow.scripts import tabulate

    config = plan.config.model_dump_json(exclude_none=True)
    out = tmp_path / "tables"
    arguments = [
        "--config",
        config,
        "--results",
        str(root),
        "--out",
        str(out),
        "--runs",
        str(tmp_path / "runs.parquet"),
    ]
    monkeypatch.setattr(sys, "argv", ["tabulate", *arguments])
    tabulate.main()
    suffixes = ("csv", "html", "md", "tex")
    assert {path.name for path in out.iterdir()} == {f"{name}.{s}" for name in listing.TABLES for s in suffixes}
    assert len(pd.read_parquet(tmp_path / "runs.parquet")) == len(results.scores(plan, root))
    (root / "runs/tiny/de-en/base/scores/test.json").unlink()
    with pytest.raises(SystemExit) as exit:
        tabulate.main()
    assert exit.value.code == 1
    assert_names(capsys.readouterr().err, root / "runs/tiny/de-en/base/scores/test.json")


def test_the_configuration_can_come_from_a_file(plan, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(plan.config.model_dump_json(exclude_none=True))
    assert read_config(f"@{path}") == plan.config
    with refused("nowhere.json"):
        read_config("@nowhere.json")


def test_what_stands_above_is_not_said_again():
    """The parts of caption and notes that each table shows, in Markdown and on the page; LaTeX's tables float."""
    body = {"columns": [Column("Method", numeric=False)], "rows": [[Cell("lora")]]}
    first = Table("a", "BLEU", "Trained on 9 pairs.", notes=["of BLEU", "of both"], **body)
    second = Table("b", "chrF2", "Trained on 9 pairs.", notes=["of chrF2", "of both"], **body)
    other = Table("c", "COMET", "Trained on 7 pairs.", notes=["of COMET"], **body)
    words = ["Trained on 9 pairs.", "of BLEU", "of both", "of chrF2", "Trained on 7 pairs.", "of COMET"]
    once = [words[:3], words[3:4], words[4:]]
    for text in (tables.markdown([first, second, other]), html([first, second, other])):
        parts = re.split(r"(?:BLEU|chrF2|COMET)\.", text)[1:]
        assert [[word for word in words if word in part] for part in parts] == once
    assert "".join(map(latex, ([first], [second]))).count("Trained on 9 pairs.") == 2


def test_the_page_shows_what_markdown_shows(plan, root):
    _, printed = main_of(plan, root)
    page = html(printed)
    parser = _Cells()
    parser.feed(page)
    cells = [
        [cell.text + (f" ± {cell.deviation}" if cell.deviation else "") for cell in row]
        for shown in printed
        for row in (*shown.rows, *shown.footer)
    ]
    assert parser.rows == cells
    marks = [cell.mark for shown in printed for row in shown.rows for cell in row]
    assert (page.count("<td><strong>"), page.count('<span class="second">')) == (
        marks.count("best"),
        marks.count("second"),
    )


def test_cells_without_deviation_leave_its_room_in_the_page(plan, root):
    """The score columns of lora, caneft, base and copy have the same room."""
    (table, _) = main_of(plan, root)[1]
    rooms = [re.findall(r"min-width: ([\d.]+)ch", row) for row in re.findall(r"<tr>(.*?)</tr>", html([table]))[2:]]
    widest = [max(len(row[n].deviation) for row in table.rows) for n in range(2, len(table.columns))]
    assert rooms == [[str(width + 2.5) for width in widest]] * 4


def test_names_cannot_break_out_of_the_page():
    shown = Table("label", "<script>", "a & b", [Column("<b>", "&", numeric=False)], [[Cell("<i>")]], [], ["<u>"])
    page = html([shown])
    assert not any(f"<{tag}>" in page for tag in ("script", "b", "i", "u"))


class _Cells(HTMLParser):
    """Text of the cells, for every row that has any."""

    def __init__(self):
        super().__init__()
        self.rows, self.cell = [], None

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.cell = ""

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data

    def handle_endtag(self, tag):
        if tag == "td":
            self.rows[-1].append(self.cell)
            self.cell = None
        elif tag == "tr" and not self.rows[-1]:
            self.rows.pop()
