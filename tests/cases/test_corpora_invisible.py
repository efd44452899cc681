"""Invisible characters never hide that two texts are alike or that a side is empty."""

import unicodedata

import pytest
import regex

from caneft import config
from caneft.corpora import readers, store
from caneft.corpora.cleaning import clean, normalised, without_leakage
from caneft.corpora.overlap import flags
from caneft.corpora.readers import Pair
from caneft.corpora.sides import key, visible
from caneft.corpora.store import Row
from caneft.scoring.surface import health

SEEN = "Der Vertrag ist gültig."
UNSEEN = {
    "zero-width space": "Der Vertrag ist gültig\u200b.",
    "soft hyphen": "Der Ver\u00adtrag ist gül\u00adtig.",
    "marks of direction": "\u200eDer Vertrag\u200f ist \u202agültig.\u202c",
    "isolates": "\u2068Der Vertrag\u2069 ist gültig.",
    "inner byte order mark": "Der\ufeff Vertrag ist gültig.",
    "word joiner": "Der\u2060 Vertrag ist\u2060 gültig.",
    "tag": "Der Vertrag ist gültig.\U000e0041",
    "between a letter and its accent": "Der Vertrag ist gu\u200b\u0308ltig.",
    "variation selector": "Der Vertrag\ufe0f ist gültig.",
    "Hangul fillers": "Der\u3164 Vertrag\u115f ist\uffa0 gültig.",
    "joiner of graphemes": "Der Ver\u034ftrag ist gültig.",
    "Mongolian, Khmer": "Der\u180b Vertrag\u17b4 ist gültig.",
    "blank Braille": "Der Vertrag ist gültig\u2800.",
    "alone between two spaces": "Der Vertrag \u200b ist gültig.",
}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_it_hides_no_leakage_no_duplicate_and_no_overlap(text):
    assert text != SEEN
    kept, report = without_leakage([Pair(1, text, "x"), Pair(2, "Etwas anderes.", "x")], {"test": [Pair(1, SEEN, "y")]})
    assert [pair.line for pair in kept] == [2]
    assert report == {"test": {"leaked_pairs": 0, "leaked_sources": 0, "leaked_near": 1}}
    assert without_leakage([Pair(1, SEEN, "x")], {"test": [Pair(1, text, "y")]})[0] == []  # the other way round
    kept, report = clean([Pair(1, SEEN, "x"), Pair(2, text, "x"), Pair(3, SEEN, "z")])
    assert [pair.line for pair in kept] == [1, 3]
    assert report["dropped"]["near_duplicate"] == 1
    assert flags([Row("koran.test.1", SEEN, "y")], [Row("it.train.1", text, "x")]) == {"koran.test.1": "source"}


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_the_text_itself_stays(text):
    (kept,), _ = clean([Pair(1, text, f"{text} Ja.")])
    assert kept.source == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "side",
    [
        "\u200b",
        "\u00ad\u00ad",
        "\u200e \u200f",
        "\ufeff\ufeff",
        " \u2060\t",
        "\U000e0041",
        "\ufe0f",
        "\u3164\u3164",
        "\u2800 \u2800",
        "\u115f\u1160",
        "\u180b",
    ],
)
def test_a_side_of_nothing_else_is_empty(side):
    kept, report = clean([Pair(1, side, "x"), Pair(2, "x", side), Pair(3, "a", "b")])
    assert [pair.line for pair in kept] == [3]
    assert (report["dropped"]["empty_source"], report["dropped"]["empty_target"]) == (1, 1)
    kept, report = normalised([Pair(1, side, "x"), Pair(2, "x", side)])  # a test set keeps and counts such lines
    assert (len(kept), report["present"]["empty_source"], report["present"]["empty_target"]) == (2, 1, 1)
    assert health([side, "x"], ["x", "x"], [False, False], None)["empty"] == 1


def test_it_is_what_unicode_says():
    """Another library says what has Unicode's Default_Ignorable_Code_Point; emoji and skin tones are visible."""
    unseen = regex.findall(r"\p{Default_Ignorable_Code_Point}", "".join(map(chr, range(0x110000))))
    assert len(unseen) > 4000 and visible("".join(unseen)) == ""
    hearts = "\u2764\ufe0f", "\U0001f44d", "\U0001f44d\U0001f3fd", "\u2801"
    assert len({key(text) for text in hearts}) == len(hearts)
    (kept,), _ = clean([Pair(1, "Ich \u2764\ufe0f dich.", "I \u2764\ufe0f you.")])
    assert (kept.source, kept.target) == ("Ich \u2764\ufe0f dich.", "I \u2764\ufe0f you.")


def test_what_is_seen_makes_a_difference():
    """A combining accent is visible, and so is a mark between digits; other texts stay apart."""
    assert key("a\u0301") != key("a")
    assert key("2\u200b5 mg") == key("25 mg") != key("2.5 mg")
    assert key("2\u200b.\u200b5 mg") == key("2,5 mg")
    assert key("...\u200b") == key("...") != key("?")
    assert key("می\u200cخواهم") == key("میخواهم")  # with and without a non-joiner


def test_in_a_whole_domain(tmp_path):
    """Of four train pairs one is left: two have the test source plus invisible characters, and one source is empty."""
    (tmp_path / "train").write_text("Ja\u200b, gut.\tx\nJa\u00ad, gut\ty\n\u200b\tz\nNein.\tNo.\n", encoding="utf-8")
    (tmp_path / "dev").write_text("Vielleicht.\tMaybe.\n", encoding="utf-8")
    (tmp_path / "test").write_text("Ja, gut.\tYes, good.\n", encoding="utf-8")
    splits = {split: {"format": "tsv", "path": split} for split in ("train", "dev", "test")}
    rows, reports = store.prepare(config.Domain.model_validate(splits), "it", tmp_path.joinpath)
    assert [row.source for row in rows["train"]] == ["Nein."]
    assert reports["train"]["leakage"]["test"]["leaked_near"] == 2
    assert reports["train"]["dropped"]["empty_source"] == 1


def test_of_a_unit_s_variants_one_that_is_seen_is_taken(tmp_path):
    variants = [("de", "\u00ad"), ("de", "Ja."), ("en", "\u200b\u200b"), ("en", "Yes."), ("en", "Yeah.")]
    unit = "".join(f'<tuv xml:lang="{language}"><seg>{text}</seg></tuv>' for language, text in variants)
    (tmp_path / "memory.tmx").write_text(f"<tmx><body><tu>{unit}</tu></body></tmx>", encoding="utf-8")
    source = config.Tmx(format="tmx", path="memory.tmx", source_language="de", target_language="en")
    assert list(readers.read(source, "train", tmp_path.joinpath)) == [Pair(1, "Ja.", "Yes.")]
