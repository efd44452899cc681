"""Checksums in sidecars: what is read is what was written, or else a message names the file and the remedy."""

import hashlib
import json
import os

import pytest

from caneft.corpora import store
from caneft.storage import integrity
from caneft.storage.files import atomic_folder
from tests.messages import refused

TEXT = b"what was written"


@pytest.fixture
def written(tmp_path):
    """A file, and a sidecar with its checksum."""
    (tmp_path / "heavy.npy").write_bytes(TEXT)
    said = {"shape": [1], "files": {"heavy.npy": hashlib.sha256(TEXT).hexdigest()}}
    (tmp_path / "heavy.json").write_text(json.dumps(said))
    return tmp_path / "heavy.npy"


def verify(path):
    integrity.verify_beside(path, path.with_suffix(".json"))


def test_a_checksum_is_that_of_coreutils(written):
    assert integrity.sums(written) == {"heavy.npy": hashlib.sha256(TEXT).hexdigest()}
    verify(written)


@pytest.mark.parametrize("content", [TEXT[:-1], TEXT.replace(b"w", b"v", 1), b""], ids=["shorter", "a bit", "empty"])
def test_another_content_is_named_with_its_remedy(written, content):
    written.write_bytes(content)
    with refused(f"{written}:", hashlib.sha256(content).hexdigest()[:12], hashlib.sha256(TEXT).hexdigest()[:12]):
        verify(written)


def test_a_missing_file_is_named(written):
    written.unlink()
    with refused(f"{written}:"):
        verify(written)


def test_an_older_sidecar_and_none_at_all_have_nothing_to_compare(written):
    written.write_bytes(b"something else")
    written.with_suffix(".json").write_text('{"shape": [1]}')
    verify(written)
    written.with_suffix(".json").unlink()
    verify(written)


@pytest.mark.parametrize(
    ("content", "shown"), [('{"files": {"heavy', ":1:"), ('{"files": 3}', "`files`"), ('{"format": 99}', "format 99")]
)
def test_a_broken_sidecar_is_named(written, content, shown):
    written.with_suffix(".json").write_text(content)
    with refused(written.with_suffix(".json"), shown):
        verify(written)


def test_files_above_the_limit_are_not_compared(written, monkeypatch):
    written.write_bytes(b"x" * 2000)
    monkeypatch.setenv(integrity.LIMIT, "0.000001999")
    verify(written)
    monkeypatch.setenv(integrity.LIMIT, "0.000002")
    with refused(f"{written}:", hashlib.sha256(b"x" * 2000).hexdigest()[:12]):
        verify(written)


def test_without_a_limit_what_the_user_set_stays(monkeypatch):
    monkeypatch.setenv(integrity.LIMIT, "7")
    integrity.publish_limit(None)
    assert os.environ[integrity.LIMIT] == "7"
    integrity.publish_limit(0.5)
    assert os.environ[integrity.LIMIT] == "0.5"


def test_a_prepared_corpus_is_read_only_as_it_was_written(tmp_path):
    path = tmp_path / "train.jsonl"
    store.write(path, [store.Row("it.train.1", "Ja.", "Yes.")])
    store.write_json(tmp_path / "report.json", {"files": integrity.sums(path)})
    assert store.read(path)[0].target == "Yes."
    path.write_text(path.read_text().replace("Yes", "Yea"))
    with refused(f"{path}:", hashlib.sha256(path.read_bytes()).hexdigest()[:12]):
        store.read(path)


def test_a_delivery_comes_whole_or_not_at_all(tmp_path):
    (tmp_path / ".unfinished").mkdir()
    (tmp_path / ".unfinished/left over").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path) as beside:
        (beside / "first").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path) as beside:
        (beside / "below").mkdir()
        (beside / "below/second").write_text("2")
        assert not (tmp_path / "below").exists()
    assert (tmp_path / "below/second").read_text() == "2" and [p.name for p in tmp_path.iterdir()] == ["below"]
