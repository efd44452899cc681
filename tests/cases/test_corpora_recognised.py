"""A corpus file in another format than configured is recognised by its first bytes, before any pair of it is used."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from caneft import config
from caneft.commands import checking
from caneft.corpora import readers
from caneft.corpora.readers import Pair
from tests.messages import refused

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 1234567\n"
ANNEX = b"/annex/objects/SHA256E-s1234567--4d7a214614ab2935.de\n"
HTML = b"\n<!DOCTYPE html>\n<html lang='en'>\n<head><title>Sign in</title></head>\n<body></body>\n</html>\n"
XHTML = b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC '-//W3C//DTD XHTML 1.0'>\n<html>\n<head/></html>\n"
BARE_HTML = b"<html>\n<head><title>404 Not Found</title></head>\n<body>nginx</body>\n</html>\n"
PAIRS = [("Haus", "house"), ("Maus", "mouse"), ("Laus", "louse")]
TSV = "".join(f"{source}\t{target}\n" for source, target in PAIRS).encode()
JSONL = "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in PAIRS).encode()
LIST = json.dumps([{"input": s, "output": t} for s, t in PAIRS], indent=2).encode()
LIST_IN_A_LINE = json.dumps([{"input": s, "output": t} for s, t in PAIRS]).encode()
TMX = b"""<?xml version="1.0"?>
<tmx version="1.4"><header/><body>
<tu><tuv xml:lang="de"><seg>Haus</seg></tuv><tuv xml:lang="en"><seg>house</seg></tuv></tu>
</body></tmx>
"""
SGML = b'<refset setid="newstest2013" srclang="any" trglang="en">\n<doc>\n<seg id="1">house</seg>\n</doc></refset>\n'
FORMS = ("moses", "tsv", "alternating", "jsonl", "instruct", "tmx")


@pytest.fixture
def read(tmp_path):
    """Writes bytes to a file and reads it in this format; for moses, as both files."""

    def written_and_read(form, data, name="corpus", **more):
        (tmp_path / name).write_bytes(data)
        paths = {"source_path": name, "target_path": name} if form == "moses" else {"path": name}
        languages = {"source_language": "de", "target_language": "en"} if form == "tmx" else {}
        source = config.Domain.model_validate({"test": {"format": form, **paths, **languages, **more}}).test
        return list(readers.read(source, "train", tmp_path.joinpath))

    return written_and_read


def archive(mode):
    """A tar archive that holds a TSV."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:
        member = tarfile.TarInfo("corpus.tsv")
        member.size = len(TSV)
        tar.addfile(member, io.BytesIO(TSV))
    return made.getvalue()


def zipped():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("corpus.tsv", TSV)
    return made.getvalue()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("data", "facts"),
    [
        (gzip.compress(TSV, mtime=0), ["gzip", ".gz"]),
        (lzma.compress(TSV), ["xz", ".xz"]),
        (zipped(), ["zip", ".zip"]),
        (bz2.compress(TSV), ["bzip2", ".gz, .xz or .zip"]),
        (bz2.compress(b""), ["bzip2"]),
        (archive("w"), ["tar archive", "tar -xf"]),
        (archive("w:gz"), ["gzip", "tar -xzf"]),
        (b"\x28\xb5\x2f\xfd\x04\x00rest", ["zstd"]),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", ["7z"]),
        (b"\x04\x22\x4d\x18d@", ["lz4", ".gz, .xz or .zip"]),
        (b"Rar!\x1a\x07\x01\x00", ["rar", ".gz, .xz or .zip"]),
        (b"ARROW1\0\0\xff\xff", ["Arrow", "jsonl or tsv"]),
        (b"PAR1\x15\x04\x15", ["Parquet", "jsonl or tsv"]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", ["Office", "tab-separated"]),
        (b"%PDF-1.7\n%\xe2\xe3\n", ["PDF"]),
        (bytes(1000), ["zero"]),
        (LFS, ["Git LFS", "git lfs pull"]),
        (ANNEX, ["git-annex", "git annex get"]),
        (HTML, ["HTML"]),
        (XHTML, ["HTML"]),
        (BARE_HTML, ["HTML"]),
        (b"<head><title>Sign in</title></head><body>x</body>\n", ["HTML"]),
        (b"<Error><Code>AccessDenied</Code></Error>", ["server", "ownload"]),
        (b"<?xml version='1.0'?>\n<Error>\n<Message>no</Message></Error>", ["server", "ownload"]),
        (b"404: Not Found", ["server", "ownload"]),
        (b"Entry not found\n", ["server", "ownload"]),
        (b'<xliff version="1.2"><file><body/></file></xliff>\n', ["XLIFF", "TMX"]),
        (b'<?xml version="1.0"?>\n<!-- x -->\n<xliff version="1.2"/>\n', ["XLIFF", "TMX"]),
        (b"1\r\n00:00:01,600 --> 00:00:04,200\r\nWer ist da?\r\n", ["subtitles", "jsonl or tsv"]),
        (b"WEBVTT\n\n00:01.000 --> 00:04.000\nWer ist da?\n", ["subtitles", "jsonl or tsv"]),
        (b'# German.\n#, fuzzy\nmsgid ""\nmsgstr ""\n"Language: de\\n"\n', ["PO", "jsonl or tsv"]),
        (rb"{\rtf1\ansi Wer ist da?\par}", ["RTF", "tab-separated"]),
    ],
)  # fmt: skip
def test_what_is_no_corpus_is_named_in_every_format(read, form, data, facts):
    with refused("corpus", *facts):
        read(form, data)
    with refused("corpus", *facts):
        read(form, gzip.compress(data), "corpus.gz")  # also in a compressed file


