"""The model card: the metadata for hubs, the run's numbers, and nothing that is unknown."""

import json
import re
from dataclasses import replace

import pytest
import yaml
from test_patch import NEURONS, changed, write
from test_patch_folder import saved

from caneft.patch.card import card
from caneft.patch.form import read
from caneft.patch.lora import export
from caneft.patch.merge import merge
from caneft.storage.files import sha256

RECORD = {
    "method": "caneft",
    "direction": "de-en",
    "mixture": "all",
    "seed": 3,
    "choice": {"grid": {}},
    "code": {"commit": "abcdef", "dirty": True},
    "packages": {"torch": "9.9"},
    "data": {"train_sha256": "11aa", "dev_sha256": None},
    "selection": {"gamma": 0.00321},
    "settings": {
        "learning_rate": 0.02,
        "prompt": {"instruction": "Say:", "source_language": "German", "target_language": "English"},
    },
    "tuning": {"examples": 3200, "steps": 200},
}


def front(path):
    return yaml.safe_load(re.match(r"---\n(.*?)---\n", path.read_text(), re.DOTALL)[1])


def scores(seen, **domains):
    """Content of a score file."""
    entry = {"segments": 400, "health": {"empty": 0}}
    return {
        "seen": seen,
        "domains": {d: entry | {"bleu": {"score": s, "signature": "nrefs:1"}} for d, s in domains.items()},
    }


def run(tmp_path, tiny_model, record=True):
    """Folders of a base and of a run with a patch."""
    base = tiny_model()
    folder = tmp_path / "run"
    (folder / "scores").mkdir(parents=True)
    path = write(folder / "patch.safetensors", base, changed(base, NEURONS), NEURONS)
    if record:
        (folder / "record.json").write_text(json.dumps(RECORD))
        found = scores(["it", "law"], it=50.125, law=60.0, koran=20.0)
        (folder / "scores/test.json").write_text(json.dumps(found))
        (folder / "scores/neural").mkdir()
        (folder / "scores/neural/comet.json").write_text(
            json.dumps({"metric": "comet", "domains": {"it": {"score": 0.5}}})
        )
    return saved(base, tmp_path / "base"), path


def test_the_card_of_a_merged_model(tmp_path, tiny_model):
    """4 of 3 x 40 neurons are 3.33 %."""
    base, path = run(tmp_path, tiny_model)
    merge(base, path, tmp_path / "tuned")
    card = tmp_path / "tuned/README.md"
    assert front(card) == {
        "library_name": "transformers",
        "language": ["de", "en"],
        "tags": ["neuron-patch", "caneft", "translation"],
    }
    text = card.read_text()
    for facts in (
        ("4 ", "120", "3.33 %"),
        ("it, law",),
        ("3,200",),
        ("0.02", "dev"),
        ("train", "`11aa`"),
        ("0.00321 nats",),
        ("| it | 50.12 | 400 |",),
        ("| koran", "| 20.00 | 400 |"),
        ("bleu", "`nrefs:1`"),
        ('from_pretrained("tuned")',),
        (f"`{sha256(path)}`",),
        ("abcdef",),
        ("torch 9.9",),
    ):
        assert any(all(fact in line for fact in facts) for line in text.splitlines()), facts
    assert re.search(r"abcdef\b.*\w", text), "the code had changes that no commit has"
    assert text.count("`11aa`") == 1 and "comet" not in text
    assert not re.search(r"dev.*None|None.*dev", text), "the checksum of dev is not known"


@pytest.mark.parametrize("form, facts", [("chat", "chat template"), ("completion", "line break"), ("later", "prompt")])
def test_the_card_says_how_to_ask(tmp_path, tiny_model, form, facts):
    """It uses the prompt in the run's record."""
    base, path = run(tmp_path, tiny_model)
    asked = {"form": form, "text": "German: {source}\nEnglish:"}
    path.with_name("record.json").write_text(json.dumps(RECORD | {"prompt": asked}))
    merge(base, path, tmp_path / "tuned")
    before, said, text = (
        (tmp_path / "tuned/README.md").read_text().partition("\n\n```\nGerman: {source}\nEnglish:\n```\n")
    )
    assert said and facts in before.splitlines()[-1]
    assert "Say:" not in before + text


def test_what_is_not_known_is_left_out(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model, record=False)
    merge(base, path, tmp_path / "tuned")
    card = tmp_path / "tuned/README.md"
    assert front(card) == {"library_name": "transformers", "tags": ["neuron-patch"]}
    text = card.read_text()
    assert not re.search(r"None|## Training|## Scores|mutual information|Gamma", text)
    assert "licence" in text, "which binds whoever uses it, known or not"


def test_the_licence_is_what_the_bases_card_says(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model)
    (base / "README.md").write_text("---\nlicense: other\nlicense_name: free\ntags: [a]\n---\nText of the base")
    merge(base, path, tmp_path / "tuned")
    card = tmp_path / "tuned/README.md"
    assert front(card)["license"] == "other" and front(card)["license_name"] == "free"
    assert "a" not in front(card)["tags"]
    text = card.read_text()
    assert "other, free" in text and "Text of the base" not in text


def test_the_card_of_an_adapter_is_pefts(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model)
    export(base, path, tmp_path / "adapter")
    card = tmp_path / "adapter/README.md"
    assert front(card)["library_name"] == "peft"
    assert 'PeftModel.from_pretrained(base, "adapter")' in card.read_text()


def test_the_card_says_that_a_bases_weights_were_dequantised(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model)
    quantised = {"file": "tiny-q4.gguf", "sha256": "beef", "scheme": "Q4_K_M"} | {"tensors": {"Q4_K": 7, "F32": 3}}
    patch = read(path)
    patch = replace(patch, base=patch.base | {"quantised": quantised})
    text = card(patch, path, base, "tuned", "transformers")
    assert all(fact in text for fact in ("`tiny-q4.gguf`", "Q4_K_M", "7 Q4_K, 3 F32", "`beef`"))
    assert "dequantised" not in card(read(path), path, base, "tuned", "transformers")
