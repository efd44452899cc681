"""MetricX: its score computed in another way, its inputs and checkpoints, and how tables show a metric of errors."""

import hashlib
import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import MT5Config, MT5ForConditionalGeneration, PreTrainedTokenizerFast

from caneft.config import MetricX
from caneft.corpora.store import Row
from caneft.reporting.layout import mark_best
from caneft.scoring import metricx, neural
from tests.messages import refused

WORDS = ["<pad>", "</s>", "<unk>", "source", ":", "candidate", "reference", "ein", "Vertrag", "a", "contract", "treaty"]
ROWS = [Row(f"law.test.{n}", "ein " * n + "Vertrag", "a contract " * (9 - 2 * n)) for n in range(1, 5)]
HYPOTHESES = ["a treaty", "", "contract contract a", "a contract"]


def tokenizer():
    """One id per word, and `</s>` at the end, as mT5's tokenizer adds it."""
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace()])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def tiny():
    """A random mT5 with the vocabulary of the published models."""
    torch.manual_seed(0)
    sizes = {"d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2}
    return MT5ForConditionalGeneration(MT5Config(vocab_size=250_112, **sizes)).eval()


@pytest.fixture(scope="module")
def loaded():
    return metricx.Loaded(tiny(), tokenizer())


def by_generation(loaded, row, hypothesis):
    """The unclipped score of one segment: the logit that transformers' own generation gives its first token."""
    text = f"source: {row.source} candidate: {hypothesis} reference: {row.target}"
    ids = loaded.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
    done = loaded.model.generate(
        ids, max_new_tokens=1, do_sample=False, output_logits=True, return_dict_in_generate=True
    )
    return done.logits[0][0, 250_089].item()


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_scores_are_those_of_generation_one_by_one(loaded, batch_size):
    """Holds in any batches, and in the order of the segments; the scale is such that at least one score is clipped."""
    raw = [by_generation(loaded, row, hypothesis) for row, hypothesis in zip(ROWS, HYPOTHESES, strict=True)]
    assert len({round(value, 6) for value in raw}) == 4
    middle, spread = sum(raw) / 4, max(raw) - min(raw)
    model = torch.nn.Module()
    model.forward = lambda **inputs: shifted(loaded.model(**inputs), middle, 60 / spread)
    scores = metricx.score(metricx.Loaded(model, loaded.tokenizer), ROWS, HYPOTHESES, batch_size)
    wanted = [min(max((value - middle) * 60 / spread + 12, 0), 25) for value in raw]
    assert 0 in wanted or 25 in wanted
    assert scores == pytest.approx(wanted, abs=1e-3)


def shifted(output, middle, factor):
    output.logits = (output.logits - middle) * factor + 12
    return output


def test_the_end_of_sequence_goes_and_long_inputs_are_cut(loaded):
    row = Row("law.test.1", "ein Vertrag", "a contract")
    names = [WORDS[number] for number in metricx.encode(loaded.tokenizer, row, "a treaty")]
    assert " ".join(names) == "source : ein Vertrag candidate : a treaty reference : a contract"
    assert len(metricx.encode(loaded.tokenizer, row, "treaty " * 2000)) == 1536 - 1


def test_no_segments_no_scores(loaded):
    assert metricx.score(loaded, [], [], 4) == []


def folder(path, weights=("model.safetensors",), own_tokenizer=True):
    path.mkdir()
    (path / "config.json").write_text("{}")
    for name in weights:
        (path / name).write_bytes(name.encode())
    if own_tokenizer:
        (path / "spiece.model").write_bytes(b"")
    return path


def test_a_folder_is_identified_by_its_weights(tmp_path):
    found = neural.find(MetricX(path="mine"), lambda path: folder(tmp_path / path))
    checksum = hashlib.sha256(b"model.safetensors").hexdigest()
    assert (found["checkpoint"], found["revision"], found["class"]) == ("mine", None, "metricx")
    assert (found["sha256"], found["weights"]) == (checksum, {"model.safetensors": checksum})
    assert found["tokenizer"] is None and found["format"] == 1


def test_parts_of_the_weights_share_one_checksum():
    assert metricx.checksum({"b": "2", "a": "1"}) == hashlib.sha256(b"a 1\nb 2\n").hexdigest()
    assert metricx.checksum({"b": "2", "a": "1"}) != metricx.checksum({"b": "1", "a": "2"})


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with refused(tmp_path / "mine", "config.json", "*.safetensors", "pytorch_model*.bin", "scoring.metricx.hub"):
        metricx.describe(folder(tmp_path / "mine", weights=()), "mine", None)


def test_a_checkpoint_without_tokenizer_takes_that_of_its_base(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place = folder(tmp_path / "mine", own_tokenizer=False)
    with refused("no-such/tokenizer", "main"):
        neural.find(MetricX(path="mine", tokenizer="no-such/tokenizer"), lambda path: place)


def test_weights_that_changed_are_refused(tmp_path):
    manifest = metricx.describe(folder(tmp_path / "mine"), "mine", None)
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"others")
    with refused(f"{tmp_path / 'mine/model.safetensors'}:", "manifest"):
        metricx.load(manifest)


def test_a_checkpoint_that_is_gone_from_the_cache_is_one_message_that_names_snakemake_fetch(tmp_path):
    manifest = metricx.describe(folder(tmp_path / "mine"), "owner/x", "a1") | {"tokenizer": str(tmp_path / "tokenizer")}
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(manifest))
    with refused("owner/x", tmp_path / "tokenizer", "HF_HOME", file, "snakemake fetch"):
        neural.read_manifest(file)
    (tmp_path / "tokenizer").mkdir()
    assert neural.read_manifest(file)["folder"] == str(tmp_path / "mine")
    (tmp_path / "mine/model.safetensors").unlink()
    with refused("owner/x", tmp_path / "mine/model.safetensors", "HF_HOME", file, "snakemake fetch"):
        neural.read_manifest(file)


def test_the_fewest_errors_are_best():
    assert mark_best(["3.10", "1.20", "1.20", "2.00"], lowest=True) == ["", "best", "best", "second"]
    assert mark_best(["3.10", "1.20", "1.20", "2.00"]) == ["best", "", "", "second"]
