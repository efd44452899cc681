"""Broken input gives a message with file and line, or is counted; there is no traceback, and nothing gets lost."""

import functools
import gzip
import io
import json
import lzma
import os
import re
import tracemalloc
import zipfile

import pytest

from caneft import config
from caneft.corpora import readers, store
from caneft.corpora.readers import Pair
from caneft.corpora.text import BROKEN, LONGEST_LINE, lines
from tests.messages import assert_names, refused

PAIRS = [("Haus", "house"), ("Übergröße", "oversize"), ("Maus", "mouse")]
TEXTS = {
    "jsonl": "".join(json.dumps({"source": s, "target": t}, ensure_ascii=False) + "\n" for s, t in PAIRS),
    "instruct": json.dumps([{"input": s, "output": t} for s, t in PAIRS], ensure_ascii=False, indent=1),
    "tsv": "".join(f"{s}\t{t}\n" for s, t in PAIRS),
    "alternating": "".join(f"{t}\n{s}\n" for s, t in PAIRS),
    "moses": "".join(s + "\n" for s, _ in PAIRS),
}
BAD_LINE = {"jsonl": 2, "instruct": 7, "tsv": 2, "alternating": 4, "moses": 2}  # the line with an umlaut
PACKED = {"": lambda data: data, ".gz": gzip.compress, ".xz": lzma.compress}


def source(form, name="corpus", **more):
    """A source that reads the file; for moses, this file and a sound one."""
    paths = {"source_path": name, "target_path": "sound"} if form == "moses" else {"path": name}
    languages = {"source_language": "de", "target_language": "en"} if form == "tmx" else {}
    made = config.Domain.model_validate({"test": {"format": form, **paths, **languages, **more}})
    return made.test


@pytest.fixture
def read(tmp_path):
    """Writes bytes to a file and reads it in this format."""

    def written_and_read(form, data, name="corpus"):
        (tmp_path / "sound").write_text("".join(target + "\n" for _, target in PAIRS))
        (tmp_path / name).write_bytes(data)
        return list(readers.read(source(form, name), "train", tmp_path.joinpath))

    return written_and_read


def prepared(tmp_path, train, form="tsv"):
    """Rows of a prepared train set, and its report."""
    (tmp_path / "train").write_bytes(train)
    held_out = {split: {"format": "demo", "domain": "it", "pairs": 1} for split in ("dev", "test")}
    entry = {"train": {"format": form, "path": "train"}, **held_out}
    rows, reports = store.prepare(config.Domain.model_validate(entry), "it", tmp_path.joinpath)
    return rows["train"], reports["train"]


