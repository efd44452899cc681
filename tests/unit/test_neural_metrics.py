"""Neural metrics outside their environment: configuration, finding checkpoints, manifests."""

import hashlib
import json

import pytest
import yaml

from caneft.config import Comet, NeuralMetric, Scoring
from caneft.scoring import neural
from tests.messages import refused

TRAIN = {"corpora": [{"direction": "de-en", "corpus": {"format": "demo", "domain": "it", "pairs": 10}}]}


def checkpoint(folder, encoder="encoder", content=b"weights", names=("model.ckpt",), kind="regression_metric"):
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "encoder").mkdir()
    for name in names:
        (folder / "checkpoints" / name).write_bytes(content)
    hparams = {"class_identifier": kind, "pretrained_model": encoder}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))
    return folder


def test_metrics_come_in_the_order_of_the_tables():
    found = Scoring(xcomet={"hub": "a/b"}, comet={"train": TRAIN}, metrics=["chrf"])
    assert found.all == ["chrf", "comet", "xcomet"] and list(found.neural) == ["comet", "xcomet"]
    assert Scoring().all == ["bleu", "chrf"] and Scoring().neural == {}


@pytest.mark.parametrize(
    ("kind", "given", "facts"),
    [
        (Comet, {}, ("hub", "path", "train")),
        (Comet, {"hub": "a/b", "train": TRAIN}, ("hub and train", "path")),
        (NeuralMetric, {"hub": "a/b", "path": "c"}, ("hub and path",)),
        (NeuralMetric, {"path": "c", "revision": "main"}, ("revision", "hub")),
        (NeuralMetric, {"path": "c", "train": TRAIN}, ("train\n",)),
        (Comet, {"hub": "a/b", "resources": {"gpu": 2}}, ("resources.gpu\n", "equal to 1")),
    ],
)
def test_a_metric_comes_from_one_place(kind, given, facts):
    with refused(*facts, by=ValueError):
        kind.model_validate(given)


def test_a_folder_is_identified_by_its_checksum(tmp_path):
    folder = checkpoint(tmp_path / "mine")
    manifest = neural.find(NeuralMetric(path="mine"), lambda path: tmp_path / path)
    assert manifest == {
        "format": 1,
        "checkpoint": "mine",
        "revision": None,
        "folder": str(folder),
        "file": "checkpoints/model.ckpt",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "class": "regression_metric",
        "encoder": "encoder",
    }


@pytest.mark.parametrize("names", [(), ("a.ckpt", "b.ckpt")])
def test_a_folder_without_one_checkpoint_is_refused(tmp_path, names):
    folder = checkpoint(tmp_path / "mine", names=names)
    with refused(folder, "hparams.yaml", "checkpoints/*.ckpt", len(names), "scoring.*.hub"):
        neural.describe(folder, "mine", None)


def test_a_folder_without_or_with_broken_hparams_is_refused(tmp_path):
    folder = checkpoint(tmp_path / "mine")
    for text in ("[1, 2]", "class_identifier: x", "a: [", ""):
        (folder / "hparams.yaml").write_text(text)
        with refused(f"{folder / 'hparams.yaml'}:"):
            neural.describe(folder, "mine", None)
    (folder / "hparams.yaml").unlink()
    with refused(folder, "hparams.yaml"):
        neural.describe(folder, "mine", None)


def test_an_encoder_that_is_not_there_must_be_in_the_cache(tmp_path, monkeypatch):
    import shutil

    folder = checkpoint(tmp_path / "mine", encoder="no-such-organisation/no-such-encoder")
    shutil.rmtree(folder / "encoder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with refused("no-such-organisation/no-such-encoder", "main"):
        neural.find(NeuralMetric(path=str(folder)), lambda path: folder)


def test_a_manifest_that_moved_with_its_checkpoint_still_finds_it(tmp_path):
    manifest = neural.describe(checkpoint(tmp_path / "here"), "x", None) | {"folder": "."}
    (tmp_path / "here" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "here").rename(tmp_path / "there")
    assert neural.read_manifest(tmp_path / "there/manifest.json")["folder"] == str(tmp_path / "there")
