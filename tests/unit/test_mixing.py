"""Mixtures: equal shares, no source that any of the domains tests on, draws that do not depend on each other."""

import pytest

from caneft.corpora.mixing import mix
from caneft.corpora.store import Row
from caneft.errors import InputError


def rows(domain, split, *sides):
    return [Row(f"{domain}.{split}.{n}", *pair) for n, pair in enumerate(sides, start=1)]


def corpus(domain, train=(), dev=(), test=(), size=0):
    """Three splits; `size` pairs that nothing shares are added to train and dev."""
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
    none = {"leaked_pairs": 0, "leaked_sources": 0}
    assert report["train"]["law"] == {
        "read": 4,
        "kept": 1,
        "dropped": {"leakage": 3, "limit": 0},
        "leakage": {
            "it.dev": {"leaked_pairs": 0, "leaked_sources": 1},
            "it.test": {"leaked_pairs": 1, "leaked_sources": 1},
            "law.dev": none,
            "law.test": none,
        },
    }
    assert report["dev"]["law"]["leakage"] == {"it.test": {"leaked_pairs": 1, "leaked_sources": 0}, "law.test": none}


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
    ("wanted", "message"),
    [
        (
            (8, 1),
            r"8 train pairs per domain (.|\n)*law has 6 \(1 more (.|\n)*Lower tuning.pairs_per_domain to at most 6",
        ),
        ((1, 7), r"7 dev pairs per domain (.|\n)*Lower tuning.dev_pairs_per_domain to at most 6"),
    ],
)
def test_too_few_pairs_name_the_key_to_lower(wanted, message):
    corpora = {"it": corpus("it", test=[("a", "1")], size=9), "law": corpus("law", train=[("a", "1")], size=6)}
    with pytest.raises(InputError, match=message):
        mix(corpora, *wanted, seed=0)
