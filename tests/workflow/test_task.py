"""A task other than translation in the real workflow, up to its tables; its scores are counted again here."""

import json
from pathlib import Path

import pandas as pd
import pytest

CONFIG = Path(__file__).with_name("mini-task.yaml")
NOUNS = {"kitchen": ("pans", "cups", "forks"), "garage": ("cars", "tools", "tyres")}
SIZES = {"train": 70, "dev": 15, "test": 30}
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("task")]
RUNS = {"base": "base", "caneft": "all/caneft/seed1"}


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pairs(nouns, numbers, even="even", odd="odd"):
    return [{"text": f"{n} {nouns[n % len(nouns)]}", "answer": odd if n % 2 else even} for n in numbers]


@pytest.fixture(scope="module")
def results(pristine, tmp_path_factory):
    """Results of one run. The base learns parity; in the garage its words mean the opposite, so there it is wrong.

    Numbers continue from split to split, so no line is in two splits.
    """
    workspace = pristine.copy(tmp_path_factory.mktemp("task"))
    for domain, nouns in NOUNS.items():
        start, words = 10, ("even", "odd") if domain == "kitchen" else ("odd", "even")
        for split, size in SIZES.items():
            numbers = range(start, start + size)
            write(workspace.root / "data" / domain / f"{split}.jsonl", pairs(nouns, numbers, *words))
            start += size
    everything = [pair for nouns in NOUNS.values() for pair in pairs(nouns, range(10, 400))]
    write(workspace.root / "data/pretraining.jsonl", everything)
    done = workspace.snakemake("--cores", "2", "tables", config=CONFIG, forked=True)
    assert done.returncode == 0, done.stdout[-5000:]
    return workspace.results


def counted(results, run):
    """Percentage of right answers by domain, from the translations and the raw files."""
    answers = {}
    for domain in NOUNS:
        rows = read(results / "corpora/parity" / domain / "test.jsonl")
        assert [row["target"] for row in rows] == [
            row["answer"] for row in read(results.parents[1] / f"data/{domain}/test.jsonl")
        ]
        answers |= {row["id"]: row["target"] for row in rows}
    lines = read(results / f"runs/mini-llama/parity/{run}/translations/test.jsonl")
    assert len(lines) == len(answers)
    right = {
        domain: [line["hypothesis"] == answers[line["id"]] for line in lines if line["domain"] == domain]
        for domain in NOUNS
    }
    return {domain: 100 * sum(found) / len(found) for domain, found in right.items()}


def test_the_table_has_the_shares_of_right_answers(results):
    table = pd.read_csv(results / "tables/main.csv").set_index("variant")
    assert set(table["metric"]) == {"exact"}
    expected = {variant: counted(results, run) for variant, run in RUNS.items()}
    for variant, shares in expected.items():
        for domain, share in shares.items():
            assert table.loc[variant, f"{domain}_mean"] == pytest.approx(share, abs=1e-4)
        assert table.loc[variant, "average_seen_mean"] == pytest.approx(sum(shares.values()) / 2, abs=1e-4)
    base = expected["base"]
    assert base["kitchen"] > 50 > base["garage"], "the base has learnt nothing, so the count proves little"
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