@pytest.mark.parametrize("suffix", PACKED)
def test_latin_1_names_the_line_in_every_format_compressed_or_not(read, suffix):
    for form, text in TEXTS.items():
        with refused(f"corpus{suffix}:{BAD_LINE[form]}", "0xdc", "iconv -f ENCODING -t UTF-8", "WINDOWS-1252"):
            read(form, PACKED[suffix](text.encode("latin-1")), f"corpus{suffix}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf_16_is_recognised_with_and_without_its_mark(read, encoding):
    for form, text in TEXTS.items():
        with refused("iconv -f UTF-16 -t UTF-8") as caught:
            read(form, text.encode(encoding))
        assert re.search(r"corpus:[12]\b", str(caught.value)), form


def test_crlf_and_a_mark_change_nothing(read):
    for form, text in TEXTS.items():
        plain = read(form, text.encode())
        assert [pair[1:] for pair in plain] == PAIRS, form
        assert read(form, text.replace("\n", "\r\n").encode("utf-8-sig")) == plain, form


@pytest.mark.parametrize("form", [form for form in TEXTS if form != "instruct"])
def test_a_mark_in_the_middle_where_files_were_joined_is_no_text(read, form):
    halves = TEXTS[form].splitlines(keepends=True)
    middle = len(halves) // 3
    data = "".join(halves[:middle]).encode("utf-8-sig") + "".join(halves[middle:]).encode("utf-8-sig")
    assert [pair[1:] for pair in read(form, data)] == PAIRS


def test_a_mark_inside_a_line_is_left_to_cleaning(read):
    assert read("tsv", "a\ufeffb\tc\n".encode()) == [Pair(1, "a\ufeffb", "c")]


@pytest.mark.parametrize("form", ["tsv", "alternating"])
def test_nul_bytes_are_spaces_after_cleaning(tmp_path, form):
    rows, report = prepared(tmp_path, TEXTS[form].replace("aus", "\0aus").encode(), form)
    assert [row.source for row in rows] == ["H aus", "Übergröße", "M aus"]
    assert report["read"] == report["kept"] == 3


def test_nul_bytes_in_json_name_the_line(read):
    with refused("corpus:3", "Invalid control character"):
        read("jsonl", TEXTS["jsonl"].replace("Maus", "M\0aus").encode())


def test_a_line_of_100_000_characters_is_read_whole(read):
    longest = "ü" * 100_000
    assert read("tsv", f"{longest}\tb\n".encode()) == [Pair(1, longest, "b")]


@pytest.mark.parametrize("form", [form for form in TEXTS if form != "instruct"])
def test_a_line_beyond_all_bounds_names_the_line(read, form):
    start = TEXTS[form].splitlines(keepends=True)[0].encode()
    with refused("corpus:2", "4,000,000"):
        read(form, start + b"a" * 4_000_001)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_bomb_without_line_feeds_fills_no_memory(tmp_path, suffix):
    """64 MB in a few kB."""
    bomb = b"a\tb\n" + bytes(b"a" * 64_000_000)
    if suffix == ".zip":
        zipped(tmp_path / "bomb.zip", {"member": bomb})
    else:
        (tmp_path / f"bomb{suffix}").write_bytes(PACKED[suffix](bomb))
    del bomb
    tracemalloc.start()
    with refused(f"bomb{suffix}:2", "4,000,000"):
        list(lines(tmp_path / f"bomb{suffix}"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LONGEST_LINE


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_longest_line_is_as_long_as_is_said(tmp_path, end):
    (tmp_path / "corpus").write_bytes(b"\n" + b"a" * (LONGEST_LINE - len(end)) + end)
    assert [number for number, _ in lines(tmp_path / "corpus")] == [1, 2]
    (tmp_path / "corpus").write_bytes(b"\n" + b"a" * (LONGEST_LINE + 1 - len(end)) + end)
    with refused("corpus:2", "4,000,000"):
        list(lines(tmp_path / "corpus"))


def test_ids_that_a_file_repeats_are_not_ours(tmp_path):
    record = '{{"id": "it.train.1", "source": "{}", "target": "x"}}\n'
    rows, _ = prepared(tmp_path, "".join(record.format(text) for text in "abc").encode(), "jsonl")
    assert [row.id for row in rows] == ["it.train.1", "it.train.2", "it.train.3"]


def test_missing_sides_are_counted(tmp_path):
    rows, report = prepared(tmp_path, b"a\tb\n\tx\ny\t\nc\td\n")
    assert [row.id for row in rows] == ["it.train.1", "it.train.4"]
    assert report["read"] == 4
    assert (report["dropped"]["empty_source"], report["dropped"]["empty_target"]) == (1, 1)


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("[" * 100_000, "maximum recursion depth"),
        ('{"source": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"source": "a"', "Expecting ',' delimiter"),
        ('{"target": "b"}', "'source'"),
    ],
)
def test_broken_json_names_the_line(read, line, fact):
    with refused("corpus:4", fact):
        read("jsonl", TEXTS["jsonl"].encode() + line.encode())


# --- archives ----------------------------------------------------------------------------------------------------


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


NOISE = os.urandom(40_000).hex()
LONG = "".join(f"{number} {NOISE[number : number + 60]}\tb\n" for number in range(5_000)).encode()


@functools.cache
def archive(suffix):
    """An archive of LONG."""
    if suffix != ".zip":
        return PACKED[suffix](LONG)
    whole = io.BytesIO()
    zipped(whole, {"member": LONG})
    return whole.getvalue()


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_archive_is_named(read, suffix, share):
    data = archive(suffix)
    cut = data[: int(share * len(data))] or data[:1]
    with refused(f"corpus{suffix}") as caught:
        read("tsv", cut, f"corpus{suffix}")
    assert isinstance(caught.value.__context__, BROKEN)  # no error about what was read of it
    assert_names(caught.value, caught.value.__context__)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_damaged_archive_is_named(tmp_path, suffix):
    data = bytearray(archive(suffix))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / f"corpus{suffix}").write_bytes(data)
    with refused(f"corpus{suffix}") as caught:
        list(lines(tmp_path / f"corpus{suffix}"))
    assert isinstance(caught.value.__context__, (*BROKEN, UnicodeDecodeError))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_name_that_promises_an_archive_is_held_to_it(read, suffix):
    with refused(f"corpus{suffix}") as caught:
        read("tsv", b"a\tb\n", f"corpus{suffix}")
    assert isinstance(caught.value.__context__, BROKEN)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
