"""Downloads: which sources, what is recorded about them, and that they are the same when read again."""

import hashlib
import json

import pytest

from caneft import config
from caneft.corpora import fetching
from caneft.plan import parts, settings
from tests.messages import refused

PAIRS = [("Der Hund.", "The dog."), ("Öl", "oil")]


@pytest.fixture
def source(tmp_path):
    """Any source will do, because fetching means reading with the source's reader."""
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in PAIRS))
    return config.Jsonl(format="jsonl", path=str(file))


def test_what_is_written_down(source):
    expected = hashlib.sha256(b'["Der Hund.", "The dog."]["\\u00d6l", "oil"]').hexdigest()
    assert fetching.fetch(source, config.resolver(None)) == {"revision": None, "pairs": 2, "sha256": expected}


def test_another_text_in_the_cache_than_was_fetched_is_an_error(source, tmp_path):
    resolve, file = config.resolver(None), tmp_path / "fetched.json"
    file.write_text(json.dumps({"train": fetching.fetch(source, resolve)}))
    fetching.check({"train": source, "test": source}, file, resolve)
    with open(source.path, "a") as more:
        more.write('{"source": "Ja.", "target": "Yes."}\n')
    with refused("train", "3 pairs", "2 pairs", "HF_HOME", file, "snakemake fetch"):
        fetching.check({"train": source, "test": source}, file, resolve)


REMOTE = {"format": "datasets", "name": "owner/talks"}
DEMO = {"format": "demo", "domain": "it", "pairs": 4}


LOCAL = {"train": DEMO, "dev": DEMO, "test": DEMO}
TEXT = {"format": "demo-pretraining", "domains": ["it"], "pairs": 4}


def test_remote_splits_are_fetched_and_no_others():
    own = {"train": REMOTE | {"limit": 5, "seed": 3}, "dev": DEMO, "test": REMOTE | {"split": "test", "revision": "v2"}}
    pretrain = {"corpora": [{"direction": "de-en", "corpus": corpus} for corpus in (TEXT, REMOTE)]}
    loaded = config.load(
        {
            "directions": {
                "de-en": {
                    "source_language": "German",
                    "target_language": "English",
                    "domains": {"it": own, "law": LOCAL, "koran": {"test": DEMO}},
                }
            },
            "models": {"mini": {"pretrain": pretrain}, "other": {"pretrain": {"corpora": pretrain["corpora"][:1]}}},
            "mixtures": {"all": {"de-en": ["it", "law"]}},
            "methods": {"base": {"method": "base"}},
            "selection": {"fraction": 0.1},
        }
    )
    found = {name: parts.fetching(sources) for name, sources in config.remote_sources(loaded)}
    assert {name: list(given.sources) for name, given in found.items()} == {
        "de-en/it": ["train", "test"],
        "pretraining/mini": ["1"],
    }
    it = found["de-en/it"].sources
    assert (it["train"].name, it["train"].limit, it["train"].seed) == ("owner/talks", None, 0)  # the draw comes later
    assert (it["test"].split, it["test"].revision) == ("test", "v2")
    assert settings.FetchSettings.model_validate_json(found["de-en/it"].model_dump_json()) == found["de-en/it"]
