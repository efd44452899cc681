"""The model card: what hubs read, numbers of the run, and nothing that is not known."""

import json
import re

import yaml
from test_patch import NEURONS, changed, write
from test_patch_folder import saved

from caneft.files import sha256
from caneft.patch.lora import export
from caneft.patch.merge import merge

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


def scores(**domains):
    """Content of a score file."""
    entry = {"segments": 400, "health": {"empty": 0}}
    return {"domains": {d: entry | {"bleu": {"score": s, "signature": "nrefs:1"}} for d, s in domains.items()}}


def run(tmp_path, tiny_model, record=True):
    """Folder of a base and of a run with a patch."""
    base = tiny_model()
    folder = tmp_path / "run"
    (folder / "scores").mkdir(parents=True)
    path = write(folder / "patch.safetensors", base, changed(base, NEURONS), NEURONS)
    if record:
        (folder / "record.json").write_text(json.dumps(RECORD))
        (folder / "scores/seen.json").write_text(json.dumps(scores(it=50.125, law=60.0)))
        (folder / "scores/koran.json").write_text(json.dumps(scores(koran=20.0)))
        (folder / "scores/seen.comet.json").write_text(
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
    for part in (
        "4 of its 120 FFN neurons (3.33 %",
        "* Domains: it, law\n",
        "* Pairs: 3,200\n",
        "* Learning rate: 0.02, chosen on dev\n",
        "* SHA-256 of train: `11aa`",
        "* Gamma: 0.00321 nats",
        "| it | 50.12 | 400 |",
        "| koran (unseen in training) | 20.00 | 400 |",
        "* bleu: `nrefs:1`",
        'from_pretrained("tuned")',
        f"SHA-256 `{sha256(path)}`",
        "commit of CANEFT: abcdef, with changes",
        "torch 9.9",
    ):
        assert part in text, part
    assert "SHA-256 of dev" not in text and "comet" not in text


def test_what_is_not_known_is_left_out(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model, record=False)
    merge(base, path, tmp_path / "tuned")
    card = tmp_path / "tuned/README.md"
    assert front(card) == {"library_name": "transformers", "tags": ["neuron-patch"]}
    text = card.read_text()
    assert not re.search(r"None|## Training|## Scores|mutual information", text)
    assert "The licence of the base holds for this model too. Terms" in text


def test_the_licence_is_what_the_bases_card_says(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model)
    (base / "README.md").write_text("---\nlicense: other\nlicense_name: free\ntags: [a]\n---\nText of the base")
    merge(base, path, tmp_path / "tuned")
    card = tmp_path / "tuned/README.md"
    assert front(card)["license"] == "other" and front(card)["license_name"] == "free"
    assert "a" not in front(card)["tags"]
    text = card.read_text()
    assert "The base's card names: other, free." in text and "Text of the base" not in text


def test_the_card_of_an_adapter_is_pefts(tmp_path, tiny_model):
    base, path = run(tmp_path, tiny_model)
    export(base, path, tmp_path / "adapter")
    card = tmp_path / "adapter/README.md"
    assert front(card)["library_name"] == "peft"
    assert 'PeftModel.from_pretrained(base, "adapter")' in card.read_text()
