"""Records of JSON and datasets: a null ends no corpus, names are looked up whole, advice keeps to the reader's side."""

import json
import math

import pytest

from caneft import config
from caneft.corpora import readers, store
from caneft.corpora.readers import Pair, records
from tests.messages import refused

LINE = {"translation": {"de": "Zwei.", "en": None}}
"""The record that ended a corpus."""


@pytest.fixture
def read(tmp_path):
    """Writes records as JSON lines, as a list, or as a dataset, and reads two of their fields."""

    def written_and_read(form, made, source, target, **more):
        if form == "datasets":
            datasets = pytest.importorskip("datasets")
            datasets.Dataset.from_list(made).save_to_disk(tmp_path / "corpus")
            where = {"name": str(tmp_path / "corpus")}
        else:
            lines = "".join(json.dumps(record) + "\n" for record in made)
            (tmp_path / "corpus").write_text(lines if form == "jsonl" else json.dumps(made))
            where = {"path": "corpus"}
        entry = {"format": form, **where, "source": source, "target": target, **more}
        source = config.Domain.model_validate({"test": entry}).test
        return list(readers.read(source, "train", tmp_path.joinpath))

    return written_and_read


FORMS = ["jsonl", "instruct", "datasets"]


@pytest.mark.parametrize("form", FORMS)
def test_a_null_side_is_an_empty_side(read, form):
    made = [{"translation": {"de": "Eins.", "en": "One."}}, LINE, {"translation": {"de": None, "en": "Three."}}]
    made += [{"translation": None}, {"translation": {"de": "Fünf.", "en": "Five."}}]
    expected = [("Eins.", "One."), ("Zwei.", ""), ("", "Three."), ("", ""), ("Fünf.", "Five.")]
    found = read(form, made, "translation.de", "translation.en")
    assert found == [Pair(number, *sides) for number, sides in enumerate(expected, start=1)]


def test_null_sides_are_counted(tmp_path):
    made = [{"source": s, "target": t} for s, t in [("a", "b"), ("c", None), (None, "d"), (None, None), ("e", "f")]]
    (tmp_path / "train").write_text("".join(json.dumps(record) + "\n" for record in made))
    held_out = {split: {"format": "demo", "domain": "it", "pairs": 1} for split in ("dev", "test")}
    domain = config.Domain.model_validate({"train": {"format": "jsonl", "path": "train"}, **held_out})
    rows, reports = store.prepare(domain, "it", tmp_path.joinpath)
    assert [row.id for row in rows["train"]] == ["it.train.1", "it.train.5"]
    dropped = reports["train"]["dropped"]
    assert (reports["train"]["read"], dropped["empty_source"], dropped["empty_target"]) == (5, 2, 1)


def test_not_a_number_in_the_place_of_a_text_is_none(read):
    """Tables written as JSON have NaN where a cell was empty."""
    assert '"b": NaN' in json.dumps({"b": math.nan})
    assert read("jsonl", [{"a": "x", "b": math.nan}, {"a": "y", "b": "z"}], "a", "b")[0] == Pair(1, "x", "")


def test_a_prefix_is_not_asked_of_a_null(read):
    made = [{"input": None, "output": "a"}, {"input": "German: b", "output": "c"}]
    assert read("instruct", made, "input", "output", source_prefix="German: ") == [Pair(1, "", "a"), Pair(2, "b", "c")]


@pytest.mark.parametrize("form", FORMS)
def test_a_corpus_whose_side_is_always_null_is_no_corpus(read, form):
    """Some test sets are published without their references."""
    with refused("'de'", "'en'", "null"):
        read(form, [{"de": "Eins.", "en": None}, {"de": "Zwei.", "en": None}], "de", "en")


def test_what_is_neither_text_nor_null_is_an_error(read):
    for value in (5, True, ["a"], {"a": "b"}, 0):
        with refused("corpus:1", "'de'"):
            read("jsonl", [{"de": value, "en": "x"}], "de", "en")
    with refused("corpus:2", "null"):
        read("jsonl", [{"de": "a", "en": "x"}, None], "de", "en")
    with refused("corpus:1", "'de'"):  # a missing key is an error, unlike a null: whoever writes null means it
        read("jsonl", [{"en": "x"}], "de", "en")


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("record", "name"),
    [
        ({"translation.de": "x"}, "translation.de"),  # a column of a flattened table
        ({"translation.de": "x", "translation": {"de": "no"}}, "translation.de"),  # the whole name comes first
        ({"a": {"b.c": "x"}}, "a.b.c"),
        ({"a.b": {"c": "x"}, "a": {"b": {"c": "no"}}}, "a.b.c"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages.0.content"),
        ({"conversations": [[["no", "x"]]]}, "conversations.0.0.1"),
        ({"content": {"0": "x"}}, "content.0"),  # a key that looks like a number
    ],
)
def test_names_of_fields(read, form, record, name):
    assert read(form, [record | {"en": "y"}], name, "en") == [Pair(1, "x", "y")]


def test_a_chat_is_a_pair(read):
    turns = [{"role": "system", "content": "Translate."}, {"role": "user", "content": "Haus"}]
    chat = {"messages": [*turns, {"role": "assistant", "content": "house"}]}
    assert read("jsonl", [chat], "messages.1.content", "messages.2.content") == [Pair(1, "Haus", "house")]
    with refused("corpus:2", "'messages'", "'messages.2.content'", 2):  # the list has two turns
        read("jsonl", [chat, {"messages": turns}], "messages.1.content", "messages.2.content")
    for name in ("messages.first.content", "messages.-1.content", f"messages.{'9' * 5000}.content"):
        with refused("corpus:1", "'messages'", "list"):
            read("jsonl", [chat], name, "messages.2.content")


@pytest.mark.parametrize(
    ("record", "name", "other", "never"),
    [
        ({"translation": {"de_DE": "x"}}, "translation.de_AT", "translation.de_DE", "'de_DE'"),
        ({"source_en": "x"}, "source_de", "source_en", "'source_en'"),
        ({"text": {"de1": {"raw": "x"}}}, "text.de2.raw", "text.de1.raw", "'de1'"),
        ({"text.a": "x"}, "text.b", "text.a", "'text.a'"),
    ],
)
def test_the_other_sides_field_is_never_suggested(record, name, other, never):
    with refused("here", f"'{name}'") as caught:
        records.field(record, name, other, "here")
    assert never not in str(caught.value)


def test_a_field_of_ones_own_side_is_suggested():
    record = {"translation": {"de": "x", "en": "y"}, "target": "z"}
    with refused("'translation'"):  # it names the object that holds both sides
        records.field(record, "translatoin.de", "translation.en", "here")
    with refused("'target'"):
        records.field(record, "targte", "source", "here")


def test_no_one_is_told_to_correct_a_record_of_the_hub(read):
    with refused("record 1", "source and target of this corpus") as caught:
        read("datasets", [{"de": "a", "en": 5}], "de", "en")
    assert "the record" not in str(caught.value).splitlines()[-1]