@pytest.mark.parametrize("rubbish", [b"rubbish", b"\n", b"\0\0\0\0<html>"])
def test_rubbish_between_and_after_streams_is_named(read, suffix, rubbish):
    """Python's lzma takes it for the end of the file, so that the later streams would be lost."""
    stream = archive(suffix)
    for data in (stream + rubbish, stream + rubbish + stream):
        with refused(f"corpus{suffix}") as caught:
            read("tsv", data, f"corpus{suffix}")
        assert isinstance(caught.value.__context__, BROKEN)


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_streams_and_zeros_after_them_are_one_text(read, suffix):
    """Padding by zero bytes is part of both formats, for tapes."""
    one, other = PACKED[suffix](b"a\tb\nc"), PACKED[suffix](b"\td\n")
    pairs = [Pair(1, "a", "b"), Pair(2, "c", "d")]
    for data in (one + other, one + other + bytes(4), one + other + bytes(200_000)):
        assert read("tsv", data, f"corpus{suffix}") == pairs
    if suffix == ".xz":
        assert read("tsv", one + bytes(4) + other, f"corpus{suffix}") == pairs


def test_a_zip_archive_of_several_files_lists_them(tmp_path):
    zipped(tmp_path / "corpus.zip", {"README": b"", "de-en/": b"", "de-en/law.de": b"a\n"})
    with refused(tmp_path / "corpus.zip", 2, "corpus.zip::FILE", "README, de-en/law.de"):
        list(lines(tmp_path / "corpus.zip"))
    with refused(tmp_path / "corpus.zip", "'law.de'", "corpus.zip::FILE", "README, de-en/law.de"):
        list(lines(tmp_path / "corpus.zip::law.de"))
    assert list(lines(tmp_path / "corpus.zip::de-en/law.de")) == [(1, "a")]


def test_a_long_list_of_files_is_cut(tmp_path):
    zipped(tmp_path / "corpus.zip", {f"f{number}": b"" for number in range(30)})
    with refused(tmp_path / "corpus.zip", 30, ", ".join(f"f{number}" for number in range(20)), 10) as caught:
        list(lines(tmp_path / "corpus.zip"))
    assert "f20" not in str(caught.value)


def test_an_empty_zip_archive_holds_nothing_to_name(tmp_path):
    zipped(tmp_path / "corpus.zip", {})
    with refused(tmp_path / "corpus.zip", 0):
        list(lines(tmp_path / "corpus.zip"))


def test_what_zip_files_can_be_and_python_cannot_read_says_so(tmp_path):
    zipped(tmp_path / "corpus.zip", {"a": b"x"})
    data = bytearray((tmp_path / "corpus.zip").read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1  # the password flag, in the file's own header and in the directory
    data[directory + 8] |= 1
    (tmp_path / "corpus.zip").write_bytes(data)
    with refused(tmp_path / "corpus.zip", "password"):
        list(lines(tmp_path / "corpus.zip"))


def test_a_missing_archive_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.gz").mkdir()
    with refused("a.zip::b", "No such file"):
        list(lines(tmp_path / "a.zip::b"))
    with refused("folder.gz", "Is a directory"):
        list(lines(tmp_path / "folder.gz"))
