"""Mixtures: equal shares, no source that any of the domains tests on, and draws that are independent of each other."""

import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caneft.corpora.mixing import mix, tempered
from caneft.corpora.store import Row
from tests.messages import refused


def rows(domain, split, *sides):
    return [Row(f"{domain}.{split}.{n}", *pair) for n, pair in enumerate(sides, start=1)]


def corpus(domain, train=(), dev=(), test=(), size=0):
    """Three splits; `size` unique pairs are added to train and dev."""
    own = {split: [(f"{domain} {split} {n}", "x") for n in range(size)] for split in ("train", "dev")}
    return {
        "train": rows(domain, "train", *train, *own["train"]),
        "dev": rows(domain, "dev", *dev, *own["dev"]),
        "test": rows(domain, "test", *test),
    }


def test_what_any_domain_tests_on_is_no_training_data():
    corpora = {
        "law": corpus("law", train=[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")], dev=[("e", "5"), ("f", "6")]),
        "it": corpus("it", train=[("g", "7")], dev=[("b", "9")], test=[("a", "1"), ("e", "5"), ("d", "0")]),
    }
    train, dev, report = mix(corpora, pairs_per_domain=1, dev_pairs_per_domain=1, seed=0)
    assert train == [Row("it.train.1", "g", "7", "it"), Row("law.train.3", "c", "3", "law")]
    assert dev == [Row("it.dev.1", "b", "9", "it"), Row("law.dev.2", "f", "6", "law")]
    none = {"leaked_pairs": 0, "leaked_sources": 0, "leaked_near": 0}
    assert report["train"]["law"] == {
        "read": 4,
        "kept": 1,
        "dropped": {"leakage": 3, "limit": 0},
        "leakage": {
            "it.dev": none | {"leaked_sources": 1},
            "it.test": none | {"leaked_pairs": 1, "leaked_sources": 1},
            "law.dev": none,
            "law.test": none,
        },
    }
    assert report["dev"]["law"]["leakage"] == {"it.test": none | {"leaked_pairs": 1}, "law.test": none}


def test_a_test_source_is_known_by_likeness_and_by_its_repaired_form():
    corpora = {
        "law": corpus("law", train=[("Das für!", "1"), ("das Für", "2"), ("c", "3")], dev=[("d", "4")]),
        "it": corpus("it", train=[("g", "7")], dev=[("e", "5")], test=[("das fÃ¼r", "0")]),
    }
    train, _, report = mix(corpora, 1, 1, seed=0)
    assert [row.id for row in train] == ["it.train.1", "law.train.3"]
    assert report["train"]["law"]["leakage"]["it.test"] == {"leaked_pairs": 0, "leaked_sources": 0, "leaked_near": 2}


def test_draw_has_equal_shares_in_file_order():
    corpora = {name: corpus(name, size=60) for name in ("law", "it", "koran")}
    train, dev, _ = mix(corpora, pairs_per_domain=20, dev_pairs_per_domain=5, seed=1)
    assert [row.domain for row in train] == ["it"] * 20 + ["koran"] * 20 + ["law"] * 20
    assert [row.domain for row in dev] == ["it"] * 5 + ["koran"] * 5 + ["law"] * 5
    for domain in corpora:
        lines = [int(row.id.split(".")[2]) for row in train if row.domain == domain]
        assert lines == sorted(set(lines))
        assert lines != list(range(1, 21))


def test_other_domains_leave_a_domains_draw_alone():
    corpora = {name: corpus(name, size=60) for name in ("law", "it", "koran")}
    alone, _, _ = mix({"law": corpora["law"]}, 20, 5, seed=1)
    together, _, _ = mix(corpora, 20, 5, seed=1)
    assert alone == [row for row in together if row.domain == "law"]


def test_draw_follows_the_seed_and_differs_between_domains():
    corpora = {name: corpus(name, size=60) for name in ("law", "it")}
    first, again, other = (mix(corpora, 20, 5, seed)[0] for seed in (1, 1, 2))
    assert first == again != other
    lines = {name: [row.id.split(".")[2] for row in first if row.domain == name] for name in corpora}
    assert lines["law"] != lines["it"]


@pytest.mark.parametrize(
    ("wanted", "facts"),
    [
        ((8, 1), ("8 train", "law", 6, 1, "tuning.pairs_per_domain", "tuning.pairs)")),
        ((1, 7), ("7 dev", "law", 6, "tuning.dev_pairs_per_domain")),
    ],
)
def test_too_few_pairs_name_the_key_to_lower(wanted, facts):
    corpora = {"it": corpus("it", test=[("a", "1")], size=9), "law": corpus("law", train=[("a", "1")], size=6)}
    with refused(*facts) as caught:
        mix(corpora, *wanted, seed=0)
    assert not re.search(r"\bit\b", str(caught.value)), "of it there are enough"


# --- how many pairs of each domain ---


@pytest.mark.parametrize(
    ("sizes", "total", "temperature", "numbers"),
    [
        ((100, 400, 900), 140, 1, (10, 40, 90)),
        ((100, 400, 900), 120, 2, (20, 40, 60)),  # square roots: 10, 20, 30
        ((100, 400, 900), 121, 2, (20, 40, 61)),  # 20.17, 40.33, 60.5: the largest remainder
        ((100, 400, 900), 122, 2, (20, 41, 61)),  # 20.33, 40.67, 61: the same
        ((16, 10000, 10000), 603, 2, (12, 296, 295)),  # 11.8, 295.6, 295.6: of equal remainders the first by name
        (
            (4, 10000, 40000),
            3004,
            2,
            (4, 1000, 2000),
        ),  # 2, 100, 200: the first lacks 16 of 20, and the rest is shared 1:2
        ((4, 50, 40000), 3000, 2, (4, 50, 2946)),  # then the second cannot fill its share of the rest
        ((10, 10, 10), 20, 3, (7, 7, 6)),  # equal remainders: by name
        ((7, 5, 3), 15, 4, (7, 5, 3)),
    ],
)
def test_tempered_numbers_by_hand(sizes, total, temperature, numbers):
    found = tempered(dict(zip("abc", sizes, strict=True)), total, temperature)
    assert found == dict(zip("abc", numbers, strict=True))


SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5000), min_size=1)


