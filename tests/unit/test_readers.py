"""Corpus formats: equal content gives equal pairs, and a message names the file and line that cannot be read."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caneft import config
from caneft.corpora import readers
from caneft.corpora.readers import Pair
from caneft.storage.files import split_archive
from tests.messages import refused

CONTENT = [("Übergröße\u2028„fein“", "over\x85size"), ("", "empty source"), ("表 格", "a\x0btable\x0c🙂"), ("x", "y")]


@pytest.fixture
def read(tmp_path):
    """Reads a source whose paths are relative to tmp_path."""
    return lambda source, split="train": list(readers.read(source, split, lambda path: tmp_path / path))


def jsonl(**fields):
    return config.Jsonl(format="jsonl", path="corpus.jsonl", **fields)


def instruct(**fields):
    return config.Instruct(format="instruct", path="corpus.json", **fields)


def tsv(**fields):
    return config.Tsv(format="tsv", path="corpus.tsv", **fields)


MOSES = config.Moses(format="moses", source_path="corpus.de", target_path="corpus.en")


def write_all(folder, content, end="\n"):
    """The same content as corpus.jsonl, corpus.json, corpus.{de,en} and corpus.tsv."""
    records = [{"source": source, "target": target} for source, target in content]
    prefixed = [{"input": f"German: {source}", "output": target} for source, target in content]
    texts = {
        "corpus.jsonl": "".join(json.dumps(record, ensure_ascii=False) + end for record in records),
        "corpus.json": json.dumps(prefixed, ensure_ascii=False, indent=2).replace("\n", end),
        "corpus.de": "".join(source + end for source, _ in content),
        "corpus.en": "".join(target + end for _, target in content),
        "corpus.tsv": "".join(f"{source}\t{target}{end}" for source, target in content),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("source", [jsonl(), instruct(source_prefix="German: "), MOSES, tsv()], ids=lambda s: s.format)
def test_formats_of_equal_content_give_equal_pairs(tmp_path, read, source, end):
    write_all(tmp_path, CONTENT, end)
    assert read(source) == [Pair(number, *sides) for number, sides in enumerate(CONTENT, start=1)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    content=st.lists(
        st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\n\r\t")).map("x".__add__)] * 2)
    )
)
def test_formats_agree_on_any_text(tmp_path, read, content):
    write_all(tmp_path, content)
    assert read(jsonl()) == read(instruct(source_prefix="German: ")) == read(MOSES) == read(tsv())
    assert [pair[1:] for pair in read(MOSES)] == content


@pytest.mark.parametrize("source", [jsonl(), instruct(source_prefix="German: "), MOSES, tsv()], ids=lambda s: s.format)
def test_byte_order_mark_is_no_text(tmp_path, read, source):
    write_all(tmp_path, CONTENT)
    for path in tmp_path.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read(source)[0] == Pair(1, *CONTENT[0])


@pytest.mark.parametrize("source", [jsonl(), instruct(), MOSES, tsv()], ids=lambda s: s.format)
def test_empty_file_has_no_pairs(tmp_path, read, source):
    for name in ("corpus.jsonl", "corpus.json", "corpus.de", "corpus.en", "corpus.tsv"):
        (tmp_path / name).touch()
    assert read(source) == []


@pytest.mark.parametrize("source", [jsonl(), instruct(), MOSES, tsv()], ids=lambda s: s.format)
def test_missing_file_is_named(tmp_path, read, source):
    with refused(tmp_path / "corpus", "No such file"):
        read(source)


def test_last_line_needs_no_line_feed(tmp_path, read):
    (tmp_path / "corpus.tsv").write_bytes(b"a\tb\nc\td")
    assert read(tsv()) == [Pair(1, "a", "b"), Pair(2, "c", "d")]


def test_blank_lines_keep_the_numbers_of_the_others(tmp_path, read):
    (tmp_path / "corpus.jsonl").write_text('{"source": "a", "target": "b"}\n\n \n{"source": "c", "target": "d"}\n')
    (tmp_path / "corpus.tsv").write_text("a\tb\n\n \nc\td\n\t\n")
    assert read(jsonl()) == [Pair(1, "a", "b"), Pair(4, "c", "d")]
    assert read(tsv()) == [Pair(1, "a", "b"), Pair(4, "c", "d"), Pair(5, "", "")]


def test_blank_lines_of_moses_files_are_positions(tmp_path, read):
    (tmp_path / "corpus.de").write_text("a\n\nc\n")
    (tmp_path / "corpus.en").write_text("b\nx\n\n")
    assert read(MOSES) == [Pair(1, "a", "b"), Pair(2, "", "x"), Pair(3, "c", "")]


def test_dots_descend_into_objects(tmp_path, read):
    (tmp_path / "corpus.jsonl").write_text('{"translation": {"de": "Haus\\n", "en": "house\\n"}}\n')
    assert read(jsonl(source="translation.de", target="translation.en")) == [Pair(1, "Haus\n", "house\n")]


def test_tsv_columns_are_chosen(tmp_path, read):
    (tmp_path / "corpus.tsv").write_text('1\t"house\t5\tHaus\n')
    assert read(tsv(source_column=3, target_column=1)) == [Pair(1, "Haus", '"house')]


def test_latin_1_bytes_name_line_and_conversion(tmp_path, read):
    (tmp_path / "corpus.tsv").write_bytes("a\tb\nfür\tfor\n".encode("latin-1"))
    with refused("corpus.tsv:2", "0xfc", 2, "iconv -f ENCODING -t UTF-8"):
        read(tsv())


def test_utf_16_is_recognised(tmp_path, read):
    (tmp_path / "corpus.tsv").write_text("a\tb\n", encoding="utf-16")
    with refused("corpus.tsv:1", "iconv -f UTF-16 -t UTF-8"):
        read(tsv())


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ('{"source": "a", "target": "b"', ["delimiter", 30]),  # its column
        ('{"source": "a", "targte": "b"}', ["'target'", "source, targte", "'targte'"]),
        ('{"source": 5, "target": "b"}', ["'source'", "number"]),
        ('["a", "b"]', ["'source'", "list"]),
        ('{"source": "\\ud83d", "target": "b"}', ["'source'", "surrogate"]),
        ('{"source": "a", "target": "b", "target": "c"}', ["'target'", "twice"]),
        ('{"source": "a", "target": "b", "meta": {"id": 1, "id": 1}}', ["'id'", "twice"]),
    ],
)
def test_broken_jsonl_record_is_named(tmp_path, read, line, facts):
    (tmp_path / "corpus.jsonl").write_text(f'{{"source": "a", "target": "b"}}\n{line}\n')
    with refused("corpus.jsonl:2", *facts):
        read(jsonl())


def test_missing_nested_field_lists_its_siblings(tmp_path, read):
    (tmp_path / "corpus.jsonl").write_text('{"translation": {"de": "Haus", "en": "house"}}\n')
    with refused("corpus.jsonl:1", "'translation.zh'", "'zh'", "de, en"):
        read(jsonl(source="translation.zh", target="translation.en"))


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ('[\n{"input": "German: a", "output": "b"},\n{"input" "c"}\n]', ["corpus.json:3", "delimiter"]),
        ('{"input": "German: a", "output": "b"}\n{"input": "German: c"}', ["corpus.json:2", "format: jsonl"]),
        ('{"input": "German: a", "output": "b"}', ["corpus.json", "JSON object", "format: jsonl"]),
        (
            '[{"input": "German: a", "output": "b"}, {"input": "Geman: c", "output": "d"}]',
            ["corpus.json", "record 2", "'Geman: c'", "'German: '", "source_prefix"],
        ),
        ('[{"input": "German: a"}]', ["corpus.json", "record 1", "'output'"]),
        (
            '[\n{"input": "German: a", "output": "b"},\n{"input": "German: c", "output": "d", "output": "e"}\n]',
            ["corpus.json:3", "'output'", "twice"],
        ),
    ],
)
def test_broken_instruct_file_is_named(tmp_path, read, text, facts):
    (tmp_path / "corpus.json").write_text(text)
    with refused(*facts):
        read(instruct(source_prefix="German: "))


def test_moses_files_of_different_length_are_an_error(tmp_path, read):
    (tmp_path / "corpus.de").write_text("a\nb\nc\n")
    (tmp_path / "corpus.en").write_text("a\nb\n")
    with refused(tmp_path / "corpus.de", 3, tmp_path / "corpus.en", 2):
        read(MOSES)


def test_tsv_line_without_enough_columns_is_named(tmp_path, read):
    (tmp_path / "corpus.tsv").write_text("a\tb\nc d\n")
    with refused("corpus.tsv:2", 1, 2, "source_column", "target_column"):
        read(tsv())


def test_built_in_corpus_follows_split_and_seed(read):
    demo = {"format": "demo", "domain": "it", "pairs": 5}
    first = read(config.Demo(**demo), "train")
    assert [pair.line for pair in first] == [1, 2, 3, 4, 5]
    assert first == read(config.Demo(**demo), "train") != read(config.Demo(**demo), "test")
    assert first != read(config.Demo(**demo, seed=1), "train")


def test_unknown_built_in_domain_is_an_input_error(read):
    with refused("'nosuch'", "law"):
        read(config.Demo(format="demo", domain="nosuch", pairs=5))
    with refused("'nosuch'", "law"):
        read(config.DemoPretraining(format="demo-pretraining", domains=["nosuch"], pairs=5))


def test_every_source_of_the_configuration_has_a_reader():
    assert set(readers.READERS) == set(config.Source.__subclasses__())


class FakeDatasets:
    """Replaces the `datasets` library, which takes seconds to import and needs a network."""

    DatasetDict = dict
    records = [{"translation": {"de": "Haus", "en": "house"}}]

    @classmethod
    def load_dataset(cls, name, subset, *, split, revision):
        if name != "opus/it":
            raise ConnectionError(f"Couldn't reach '{name}' on the Hub (OfflineModeIsEnabled)")
        assert (subset, split, revision) == ("de-en", "train", "abc")
        return cls.records

    @classmethod
    def load_from_disk(cls, path):
        return {"train": cls.records}


@pytest.fixture
def datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", FakeDatasets)


def test_hub_dataset_is_asked_for_by_subset_split_and_revision(datasets, read):
    source = config.Hub(format="datasets", name="opus/it", subset="de-en", revision="abc")
    assert read(source) == [Pair(1, "Haus", "house")]


def test_folder_is_loaded_from_disk(datasets, tmp_path, read):
    (tmp_path / "saved").mkdir()
    assert read(config.Hub(format="datasets", name="saved")) == [Pair(1, "Haus", "house")]
    with refused("saved", "'dev'", "train"):
        read(config.Hub(format="datasets", name="saved", split="dev"))


def test_what_may_need_a_network_says_so(tmp_path, monkeypatch):
    """Hub datasets and sacreBLEU's test sets do; a folder does not, here or under the data root."""
    (tmp_path / "data/owner/saved").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CANEFT_DATA", raising=False)
    names = ("owner/saved", "here", str(tmp_path / "data/owner/saved"), "owner/other")
    saved, here, absolute, other = (config.Hub(format="datasets", name=name) for name in names)
    assert [source.remote for source in (saved, here, absolute, other)] == [True, False, False, True]
    monkeypatch.setenv("CANEFT_DATA", str(tmp_path / "data"))
    assert [source.remote for source in (saved, here, absolute, other)] == [False, False, False, True]
    assert config.SacreBleu(format="sacrebleu", name="wmt22", langpair="de-en").remote
    assert not any(source.remote for source in (MOSES, jsonl(), config.Demo(format="demo", domain="it", pairs=1)))


@pytest.mark.parametrize(
    ("path", "file", "member"),
    [
        ("a/b.zip::c/d.de", "a/b.zip", "c/d.de"),
        ("a.ZIP::b.zip::c", "a.ZIP", "b.zip::c"),
        ("a.zip", "a.zip", None),
        ("a.gz::b", "a.gz::b", None),
        ("a.zip::", "a.zip::", None),
    ],
)
def test_a_path_into_an_archive_is_split(path, file, member):
    assert split_archive(path) == (Path(file), member)


def test_unreachable_dataset_says_what_to_do(datasets, read):
    with refused("no/such", "Couldn't reach", "`snakemake fetch`", "HF_HOME", "save_to_disk"):
        read(config.Hub(format="datasets", name="no/such"))


def test_missing_datasets_library_says_what_to_do(monkeypatch, read):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with refused("no/such", "`datasets`"):
        read(config.Hub(format="datasets", name="no/such"))
