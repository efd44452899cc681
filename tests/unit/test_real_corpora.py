"""Measured facts about the corpora that the project was built with; the tests need these corpora."""

import json
import os
import re
from pathlib import Path

import pytest

from caneft import config
from caneft.corpora import cleaning, readers, store
from caneft.corpora.mixing import mix
from caneft.corpora.overlap import flags
from caneft.corpora.sides import without_mojibake

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("corpora")]  # they are read once
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


def raw(name, split):
    """Pairs of a real set before cleaning."""
    if not (DATA / "de-en").is_dir():
        pytest.skip(f"no corpora in {DATA}")
    return list(readers.read(getattr(real_domain(name), split), split, DATA.joinpath))


PLAIN = config.Cleaning(mojibake="keep", near_duplicates="keep", max_characters=None, max_ratio=None)


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
    assert [cleaning.clean(raw("it", split), PLAIN)[1]["copies"] for split in ("train", "dev", "test")] == [
        1596,
        150,
        149,
    ]
    copies = {name: {split: counts["copies"] for split, counts in report.items()} for name, (_, report) in real.items()}
    assert copies["it"] == {
        "train": 1571,
        "dev": 149,
        "test": 149,
    }  # 25 of them resemble another or a held-out one
    assert copies["koran"] == {"test": 0}


def test_mojibake_of_the_real_sets(real):
    """Pairs are repaired in train and dev, and counted in test. In 25,000 Chinese pairs ftfy repairs nothing."""
    found = {
        name: tuple(
            counts["present" if split == "test" else "repaired"]["mojibake"] for split, counts in report.items()
        )
        for name, (_, report) in real.items()
    }
    assert {name: counts for name, counts in found.items() if any(counts)} == {
        "it": (105, 14, 91),
        "koran": (2,),
        "subtitles": (1, 0, 1),
    }


def test_mojibake_by_pattern_and_by_ftfy():
    """89 of 2,000 IT test sources match the pattern. ftfy finds these and two more, and repairs all of them."""
    from ftfy.badness import is_bad

    pattern, sources = re.compile("Ã|Â|â€"), [pair.source for pair in raw("it", "test")]
    matching = {source for source in sources if pattern.search(source)}
    bad = {source for source in sources if is_bad(source)}
    repaired = {source for source in sources if without_mojibake(source) != source}
    assert sum(map(bool, map(pattern.search, sources))) == 89
    assert len(matching - bad) == 0 and len(bad - matching) == 2 and repaired == bad
    assert not any(pattern.search(without_mojibake(source)) or is_bad(without_mojibake(source)) for source in sources)


def test_repairs_of_the_real_it_train_set_leave_ascii_alone():
    """Every repaired side is shorter, has the same ASCII text in the same order, and no replacement character."""
    sides = [text for pair in raw("it", "train") for text in pair[1:]]
    changed = [(text, without_mojibake(text)) for text in sides if without_mojibake(text) != text]
    assert len(changed) == 105
    for before, after in changed:
        assert len(after) < len(before) and "\ufffd" not in after
        assert re.sub("[^\x00-\x7f]", "", before).split() == re.sub("[^\x00-\x7f]", "", after).split()


def test_what_the_steps_drop_from_the_real_sets(real):
    names = "duplicate_pair", "near_duplicate", "too_long", "length_ratio"
    dropped = {n: tuple(r["train"]["dropped"][step] for step in names) for n, (_, r) in real.items() if "train" in r}
    assert dropped == {
        "it": (0, 38, 0, 0),
        "law": (0, 6, 0, 0),
        "medical": (0, 20, 0, 0),
        "subtitles": (0, 0, 0, 0),
        "education": (0, 10, 0, 0),
        "spoken": (0, 41, 0, 0),
    }
    ratio = {name: report["test"]["present"]["length_ratio"] for name, (_, report) in real.items()}
    assert {name: count for name, count in ratio.items() if count} == {
        "it": 15,
        "koran": 3,
        "law": 1,
        "medical": 75,
        "subtitles": 3,
    }
    for _, reports in real.values():
        for report in reports.values():
            assert report["read"] == report["kept"] + sum(report["dropped"].values())


def test_education_and_spoken_leak_into_themselves(real):
    """Equal pairs, equal sources and similar sources that train shares with its own domain's dev and test."""
    report = {name: real[name][1]["train"] for name in ("education", "spoken", "it", "law", "medical", "subtitles")}
    leak = {name: {split: tuple(found.values()) for split, found in r["leakage"].items()} for name, r in report.items()}
    assert leak == {
        "education": {"dev": (0, 9, 3), "test": (0, 8, 4)},
        "spoken": {"dev": (0, 2, 3), "test": (0, 2, 5)},
        "it": {"dev": (0, 0, 10), "test": (0, 1, 16)},  # equal only after repair of its mojibake
        "law": {"dev": (0, 0, 1), "test": (0, 0, 3)},
        "medical": {"dev": (0, 0, 5), "test": (0, 0, 8)},
        "subtitles": {"dev": (0, 0, 0), "test": (0, 0, 0)},
    }


def test_education_trains_on_sources_of_its_own_test(real):
    sources = {cleaning.normalise(pair.source) for pair in raw("education", "train")}
    assert sum(row.source in sources for row in real["education"][0]["test"]) == 8


def test_real_leakage_across_domains(real):
    corpora = {name: real[name][0] for name in ("education", "spoken")}
    train, dev, report = mix(corpora, 2000, 500, seed=0)
    found = {name: report["train"][name]["leakage"] for name in corpora}
    assert found["education"]["spoken.test"] == {"leaked_pairs": 37, "leaked_sources": 1, "leaked_near": 2}
    assert found["spoken"]["education.test"] == {"leaked_pairs": 29, "leaked_sources": 1, "leaked_near": 2}
    tested = {row.source for name in corpora for row in corpora[name]["test"]}
    assert not tested & {row.source for row in train + dev}


def test_leakage_counted_by_test_pairs(real):
    """How many test pairs and how many test sources of each tested domain are in another domain's train file."""
    for tested, trained, pairs, sources in (
        ("education", "spoken", 29, 30),
        ("spoken", "education", 37, 38),
        ("science", "education", 4, 4),
        ("science", "spoken", 0, 1),
    ):
        train_pairs = {(pair.source, pair.target) for pair in cleaning.clean(raw(trained, "train"), PLAIN)[0]}
        train_sources = {source for source, _ in train_pairs}
        test = real[tested][0]["test"]
        assert sum((row.source, row.target) in train_pairs for row in test) == pairs
        assert sum(row.source in train_sources for row in test) == sources


def test_real_overlap_is_flagged(real):
    """The tests above give the counts, to which similar sources are added. science has only a test set."""
    pairs = [("education", "spoken"), ("spoken", "education"), ("science", "education"), ("science", "spoken")]
    found = [list(flags(real[tested][0]["test"], real[trained][0]["train"]).values()) for tested, trained in pairs]
    counts = [(kinds.count("pair"), kinds.count("source")) for kinds in found]
    assert counts == [(29, 1 + 2), (37, 1 + 2), (4, 0 + 1), (0, 1 + 4)]
