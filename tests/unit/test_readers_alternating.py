"""Alternating lines: which line belongs to which side, what blank lines mean, and what does not alternate."""

import pytest

from caneft import config
from caneft.corpora import readers
from caneft.corpora.readers import Pair
from tests.messages import refused


@pytest.fixture
def read(tmp_path):
    """Reads a text as alternating lines."""

    def written_and_read(text, **more):
        (tmp_path / "um.txt").write_bytes(text.encode())
        source = config.Alternating(format="alternating", path="um.txt", **more)
        return list(readers.read(source, "train", tmp_path.joinpath))

    return written_and_read


def test_the_first_line_is_the_targets_unless_it_is_said_to_be_the_sources(read):
    text = "house\n房子\r\nmouse\n老鼠"
    assert read(text) == [Pair(1, "房子", "house"), Pair(2, "老鼠", "mouse")]
    assert read(text, first="source") == [Pair(1, "house", "房子"), Pair(2, "mouse", "老鼠")]
    assert read(text, first="source", reverse=True) == read(text)


def test_a_blank_line_is_an_empty_side(read):
    assert read("a\nA\nb\n\n \nC\nd\nD\n") == [Pair(1, "A", "a"), Pair(2, "", "b"), Pair(3, "C", ""), Pair(4, "D", "d")]


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n", "\n \r\n\u3000\n"])
def test_blank_lines_at_the_end_are_nothing(read, end):
    assert read("a\nA\nb\nB" + end) == [Pair(1, "A", "a"), Pair(2, "B", "b")]
    assert read(end) == []


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n\n"])
def test_a_blank_line_after_every_pair_is_a_separator(read, end):
    for pairs in range(1, 6):
        text = "\n\n".join(f"e{number}\nz{number}" for number in range(1, pairs + 1)) + end
        assert read(text) == [Pair(number, f"z{number}", f"e{number}") for number in range(1, pairs + 1)]


def test_a_pair_with_an_empty_side_may_stand_between_separators(read):
    assert read("a\nA\n\nb\nB\n\n\nC\n\nd\nD\n") == [
        Pair(1, "A", "a"), Pair(2, "B", "b"), Pair(3, "C", ""), Pair(4, "D", "d"),
    ]  # fmt: skip


@pytest.mark.parametrize("lines", [1, 3, 7, 9])
def test_an_odd_number_of_lines_is_said(read, lines):
    with refused("um.txt", lines):
        read("".join(f"line {number}\n" for number in range(lines)) + "\n\n")


def test_a_missing_line_among_separated_pairs_is_named(read):
    with refused("um.txt:9"):
        read("a\nA\n\nb\nB\n\nc\n\nd\nD\n\ne\nE\n")
    with refused("um.txt", 7):
        read("a\nA\n\nb\nB\n\nc\n")


def test_separators_that_begin_late_are_no_separators(read):
    """Then the count is odd or empty sides are counted, but no pair is made of lines that do not belong together."""
    found = read("a\nA\nb\nB\n\nc\nC\n\nd\nD\n")
    assert [(pair.source, pair.target) for pair in found if pair.source and pair.target] == [
        ("A", "a"), ("B", "b"), ("D", "d"),
    ]  # fmt: skip