@pytest.mark.parametrize("name", ["corpus.gz", "corpus.xz", "corpus.zip"])
@pytest.mark.parametrize(("data", "facts"), [(LFS, ["git lfs pull"]), (HTML, ["HTML"]), (bz2.compress(TSV), ["bzip2"])])
def test_what_stands_in_the_place_of_an_archive_is_named(read, name, data, facts):
    with refused(name, *facts):
        read("tsv", data, name)


def test_an_archive_of_another_kind_than_its_name_says(read):
    with refused("corpus.gz", "zip", ".zip"):
        read("tsv", zipped(), "corpus.gz")
    with refused("corpus.zip", "gzip", ".gz"):
        read("tsv", gzip.compress(TSV), "corpus.zip")


@pytest.mark.parametrize(
    ("form", "data", "use"),
    [
        ("jsonl", TSV, "format: tsv"),
        ("instruct", TSV, "format: tsv"),
        ("tmx", TSV, "format: tsv"),
        ("alternating", TSV, "format: tsv"),
        ("tsv", JSONL, "format: jsonl"),
        ("moses", JSONL, "format: jsonl"),
        ("alternating", JSONL, "format: jsonl"),
        ("tmx", JSONL, "format: jsonl"),
        ("instruct", JSONL, "format: jsonl"),
        ("jsonl", LIST, "format: instruct"),
        ("moses", LIST, "format: instruct"),
        ("tsv", LIST_IN_A_LINE, "format: instruct"),
        ("alternating", LIST_IN_A_LINE, "format: instruct"),
        ("moses", TMX, "format: tmx"),
        ("alternating", b"\xef\xbb\xbf" + TMX, "format: tmx"),
        ("tsv", TMX, "format: tmx"),
        ("jsonl", TMX, "format: tmx"),
        ("instruct", TMX, "format: tmx"),
        ("moses", SGML, "sacrebleu"),
        ("tsv", SGML, "sacrebleu"),
        ("moses", b'<seg id="1"> Haus </seg>\n<seg id="2"> Baum </seg>\n', "plain text"),
        ("alternating", b'<DOC docid="news.1" sysid="ref">\n<seg id="1">Haus</seg>\n</DOC>\n', "plain text"),
        ("moses", b'{\n "data": [\n  1]\n}\n', "JSON"),
    ],
)
def test_a_file_of_another_format_names_that_format(read, form, data, use):
    with refused("corpus:", use):
        read(form, data)


def test_content_that_only_resembles_something_is_text(read):
    """Text that is about JSON, tabs, marks, pages and pointers is read as text."""
    lines = ['{"a": 1} is an object.', "<b>x</b>", "<html>Tip</html>", "version https://git", "[1] See", "{}", "PK"]
    lines += [
        "<head>Kopf</head>",
        "404: Not Found is what it says",
        "msgid",
        "1",
        "WEBVTTs",
        "<error>x</error>",
        r"\rtf1",
    ]
    for first in lines:
        data = f"{first}\nplain\n"
        assert read("moses", data.encode()) == [Pair(1, first, first), Pair(2, "plain", "plain")]
        assert read("tsv", f"{first}\tx\nplain\ty\n".encode()) == [Pair(1, first, "x"), Pair(2, "plain", "y")]
    assert read("moses", b"a\tb\nc\td\n") == [Pair(1, "a\tb", "a\tb"), Pair(2, "c\td", "c\td")]  # columns of a task
    assert read("tsv", b'{"a": 1}\t{"b": 2}\n') == [Pair(1, '{"a": 1}', '{"b": 2}')]


