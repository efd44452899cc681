"""Cleaning and preparation: what is dropped, what is counted, what stays."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft import config
from caneft.config import Cleaning
from caneft.corpora import store
from caneft.corpora.cleaning import clean, held_out_forms, normalised, sample, without_leakage
from caneft.corpora.readers import Pair
from caneft.corpora.sides import normalise
from caneft.corpora.store import Row
from tests.messages import refused

PLAIN = Cleaning(mojibake="keep", near_duplicates="keep", max_characters=None, max_ratio=None)
"""Rules that leave only empty sides and exact duplicates to be found."""
UNTOUCHED = {"mojibake": 0, "not_nfc": 0, "control_characters": 0}


def pairs(*sides):
    return [Pair(number, source, target) for number, (source, target) in enumerate(sides, start=1)]


def sides(kept):
    return [(pair.source, pair.target) for pair in kept]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\u0308rger\n", "ärger"),  # combining diaeresis becomes NFC
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


@settings(max_examples=30, deadline=None)
@given(st.text())
def test_normalise_is_idempotent_and_leaves_one_line(text):
    once = normalise(text)
    assert normalise(once) == once
    assert len(once.splitlines()) <= 1


def test_clean_drops_and_counts_by_reason():
    kept, report = clean(
        pairs(("a ", "b"), (" ", "x"), ("x", "\t"), ("", ""), ("a", "b\n"), ("a", "c"), ("Tom", "Tom"), ("Tom", "Tom")),
        PLAIN,
    )
    assert kept == [Pair(1, "a", "b"), Pair(6, "a", "c"), Pair(7, "Tom", "Tom")]
    dropped = {"empty_source": 2, "empty_target": 1, "duplicate_pair": 2}
    assert report == {"read": 8, "kept": 3, "dropped": dropped, "repaired": UNTOUCHED, "copies": 1}


def test_test_sets_are_normalised_and_counted_only():
    kept, report = normalised(pairs(("a ", "b"), ("a", "b"), ("x", " "), ("", "y"), ("z", "z")), PLAIN)
    assert sides(kept) == [("a", "b"), ("a", "b"), ("x", ""), ("", "y"), ("z", "z")]
    present = {"empty_source": 1, "empty_target": 1, "duplicate_pair": 1}
    counts = {"dropped": {}, "repaired": UNTOUCHED, "present": present, "copies": 1}
    assert report == {"read": 5, "kept": 5} | counts


def test_repairs_are_counted_by_pair():
    read = pairs(("a\x0bb\x01c", "d\x02e"), ("\ta\n", "b\r\n"), ("a\u0308", "o\u0308\x00x"), ("fÃ¼r", "x"))
    kept, report = clean(read)
    assert sides(kept) == [("a b c", "d e"), ("a", "b"), ("ä", "ö x"), ("für", "x")]
    assert report["repaired"] == {"control_characters": 2, "not_nfc": 1, "mojibake": 1}


def test_mojibake_is_repaired_dropped_or_kept():
    read = pairs(("Ã\x9cberfall", "raid"), ("Überfall", "raid"), ("x", "y"))
    assert sides(clean(read)[0]) == [("Überfall", "raid"), ("x", "y")]  # after repair the two are the same
    kept, report = clean(read, Cleaning(mojibake="drop"))
    assert sides(kept) == [("Überfall", "raid"), ("x", "y")]
    assert (report["dropped"]["mojibake"], report["dropped"]["duplicate_pair"], report["repaired"]) == (1, 0, UNTOUCHED)
    kept, report = clean(read, Cleaning(mojibake="keep"))
    assert sides(kept) == [("Ã berfall", "raid"), ("Überfall", "raid"), ("x", "y")]
    assert "mojibake" not in report["dropped"] and report["repaired"] == UNTOUCHED | {"control_characters": 1}


def test_mojibake_of_a_test_set_stays_and_is_counted():
    read = pairs(("fÃ¼r", "for"), ("x", "y"))
    kept, report = normalised(read)
    assert sides(kept) == [("fÃ¼r", "for"), ("x", "y")]
    assert report["present"]["mojibake"] == 1 and report["repaired"] == UNTOUCHED
    assert "mojibake" not in normalised(read, Cleaning(mojibake="keep"))[1]["present"]


def test_near_duplicates():
    same = [("Teil 2.5: Ende", "Part 2.5: end"), ("teil 2,5 -- ENDE!", "(part 2,5) End.")]
    other = [
        ("Teil 25: Ende", "Part 25: end"),
        ("Teil 2.6: Ende", "Part 2.6: end"),
        ("Teil 2.5: Ende", "Part 2.5: fin"),
    ]
    marks = [("...", "..."), ("?", "..."), ("a < b", "x"), ("a > b", "x")]  # only punctuation; symbols count
    kept, report = clean(pairs(*same, *other, *marks, same[0]))
    assert sides(kept) == [same[0], *other, *marks]
    assert (report["dropped"]["duplicate_pair"], report["dropped"]["near_duplicate"]) == (1, 1)
    assert sides(clean(pairs(*same), PLAIN)[0]) == same
    # A pair that is dropped for its own text does not count as an earlier copy of another pair.
    assert sides(clean(pairs(("Tom", "Tom"), ("Tom", "tom")), Cleaning(copies="drop"))[0]) == [("Tom", "tom")]


def test_copies_can_be_dropped():
    kept, report = clean(pairs(("Tom", "Tom"), ("Tom", "tom"), ("a", "b")), Cleaning(copies="drop"))
    assert sides(kept) == [("Tom", "tom"), ("a", "b")]
    assert (report["dropped"]["copy"], report["copies"]) == (1, 0)


def test_long_sides_are_dropped():
    read = pairs(("s" * 100_000, "t" * 99_999), ("s" * 5000, "t" * 4999), ("s" * 4999, "t" * 5001))
    kept, report = clean(read)
    assert [pair.line for pair in kept] == [2] and report["dropped"]["too_long"] == 2
    assert len(clean(read, Cleaning(max_characters=None))[0]) == 3


@pytest.mark.parametrize("usual", [10, 20, 40, 90])
@pytest.mark.parametrize("turned", [False, True])
def test_ratio_is_measured_against_the_corpus_in_either_direction(usual, turned):
    """Sources have 10 characters, the median target has `usual`. With ten added to both, a target is kept with at most
    3 times (usual + 10) and at least a third of it."""
    most, least = 3 * (usual + 10) - 10, (usual + 10) / 3 - 10
    tried = [usual] * 7 + [most, most + 1, *({round(least) + 1, int(least) - 1} if least > 2 else {})]
    read = [(f"{n:010}", f"{n}".ljust(length, "t")) for n, length in enumerate(tried)]
    read = [(target, source) for source, target in read] if turned else read
    kept, report = clean(pairs(*read))
    expected = [pair for pair, length in zip(read, tried, strict=True) if least <= length <= most]
    assert sides(kept) == expected and report["dropped"]["length_ratio"] == len(read) - len(expected) > 0
    assert len(clean(pairs(*read), Cleaning(max_ratio=None))[0]) == len(read)


NUMBERS = ", ".join(map(str, range(30)))
SENTENCES = {
    "de": "Die Verordnung wurde im Amtsblatt veröffentlicht und tritt am folgenden Tag in Kraft.",
    "en": "The regulation was published in the official journal and enters into force on the next day.",
    "fr": "Le règlement a été publié au journal officiel et entre en vigueur le jour suivant.",
    "zh": "该条例已在官方公报上公布，并于次日生效，适用于所有成员国。",
}


def test_sides_in_another_language_are_dropped_if_asked_for():
    de, en, fr, zh = SENTENCES.values()
    read = pairs((de, en), (en, de), (de, fr), (fr, en), ("Bonjour madame", "Bonjour madame"), (NUMBERS, en), (zh, en))
    checked = Cleaning(wrong_language="drop")
    kept, report = clean(read, checked, ("de", "en"))
    assert [pair.line for pair in kept] == [1, 5, 6]  # the fifth and sixth have too few letters to be judged
    assert report["dropped"]["wrong_language"] == 4
    assert [pair.line for pair in clean(read, checked, ("zh", "en"))[0]] == [5, 6, 7]
    assert "wrong_language" not in clean(read)[1]["dropped"]
    assert normalised(read, checked, ("de", "en"))[1]["present"]["wrong_language"] == 4


def test_letters_decide_which_sides_are_judged():
    zh, en = SENTENCES["zh"], SENTENCES["en"]
    assert (len(zh), zh.count("，") + zh.count("。")) == (29, 3)  # so 26 letters of three bytes
    for least, left in ((78, 0), (79, 1)):
        rules = Cleaning(wrong_language="drop", language_bytes=least)
        assert len(clean(pairs((zh, en)), rules, ("de", "en"))[0]) == left


def test_an_unknown_language_names_the_remedy():
    with refused("cleaning.wrong_language", "'tlh'", "ISO 639", "keep"):
        clean(pairs((SENTENCES["de"], SENTENCES["en"])), Cleaning(wrong_language="drop"), ("tlh", "en"))


WORDS = st.lists(st.sampled_from(["a", "A", "ä", "Ã¤", "1", "2", ".", " ", "\x85", "\n", "表"]), max_size=6).map(
    "".join
)
RULES = st.builds(
    Cleaning,
    mojibake=st.sampled_from(["repair", "drop", "keep"]),
    near_duplicates=st.sampled_from(["drop", "keep"]),
    copies=st.sampled_from(["drop", "keep"]),
    max_characters=st.none() | st.integers(1, 6),
    max_ratio=st.none() | st.floats(1.01, 2),
)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), max_size=12), RULES)
def test_counts_sum_and_what_is_kept_is_clean(texts, rules):
    kept, report = clean(pairs(*texts), rules)
    assert report["read"] == len(texts) == report["kept"] + sum(report["dropped"].values())
    assert len(kept) == report["kept"] and [pair.line for pair in kept] == sorted({pair.line for pair in kept})
    assert report["repaired"]["mojibake"] == 0 or rules.mojibake == "repair"
    again, second = clean(kept, rules.model_copy(update={"max_ratio": None, "mojibake": "keep"}))
    assert again == kept and not any((second["dropped"] | second["repaired"]).values())
    test, counted = normalised(pairs(*texts), rules)
    assert [pair.line for pair in test] == list(range(1, len(texts) + 1))
    if rules.mojibake == "keep":
        assert counted["present"] == report["dropped"]


def test_leakage_goes_by_source_and_is_counted_per_held_out_set():
    train = pairs(("a", "1"), ("a", "2"), ("b", "1"), ("c", "3"), ("d", "4"), ("A!", "1"), ("C", "3"))
    held_out = {"dev": pairs(("c", "3")), "test": pairs(("a", "1"), ("c", "9"))}
    kept, report = without_leakage(train, held_out)
    assert sides(kept) == [("b", "1"), ("d", "4")]
    assert report == {
        "dev": {"leaked_pairs": 1, "leaked_sources": 0, "leaked_near": 1},
        "test": {"leaked_pairs": 1, "leaked_sources": 2, "leaked_near": 2},
    }


def test_a_held_out_pair_with_mojibake_is_known_by_its_repaired_form_too():
    forms = held_out_forms(pairs(("fÃ¼r Ã\x9cbung ", "x\n"), ("a", "b")))
    assert forms == [Pair(1, "fÃ¼r Ã bung", "x"), Pair(2, "a", "b"), Pair(1, "für Übung", "x")]


@settings(deadline=None)
@given(st.integers(0, 30), st.none() | st.integers(1, 40), st.integers(0, 5))
def test_sample_keeps_order_and_size(size, limit, seed):
    drawn = sample(range(size), limit, seed)
    assert drawn == sorted(set(drawn))
    assert len(drawn) == (size if limit is None else min(size, limit))
    assert drawn == sample(range(size), limit, seed)


def test_sample_follows_the_seed():
    assert len({tuple(sample(range(100), 10, seed)) for seed in range(10)}) == 10


# --- the prepared corpus ---

FOUND = dict.fromkeys(
    ["empty_source", "empty_target", "duplicate_pair", "near_duplicate", "too_long", "length_ratio"], 0
)


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
        "dropped": FOUND | {"empty_source": 1, "duplicate_pair": 1, "leakage": 2, "limit": 0},
        "repaired": UNTOUCHED,
        "leakage": {
            "dev": {"leaked_pairs": 1, "leaked_sources": 1, "leaked_near": 0},
            "test": {"leaked_pairs": 0, "leaked_sources": 1, "leaked_near": 0},
        },
        "copies": 1,
    }
    assert report["dev"]["leakage"] == {"test": {"leaked_pairs": 1, "leaked_sources": 0, "leaked_near": 0}}
    assert report["test"]["present"] == FOUND | {"mojibake": 0, "empty_target": 1, "duplicate_pair": 1}


def test_prepare_holds_out_what_a_test_set_has_with_mojibake(tmp_path):
    domain = config.Domain(
        train=tsv(tmp_path, "train", ("Ã\u009cbung", "1"), ("Übung", "2"), ("für", "3"), ("b", "4")),
        dev=tsv(tmp_path, "dev", ("FÃ¼r!", "2")),
        test=tsv(tmp_path, "test", ("Ã\u009cbung", "1")),
    )
    rows, report = store.prepare(domain, "it", lambda path: tmp_path / path)
    assert rows["train"] == [Row("it.train.4", "b", "4")] and rows["test"] == [Row("it.test.1", "Ã bung", "1")]
    assert report["train"]["leakage"] == {
        "dev": {"leaked_pairs": 0, "leaked_sources": 0, "leaked_near": 1},
        "test": {"leaked_pairs": 1, "leaked_sources": 1, "leaked_near": 0},
    }


def test_prepare_goes_by_the_rules_of_the_configuration(tmp_path):
    domain = config.Domain(
        train=tsv(tmp_path, "train", ("a", "a"), (SENTENCES["en"], "x"), ("c", "d")),
        dev=tsv(tmp_path, "dev", ("e", "e"), ("e", "f")),
        test=tsv(tmp_path, "test", ("g", "g")),
    )
    rules, languages = Cleaning(copies="drop", wrong_language="drop", max_ratio=None), ("de", "en")
    rows, report = store.prepare(domain, "it", lambda path: tmp_path / path, rules, languages)
    assert [row.id for row in rows["train"] + rows["dev"]] == ["it.train.3", "it.dev.2"]
    assert report["test"]["present"]["copy"] == 1
    rows, _ = store.prepare_pretraining(domain.train, "tiny.0", lambda path: tmp_path / path, rules, languages)
    assert [row.id for row in rows] == ["tiny.0.3"]


def test_limit_is_drawn_after_cleaning_and_leaves_held_out_lines_held_out(tmp_path):
    domain = config.Domain(
        train=tsv(tmp_path, "train", *[(f"s{n}", "x") for n in range(50)], limit=20, seed=3),
        dev=tsv(tmp_path, "dev", ("d", "2")),
        test=tsv(tmp_path, "test", *[(f"s{n}", "y") for n in range(30)], limit=5),
    )
    rows, report = store.prepare(domain, "it", lambda path: tmp_path / path)
    assert [row.source for row in rows["train"]] == [f"s{n}" for n in range(30, 50)]  # not only those five drawn
    assert len(rows["test"]) == 5
    assert report["test"]["dropped"] == {"leakage": 0, "limit": 25}
    for split in report.values():
        assert split["read"] == split["kept"] + sum(split["dropped"].values())


def test_splits_may_be_draws_of_one_file(tmp_path):
    """Test is drawn first, then dev from the rest, then train: pairs in none of them are undrawn or repeat a source."""
    sides = [(f"s{i % 40}", f"t{i % 45}") for i in range(90)]  # sources occur two or three times, with other targets
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
    ("train", "facts"),
    [
        ([], []),
        ([("", "x"), ("t", "2")], [2, "1 empty_source", "1 leakage"]),
    ],
)
def test_corpus_with_nothing_left_is_an_error(tmp_path, train, facts):
    domain = config.Domain(
        train=tsv(tmp_path, "train.tsv", *train),
        dev=tsv(tmp_path, "dev", ("d", "2")),
        test=tsv(tmp_path, "test", ("t", "1")),
    )
    with refused("it.train", "train.tsv", *facts) as caught:
        store.prepare(domain, "it", lambda path: tmp_path / path)
    assert train or not any(reason in str(caught.value) for reason in (*FOUND, "leakage"))


def test_pretraining_is_cleaned_and_drawn(tmp_path):
    source = tsv(tmp_path, "general", ("a", "1"), ("a", "1"), ("b", "2"), ("c", "3"), limit=2)
    rows, report = store.prepare_pretraining(source, "tiny.0", lambda path: tmp_path / path)
    assert len(rows) == 2
    assert {row.id for row in rows} < {"tiny.0.1", "tiny.0.3", "tiny.0.4"}
    assert report["dropped"] == FOUND | {"duplicate_pair": 1, "leakage": 0, "limit": 1}


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
    with refused("rows.jsonl:2"):
        store.read(tmp_path / "rows.jsonl")


def test_json_is_sorted_and_ends_in_a_line_feed(tmp_path):
    store.write_json(tmp_path / "report.json", {"b": "ü", "a": [1]})
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == '{\n "a": [\n  1\n ],\n "b": "ü"\n}\n'
    assert store.read_json(tmp_path / "report.json") == {"a": [1], "b": "ü"}
    (tmp_path / "report.json").write_text('{\n "a": 1\n "b": 2}')
    with refused("report.json:3"):
        store.read_json(tmp_path / "report.json")
