"""Measured facts about the corpora that the project was built with, where they are at hand (their text is not)."""

import json
import os
from pathlib import Path

import pytest

from caneft import config
from caneft.corpora import store
from caneft.corpora.mixing import mix
from caneft.corpora.overlap import flags

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("CANEFT_DATA") or REPOSITORY.parent / "shared" / "data")
NAMES = {"it": "it", "law": "law", "medical": "med", "subtitles": "sub", "koran": "koran"}
NAMES |= {"education": "edu", "spoken": "spok", "science": "sci"}
GERMAN, CHINESE = ("it", "koran", "law", "medical", "subtitles"), ("education", "science", "spoken")


def real_domain(name):
    source, language, direction = ("de", "German", "de-en") if name in GERMAN else ("zh", "Chinese", "zh-en")

    def held_out(split):
        path = f"{direction}/{NAMES[name]}.{split}.{direction}.instruct.json"
        prefixes = {"source_prefix": f"{language}: ", "target_prefix": "English: "}
        return config.Instruct(format="instruct", path=path, **prefixes)

    if name in ("koran", "science"):
        return config.Domain(test=held_out("test"))
    path = f"{direction}/shuf.{NAMES[name]}.train.{direction}.jsonl"
    fields = {"source": f"translation.{source}", "target": "translation.en"}
    train = config.Jsonl(format="jsonl", path=path, **fields)
    return config.Domain(train=train, dev=held_out("dev"), test=held_out("test"))


@pytest.fixture(scope="module")
def real():
    """Prepared rows and reports of every real domain."""
    if not (DATA / "de-en").is_dir():
        pytest.skip(f"no corpora: set CANEFT_DATA to the folder that holds de-en/ and zh-en/ (looked in {DATA})")
    return {name: store.prepare(real_domain(name), name, DATA.joinpath) for name in GERMAN + CHINESE}


def test_sizes_of_the_real_sets(real):
    read = {name: {split: counts["read"] for split, counts in report.items()} for name, (_, report) in real.items()}
    dev = {"it": 947, "law": 1004, "medical": 1054, "subtitles": 1036}
    assert read == {name: {"train": 10000, "dev": dev[name], "test": 2000} for name in dev} | {
        "koran": {"test": 2000},
        "education": {"train": 10000, "dev": 1000, "test": 1000},
        "spoken": {"train": 10000, "dev": 1000, "test": 1000},
        "science": {"test": 1000},
    }


def test_no_real_test_line_is_lost_or_moved(real):
    for name, (rows, _) in real.items():
        assert [row.id for row in rows["test"]] == [f"{name}.test.{n}" for n in range(1, len(rows["test"]) + 1)]
    records = json.loads((DATA / "de-en/law.test.de-en.instruct.json").read_text(encoding="utf-8"))
    assert [f"German: {row.source}".split() for row in real["law"][0]["test"]] == [r["input"].split() for r in records]


def test_copies_of_the_real_sets(real):
    copies = {name: {split: counts["copies"] for split, counts in report.items()} for name, (_, report) in real.items()}
    assert copies["it"] == {"train": 1596, "dev": 150, "test": 149}
    assert copies["koran"] == {"test": 0}


def test_education_and_spoken_leak_into_themselves(real):
    report = {name: real[name][1]["train"] for name in ("education", "spoken", "it", "law", "medical", "subtitles")}
    leak = {name: {split: tuple(found.values()) for split, found in r["leakage"].items()} for name, r in report.items()}
    assert leak["education"] == {"dev": (0, 9), "test": (0, 8)}
    assert leak["spoken"] == {"dev": (0, 2), "test": (0, 2)}
    assert all(leak[name] == {"dev": (0, 0), "test": (0, 0)} for name in GERMAN if name != "koran")


def test_real_leakage_across_domains(real):
    corpora = {name: real[name][0] for name in ("education", "spoken")}
    train, dev, report = mix(corpora, 2000, 500, seed=0)
    found = {name: report["train"][name]["leakage"] for name in corpora}
    assert found["education"]["spoken.test"] == {"leaked_pairs": 37, "leaked_sources": 1}
    assert found["spoken"]["education.test"] == {"leaked_pairs": 29, "leaked_sources": 1}
    tested = {row.source for name in corpora for row in corpora[name]["test"]}
    assert not tested & {row.source for row in train + dev}


def test_leakage_counted_by_test_pairs(real):
    """29 of education's test pairs stand in spoken's train, 37 of spoken's in education's; sources: 30 and 38."""
    for tested, trained, pairs, sources in (("education", "spoken", 29, 30), ("spoken", "education", 37, 38)):
        train_pairs = {(row.source, row.target) for row in real[trained][0]["train"]}
        train_sources = {source for source, _ in train_pairs}
        test = real[tested][0]["test"]
        assert sum((row.source, row.target) in train_pairs for row in test) == pairs
        assert sum(row.source in train_sources for row in test) == sources


def test_real_overlap_is_flagged(real):
    """The counts of the test above, and science, which has a test set alone."""
    pairs = [("education", "spoken"), ("spoken", "education"), ("science", "education"), ("science", "spoken")]
    found = [list(flags(real[tested][0]["test"], real[trained][0]["train"]).values()) for tested, trained in pairs]
    counts = [(kinds.count("pair"), kinds.count("source")) for kinds in found]
    assert counts == [(29, 1), (37, 1), (4, 0), (0, 1)]