@settings(deadline=None)
@given(SIZES, st.data(), st.floats(1, 50))
def test_tempered_numbers_sum_fit_and_grow_with_the_size(sizes, data, temperature):
    total = data.draw(st.integers(0, sum(sizes.values())))
    numbers = tempered(sizes, total, temperature)
    assert numbers.keys() == sizes.keys() and sum(numbers.values()) == total
    assert all(0 <= numbers[domain] <= size for domain, size in sizes.items())
    by_size = sorted(sizes, key=lambda domain: (sizes[domain], numbers[domain]))
    assert [numbers[domain] for domain in by_size] == sorted(numbers.values())


@settings(deadline=None)
@given(SIZES, st.data())
def test_at_temperature_one_shares_are_exact_to_one_pair(sizes, data):
    """Checked with fractions. At this temperature no domain is too small, so nothing is redistributed."""
    whole = sum(sizes.values())
    total = data.draw(st.integers(0, whole))
    numbers = tempered(sizes, total, 1)
    for domain, size in sizes.items():
        assert abs(numbers[domain] - (Fraction(total * size, whole) if whole else 0)) < 1 + Fraction(1, 10**6)


def test_a_high_temperature_gives_equal_numbers():
    assert tempered({"a": 10, "b": 1000, "c": 10**6}, 30, 1e9) == {"a": 10, "b": 10, "c": 10}


def test_temperature_shares_out_as_many_pairs_in_all():
    corpora = {name: corpus(name, size=size) for name, size in (("law", 10), ("it", 40), ("koran", 90))}
    train, dev, report = mix(corpora, 7, 5, seed=1, temperature=1)
    kept = {name: report["train"][name]["kept"] for name in corpora}
    assert kept == {"it": 6, "koran": 14, "law": 1}  # exactly 6, 13.5 and 1.5
    assert len(train) == 21 and len({row.id for row in train}) == 21
    assert [row.domain for row in dev] == ["it"] * 5 + ["koran"] * 5 + ["law"] * 5


def test_the_size_is_that_without_what_leaks():
    corpora = {
        "law": corpus("law", train=[(f"leak {n}", "x") for n in range(20)], size=10),
        "it": corpus("it", test=[(f"leak {n}", "x") for n in range(20)], size=10),
    }
    _, _, report = mix(corpora, 4, 1, seed=1, temperature=1)
    assert {name: report["train"][name]["kept"] for name in corpora} == {"law": 4, "it": 4}
    assert report["train"]["law"]["dropped"] == {"leakage": 20, "limit": 6}


def test_a_total_that_is_not_there_is_an_error():
    corpora = {"it": corpus("it", size=9), "law": corpus("law", size=4)}
    with refused(14, 13, "it 9, law 4", "tuning.pairs_per_domain", "tuning.temperature", " 6"):
        mix(corpora, 7, 1, seed=0, temperature=2)


def test_a_domain_may_have_a_number_of_its_own():
    corpora = {name: corpus(name, size=60) for name in ("law", "it")}
    train, _, _ = mix(corpora, 20, 5, seed=1, pairs={"law": 7, "news": 3})
    assert [row.domain for row in train] == ["it"] * 20 + ["law"] * 7
    equal, _, _ = mix(corpora, 20, 5, seed=1)
    assert [row for row in equal if row.domain == "it"] == train[:20]
    with refused("61 train", "law", 60, "tuning.pairs)"):
        mix(corpora, 20, 5, seed=1, pairs={"law": 61})
