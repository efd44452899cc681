"""Cleaning and preparation: what is dropped, what is counted, what stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caneft import config
from caneft.corpora import store
from caneft.corpora.cleaning import clean, normalise, normalised, sample, without_leakage
from caneft.corpora.readers import Pair
from caneft.corpora.store import Row
from caneft.errors import InputError


def pairs(*sides):
    return [Pair(number, source, target) for number, (source, target) in enumerate(sides, start=1)]


def sides(kept):
    return [(pair.source, pair.target) for pair in kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u0308rger\n", "ärger"),  # combining diaeresis: NFC
        ("  a \t b\r\n", "a b"),
        ("a\x00b\x1b\x7fc", "a b c"),
        ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
        ("a\u00a0b\u3000c", "a b c"),  # no-break and ideographic space
        ("ﬁ ½ Ａ", "ﬁ ½ Ａ"),  # NFC, not NFKC
        ("\u2028\x00 ", ""),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


@given(st.text())
def test_normalise_is_idempotent_and_leaves_one_line(text):
    once = normalise(text)
    assert normalise(once) == once
    assert len(once.splitlines()) <= 1


def test_clean_drops_and_counts_by_reason():
    kept, report = clean(
        pairs(("a ", "b"), (" ", "x"), ("x", "\t"), ("", ""), ("a", "b\n"), ("a", "c"), ("Tom", "Tom"), ("Tom", "Tom"))
    )
    assert kept == [Pair(1, "a", "b"), Pair(6, "a", "c"), Pair(7, "Tom", "Tom")]
    dropped = {"empty_source": 2, "empty_target": 1, "duplicate_pair": 2}
    assert report == {"read": 8, "kept": 3, "dropped": dropped, "copies": 1}


def test_test_sets_are_normalised_and_counted_only():
    kept, report = normalised(pairs(("a ", "b"), ("a", "b"), ("x", " "), ("", "y"), ("z", "z")))
    assert sides(kept) == [("a", "b"), ("a", "b"), ("x", ""), ("", "y"), ("z", "z")]
    present = {"empty_source": 1, "empty_target": 1, "duplicate_pair": 1}
    assert report == {"read": 5, "kept": 5, "dropped": {}, "copies": 1, "present": present}


def test_leakage_goes_by_source_and_is_counted_per_held_out_set():
    train = pairs(("a", "1"), ("a", "2"), ("b", "1"), ("c", "3"), ("d", "4"))
    held_out = {"dev": pairs(("c", "3")), "test": pairs(("a", "1"), ("c", "9"))}
    kept, report = without_leakage(train, held_out)
    assert sides(kept) == [("b", "1"), ("d", "4")]
    assert report == {
        "dev": {"leaked_pairs": 1, "leaked_sources": 0},
        "test": {"leaked_pairs": 1, "leaked_sources": 2},
    }


@given(st.integers(0, 30), st.none() | st.integers(1, 40), st.integers(0, 5))
def test_sample_keeps_order_and_size(size, limit, seed):
    drawn = sample(range(size), limit, seed)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == (size if limit is None else min(size, limit))
    assert drawn == sample(range(size), limit, seed)


def test_sample_follows_the_seed():
    assert len({tuple(sample(range(100), 10, seed)) for seed in range(10)}) == 10


# --- the prepared corpus ---


def tsv(folder, name, *rows, **fields):
    (folder / name).write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return config.Tsv(format="tsv", path=name, **fields)


def test_prepare_cleans_train_and_dev_against_what_they_are_held_to(tmp_path):
    domain = config.Domain(
        train=tsv(tmp_path, "train", ("a", "1"), ("t", "9"), ("d", "2"), ("b", "b"), ("b", "b"), ("", "x"), ("c", "3")),
        dev=tsv(tmp_path, "dev", ("d", "2"), ("t", "1")),
        test=tsv(tmp_path, "test", ("t", "1"), ("t", "1"), ("u", "")),
    )
    rows, report = store.prepare(domain, "it", lambda path: tmp_path / path)
    assert rows == {
        "train": [Row("it.train.1", "a", "1"), Row("it.train.4", "b", "b"), Row("it.train.7", "c", "3")],
        "dev": [Row("it.dev.1", "d", "2")],
        "test": [Row("it.test.1", "t", "1"), Row("it.test.2", "t", "1"), Row("it.test.3", "u", "")],
    }
    assert report["train"] == {
        "read": 7,
        "kept": 3,
        "dropped": {"empty_source": 1, "empty_target": 0, "duplicate_pair": 1, "leakage": 2, "limit": 0},
        "leakage": {
            "dev": {"leaked_pairs": 1, "leaked_sources": 1},
            "test": {"leaked_pairs": 0, "leaked_sources": 1},
        },
        "copies": 1,
    }
    assert report["dev"]["leakage"] == {"test": {"leaked_pairs": 1, "leaked_sources": 0}}
    assert report["test"]["present"] == {"empty_source": 0, "empty_target": 1, "duplicate_pair": 1}


def test_limit_is_drawn_after_cleaning_and_leaves_held_out_lines_held_out(tmp_path):
    domain = config.Domain(
        train=tsv(tmp_path, "train", *[(f"s{n}", "x") for n in range(50)], limit=20, seed=3),
        dev=tsv(tmp_path, "dev", ("d", "2")),
        test=tsv(tmp_path, "test", *[(f"s{n}", "y") for n in range(30)], limit=5),
    )
    rows, report = store.prepare(domain, "it", lambda path: tmp_path / path)
    assert [row.source for row in rows["train"]] == [f"s{n}" for n in range(30, 50)]  # not only the five drawn ones
    assert len(rows["test"]) == 5
    assert report["test"]["dropped"] == {"leakage": 0, "limit": 25}
    for split in report.values():
        assert split["read"] == split["kept"] + sum(split["dropped"].values())


def test_splits_may_be_draws_of_one_file(tmp_path):
    """Test first, dev of what is left, train of the rest: what is in none of them is undrawn, or repeats a source."""
    sides = [(f"s{i % 40}", f"t{i % 45}") for i in range(90)]  # sources come two or three times, with other targets
    path = tsv(tmp_path, "all", *sides).path
    drawn = {"test": (10, 1), "dev": (8, 2), "train": (12, 3)}
    splits = {
        name: {"format": "tsv", "path": path, "limit": limit, "seed": seed} for name, (limit, seed) in drawn.items()
    }
    rows, report = store.prepare(config.Domain(**splits), "it", tmp_path.joinpath)
    assert {split: len(found) for split, found in rows.items()} == {split: limit for split, (limit, _) in drawn.items()}
    sources = {split: {row.source for row in found} for split, found in rows.items()}
    assert not sources["train"] & sources["dev"] and not (sources["train"] | sources["dev"]) & sources["test"]
    left = [pair for pair in dict.fromkeys(sides) if pair[0] not in sources["test"] | sources["dev"]]
    assert report["train"]["dropped"]["limit"] == len(left) - 12 > 0


def test_unseen_domain_has_a_test_set_only(tmp_path):
    rows, report = store.prepare(config.Domain(test=tsv(tmp_path, "test", ("a", "b"))), "koran", tmp_path.joinpath)
    assert list(rows) == list(report) == ["test"]


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ([], "nothing to read"),
        ([("", "x"), ("t", "2")], "2 pairs read, dropped: 1 empty_source, 1 leakage"),
    ],
)
def test_corpus_with_nothing_left_is_an_error(tmp_path, train, reason):
    domain = config.Domain(
        train=tsv(tmp_path, "train.tsv", *train),
        dev=tsv(tmp_path, "dev", ("d", "2")),
        test=tsv(tmp_path, "test", ("t", "1")),
    )
    with pytest.raises(InputError, match=rf"corpus it.train \(train.tsv\): no pair is left \({reason}"):
        store.prepare(domain, "it", lambda path: tmp_path / path)


def test_pretraining_is_cleaned_and_drawn(tmp_path):
    source = tsv(tmp_path, "general", ("a", "1"), ("a", "1"), ("b", "2"), ("c", "3"), limit=2)
    rows, report = store.prepare_pretraining(source, "tiny.0", lambda path: tmp_path / path)
    assert len(rows) == 2
    assert {row.id for row in rows} < {"tiny.0.1", "tiny.0.3", "tiny.0.4"}
    assert report["dropped"] == {"empty_source": 0, "empty_target": 0, "duplicate_pair": 1, "leakage": 0, "limit": 1}


def test_rows_survive_the_file(tmp_path):
    rows = [Row("it.train.1", "Größe\u2028„x“", 'a "b" \\ c'), Row("law.train.2", "表", "", domain="law")]
    store.write(tmp_path / "deep" / "rows.jsonl", rows)
    assert store.read(tmp_path / "deep" / "rows.jsonl") == rows
    first = (tmp_path / "deep" / "rows.jsonl").read_bytes().decode().split("\n")[0]
    assert first == '{"id": "it.train.1", "source": "Größe\u2028„x“", "target": "a \\"b\\" \\\\ c"}'


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    store.write(path, [Row("1", "a", "b")])

    def breaking():
        yield Row("2", "c", "d")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.write(path, breaking())
    assert store.read(path) == [Row("1", "a", "b")]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "line", ['{"id": "x"', '{"id": "x", "source": "a"}', '{"id": 1, "source": "", "target": ""}', "[]", ""]
)
def test_broken_prepared_corpus_is_named(tmp_path, line):
    (tmp_path / "rows.jsonl").write_text('{"id": "x", "source": "a", "target": "b"}\n' + line + "\n")
    with pytest.raises(InputError, match=r"rows.jsonl:2: not a row"):
        store.read(tmp_path / "rows.jsonl")


def test_json_is_sorted_and_ends_in_a_line_feed(tmp_path):
    store.write_json(tmp_path / "report.json", {"b": "ü", "a": [1]})
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == '{\n "a": [\n  1\n ],\n "b": "ü"\n}\n'
    assert store.read_json(tmp_path / "report.json") == {"a": [1], "b": "ü"}
    (tmp_path / "report.json").write_text('{\n "a": 1\n "b": 2}')
    with pytest.raises(InputError, match=r"report.json:3: not JSON"):
        store.read_json(tmp_path / "report.json")
