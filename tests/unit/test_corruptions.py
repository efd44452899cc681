"""Corrupted references: what happens to words, and that the score says how many."""

from random import Random

import pytest

from caneft.corpora.store import Row
from caneft.scoring.corruptions import corrupt, judged, split

WORDS = ["the", "contract", "must", "be", "signed", "by", "both", "parties", "today"]


def rows(count):
    return [Row(f"law.train.{i}", f"Quelle {i}", " ".join(f"w{i}.{j}" for j in range(4 + i % 9))) for i in range(count)]


@pytest.mark.parametrize("seed", range(40))
def test_words_that_are_not_chosen_stay_in_their_order(seed):
    """Whatever happens to three of nine words, the other six keep their order; new words come from `others`."""
    corrupted = corrupt(WORDS, 3, ["castle"], Random(seed))
    kept = [word for word in WORDS if word in corrupted]
    assert len(kept) >= 6 and set(corrupted) <= {*WORDS, "castle"}
    assert 6 <= len(corrupted) <= 12  # three dropped, three repeated


def test_each_of_the_four_ways_by_hand():
    """A single word is dropped, doubled, replaced, or moved to the end, where it already was."""
    outcomes = {tuple(corrupt(["a"], 1, ["b"], Random(seed))) for seed in range(60)}
    assert outcomes == {(), ("a", "a"), ("b",), ("a",)}
    moved = {tuple(corrupt(["a", "b", "c"], 1, ["x"], Random(seed))) for seed in range(300)}
    drops, repeats = (
        {("b", "c"), ("a", "c"), ("a", "b")},
        {("a", "a", "b", "c"), ("a", "b", "b", "c"), ("a", "b", "c", "c")},
    )
    replaced, to_end = (
        {("x", "b", "c"), ("a", "x", "c"), ("a", "b", "x")},
        {("b", "c", "a"), ("a", "c", "b"), ("a", "b", "c")},
    )
    assert moved == drops | repeats | replaced | to_end


def test_nothing_corrupted_is_the_reference_and_more_than_there_is_an_error():
    assert corrupt(WORDS, 0, [], Random(0)) == WORDS
    with pytest.raises(ValueError):
        corrupt(WORDS, len(WORDS) + 1, [], Random(0))


def test_the_score_is_the_share_of_words_left_alone():
    for pair, row in zip(judged(rows(200), seed=1), rows(200), strict=True):
        count = len(row.target.split())
        assert (pair.source, pair.reference) == (row.source, row.target)
        assert (pair.score * count) == pytest.approx(round(pair.score * count))  # a whole number of words
        assert sum(word in pair.hypothesis.split() for word in row.target.split()) >= round(pair.score * count)
        if pair.score == 1:
            assert pair.hypothesis == row.target


def test_levels_are_spread_evenly_and_follow_from_the_seed():
    scores = [pair.score for pair in judged(rows(3000), seed=0)]
    quarters = [sum(low <= score < low + 0.25 for score in scores) / 3000 for low in (0, 0.25, 0.5, 0.75)]
    assert all(0.15 < share < 0.35 for share in quarters)
    assert judged(rows(50), seed=0) == judged(rows(3000), seed=0)[:50] != judged(rows(50), seed=1)


def test_an_empty_target_has_nothing_to_spoil():
    assert judged([Row("x.train.1", "Quelle", "")], seed=0)[0].score == 1


@pytest.mark.parametrize(("share", "held"), [(0.1, 20), (0.25, 50), (0.6, 120), (0.9, 180)])
def test_the_share_that_is_held_out_is_the_one_asked_for(share, held):
    pairs = judged(rows(200), seed=0)
    trained, held_out = split(pairs, share)
    assert len(held_out) == held and sorted(trained + held_out) == sorted(pairs)
    where = [pairs.index(pair) for pair in held_out]
    gaps = [b - a for a, b in zip(where, where[1:], strict=False)]
    assert max(gaps) - min(gaps) <= 1  # spread evenly