@pytest.mark.parametrize("line", ['{"intent": "play", "what": "jazz"}', '[{"call": "play", "with": {"what": "jazz"}}]'])
def test_json_is_what_some_tasks_ask_for(tmp_path, line):
    """One of two aligned files, or a cell of a table, may hold one JSON value per line."""
    (tmp_path / "said").write_text("Play jazz.\nPlay it again.\n")
    (tmp_path / "meant").write_text(f"{line}\n{line}\n")
    source = config.Moses(format="moses", source_path="said", target_path="meant")
    assert list(readers.read(source, "train", tmp_path.joinpath)) == [
        Pair(1, "Play jazz.", line),
        Pair(2, "Play it again.", line),
    ]
    (tmp_path / "both.tsv").write_text(f"{line}\tPlay jazz.\n" * 2)
    source = config.Tsv(format="tsv", path="both.tsv")
    assert [pair.source for pair in readers.read(source, "train", tmp_path.joinpath)] == [line, line]


# --- the shape of a line -----------------------------------------------------------------------------------------


def test_a_tab_inside_a_segment_is_an_error_with_its_line(read):
    rows = "نعم\tYes\nمن طرف الكنبة البعيد\tسأكون رجلك\tFrom the end of the couch\nلا\tNo\n"
    with refused("corpus:2", 3, 2, "tab"):
        read("tsv", rows.encode())
    first_is_wrong = "a\tb\tA b\nc\tC\n"
    with refused("corpus:2", 2, "line 1", 3):
        read("tsv", first_is_wrong.encode())


def test_more_columns_are_no_matter_if_every_line_has_them(read):
    assert read("tsv", b"a\tb\t0.9\n\nc\td\t\n") == [Pair(1, "a", "b"), Pair(3, "c", "d")]
    with refused("corpus:3", 2, 3):  # a tab is missing
        read("tsv", b"a\tb\t0.9\nc\td\t0.8\ne\tf 0.7\n")
    with refused("corpus:2", 4, 3):  # a tab in a column that is not read
        read("tsv", b"a\tb\tx\nc\td\ty\tz\n")


@pytest.mark.parametrize("form", ["moses", "tsv", "alternating", "jsonl"])
def test_carriage_returns_alone_are_named(read, form):
    rows = {"tsv": TSV, "jsonl": JSONL}.get(form, b"Eins.\nOne.\n")
    assert read(form, rows)  # with line feeds it is read
    with refused("corpus:1", "tr '\\r' '\\n'"):
        read(form, rows.replace(b"\n", b"\r"))
    with refused("corpus:1", "tr '\\r' '\\n'"):  # also without one at the end
        read(form, rows.replace(b"\n", b"\r").rstrip(b"\r"))
    if form != "alternating":
        with refused("corpus:1", "tr '\\r' '\\n'"):  # also with a line feed added by an editor
            read(form, rows.replace(b"\n", b"\r").rstrip(b"\r") + b"\n")
    with refused("corpus:1", "tr '\\r' '\\n'"):  # also if longer than the limit for a line
        read(form, rows.replace(b"\n", b"\r") * 200_000)


def test_a_list_with_carriage_returns_is_read(read):
    expected = [Pair(number, *pair) for number, pair in enumerate(PAIRS, start=1)]
    assert read("instruct", LIST.replace(b"\n", b"\r")) == expected


def test_a_carriage_return_inside_a_line_of_a_tsv_is_an_error_and_of_aligned_text_none(read):
    with refused("corpus:2", "carriage return"):
        read("tsv", b"Eins.\tOne.\nZwei.\tTwo.\rDrei.\tThree.\n".replace(b"\rDrei.\t", b"\rDrei."))
    assert read("moses", b"a\rb\nc\n") == [Pair(1, "a\rb", "a\rb"), Pair(2, "c", "c")]
    assert read("tsv", b"a\tb\r\r\nc\td\r\n") == [Pair(1, "a", "b\r"), Pair(2, "c", "d")]  # line end, converted twice


@pytest.mark.parametrize(
    "header",
    ["source\ttarget", "Target\tSource", "src\ttgt", "source_text\ttarget_text", "English\tGerman", "en\tfr", "de\ten",
     "en-US\tde-DE", "eng_Latn\tdeu_Latn", "de\tfr", "zh\tja", "DE\tEN", "Deutsch\tEnglisch", "中文\tEnglish",
     "source\treference", "Source\tTranslation", "input\toutput", "sentence1\tsentence2", "de_text\ten_text",
     "source:\ttarget:", "deu\teng", "ZHO\tENG"],
)  # fmt: skip
def test_a_header_is_no_pair(read, header):
    with refused("corpus:1", *header.split("\t")):
        read("tsv", f"{header}\nHaus\thouse\n".encode())
    other = "Quelle\tsource\n" + header + "\n"  # further down, these words are a pair
    assert read("tsv", other.encode())[1] == Pair(2, *header.split("\t"))


