"""What `check` warns of after reading pairs: missing references, copies, equal files, swapped sides."""

import shutil

import pytest

from caneft import config
from caneft.commands import checking
from caneft.corpora import readers
from tests.messages import assert_names
from tests.unit.test_config import VALID

GERMAN = [f"Der {thing} liegt seit gestern auf dem Tisch in der Küche." for thing in ("Hut", "Brief", "Apfel", "Ball")]
ENGLISH = [f"The {thing} has been lying on the kitchen table since yesterday." for thing in ("hat", "letter", "apple")]
ENGLISH.append("The ball has been lying there.")
HERE = "directions.de-en.domains"


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Warnings for domains `it` and `law`, of which `it` has these two sides as its test set. Others are in order."""
    monkeypatch.setenv("CANEFT_DATA", str(tmp_path))

    def run(source=GERMAN, target=ENGLISH, end="", copied=(), **keys):
        domains = {}
        for domain in ("it", "law"):
            for split in ("train", "dev", "test"):
                given = (source, target) if (domain, split) == ("it", "test") else (GERMAN, ENGLISH)
                for code, lines in zip(("de", "en"), given, strict=True):
                    text = "".join(f"{line}\n" for line in lines)
                    text += end if (domain, split) == ("it", "test") else f"{domain} {split}\n"
                    (tmp_path / f"{domain}.{split}.{code}").write_text(text, encoding="utf-8")
                paths = {
                    f"{side}_path": f"{domain}.{split}.{code}" for side, code in (("source", "de"), ("target", "en"))
                }
                own = keys if (domain, split) == ("it", "test") else {}
                domains.setdefault(domain, {})[split] = {"format": "moses"} | paths | own
        for old, new in copied:
            for code in ("de", "en"):
                shutil.copy(tmp_path / f"{old}.{code}", tmp_path / f"{new}.{code}")
        raw = VALID | {"directions": {"de-en": VALID["directions"]["de-en"] | {"domains": domains}}}
        found = config.load(raw, check_files=False)
        return [one for one in checking.warnings(found) if one.startswith("directions")]

    return run


def test_corpora_in_order_are_no_warning_and_are_read_once(said, monkeypatch):
    read, sources = readers.read, []
    monkeypatch.setattr(readers, "read", lambda source, *rest: sources.append(source) or read(source, *rest))
    assert said() == []
    assert len(sources) == 6


def test_a_pair_without_a_reference_in_a_test_set_is_a_warning(said):
    (found,) = said(end="\n")
    assert_names(found, f"{HERE}.it.test", "it.test.en", 1, 5, "remove")


def test_a_set_whose_targets_are_its_sources_is_a_warning(said):
    (found,) = said(target=[*GERMAN[:2], *ENGLISH[2:]])
    assert_names(found, f"{HERE}.it.test", "it.test.de", "it.test.en", 2, 4, "Correct")
    assert said(target=[*GERMAN[:1], *ENGLISH[1:]]) == []


@pytest.mark.parametrize("new", ["it.train", "it.dev", "law.test", "law.train"])
def test_a_copy_of_a_set_under_another_name_is_a_warning(said, new):
    (found,) = said(copied=[("it.test", new)])
    assert_names(found, f"{HERE}.it.test", f"{HERE}.{new}", "it.test.de", f"{new}.en", "Correct")


def test_sides_in_each_others_language_are_a_warning(said):
    (found,) = said(source=ENGLISH, target=GERMAN)
    assert_names(found, f"{HERE}.it.test", "it.test.de", "'en'", "'de'", 4, "reverse: true")
    assert said(source=ENGLISH, target=GERMAN, reverse=True) == []


def test_a_set_that_cannot_be_read_to_its_end_is_a_warning(said):
    (found,) = said(source=GERMAN[:3])
    assert_names(found, f"{HERE}.it.test", "it.test.de", "it.test.en", 3, 4)
