"""A task other than translation through the real workflow, to its tables: the scores are counted once more here."""

import json
from pathlib import Path

import pandas as pd
import pytest

CONFIG = Path(__file__).with_name("mini-task.yaml")
NOUNS = {"kitchen": ("pans", "cups", "forks"), "garage": ("cars", "tools", "tyres")}
SIZES = {"train": 70, "dev": 15, "test": 30}
RUNS = {"base": ("base", ("garage", "kitchen")), "caneft": ("all/caneft/seed1", ("seen",))}


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs(nouns, numbers):
    """Three of five numbers are even: whoever always says so is right in most lines, and not in all."""
    chosen = [n for n in numbers if n % 3 != 1 or n % 2 == 0]
    return [{"text": f"{n} {nouns[n % len(nouns)]}", "answer": "even" if n % 2 == 0 else "odd"} for n in chosen]


@pytest.fixture(scope="module")
def results(pristine, tmp_path_factory):
    """The tables of one run. Numbers go on from split to split, so no line is in two."""
    workspace = pristine.copy(tmp_path_factory.mktemp("task"))
    for domain, nouns in NOUNS.items():
        start = 10
        for split, size in SIZES.items():
            write(workspace.root / "data" / domain / f"{split}.jsonl", pairs(nouns, range(start, start + 2 * size)))
            start += 2 * size
    write(workspace.root / "data/pretraining.jsonl", pairs(("boxes", "bags"), range(10, 400)))
    done = workspace.snakemake("--cores", "2", "tables", config=CONFIG)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace.results


def counted(results, run, testsets):
    """Per cent of right answers by domain, from the translations and the raw files."""
    answers = {}
    for domain in NOUNS:
        rows = read(results / "corpora/parity" / domain / "test.jsonl")
        assert [row["target"] for row in rows] == [
            row["answer"] for row in read(results.parents[1] / f"data/{domain}/test.jsonl")
        ]
        answers |= {row["id"]: row["target"] for row in rows}
    lines = [
        line
        for testset in testsets
        for line in read(results / f"runs/mini-llama/parity/{run}/translations/{testset}.jsonl")
    ]
    assert len(lines) == len(answers)
    right = {
        domain: [line["hypothesis"] == answers[line["id"]] for line in lines if line["domain"] == domain]
        for domain in NOUNS
    }
    return {domain: 100 * sum(found) / len(found) for domain, found in right.items()}


def test_the_table_has_the_shares_of_right_answers(results):
    table = pd.read_csv(results / "tables/main.csv").set_index("variant")
    assert set(table["metric"]) == {"exact"}
    expected = {variant: counted(results, *where) for variant, where in RUNS.items()}
    for variant, shares in expected.items():
        for domain, share in shares.items():
            assert table.loc[variant, f"{domain}_mean"] == pytest.approx(share, abs=1e-4)
        assert table.loc[variant, "average_seen_mean"] == pytest.approx(sum(shares.values()) / 2, abs=1e-4)
    found = [share for shares in expected.values() for share in shares.values()]
    assert max(found) > 0, "no answer is right, so the count proves nothing"
    assert table.loc["copy", "average_seen_mean"] == 0  # no question is its own answer


def test_score_files_hold_exact_match_alone(results):
    for path in results.rglob("scores/**/*.json"):
        for entry in json.loads(path.read_text())["domains"].values():
            assert set(entry) == {"segments", "exact", "health"}
            assert entry["exact"]["signature"] == "exact|norm:strip|version:1"


def test_the_printed_tables_speak_of_no_translation(results):
    for path in (results / "tables").iterdir():
        if path.suffix != ".csv":
            assert [word for word in ("BLEU", "chrF", "ranslat") if word in path.read_text(encoding="utf-8")] == []
    assert "exact match (%) of mini-llama, parity, mixture all" in (results / "tables/main.md").read_text()
