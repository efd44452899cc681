"""Broken input is a message that names file and line, or is counted; it is no traceback, and nothing gets lost."""

import bz2
import gzip
import json
import lzma
import os
import tracemalloc
import zipfile

import pytest

from caneft import config
from caneft.corpora import readers, store
from caneft.corpora.readers import Pair
from caneft.corpora.text import LONGEST_LINE, lines
from caneft.errors import InputError

PAIRS = [("Haus", "house"), ("Übergröße", "oversize"), ("Maus", "mouse")]
TEXTS = {
    "jsonl": "".join(json.dumps({"source": s, "target": t}, ensure_ascii=False) + "\n" for s, t in PAIRS),
    "instruct": json.dumps([{"input": s, "output": t} for s, t in PAIRS], ensure_ascii=False, indent=1),
    "tsv": "".join(f"{s}\t{t}\n" for s, t in PAIRS),
    "alternating": "".join(f"{t}\n{s}\n" for s, t in PAIRS),
    "moses": "".join(s + "\n" for s, _ in PAIRS),
}
BAD_LINE = {"jsonl": 2, "instruct": 7, "tsv": 2, "alternating": 4, "moses": 2}  # the one that holds an umlaut
PACKED = {"": lambda data: data, ".gz": gzip.compress, ".xz": lzma.compress}


def source(form, name="corpus", **more):
    """A source that reads the file, or for moses that file and a sound one."""
    paths = {"source_path": name, "target_path": "sound"} if form == "moses" else {"path": name}
    languages = {"source_language": "de", "target_language": "en"} if form == "tmx" else {}
    made = config.Domain.model_validate({"test": {"format": form, **paths, **languages, **more}})
    return made.test


@pytest.fixture
def read(tmp_path):
    """Writes bytes to a file and reads it as a format."""

    def written_and_read(form, data, name="corpus"):
        (tmp_path / "sound").write_text("".join(target + "\n" for _, target in PAIRS))
        (tmp_path / name).write_bytes(data)
        return list(readers.read(source(form, name), "train", tmp_path.joinpath))

    return written_and_read


def prepared(tmp_path, train, form="tsv"):
    """Rows of a prepared train set and its report."""
    (tmp_path / "train").write_bytes(train)
    held_out = {split: {"format": "demo", "domain": "it", "pairs": 1} for split in ("dev", "test")}
    entry = {"train": {"format": form, "path": "train"}, **held_out}
    rows, reports = store.prepare(config.Domain.model_validate(entry), "it", tmp_path.joinpath)
    return rows["train"], reports["train"]


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize("suffix", PACKED)
def test_latin_1_names_the_line_in_every_format_compressed_or_not(read, form, suffix):
    data = PACKED[suffix](TEXTS[form].encode("latin-1"))
    with pytest.raises(InputError, match=rf"corpus{suffix}:{BAD_LINE[form]}: not UTF-8, byte 0xdc(.|\n)*WINDOWS-1252"):
        read(form, data, f"corpus{suffix}")


