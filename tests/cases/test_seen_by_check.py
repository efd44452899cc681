"""What `check` learns about model folders and corpora from names, first bytes and small files, before anything runs."""

import json
import time
from pathlib import Path

import pytest
import yaml

from caneft.commands import checking
from caneft.errors import InputError
from tests import own
from tests.messages import assert_names, refused

DEMO = Path(__file__).parents[2] / "config" / "config.yaml"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head></html>\n"
LINES = "".join(f"{number}. Zeile\t{number}. line\n" for number in range(30))


@pytest.fixture
def raw():
    """The demo's configuration, which is valid, to be changed."""
    return yaml.safe_load(DEMO.read_text(encoding="utf-8"))


@pytest.fixture
def check(raw, tmp_path):
    """Checks the demo with another model, or with another corpus as test set of its unseen domain `koran`."""

    def run(model=None, **source):
        if model:
            raw["models"]["tiny"] = {"path": str(model), "dtype": "float32"}
        if source:
            paths = {key: str(tmp_path / name) for key, name in source.items() if "path" in key}
            raw["directions"]["de-en"]["domains"]["koran"]["test"] = source | paths
        return checking.checked(raw, [DEMO])

    return run


# --- models --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A folder whose names and first bytes are all right."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "llama"}')
    (path / "tokenizer.json").write_text('{"model": {}}')
    (path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return path


def test_a_folder_in_order_is_accepted_at_once_and_without_torch(check, folder):
    begin = time.process_time()
    assert check(folder).models["tiny"].path == str(folder)
    assert time.process_time() - begin < 3


WRONG = {
    "no tokenizer": ("tokenizer.json", None, ["tokenizer.json"]),
    "an adapter": ("adapter_config.json", b"{}", ["adapter_config.json", "merge"]),
    "a page": ("config.json", PAGE, ["config.json", "HTML"]),
    "an empty object": ("config.json", b"{}", ["config.json", "model_type", "ownload"]),
    "an answer": ("config.json", b'{"error": "Repository not found"}', ["config.json", "model_type", "ownload"]),
    "an empty file": ("config.json", b"", ["config.json", "ownload"]),
    "no JSON": ("tokenizer_config.json", b"{", ["tokenizer_config.json", 1, "ownload"]),
    "a pointer": ("model.safetensors", POINTER, ["model.safetensors", "git lfs pull"]),
    "no weights": ("model.safetensors", None, ["safetensors", "ownload"]),
}


@pytest.mark.parametrize(("name", "content", "facts"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_a_folder_is_said(check, folder, name, content, facts):
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    with refused("models.tiny.path", folder, *facts):
        check(folder)


def test_weights_that_are_no_file_are_said(check, folder):
    """A copy of the hub's cache can leave dead links; an archive unpacked into itself leaves a folder."""
    weights = folder / "model.safetensors"
    weights.unlink()
    weights.symlink_to("../../blobs/0123")
    with refused("models.tiny.path", folder, "model.safetensors", "link", "cp -rL"):
        check(folder)
    weights.unlink()
    weights.mkdir()
    with refused("models.tiny.path", folder, "model.safetensors", "folder"):
        check(folder)


@pytest.mark.parametrize(("content", "facts"), [(POINTER, ["git lfs pull"]), (PAGE, ["HTML"]), (b"x", ["GGUF"])])
def test_a_gguf_file_that_is_none_is_named(check, tmp_path, content, facts):
    (tmp_path / "tiny.gguf").write_bytes(content)
    with refused("models.tiny.path", tmp_path / "tiny.gguf", *facts):
        check(tmp_path / "tiny.gguf")
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF\3\0\0\0")
    assert check(tmp_path / "tiny.gguf")


def test_init_names_a_pointer_in_the_place_of_weights(command_line, tmp_path, folder):
    (folder / "model.safetensors").write_bytes(POINTER)
    code, _, said = command_line("init", tmp_path / "mine.yaml", "--model", folder)
    assert code == 1
    assert_names(said, folder / "model.safetensors", "git lfs pull")


# --- corpora -------------------------------------------------------------------------------------------------------

TMX = own.memory([("Ja.", "Yes.")])
FILES = {
    "a.tsv": LINES,
    "30.de": LINES,
    "20.en": "".join(LINES.splitlines(keepends=True)[:20]),
    "blank": "\n \n\t\n",
    "empty": "",
    "spaces": LINES.replace("\t", "  "),
    "uneven.txt": LINES + "Noch eine Zeile\n",
    "large.tsv": LINES.replace("\t", "  ") * 500,
    "a.tmx": TMX if isinstance(TMX, str) else "\n".join(TMX),
}
TSV, MOSES = {"format": "tsv"}, {"format": "moses"}
MEMORY = {"format": "tmx", "path": "a.tmx"}
UNREAD = {
    "an empty file": (TSV | {"path": "empty"}, ["empty"]),
    "blank lines": ({"format": "alternating", "path": "blank"}, ["blank"]),
    "no tab": (TSV | {"path": "spaces"}, ["spaces:1", "source_column"]),
    "no tab in a large file": (TSV | {"path": "large.tsv"}, ["large.tsv:1", "source_column"]),
    "of two lengths": (MOSES | {"source_path": "30.de", "target_path": "20.en"}, ["30.de", "20.en", 30, 20]),
    "a line alone": ({"format": "alternating", "path": "uneven.txt"}, ["uneven.txt", 31]),
    "other languages": (MEMORY | {"source_language": "fr", "target_language": "pl"}, ["a.tmx", "fr", "pl"]),
    "one file for both": (MOSES | {"source_path": "30.de", "target_path": "30.de"}, ["target_path", "30.de"]),
    "one file by two ways": (MOSES | {"source_path": "30.de", "target_path": "./30.de"}, ["target_path", "30.de"]),
    "one column": (TSV | {"path": "a.tsv", "source_column": 1, "target_column": 1}, ["target_column", 1]),
    "one field": ({"format": "jsonl", "path": "a.jsonl", "source": "x", "target": "x"}, ["koran.test.target", "x"]),
}


@pytest.fixture
def files(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "a.jsonl").write_text(json.dumps({"x": "Ja."}) + "\n")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("source", "facts"), UNREAD.values(), ids=UNREAD)
def test_a_corpus_without_pairs_is_said(check, source, facts):
    with refused("directions.de-en.domains.koran.test", *facts):
        check(**source)


@pytest.mark.usefixtures("files")
def test_what_is_in_order_is_accepted(check):
    assert check(**TSV, path="a.tsv")
    assert check(**MEMORY, source_language="de", target_language="en")


def test_of_a_large_file_and_a_packed_one_the_first_pairs_are_read(check, tmp_path, monkeypatch):
    import gzip

    from caneft.corpora import readers

    read, counted = readers.read, []
    monkeypatch.setattr(readers, "read", lambda *given: (counted.append(pair) or pair for pair in read(*given)))
    (tmp_path / "large.tsv").write_text(LINES * 500)
    (tmp_path / "packed.tsv.gz").write_bytes(gzip.compress((LINES * 500).encode()))
    for name in ("large.tsv", "packed.tsv.gz"):
        check(**TSV, path=name)
    assert len(counted) == 2 * checking.FIRST


def test_init_names_the_line_that_is_not_like_the_others(tmp_path):
    from caneft.corpora.finding import find

    (tmp_path / "it.train.tsv").write_text(LINES + "31. Zeile 31. line\n" + LINES)
    assert_names(find(tmp_path, ("de", "en")).left["it.train.tsv"], "it.train.tsv:31", 1, 2)
    (tmp_path / "it.train.tsv").write_text("31. Zeile 31. line\n" + LINES)
    assert_names(find(tmp_path, ("de", "en")).left["it.train.tsv"], "it.train.tsv:1", 1, 2)


def test_the_demo_itself_is_in_order(raw):
    try:
        checking.checked(raw, [DEMO])
    except InputError as error:
        pytest.fail(str(error))