@pytest.mark.parametrize("line", ["Quelle\tsource", "source\tsource", "en\tet", "da\tja", "German\tGerman", "en\ten",
                                  "Deutsch\tGerman", "allemand\tGerman", "de\tno", "En\tDe", "input\tsource", "fr\tFr.",
                                  "de text\tthe text", "die\tthe", "das\tthe", "fin\tend", "eng\teng"])  # fmt: skip
def test_words_that_may_be_a_pair_are_one(read, line):
    assert read("tsv", f"{line}\n".encode()) == [Pair(1, *line.split("\t"))]


def test_a_header_is_looked_for_in_the_columns_that_are_read(read):
    with refused("corpus:1", "de", "en"):
        read("tsv", b"id\tde\ten\n1\tHaus\thouse\n", source_column=1, target_column=2)


@pytest.mark.parametrize("header", ['"source"\t"target"', '"de"\t"en"', "'Deutsch'\t'English'"])
def test_a_header_in_quotes_is_one(read, header):
    with refused("corpus:1", *(cell[1:-1] for cell in header.split("\t"))):
        read("tsv", f"{header}\nHaus\thouse\n".encode())


@pytest.mark.parametrize("line", ["sep=\t", "sep=;", "SEP=,", '"sep=\t"', "sep=\t\r"])
def test_a_spreadsheet_s_separator_is_no_pair(read, line):
    with refused("corpus:1", line.strip('"')[:4]):
        read("tsv", f"{line}\nHaus\thouse\n".encode())
    assert read("tsv", b"Haus\thouse\nsep=\t\n")[1] == Pair(2, "sep=", "")


def quoted(number):
    return "".join(f'"Satz ""{n}""."\t{n}\t"Sentence ""{n}""."\n' for n in range(number)).encode()


@pytest.mark.parametrize(("lines", "last"), [(2, 2), (19, 19), (20, 20), (100, 20)])
def test_cells_that_are_all_quoted_are_refused(read, lines, last):
    with refused("corpus:1", last, repr('"Satz ""0""."'), "quot"):
        read("tsv", quoted(lines) + b"Haus\t1\thouse\n" * (lines == 100), target_column=2)


@pytest.mark.parametrize(
    "data",
    [
        quoted(1),
        quoted(19) + b"Haus\t1\thouse\n",
        b"Haus\t1\thouse\n" + quoted(30),
        b'"Komm."\t1\tCome.\n' * 30,  # on one side only
        b'"Ja", sagte er, "gern."\t1\t"Yes", he said, "gladly."\n' * 30,  # a quote inside that is not doubled
        '„Komm.“\t1\t“Come.”\n'.encode() * 30,
        b'"\t1\t"\n' * 30,
    ],
)  # fmt: skip
def test_text_in_quotes_is_text(read, data):
    assert len(read("tsv", data, target_column=2)) == data.count(b"\n")


# --- before the first job ----------------------------------------------------------------------------------------


def test_it_is_said_of_all_corpora_before_anything_runs(tmp_path):
    """`check` lists all wrong files at once with their keys, and does not complain that a pointer has few lines."""
    root = Path(__file__).parents[2]
    raw = yaml.safe_load((root / "config/config.yaml").read_text(encoding="utf-8"))
    corpora = raw["directions"]["de-en"]["domains"]
    (tmp_path / "a.de").write_bytes(LFS)
    (tmp_path / "a.en").write_text("house\n")
    (tmp_path / "b.tsv").write_bytes(gzip.compress(TSV))
    (tmp_path / "c.jsonl").write_bytes(TSV)
    corpora["it"]["train"] = {
        "format": "moses",
        "source_path": str(tmp_path / "a.de"),
        "target_path": str(tmp_path / "a.en"),
    }
    corpora["law"]["test"] = {"format": "tsv", "path": str(tmp_path / "b.tsv")}
    corpora["koran"]["test"] = {"format": "jsonl", "path": str(tmp_path / "c.jsonl")}
    with refused("domains.it.train", "git lfs pull", "law.test", "gzip", "koran.test", "format: tsv") as caught:
        checking.checked(raw, [root / "config/config.yaml"])
    assert "pairs_per_domain" not in str(caught.value)
    corpora["law"]["test"]["path"] = str(tmp_path / "b.tsv.gz")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(TSV))
    corpora["koran"]["test"]["format"] = "tsv"
    del corpora["it"]["train"], corpora["it"]["dev"]
    for mixtures in raw["mixtures"].values():
        mixtures["de-en"] = [name for name in mixtures["de-en"] if name != "it"]
    assert checking.checked(raw, [root / "config/config.yaml"])
