"""`snakemake fetch` from a local hub, and then everything else without one."""

import json
import os
import subprocess

import pytest
import yaml

from tests.hub import running

PAIRS = [{"translation": {"de": f"Satz Nummer {i}.", "en": f"Sentence number {i}."}} for i in range(40)]


def from_the_hub(config):
    """Edit: the model comes from the hub, and one domain's training pairs are a dataset of the hub."""
    config["models"] = {"mini-llama": {"hub": "owner/tiny"}}
    config["directions"]["de-en"]["domains"]["law"]["train"] = {"format": "datasets", "name": "owner/talks"}


@pytest.fixture(scope="module")
def place(pristine, tmp_path_factory):
    """A workspace with its configuration, a published model and a published dataset."""
    from transformers import AutoConfig, AutoModelForCausalLM

    from tests.shapes import SHAPES

    root = tmp_path_factory.mktemp("fetching")
    workspace = pristine.copy(root / "workspace")
    (root / "config.yaml").write_text(yaml.safe_dump(workspace.configuration(from_the_hub)))
    tokenizer = SHAPES["gemma-2"].tokenizer()
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = AutoConfig.for_model("llama", **sizes, vocab_size=len(tokenizer), num_key_value_heads=1)
    AutoModelForCausalLM.from_config(model).save_pretrained(root / "model")
    tokenizer.save_pretrained(root / "model")
    (root / "talks").mkdir()
    (root / "talks/train.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return workspace, root


def snakemake(place, hub, offline, *arguments):
    workspace, root = place
    left_out = ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_HUB_OFFLINE", "CANEFT_HF_HUB_OFFLINE")
    kept = {name: value for name, value in workspace.environment.items() if name not in left_out}
    said = {"HF_HUB_OFFLINE": offline} if offline else {}
    return subprocess.run(
        workspace.command("--cores", "2", *arguments, config=root / "config.yaml"),
        cwd=workspace.root,
        env=kept | said | {"HF_ENDPOINT": hub.address, "HF_HOME": str(root / "home")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_fetch_downloads_once_and_the_rest_needs_no_network(place):
    workspace, root = place
    with running() as hub:
        commit = hub.add("models/owner/tiny", root / "model")
        talks = hub.add("datasets/owner/talks", root / "talks")

        refused = snakemake(place, hub, "1", "fetch")  # the user's setting wins
        assert refused.returncode != 0 and "Run `snakemake fetch` where there is a network" in refused.stdout
        assert hub.asked == []

        done = snakemake(place, hub, "", "fetch")
        assert done.returncode == 0, done.stdout[-5000:]
        manifest = json.loads((workspace.results / "models/mini-llama/manifest.json").read_text())
        assert (manifest["revision"], manifest["architecture"]) == (commit, "llama")
        fetched = json.loads((workspace.results / "corpora/de-en/law/fetched.json").read_text())
        assert list(fetched) == ["train"]
        assert (fetched["train"]["revision"], fetched["train"]["pairs"]) == (talks, len(PAIRS))
        assert {"model.safetensors", "train.jsonl"} <= {*hub.downloads()}

        asked = len(hub.asked)
        again = snakemake(place, hub, "", "fetch")
        assert again.returncode == 0 and "Nothing to be done" in again.stdout

        prepared = os.path.relpath(workspace.results / "corpora/de-en/law/train.jsonl", workspace.root)
        done = snakemake(place, hub, "", prepared)
        assert done.returncode == 0, done.stdout[-5000:]
        rows = [json.loads(line) for line in (workspace.root / prepared).read_text().splitlines()]
        assert [row["target"] for row in rows] == [pair["translation"]["en"] for pair in PAIRS]
        assert len(hub.asked) == asked