@pytest.mark.parametrize("form", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf_16_is_recognised_with_and_without_its_mark(read, form, encoding):
    with pytest.raises(InputError, match=r"corpus:[12]: (.|\n)*UTF-16(.|\n)*iconv -f UTF-16"):
        read(form, TEXTS[form].encode(encoding))


@pytest.mark.parametrize("form", TEXTS)
def test_crlf_and_a_mark_change_nothing(read, form):
    plain = read(form, TEXTS[form].encode())
    assert [pair[1:] for pair in plain] == PAIRS
    assert read(form, TEXTS[form].replace("\n", "\r\n").encode("utf-8-sig")) == plain


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
    with pytest.raises(InputError, match=r"corpus:3: not JSON: Invalid control character"):
        read("jsonl", TEXTS["jsonl"].replace("Maus", "M\0aus").encode())


def test_a_line_of_100_000_characters_is_read_whole(read):
    longest = "ü" * 100_000
    assert read("tsv", f"{longest}\tb\n".encode()) == [Pair(1, longest, "b")]


@pytest.mark.parametrize("form", [form for form in TEXTS if form != "instruct"])
def test_a_line_beyond_all_bounds_names_the_line(read, form):
    start = TEXTS[form].splitlines(keepends=True)[0].encode()
    with pytest.raises(InputError, match="corpus:2: a line of more than 4,000,000 bytes"):
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
    with pytest.raises(InputError, match=f"bomb{suffix}:2: a line of more than"):
        list(lines(tmp_path / f"bomb{suffix}"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LONGEST_LINE


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_longest_line_is_as_long_as_is_said(tmp_path, end):
    (tmp_path / "corpus").write_bytes(b"\n" + b"a" * (LONGEST_LINE - len(end)) + end)
    assert [number for number, _ in lines(tmp_path / "corpus")] == [1, 2]
    (tmp_path / "corpus").write_bytes(b"\n" + b"a" * (LONGEST_LINE + 1 - len(end)) + end)
    with pytest.raises(InputError, match="corpus:2: a line of more than"):
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
    ("line", "message"),
    [
        ("[" * 100_000, "unusable JSON: maximum recursion depth"),
        ('{"source": ' + "9" * 5000 + "}", "unusable JSON: Exceeds the limit"),
        ('{"source": "a"', "not JSON: Expecting ',' delimiter"),
        ('{"target": "b"}', "no field 'source'"),
    ],
)
def test_broken_json_names_the_line(read, line, message):
    with pytest.raises(InputError, match=f"corpus:4: {message}"):
        read("jsonl", TEXTS["jsonl"].encode() + line.encode())


# --- archives ----------------------------------------------------------------------------------------------------


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


NOISE = os.urandom(40_000).hex()
LONG = "".join(f"{number} {NOISE[number : number + 60]}\tb\n" for number in range(20_000)).encode()


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_archive_is_named(tmp_path, read, suffix, share):
    if suffix == ".zip":
        zipped(tmp_path / "whole", {"member": LONG})
        data = (tmp_path / "whole").read_bytes()
    else:
        data = PACKED[suffix](LONG)
    cut = data[: int(share * len(data))] or data[:1]
    with pytest.raises(InputError, match=rf"corpus{suffix}: broken or incomplete archive \(.+\)\. Download"):
        read("tsv", cut, f"corpus{suffix}")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_damaged_archive_is_named(tmp_path, suffix):
    zipped(tmp_path / "whole", {"member": LONG})
    data = bytearray((tmp_path / "whole").read_bytes() if suffix == ".zip" else PACKED[suffix](LONG))
    data[len(data) // 2] ^= 0xFF
    (tmp_path / f"corpus{suffix}").write_bytes(data)
    with pytest.raises(InputError, match=rf"corpus{suffix}(: broken or incomplete archive|:\d+: not UTF-8)"):
        list(lines(tmp_path / f"corpus{suffix}"))


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zip"])
def test_a_name_that_promises_an_archive_is_held_to_it(read, suffix):
    with pytest.raises(InputError, match=rf"corpus{suffix}: broken or incomplete archive"):
        read("tsv", b"a\tb\n", f"corpus{suffix}")


def test_a_zip_archive_of_several_files_lists_them(tmp_path):
    zipped(tmp_path / "corpus.zip", {"README": b"", "de-en/": b"", "de-en/law.de": b"a\n"})
    with pytest.raises(
        InputError, match=r"corpus.zip: holds 2 files, .*corpus.zip::FILE.\nFiles: README, de-en/law.de"
    ):
        list(lines(tmp_path / "corpus.zip"))
    with pytest.raises(InputError, match=r"corpus.zip: has no file 'law.de'(.|\n)*Files: README, de-en/law.de\."):
        list(lines(tmp_path / "corpus.zip::law.de"))
    assert list(lines(tmp_path / "corpus.zip::de-en/law.de")) == [(1, "a")]


def test_a_long_list_of_files_is_cut(tmp_path):
    zipped(tmp_path / "corpus.zip", {f"f{number}": b"" for number in range(30)})
    with pytest.raises(InputError, match=r"holds 30 files(.|\n)*f0, f1, .*f19 and 10 more\."):
        list(lines(tmp_path / "corpus.zip"))


def test_an_empty_zip_archive_holds_nothing_to_name(tmp_path):
    zipped(tmp_path / "corpus.zip", {})
    with pytest.raises(InputError, match="corpus.zip: holds 0 files"):
        list(lines(tmp_path / "corpus.zip"))


def test_what_zip_files_can_be_and_python_cannot_read_says_so(tmp_path):
    zipped(tmp_path / "corpus.zip", {"a": b"x"})
    data = bytearray((tmp_path / "corpus.zip").read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[6] |= 1  # the flag of a password, in the file's own header and in the directory
    data[directory + 8] |= 1
    (tmp_path / "corpus.zip").write_bytes(data)
    with pytest.raises(InputError, match="corpus.zip: a cannot be unpacked .*password"):
        list(lines(tmp_path / "corpus.zip"))


def test_a_missing_archive_and_a_folder_are_named(tmp_path):
    (tmp_path / "folder.gz").mkdir()
    with pytest.raises(InputError, match="a.zip::b: cannot be read .No such file"):
        list(lines(tmp_path / "a.zip::b"))
    with pytest.raises(InputError, match="folder.gz: cannot be read .Is a directory"):
        list(lines(tmp_path / "folder.gz"))


def test_another_kind_of_compression_is_no_text(read):
    with pytest.raises(InputError, match=r"corpus.bz2:1: not UTF-8"):
        read("tsv", bz2.compress(LONG), "corpus.bz2")
