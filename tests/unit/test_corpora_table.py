"""The table of corpora has every count of the reports, whatever its reason is called, and no lines of zeros."""

import json

import fake_results
import pandas as pd
import pytest

from caneft.reporting import corpora, inputs, tables
from caneft.reporting.latex import latex
from tests.messages import refused

MIXTURES = {
    "all": {"de-en": ["it", "law"]},
    "only-it": {"de-en": {"domains": ["it"], "test": ["law"]}},
}


@pytest.fixture
def plan():
    return fake_results.plan(mixtures=MIXTURES)


@pytest.fixture
def root(tmp_path, plan):
    fake_results.write(plan, tmp_path)
    return tmp_path


def edit(root, path, change):
    found = json.loads((root / path).read_text())
    change(found)
    (root / path).write_text(json.dumps(found))


def lines(table):
    """Printed lines as {count: numbers}."""
    return {row[0].text: [cell.text for cell in row[1:]] for row in table.rows}


def flat(entry, above=""):
    """Counts of a report by their path, without the code under test."""
    for key, value in entry.items():
        yield from flat(value, f"{above}{key}.") if isinstance(value, dict) else ((f"{above}{key}", value),)


def test_every_count_of_every_report_is_in_the_frame(plan, root):
    frame = corpora.corpus_table(plan, root)
    found = {}
    for row in frame.to_dict("records"):
        key = tuple(None if pd.isna(row[name]) else row[name] for name in ("mixture", "domain", "split"))
        found[key] = {name: n for name, n in row.items() if name not in corpora.KEYS and pd.notna(n)}
    expected = {}
    for domain, splits in {"it": 3, "law": 3, "koran": 1}.items():
        report = json.loads((root / f"corpora/de-en/{domain}/report.json").read_text())
        assert len(report) == splits
        expected |= {(None, domain, split): dict(flat(entry)) for split, entry in report.items()}
    for mixture, domains in {"all": ("it", "law"), "only-it": ("it",)}.items():
        report = json.loads((root / f"mixtures/de-en/{mixture}/report.json").read_text())
        expected |= {(mixture, d, split): dict(flat(report[split][d])) for split in report for d in domains}
    assert found == expected


def test_a_line_for_each_count_and_none_for_what_is_zero(plan, root):
    printed = list(corpora.corpus_tables(plan, corpora.corpus_table(plan, root)))
    assert [table.title for table in printed] == [
        "Corpora of de-en: train",
        "Corpora of de-en: dev",
        "Corpora of de-en: test",
        "Mixture all of de-en",
    ]
    train, dev, test, mixture = printed
    assert [column.name for column in train.columns] == ["Pairs", "it", "law"]
    assert [column.numeric for column in train.columns] == [False, True, True]
    assert lines(train) == {
        "read": ["1,234", "1,234"],
        "dropped: duplicate pair": ["30", "30"],
        "dropped: leakage": ["4", "4"],
        "dropped: limit": ["200", "200"],
        "leakage test: pairs": ["1", "1"],
        "leakage test: sources": ["3", "3"],
        "kept": ["1,000", "1,000"],
        "copies": ["7", "7"],
    }
    assert [[cell.text for cell in row] for row in dev.rows] == [["read", "100", "100"], ["kept", "100", "100"]]
    words = ["Dropped", "Leakage", "Limit", "Copies"]
    assert [[word for word in words if word in table.caption] for table in printed] == [
        words,
        [],
        ["Copies"],
        ["Leakage", "Limit"],
    ], "a caption explains the lines that there are"
    assert [column.name for column in test.columns[1:]] == ["it", "law", "koran"]
    assert lines(test)["present: duplicate pair"] == ["5", "5", "5"]
    assert [(column.name, column.group) for column in mixture.columns[1:]] == [
        ("it", "train"),
        ("law", "train"),
        ("it", "dev"),
        ("law", "dev"),
    ]
    assert lines(mixture) == {
        "read": ["1,000"] * 4,
        "dropped: leakage": ["1", "0", "0", "0"],
        "dropped: limit": ["199", "200", "900", "900"],
        "leakage law test: pairs": ["1", "0", "0", "0"],
        "kept": ["800", "800", "100", "100"],
    }


def test_reasons_that_nobody_has_thought_of_get_a_line_and_a_column(plan, root):
    """Every count under any heading appears; a domain without it has a blank and not zero."""

    def change(report):
        report["train"]["dropped"] |= {"too_long": 12345, "other_script": 0}
        report["train"]["repaired"] = {"mojibake": 6}
        report["test"]["present"]["html_entity"] = 2

    edit(root, "corpora/de-en/law/report.json", change)
    frame = corpora.corpus_table(plan, root)
    law = frame.query("domain == 'law' and mixture.isna() and split == 'train'").iloc[0]
    counts = law[["dropped.too_long", "dropped.other_script", "repaired.mojibake"]]
    assert counts.tolist() == [12345, 0, 6]
    train, _, test, _ = corpora.corpus_tables(plan, frame)
    assert lines(train)["dropped: too long"] == ["–", "12,345"]
    assert lines(train)["repaired: mojibake"] == ["–", "6"]
    assert "dropped: other script" not in lines(train)
    assert lines(test)["present: html entity"] == ["–", "2", "–"]
    assert "too long" in latex([train])
    tables.write(root / "corpora-table", frame, [train])
    header, *rows = (root / "corpora-table.csv").read_text().splitlines()
    assert {"dropped.other_script", "repaired.mojibake"} <= set(header.split(",")) and len(rows) == len(frame)
    assert "12345" in rows[3].split(",")


def test_a_domain_that_no_mixture_makes_use_of_has_no_line():
    plan = fake_results.plan(seen=("it", "law", "medical"), mixtures={"all": {"de-en": ["medical", "it"]}})
    assert [file.domain for file in inputs.corpus_files(plan)] == ["it", "medical", "koran"]
    assert "corpora/de-en/koran/report.json" in inputs.table_inputs(plan)
    assert "mixtures/de-en/all/report.json" in inputs.table_inputs(plan)


@pytest.mark.parametrize(
    ("path", "change", "fact"),
    [
        ("mixtures/de-en/all/report.json", lambda found: found["train"].pop("law"), "'law'"),
        ("corpora/de-en/it/report.json", lambda found: found["train"].update(read="many"), "'many'"),
    ],
)
def test_a_broken_report_is_named(plan, root, path, change, fact):
    edit(root, path, change)
    with refused(root / path, fact):
        corpora.corpus_table(plan, root)
